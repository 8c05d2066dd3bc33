"""Alignment and uniformity."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import alignment, uniformity
from jssl.evaluate import uniformity as public

Z = np.random.default_rng(0).normal(size=(2, 12, 5))


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


@pytest.mark.parametrize('alpha', [1, 2, 3.5])
def test_alignment_against_a_loop(alpha):
    expected = np.mean(
        [np.linalg.norm(a - b) ** alpha for a, b in zip(unit(Z[0]), unit(Z[1]), strict=True)]
    )
    np.testing.assert_allclose(alignment(*jnp.float32(Z), alpha=alpha), expected, rtol=1e-5)


@pytest.mark.parametrize('t', [0.5, 2, 100])
def test_uniformity_against_a_loop(t):
    pairs = itertools.combinations(unit(Z[0]), 2)
    expected = np.log(np.mean([np.exp(-t * np.sum((a - b) ** 2)) for a, b in pairs]))
    np.testing.assert_allclose(uniformity(jnp.float32(Z[0]), t=t), expected, rtol=1e-4)


def test_blocks_of_rows_give_the_same(monkeypatch):
    whole = uniformity(jnp.float32(Z[0]))
    module = __import__(public.__module__, fromlist=['_ENTRIES'])
    monkeypatch.setattr(module, '_ENTRIES', 5 * 12)  # three blocks of at most five rows
    compiled_anew = uniformity.__wrapped__
    np.testing.assert_allclose(compiled_anew(jnp.float32(Z[0])), whole, rtol=1e-6)


def test_length_rotation_and_order_do_not_matter():
    random = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(random.normal(size=(5, 5)))
    lengths, order = random.uniform(0.1, 9, (2, 12, 1)), random.permutation(12)
    z1, z2 = jnp.float32((Z * lengths)[:, order] @ rotation)
    np.testing.assert_allclose(alignment(z1, z2), alignment(*jnp.float32(Z)), rtol=1e-5)
    np.testing.assert_allclose(uniformity(z1), uniformity(jnp.float32(Z[0])), rtol=1e-5)


def test_limits():
    one = jnp.ones((6, 3))
    assert alignment(one, 2 * one) == pytest.approx(0, abs=1e-6)
    assert alignment(one, -one) == pytest.approx(4)
    assert uniformity(one) == pytest.approx(0, abs=1e-5)
    apart = jnp.array([[1.0, 0], [-1, 0]])
    assert uniformity(apart) == pytest.approx(-8)
    with pytest.raises(ValueError, match='two rows'):
        uniformity(one[:1])


@pytest.mark.parametrize('alpha', [1, 2])
def test_gradients_of_collapsed_rows_are_finite(alpha):
    z = np.stack([np.zeros((4, 3)), np.ones((4, 3)), 1e18 * np.ones((4, 3))]).astype(np.float32)
    loss = lambda z: alignment(z, z[::-1], alpha=alpha) + uniformity(z)
    assert np.isfinite(jax.jit(jax.vmap(jax.grad(loss)))(z)).all()
