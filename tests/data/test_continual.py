"""Sequences of tasks: every example once, in the task where it belongs, as blurry as asked."""

import numpy as np
import pytest

from jssl.data import continual

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 60))


def whole(parts):
    rows = np.concatenate(parts)
    assert len(rows) == len(LABELS)
    assert set(rows) == set(range(len(LABELS)))


def test_classes_are_divided():
    plain = continual.groups(10, 5)
    np.testing.assert_array_equal(plain, np.arange(10).reshape(5, 2))
    drawn = continual.groups(10, 3, seed=1)
    assert [len(group) for group in drawn] == [4, 3, 3]
    assert set(np.concatenate(drawn)) == set(range(10))
    assert not np.array_equal(np.concatenate(drawn), np.arange(10))
    with pytest.raises(ValueError, match='divided'):
        continual.groups(3, 4)


def test_tasks_hold_their_classes():
    groups = continual.groups(10, 5, seed=0)
    tasks = continual.tasks(LABELS, groups)
    whole(tasks)
    for group, rows in zip(groups, tasks, strict=True):
        assert set(LABELS[rows]) == set(group)


@pytest.mark.parametrize('share', [0.0, 0.1, 0.8])
def test_blurry_tasks(share):
    groups = continual.groups(10, 5)
    tasks = continual.blurry(continual.tasks(LABELS, groups), share, seed=0)
    whole(tasks)
    for group, rows in zip(groups, tasks, strict=True):
        own = np.isin(LABELS[rows], group)
        np.testing.assert_allclose(own.mean(), 1 - share, atol=1e-9)
        if share:
            others = LABELS[rows][~own] // 2
            assert set(others) == set(range(5)) - {group[0] // 2}


def test_streams_change_as_sharply_as_asked():
    groups = continual.groups(10, 5)
    tasks = continual.tasks(LABELS, groups)
    when = {}
    for width in (0.0, 0.2, 50.0):
        rows = continual.stream(tasks, width=width, seed=0)
        whole([rows])
        when[width] = LABELS[rows] // 2
    assert (np.diff(when[0.0]) >= 0).all()
    early = {width: (task[:120] == 0).mean() for width, task in when.items()}
    assert early[0.0] == 1
    assert 0.7 < early[0.2] < 1
    assert early[50.0] < 0.35
    # Within a task the order is drawn: its classes are mixed.
    first = LABELS[continual.stream(tasks, seed=0)][:120]
    assert (np.diff(first) != 0).sum() > 30


def test_permuted_pixels():
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), dtype=np.uint8)
    np.testing.assert_array_equal(continual.permuted(x, 0, seed=0), x)
    one, two = (continual.permuted(x, task, seed=0) for task in (1, 2))
    assert not np.array_equal(one, two)
    places = np.arange(20).repeat(2).reshape(1, 4, 5, 2)
    order = continual.permuted(places, 1, seed=0).reshape(20, 2)
    assert (order[:, 0] == order[:, 1]).all()
    np.testing.assert_array_equal(one.reshape(3, 20, 2), x.reshape(3, 20, 2)[:, order[:, 0]])


def test_rotated_images():
    x = np.random.default_rng(0).random((2, 9, 9, 1))
    np.testing.assert_array_equal(continual.rotated(x, 90), np.rot90(x, axes=(1, 2)))
    np.testing.assert_array_equal(continual.rotated(x, 0), x)
    np.testing.assert_allclose(continual.rotated(x, 89.999), continual.rotated(x, 90), atol=1e-2)
    byte = (x * 255).astype(np.uint8)
    turned = continual.rotated(byte, 30)
    assert turned.dtype == np.uint8
    assert turned.shape == byte.shape
