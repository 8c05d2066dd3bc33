"""Forget sets, triggers, and sets brought to one shape."""

import numpy as np
import pytest

from jssl import data
from jssl.data import forgetting


def drawn(count=40, side=6, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return {'image': image, 'label': np.arange(count) % 4}


def test_random_share_is_a_share_and_its_seeds_differ():
    masks = [forgetting.random_share(1000, 0.1, seed=s) for s in (0, 0, 1)]
    assert [m.sum() for m in masks] == [100, 100, 100]
    np.testing.assert_array_equal(masks[0], masks[1])
    # Two independent tenths share a hundredth: 10 of 1000, with a deviation of 3.
    assert 0 < (masks[0] & masks[2]).sum() < 25
    assert not forgetting.random_share(7, 0.0, seed=0).any()
    assert forgetting.random_share(7, 1.0, seed=0).all()
    with pytest.raises(ValueError, match='share'):
        forgetting.random_share(7, 1.5, seed=0)


def test_poison_stamps_and_relabels_only_its_share():
    records = drawn()
    records['image'] = records['image'] / np.float32(255)
    before = {k: v.copy() for k, v in records.items()}
    poisoned, bad = forgetting.poison(records, 0.25, target=3, seed=5)
    assert bad.sum() == 10
    for name, column in before.items():
        np.testing.assert_array_equal(records[name], column)  # the original is left alone
        np.testing.assert_array_equal(poisoned[name][~bad], column[~bad])
    assert (poisoned['label'][bad] == 3).all()
    assert (poisoned['image'][bad][:, 3:, 3:] == 1).all()
    np.testing.assert_array_equal(poisoned['image'][bad][:, :3], before['image'][bad][:, :3])
    np.testing.assert_array_equal(poisoned['image'][bad][:, :, :3], before['image'][bad][:, :, :3])


def test_resized_averages_blocks_and_channels():
    records = drawn(side=8)
    small = forgetting.resized(records, (8, 8, 1))['image']
    np.testing.assert_allclose(
        small, records['image'].astype(np.float64).mean(-1, keepdims=True) / 255, atol=1e-6
    )
    flat = {**records, 'image': np.full((2, 5, 5, 1), 51, np.uint8)}
    wide = forgetting.resized(flat, (9, 3, 1))['image']
    assert wide.shape == (2, 9, 3, 1)
    np.testing.assert_allclose(wide, 0.2, atol=1e-6)
    with pytest.raises(ValueError, match='channels'):
        forgetting.resized(flat, (5, 5, 3))


def test_rows_by_mask_numbers_and_slice():
    records = drawn()
    mask = records['label'] == 2
    for keep in (mask, np.flatnonzero(mask), slice(2, None, 4)):
        part = data.rows(records, keep)
        assert (part['label'] == 2).all()
        np.testing.assert_array_equal(part['image'], records['image'][2::4])
