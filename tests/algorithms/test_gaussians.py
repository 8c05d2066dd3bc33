"""Gaussians of classes against NumPy, and the distances in their metrics."""

import jax
import numpy as np

from jssl import algorithms

RNG = np.random.default_rng(0)
H, LABELS = RNG.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3


def of_class(k):
    return H[k == LABELS]


def by_hand(shrinkage):
    for k in range(3):
        rows = of_class(k).astype(np.float64)
        scatter = np.cov(rows.T, bias=True)
        sphere = np.trace(scatter) / 4 * np.eye(4)
        yield rows.mean(0), np.linalg.inv((1 - shrinkage) * scatter + shrinkage * sphere)


def test_gaussians_and_distances():
    fit = jax.jit(algorithms.class_gaussians, static_argnames='classes')
    found = fit(H, LABELS, classes=3, shrinkage=0.3)
    distances = jax.jit(algorithms.mahalanobis)(H[:5], found)
    for k, (mean, precision) in enumerate(by_hand(0.3)):
        np.testing.assert_allclose(found.means[k], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.precisions[k], precision, rtol=1e-3, atol=1e-4)
        for i in range(5):
            apart = H[i] - mean
            np.testing.assert_allclose(distances[i, k], apart @ precision @ apart, rtol=1e-3)


def test_fully_shrunk_is_euclidean():
    found = algorithms.class_gaussians(H, LABELS, classes=3, shrinkage=1.0)
    for k in range(3):
        spread = of_class(k).var(0).mean()
        wanted = np.square(H[:5] - of_class(k).mean(0)).sum(1) / spread
        np.testing.assert_allclose(algorithms.mahalanobis(H[:5], found)[:, k], wanted, rtol=1e-3)
