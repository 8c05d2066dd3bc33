"""Ranks of representations."""

import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import effective_rank, rankme, spectrum, stable_rank

RANKS = [rankme, effective_rank, stable_rank]


@pytest.fixture
def h():
    random = np.random.default_rng(0)
    return random.normal(size=(40, 6)) @ np.diag([5, 3, 1, 0.5, 0.1, 0.01]) + 2


def entropy_rank(values):
    shares = [v / sum(values) for v in values]
    return np.exp(-sum(p * np.log(p) for p in shares if p > 0))


def test_against_float64(h):
    singular = np.sqrt(np.linalg.eigvalsh(h.T @ h))
    np.testing.assert_allclose(rankme(jnp.float32(h)), entropy_rank(singular), rtol=1e-4)
    covariance = np.linalg.eigvalsh(np.cov(h.T, bias=True))[::-1]
    np.testing.assert_allclose(spectrum(jnp.float32(h)), covariance, rtol=1e-4)
    np.testing.assert_allclose(effective_rank(jnp.float32(h)), entropy_rank(covariance), rtol=1e-4)
    expected = np.sum(h**2) / max(singular) ** 2
    np.testing.assert_allclose(stable_rank(jnp.float32(h)), expected, rtol=1e-4)


@pytest.mark.parametrize('rank', RANKS)
@pytest.mark.parametrize('scale', [1e-15, 7.0, 1e15])
def test_scale_rotation_and_order_do_not_matter(h, rank, scale):
    random = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(random.normal(size=(6, 6)))
    expected = rank(jnp.float32(h))
    moved = jnp.float32(scale * random.permutation(h) @ rotation)
    np.testing.assert_allclose(rank(moved), expected, rtol=1e-4)


@pytest.mark.parametrize('rank', RANKS)
@pytest.mark.parametrize('r', [1, 3])
def test_equal_directions_are_counted(rank, r):
    signs = np.eye(8)[:, :r]
    h = jnp.float32(np.concatenate([signs, -signs]))  # mean zero
    np.testing.assert_allclose(rank(jnp.pad(h, ((0, 0), (0, 8 - r)))), r, rtol=1e-4)


def test_shift_changes_only_what_is_not_centred(h):
    h = jnp.float32(h)
    np.testing.assert_allclose(effective_rank(h + 100), effective_rank(h), rtol=1e-3)
    assert rankme(h + 100) < rankme(h) - 0.1
    assert stable_rank(h + 100) < stable_rank(h) - 0.1


def test_fewer_rows_than_dimensions():
    values = spectrum(jnp.float32(np.random.default_rng(0).normal(size=(3, 8))))
    assert values.shape == (8,)
    assert (values[:2] > 0.1).all()
    np.testing.assert_allclose(values[2:], 0, atol=1e-6)


def test_collapsed_representations():
    for h in (jnp.zeros((5, 4)), jnp.ones((5, 4))):
        np.testing.assert_allclose([rankme(h), effective_rank(h)], 1, rtol=1e-4)
    assert stable_rank(jnp.zeros((5, 4))) == 0
    np.testing.assert_allclose(stable_rank(jnp.ones((5, 4))), 1, rtol=1e-6)
