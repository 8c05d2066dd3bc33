"""Drawn tokens have the model's frequencies; beams that keep everything find the best of all."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms import beam_search, sample_tokens, truncate_logits

RNG = np.random.default_rng(0)
V, END = 4, 3
TABLE = RNG.normal(size=(7, V)).astype('f') * 1.5


def step(state, tokens, start):
    """What comes next depends on all tokens so far and on where they end: state is their sum."""
    sums = state['sum'][:, None] + jnp.cumsum(tokens + 1, axis=1)
    places = start[:, None] + jnp.arange(tokens.shape[1])[None]
    # the state is that of the prompt's own tokens, so those that fill it up are taken back
    return jnp.asarray(TABLE)[(3 * sums + places) % 7], {'sum': sums[:, -1]}


def log_p(prompt, tokens):
    """log p of each of some tokens behind a prompt, slowly."""
    told, found = list(prompt), []
    for token in tokens:
        logits = TABLE[(3 * sum(t + 1 for t in told) + len(told) - 1) % 7].astype(float)
        over = END in told[len(prompt) :]
        found.append(0.0 if over else logits[token] - np.log(np.exp(logits).sum()))
        told.append(token)
    return found


PROMPT = np.array([[0, 2], [1, 1]])
STATE = {'sum': np.zeros(2, np.int32)}


@pytest.mark.parametrize('penalty', [0.0, 1.0])
def test_beams_that_keep_everything_find_the_best(penalty):
    search = jax.jit(
        lambda: beam_search(step, STATE, PROMPT, steps=3, beams=64, end=END, penalty=penalty)
    )
    tokens, scores = jax.device_get(search())
    for b in range(2):
        every = []
        for each in itertools.product(range(V), repeat=3):
            cut = each.index(END) + 1 if END in each else 3
            if all(token == END for token in each[cut:]):
                every.append((sum(log_p(PROMPT[b], each)) / cut**penalty, each))
        every = sorted(every, reverse=True)
        best = [score for score, _ in every]
        np.testing.assert_allclose(scores[b, : len(best)], best, atol=1e-5)
        assert [tuple(row) for row in tokens[b, :5]] == [each for _, each in every[:5]]
        assert np.isneginf(scores[b, len(best) :]).all()


def test_the_likeliest_token_is_one_beam():
    greedy = jax.jit(
        lambda: (
            sample_tokens(jax.random.key(0), step, STATE, PROMPT, steps=5, temperature=0, end=END),
            beam_search(step, STATE, PROMPT, steps=5, beams=1, end=END),
        )
    )
    (tokens, log_probs), (beams, scores) = jax.device_get(greedy())
    np.testing.assert_array_equal(beams[:, 0], tokens)
    np.testing.assert_allclose(scores[:, 0], log_probs.sum(1), atol=1e-5)
    for b in range(2):
        np.testing.assert_allclose(log_probs[b], log_p(PROMPT[b], tokens[b]), atol=1e-5)


def test_drawn_tokens_have_the_models_frequencies():
    count = 20000
    prompt, state = np.tile(PROMPT[:1], (count, 1)), {'sum': np.zeros(count, np.int32)}
    draw = jax.jit(
        lambda key: sample_tokens(key, step, state, prompt, steps=2, temperature=0.7, top_k=3)
    )
    tokens, log_probs = jax.device_get(draw(jax.random.key(0)))
    code = tokens[:, 0] * V + tokens[:, 1]
    for pair in itertools.product(range(V), repeat=2):
        share, told = 1.0, list(PROMPT[0])
        for token in pair:
            logits = TABLE[(3 * sum(t + 1 for t in told) + len(told) - 1) % 7].astype(float) / 0.7
            p = np.where(logits >= np.sort(logits)[-3], np.exp(logits), 0)
            share *= p[token] / p.sum()
            told.append(token)
        rows = code == pair[0] * V + pair[1]
        assert abs(rows.mean() - share) < 5 * np.sqrt(share / count) + 1e-9
        if share:
            np.testing.assert_allclose(log_probs[rows][0], log_p(PROMPT[0], pair), atol=1e-5)


def test_prompts_of_different_lengths():
    """As a cache does it, the state is written at places: what fills a prompt up is overwritten."""

    def placed(state, tokens, start):
        write = jax.vmap(lambda row, new, at: jax.lax.dynamic_update_slice(row, new, (at,)))
        state = write(state, tokens + 1, start)
        places = start[:, None] + jnp.arange(tokens.shape[1])[None]
        seen = jnp.arange(state.shape[1])[None, None] <= places[..., None]
        sums = (state[:, None] * seen).sum(-1)
        return jnp.asarray(TABLE)[(3 * sums + places) % 7], state

    state = np.zeros((2, 7), np.int32)
    draw = jax.jit(
        lambda prompt, lengths: sample_tokens(
            jax.random.key(0), placed, state, prompt, steps=4, temperature=0, lengths=lengths
        )
    )
    tokens, _ = draw(np.array([[0, 2, 1], [1, 0, 0]]), np.array([3, 1]))
    for b, prompt in enumerate(([0, 2, 1], [1])):
        told = list(prompt)
        for token in tokens[b].tolist():
            row = TABLE[(3 * sum(t + 1 for t in told) + len(told) - 1) % 7]
            assert token == row.argmax()
            told.append(token)


def test_truncation():
    logits = np.log(np.array([[0.5, 0.05, 0.3, 0.15], [0.25, 0.25, 0.25, 0.25]]))
    kept = lambda **given: np.isfinite(truncate_logits(logits, **given)).astype(int).tolist()
    assert kept(top_k=2) == [[1, 0, 1, 0], [1, 1, 1, 1]]
    assert kept(top_p=0.4)[0] == [1, 0, 0, 0]
    assert kept(top_p=0.51)[0] == [1, 0, 1, 0]
    assert kept(top_p=0.9)[0] == [1, 0, 1, 1]
    assert kept(top_p=1.0) == [[1] * 4] * 2
    assert kept(top_k=3, top_p=0.6)[0] == [1, 0, 1, 0]
    np.testing.assert_array_equal(truncate_logits(logits), logits)
