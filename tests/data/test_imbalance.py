"""Long tails: their counts, and examples that are nested."""

import numpy as np
import pytest

from jssl.data import imbalance

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 500))


def test_counts_follow_their_formulas():
    counts = imbalance.exponential(10, 5000, ratio=100)
    # CIFAR-10-LT's published counts, by truncation; ours are rounded.
    published = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert np.abs(counts - published).max() <= 1
    np.testing.assert_array_equal(imbalance.step(4, 100, ratio=10), [100, 100, 10, 10])
    np.testing.assert_array_equal(imbalance.step(5, 100, ratio=50, rare=0.2), [100] * 4 + [2])
    np.testing.assert_array_equal(imbalance.zipf(4, 120), [120, 60, 40, 30])
    np.testing.assert_array_equal(imbalance.zipf(3, 7, power=0), [7, 7, 7])
    np.testing.assert_array_equal(imbalance.exponential(1, 9), [9])
    assert imbalance.exponential(10, 20, ratio=1000).min() == 1


@pytest.mark.parametrize('seed', [0, 1])
def test_choice_has_the_counts_and_is_nested(seed):
    smaller = set()
    for ratio in (100, 10, 1):
        counts = imbalance.exponential(10, 500, ratio=ratio)
        rows = imbalance.choose(LABELS, counts, seed=seed)
        np.testing.assert_array_equal(np.bincount(LABELS[rows]), counts)
        assert (np.diff(rows) > 0).all()
        assert smaller <= set(rows)
        smaller = set(rows)


def test_seeds_differ_and_orders_may_be_permuted():
    counts = imbalance.step(10, 50)
    one, two = (imbalance.choose(LABELS, counts, seed=s) for s in (0, 1))
    assert not np.array_equal(one, two)
    turned = imbalance.choose(LABELS, counts[::-1], seed=0)
    np.testing.assert_array_equal(np.bincount(LABELS[turned]), counts[::-1])
    with pytest.raises(ValueError, match='class 0, which has 500'):
        imbalance.choose(LABELS, [501], seed=0)
