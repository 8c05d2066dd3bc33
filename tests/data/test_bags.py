"""Bags: disjoint, of one size, with the responses that their members give."""

import numpy as np
import pytest

from jssl.data import bags

LABELS = np.random.default_rng(0).integers(0, 4, 603)


def disjoint(rows, count):
    assert len(set(rows.ravel())) == rows.size
    assert 0 <= rows.min() <= rows.max() < count


def test_members_are_random_and_disjoint():
    rows = bags.members(603, 10, seed=0)
    assert rows.shape == (60, 10)
    disjoint(rows, 603)
    assert np.array_equal(rows, bags.members(603, 10, seed=0))
    assert not np.array_equal(rows, bags.members(603, 10, seed=1))
    assert abs(rows.mean(1).std() - 603 / 12**0.5 / 10**0.5) < 20
    np.testing.assert_array_equal(np.sort(bags.members(5, 1, seed=0)[:, 0]), np.arange(5))
    with pytest.raises(ValueError, match='size'):
        bags.members(5, 6, seed=0)


def test_the_instance_loss_is_the_bag_loss_and_the_spread_within():
    # The identity of the aggregate-response paper, on our bags.
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((600, 7)), rng.standard_normal(7)
    y = x @ rng.standard_normal(7) + rng.standard_normal(600)
    rows = bags.members(600, 5, seed=0)
    bag, response = x[rows].mean(1), y[rows].mean(1)
    bag_loss = np.square(response - bag @ t).mean()
    spread = np.square((x[rows] - bag[:, None]) @ t).mean()
    instance_loss = np.square(response[:, None] - x[rows] @ t).mean()
    np.testing.assert_allclose(instance_loss, bag_loss + spread, rtol=1e-9)


def test_proportions():
    rows = bags.members(603, 9, seed=0)
    p = bags.proportions(LABELS[rows], classes=4)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)
    for share, row in zip(p, rows, strict=True):
        np.testing.assert_allclose(share, [np.mean(LABELS[row] == k) for k in range(4)], rtol=1e-6)


def test_alpha_governs_how_much_bags_differ():
    spread = []
    for alpha in (0.1, 1, 100):
        rows = bags.mixed(LABELS, 9, alpha=alpha, classes=4, seed=0)
        assert rows.shape == (67, 9)
        disjoint(rows, 603)
        spread.append(bags.proportions(LABELS[rows], classes=4).std(0).mean())
    assert spread == sorted(spread, reverse=True)
    assert spread[0] > 1.5 * spread[-1]


def test_witnesses():
    positive = LABELS == 3
    rows = bags.witnesses(positive, 41, 8, witness=2, seed=0)
    assert rows.shape == (41, 8)
    disjoint(rows, 603)
    np.testing.assert_array_equal(positive[rows].sum(1), [2] * 21 + [0] * 20)
    assert len(set(np.argmax(positive[rows[:21]], axis=1))) > 3, 'witnesses stand anywhere'
    with pytest.raises(ValueError, match='positive'):
        bags.witnesses(positive, 300, 2, witness=2, seed=0)
