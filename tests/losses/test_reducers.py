"""Reducers against plain sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.losses import reducers

LOSS = np.array([0.0, 1.0, 0.0, 4.0, 2.5], np.float32)


def test_rows_without_a_loss_do_not_count():
    np.testing.assert_allclose(reducers.mean_above_zero(LOSS), 7.5 / 3)
    np.testing.assert_allclose(
        reducers.mean_above_zero(LOSS[:, None] * np.float32([[1, 0]])), 7.5 / 3
    )
    np.testing.assert_array_equal(
        jax.grad(reducers.mean_above_zero)(jnp.asarray(LOSS)) * 3, LOSS > 0
    )
    assert reducers.mean_above_zero(jnp.zeros(4)) == 0


def test_bounds_are_excluded():
    np.testing.assert_allclose(reducers.mean_between(LOSS, low=1.0, high=4.0), 2.5)
    np.testing.assert_allclose(reducers.mean_between(LOSS), 1.5)
    assert reducers.mean_between(LOSS, low=9.0) == 0
    slope = jax.grad(lambda x: reducers.mean_between(x, high=-1.0))(jnp.asarray(LOSS))
    assert not slope.any()


def test_classes_weigh():
    labels, weights = np.array([0, 1, 1, 2, 0]), np.array([1.0, 2.0, 0.5], np.float32)
    found = reducers.class_weighted(LOSS, labels, weights)
    np.testing.assert_allclose(found, (2 * 1.0 + 0.5 * 4.0 + 2.5) / 5)
    with pytest.raises(ValueError, match='labels'):
        reducers.class_weighted(LOSS, labels[:3], weights)
