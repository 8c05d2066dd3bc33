"""Answers against a model that is asked for one token after the other."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models

NETWORK = models.CausalLM(7, models.Transformer(8, 1, 2, causal=True))
PROMPT = jnp.array([[3, 4, 2], [5, 6, 2]])
END = 1


def test_answers_are_drawn_as_likely_as_they_are_said_to_be():
    variables = NETWORK.init(jax.random.key(0), PROMPT)
    answer = np.array([[4, 5, END, 0], [6, 0, 0, 0]])
    found = models.answer_log_probs(NETWORK, variables, PROMPT, answer)
    for i, length in enumerate((3, 1)):
        row = np.concatenate([PROMPT[i], answer[i]])
        logits = np.asarray(NETWORK.apply(variables, row[None])[0], np.float64)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        wanted = [np.log(p[2 + t, answer[i, t]]) for t in range(length)]
        np.testing.assert_allclose(found[i], [*wanted, *[0] * (4 - length)], rtol=1e-4)

    many = jnp.repeat(PROMPT[:1], 4000, axis=0)
    drawn = models.sample_answers(jax.random.key(1), NETWORK, variables, many, steps=2, end=END)
    drawn = np.asarray(drawn)
    first = np.bincount(drawn[:, 0], minlength=7) / 4000
    logits = np.asarray(NETWORK.apply(variables, PROMPT[:1])[0, -1], np.float64)
    np.testing.assert_allclose(first, np.exp(logits) / np.exp(logits).sum(), atol=0.04)
    assert (drawn[drawn[:, 0] == END, 1] == 0).all()
    assert (drawn[drawn[:, 0] != END, 1] != 0).any()
