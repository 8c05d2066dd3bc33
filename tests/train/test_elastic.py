"""The Fisher information of a logistic regression, known in closed form, and the penalty."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl.train import elastic


def test_fisher_of_a_logistic_regression():
    """The gradient of an example is (p - y) x."""
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(6, 3)), rng.integers(0, 2, 6), rng.normal(size=3)

    def logits(params, x):
        z = x @ params['w'] + params['b']
        return jnp.stack([jnp.zeros_like(z), z], axis=1)

    params = {'w': jnp.asarray(w, jnp.float32), 'b': jnp.float32(0.3)}
    fisher = jax.jit(lambda p, x, y: elastic.fisher_diagonal(logits, p, x, y))
    found = fisher(params, jnp.asarray(x, jnp.float32), jnp.asarray(y))
    error = 1 / (1 + np.exp(-(x @ w + 0.3))) - y
    np.testing.assert_allclose(found['w'], ((error[:, None] * x) ** 2).mean(0), rtol=1e-4)
    np.testing.assert_allclose(found['b'], (error**2).mean(), rtol=1e-4)


def test_elastic_penalty_and_its_gradient():
    w, a, f = {'w': jnp.array([1.0, 2.0])}, {'w': jnp.array([0.0, 4.0])}, {'w': jnp.array([3.0, 0])}
    assert float(elastic.elastic_penalty(w, a, f)) == 1.5
    np.testing.assert_array_equal(jax.grad(elastic.elastic_penalty)(w, a, f)['w'], [3.0, 0.0])
