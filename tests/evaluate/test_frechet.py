"""The Frechet distance against a matrix square root in float64, and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from jssl.evaluate.frechet import frechet_distance

RNG = np.random.default_rng(0)


def draw(rows, width=5, rank=None):
    mixing = RNG.normal(size=(rank or width, width))
    return RNG.normal(size=(rows, rank or width)) @ mixing + RNG.normal(size=width)


def slow(h1, h2):
    means = [h.mean(0) for h in (h1, h2)]
    covariances = []
    for h, mean in zip((h1, h2), means, strict=True):
        total = sum(np.outer(row - mean, row - mean) for row in h)
        covariances.append(total / (len(h) - 1))
    a, b = covariances
    cross = linalg.sqrtm(a @ b + 1e-12 * np.eye(len(a))).real
    return ((means[0] - means[1]) ** 2).sum() + np.trace(a + b - 2 * cross)


@pytest.mark.parametrize(('rows', 'rank'), [((30, 40), None), ((30, 40), 2), ((4, 40), None)])
def test_matrix_square_root(rows, rank):
    h1, h2 = draw(rows[0], rank=rank), draw(rows[1])
    found = frechet_distance(jnp.float32(h1), jnp.float32(h2))
    np.testing.assert_allclose(found, slow(h1, h2), rtol=1e-3)


def test_laws():
    h1, h2 = jnp.float32(draw(50)), jnp.float32(draw(60))
    distance = float(frechet_distance(h1, h2))
    assert abs(float(frechet_distance(h1, h1))) < 1e-3 * distance
    np.testing.assert_allclose(frechet_distance(h2, h1), distance, rtol=1e-4)
    np.testing.assert_allclose(frechet_distance(h1[::-1], h2), distance, rtol=1e-4)
    rotation = jnp.float32(linalg.qr(RNG.normal(size=(5, 5)))[0])
    np.testing.assert_allclose(frechet_distance(h1 @ rotation, h2 @ rotation), distance, rtol=1e-3)
    np.testing.assert_allclose(frechet_distance(h1, h1 + 3), 9 * 5, rtol=1e-3)
    with pytest.raises(AssertionError):
        frechet_distance(h1, h2[:, :4])


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_constant_features(dtype):
    found = frechet_distance(jnp.ones((6, 3), dtype), jnp.zeros((4, 3), dtype))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, 3, rtol=1e-5)


def test_jit_and_vmap():
    h = jnp.float32(np.stack([draw(20) for _ in range(3)]))
    found = jax.vmap(frechet_distance, (0, None))(h, h[0] + 1)
    expected = [frechet_distance(row, h[0] + 1) for row in h]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
