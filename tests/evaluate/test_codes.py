"""Use of a codebook."""

import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import perplexity, utilisation


def test_against_a_loop():
    indices = np.random.default_rng(0).integers(0, 20, (5, 6))
    shares = [np.mean(indices == k) for k in range(32)]
    expected = np.exp(-sum(p * np.log(p) for p in shares if p > 0))
    np.testing.assert_allclose(perplexity(indices, 32), expected, rtol=1e-5)
    assert utilisation(indices, 32) == pytest.approx(len(set(indices.ravel())) / 32)


def test_limits():
    every, one = jnp.arange(16), jnp.full(16, 3)
    assert utilisation(every, 16) == 1
    assert perplexity(every, 16) == pytest.approx(16)
    assert utilisation(one, 16) == pytest.approx(1 / 16)
    assert perplexity(one, 16) == 1
    assert utilisation(every[:0], 16) == 0
    assert np.isfinite(perplexity(every[:0], 16))


def test_renaming_codes_changes_nothing():
    random = np.random.default_rng(0)
    indices, names = random.integers(0, 9, 50), random.permutation(9)
    assert perplexity(names[indices], 9) == pytest.approx(float(perplexity(indices, 9)))


def test_indices_outside_are_left_out():
    assert utilisation(jnp.array([-1, 4, 2]), 4) == 0.25
    assert perplexity(jnp.array([-1, 4, 2]), 4) == 1
