"""Sequences drawn from a model of the next token, or the likeliest of them.

The model is a function `step(state, tokens [B, n], start) -> (logits [B, n, V], state)`: it reads
the tokens at positions start ... start + n - 1, start int [B], and predicts what comes after each.
Its state is any pytree with the batch leading in every leaf, such as the cache of a language model:

    step = lambda cache, tokens, start: lm.apply(variables, tokens, cache=cache, start=start)
    cache = lm.transformer.empty_cache(len(prompt), prompt.shape[1] + steps)
    tokens, log_probs = sample_tokens(key, step, cache, prompt, steps=steps)
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp


def truncate_logits(
    logits: jax.Array, *, top_k: int | None = None, top_p: float | None = None
) -> jax.Array:
    """Leaves the likeliest tokens alone: the first k, and the first that together have p.

    Args:
      logits: [..., V].
      top_k: how many tokens stay, and those tied with the last of them; None is all.
      top_p: the mass that the tokens that stay have at least, in (0, 1]; None is all.

    Returns:
      [..., V], -inf at tokens that do not stay; the likeliest always does.

    Hierarchical Neural Story Generation (Fan et al., 2018); The Curious Case of Neural Text
    Degeneration (Holtzman et al., 2020).
    """
    if top_k is not None:
        last = jax.lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits < last, -jnp.inf, logits)
    if top_p is not None:
        ordered = -jnp.sort(-logits, axis=-1)
        p = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(p, axis=-1) - p
        last = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits < last, -jnp.inf, logits)
    return logits


def sample_tokens(
    key: jax.Array,
    step: Callable,
    state,
    prompt: jax.Array,
    *,
    steps: int,
    lengths: jax.Array | None = None,
    end: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Continues prompts, token by token.

        x_{t+1} ~ softmax(truncate_logits(logits(x_1 ... x_t) / temperature))

    Args:
      key: for the tokens.
      step, state: the model, as above; a cache has room for T + steps positions.
      prompt: int [B, T], T at least 1.
      steps: how many tokens follow.
      lengths: int [B], of prompts that are filled up behind to T; None is T for all.
      end: a token after which only itself follows.
      temperature: 0 takes the likeliest token.
      top_k, top_p: as in `truncate_logits`.

    Returns:
      tokens int32 [B, steps] behind each prompt's own; log-probabilities [B, steps] that the model
      gives them at temperature 1, untruncated, 0 after the end.

    The Curious Case of Neural Text Degeneration (Holtzman et al., 2020).
    """
    start, logits, state = _read(step, state, prompt, lengths)

    def draw(carry, each):
        logits, state, start, over = carry
        if temperature:
            kept = truncate_logits(logits / temperature, top_k=top_k, top_p=top_p)
            token = jax.random.categorical(each, kept)
        else:
            token = jnp.argmax(logits, axis=-1)
        token = token.astype(jnp.int32) if end is None else jnp.where(over, end, token)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=1)[:, 0]
        log_p = jnp.where(over, 0.0, log_p)
        over = over if end is None else token == end
        logits, state = step(state, token[:, None], start)
        return (logits[:, 0], state, start + 1, over), (token, log_p)

    carry = (logits, state, start, jnp.zeros(len(prompt), bool))
    tokens, log_probs = jax.lax.scan(draw, carry, jax.random.split(key, steps))[1]
    return tokens.T, log_probs.T


def beam_search(
    step: Callable,
    state,
    prompt: jax.Array,
    *,
    steps: int,
    beams: int = 4,
    lengths: jax.Array | None = None,
    end: int | None = None,
    penalty: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """The likeliest continuations of prompts, among those whose beginnings are likely too.

        score(x) = sum_t log p(x_t | x_<t) / |x|^penalty,   the best K = beams kept at every step

    Args:
      step, state: the model, as above; a cache has room for T + steps positions.
      prompt: int [B, T], T at least 1.
      steps: how many tokens follow.
      beams: K.
      lengths: int [B], of prompts that are filled up behind to T; None is T for all.
      end: a token after which only itself follows, at no cost; it is the last that |x| counts.
      penalty: 0 prefers short continuations, more longer ones.

    Returns:
      tokens int32 [B, K, steps], the best first; scores [B, K].

    Google's Neural Machine Translation System (Wu et al., 2016), with a plainer penalty.
    """
    start, logits, state = _read(step, state, prompt, lengths)
    batch, size = logits.shape
    each = lambda tree: jax.tree.map(lambda x: jnp.repeat(x, beams, axis=0), tree)
    logits, state, start = each((logits, state, start))
    # the beams of an example begin alike: only the first may be continued
    total = jnp.tile(jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)[None], (batch, 1))
    ended = jnp.where(jnp.arange(size) == (-1 if end is None else end), 0.0, -jnp.inf)

    def extend(carry, i):
        logits, state, total, count, over, tokens = carry
        log_p = jax.nn.log_softmax(logits).reshape(batch, beams, size)
        sums = total[..., None] + jnp.where(over[..., None], ended[None, None], log_p)
        counts = count + ~over
        scores = sums / counts[..., None] ** penalty
        best, place = jax.lax.top_k(scores.reshape(batch, -1), beams)
        beam, token = place // size, (place % size).astype(jnp.int32)
        pick = lambda x: jnp.take_along_axis(x, beam, axis=1)
        total = jnp.take_along_axis(sums.reshape(batch, -1), place, axis=1)
        tokens = jnp.take_along_axis(tokens, beam[..., None], axis=1).at[:, :, i].set(token)
        over = pick(over) if end is None else token == end
        row = (jnp.arange(batch)[:, None] * beams + beam).reshape(-1)
        state = jax.tree.map(lambda x: x[row], state)
        logits, state = step(state, token.reshape(-1, 1), start + i)
        return (logits[:, 0], state, total, pick(counts), over, tokens), best

    count, over = jnp.zeros((batch, beams), jnp.int32), jnp.zeros((batch, beams), bool)
    tokens = jnp.zeros((batch, beams, steps), jnp.int32)
    carry = (logits, state, total, count, over, tokens)
    carry, best = jax.lax.scan(extend, carry, jnp.arange(steps))
    return carry[-1], best[-1]


def _read(step, state, prompt, lengths):
    """Reads the prompts: (where each goes on [B], the logits there [B, V], state)."""
    chex.assert_rank(prompt, 2)
    batch, length = prompt.shape
    start = jnp.full(batch, length) if lengths is None else jnp.asarray(lengths)
    logits, state = step(state, prompt, jnp.zeros(batch, start.dtype))
    last = jnp.take_along_axis(logits, start[:, None, None] - 1, axis=1)[:, 0]
    return start, last, state
