"""Splits: refusals that name the argument, statistics of the training set, held-out rows."""

import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import check_split, hold_out, standardised
from jssl.evaluate.split import share_right

H, Y = np.zeros((4, 3), np.float32), np.array([0, 2, 1, 0])


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'train_h': H[0]}, 'train_h'),
        ({'test_h': H[:0]}, 'test_h'),
        ({'train_h': H + np.nan}, 'train_h'),
        ({'test_h': H - np.inf}, 'test_h'),
        ({'test_h': H[:, :2]}, 'test_h'),
        ({'train_y': Y[:2]}, 'train_y'),
        ({'test_y': Y[:, None]}, 'test_y'),
        ({'test_y': Y.astype(float)}, 'test_y'),
        ({'train_y': Y - 1}, 'train_y'),
        ({'test_y': Y + 1, 'classes': 3}, 'test_y'),
    ],
)
def test_what_does_not_fit_is_named(change, named):
    with pytest.raises(ValueError, match=named):
        check_split(**{'train_h': H, 'train_y': Y, 'test_h': H, 'test_y': Y, **change})


def test_number_of_classes():
    assert check_split(H, Y, H, Y) == 3
    assert check_split(H, Y, H, Y + 3) == 6
    assert check_split(H, jnp.asarray(Y), jnp.asarray(H), Y, classes=10) == 10


def test_standardised_by_the_first_argument():
    random = np.random.default_rng(0)
    train, test = random.normal(3, 5, (50, 4)), random.normal(-1, 0.1, (7, 4))
    got = standardised(jnp.float32(train), jnp.float32(test))
    mean, std = train.mean(0), train.std(0)
    np.testing.assert_allclose(got[0], (train - mean) / std, atol=1e-5)
    np.testing.assert_allclose(got[1], (test - mean) / std, atol=1e-5)


@pytest.mark.parametrize('constant', [0.0, 0.1, -1234.567, 1e30])
def test_constant_features_stay_small(constant):
    train = jnp.full((1001, 1), constant, jnp.float32)
    a, b = standardised(train, train + 1)
    assert float(jnp.abs(a).max()) <= 1e-6 * abs(constant)
    np.testing.assert_allclose(b, (train + 1) - train, atol=1e-3)


def test_small_variation_on_a_large_mean_is_kept():
    h = jnp.float32(np.random.default_rng(0).normal(100, 0.01, (500, 2)))
    np.testing.assert_allclose(standardised(h)[0].std(0), 1, atol=1e-3)


def test_bytes_and_bfloat16_are_widened():
    for h in (jnp.arange(6, dtype=jnp.uint8)[:, None], jnp.ones((4, 2), jnp.bfloat16)):
        assert standardised(h)[0].dtype == jnp.float32


# The second and third would leave out whole classes if every fifth row were taken.
@pytest.mark.parametrize(
    'y', [np.repeat(np.arange(5), 20), np.arange(100) % 5, np.arange(100) % 10]
)
def test_held_out_rows_are_stratified(y):
    fit, held = hold_out(y)
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, held])), np.arange(100))
    np.testing.assert_array_equal(np.bincount(y[held]), np.bincount(y) // 5)
    np.testing.assert_array_equal(hold_out(y)[1], held)


def test_nothing_to_hold_out_is_refused():
    with pytest.raises(ValueError, match='fraction'):
        hold_out(np.zeros(2, int))


def test_share_right_is_a_ratio_of_whole_numbers():
    assert share_right(jnp.eye(3), np.array([0, 1, 1])) == 2 / 3
