"""Gaussian discriminants against Bayes' rule written out; fewer rows than dimensions."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import algorithms

RNG = np.random.default_rng(0)


def shrunk(centred):
    """Kubokawa and Srivastava's precision, row by row."""
    count, width = centred.shape
    s = sum(np.outer(x, x) for x in centred.astype(float)) / (count - 1)
    return width * np.linalg.inv((count - 1) * s + np.trace(s) * np.eye(width))


def test_scores_are_log_posteriors_up_to_a_constant():
    x, y = RNG.normal(size=(12, 5)).astype('f'), np.tile([0, 1, 2], 4)
    prior = np.array([0.5, 0.2, 0.3])
    fit = jax.jit(
        lambda x, y: algorithms.gaussian_discriminant(
            x, y, classes=3, log_prior=jnp.log(prior.astype('f'))
        )
    )
    weights, bias = fit(x, y)
    means = np.stack([x[y == k].astype(float).mean(0) for k in range(3)])
    p = shrunk(x - means[y])
    np.testing.assert_allclose(algorithms.shrunk_precision(x - means[y].astype('f')), p, rtol=1e-4)
    for h in RNG.normal(size=(6, 5)):
        log = [np.log(prior[k]) - (h - means[k]) @ p @ (h - means[k]) / 2 for k in range(3)]
        scores = h @ np.asarray(weights, float) + np.asarray(bias, float)
        np.testing.assert_allclose(scores - scores[0], np.array(log) - log[0], atol=1e-4)
    again = algorithms.linear_discriminant(
        means.astype('f'), p.astype('f'), log_prior=np.log(prior)
    )
    np.testing.assert_allclose(again.weights, weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.bias, bias, rtol=1e-4, atol=1e-5)


def test_fewer_rows_than_dimensions():
    y = np.array([0, 0, 1, 1])
    x = (RNG.normal(size=(4, 30)) + 3 * y[:, None]).astype('f')
    weights, bias = algorithms.gaussian_discriminant(x, y, classes=2)
    assert np.isfinite(weights).all()
    assert ((x @ weights + bias).argmax(1) == y).all()


def test_a_round_covariance_gives_the_nearest_mean():
    x = RNG.normal(size=(3, 4)).astype('f')
    p = algorithms.shrunk_precision(np.eye(4, dtype='f'))
    np.testing.assert_allclose(p, np.eye(4) * p[0, 0], atol=1e-6)
    weights, bias = algorithms.linear_discriminant(x, p)
    h = RNG.normal(size=(50, 4)).astype('f')
    near = ((h[:, None] - x[None]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal((h @ weights + bias).argmax(1), near)


def test_rows_that_are_there_twice_and_count_half():
    x, y = RNG.normal(size=(8, 5)).astype('f'), np.tile([0, 1], 4)
    once = algorithms.gaussian_discriminant(x, y, classes=2)
    twice = algorithms.gaussian_discriminant(
        np.tile(x, (2, 1)), np.tile(y, 2), classes=2, weight=0.5
    )
    for a, b in zip(twice, once, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(once.logits(x), x @ once.weights + once.bias, rtol=1e-5, atol=1e-5)
