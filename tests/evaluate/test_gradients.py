"""Noise of gradients that are known: those of a linear model."""

import jax.numpy as jnp
import numpy as np

from jssl import evaluate


def test_the_variance_is_that_of_the_gradients_one_by_one():
    random = np.random.default_rng(0)
    x, w = random.normal(size=(5, 4, 3)), random.normal(size=3)
    objective = lambda params, batch: jnp.square(batch @ params['w'] + params['b']).mean()
    params = {'w': w.astype(np.float32), 'b': np.float32(0.5)}
    found = evaluate.gradient_variance(objective, params, x.astype(np.float32))
    rows = []
    for batch in x:
        error = batch @ w + 0.5
        rows.append([*(2 * error[:, None] * batch).mean(0), 2 * error.mean()])
    np.testing.assert_allclose(found, np.var(rows, axis=0, ddof=1).sum(), rtol=1e-5)
