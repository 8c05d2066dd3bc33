import socket

import numpy as np
import pytest

from jssl.data import photos
from jssl.errors import Refusal


def test_photographs_are_read_as_bytes():
    found = photos.photographs()
    assert tuple(found) == photos.NAMES
    for name, image in found.items():
        assert image.dtype == np.uint8, name
        assert min(image.shape[:2]) >= 300, name
        assert image.shape[2:] in ((), (3,)), name
        assert image.std() > 10, name
        assert not image.flags.writeable, name
    assert found['astronaut'].shape == (512, 512, 3)
    assert found['brick'].shape == (512, 512)


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('a socket was opened')

    monkeypatch.setattr(socket, 'socket', refuse)
    photos._read.cache_clear()
    assert len(photos.photographs()) == len(photos.NAMES)


def test_splits_share_no_photograph():
    named = [name for names in photos.SPLITS.values() for name in names]
    assert sorted(named) == sorted(photos.NAMES)


@pytest.mark.parametrize('split', photos.SPLITS)
def test_crops_name_photographs_of_their_split(split):
    images, ids = photos.crops(split, 200, 16)
    assert images.shape == (200, 16, 16, 3)
    assert images.dtype == np.uint8
    assert {photos.NAMES[i] for i in ids} == set(photos.SPLITS[split])


def test_a_patch_depends_on_its_index_and_not_on_the_count():
    few, many = photos.patches('train', 5, 12), photos.patches('train', 300, 12)
    np.testing.assert_array_equal(few, many[:5])
    assert not np.array_equal(few, photos.patches('train', 5, 12, seed=1))
    assert not np.array_equal(few, photos.patches('test', 5, 12))


def test_patches_vary():
    images = photos.patches('train', 300, 16)
    assert len({image.tobytes() for image in images}) > 290
    assert images.reshape(300, -1).std(1).mean() > 10


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_patch_is_a_window_of_its_photograph(split):
    """Looks for every patch in the photograph, averaged over blocks of 1, 2, 4, ... pixels."""
    side = 10
    for image, source in zip(*photos.crops(split, 6, side), strict=True):
        whole = photos.photographs()[photos.NAMES[source]].astype(float)
        whole = np.dstack([whole] * 3) if whole.ndim == 2 else whole
        assert min(_least_difference(whole, image, 2**zoom) for zoom in range(7)) < 2.5


def _least_difference(whole, patch, block):
    height, width = (side // block for side in whole.shape[:2])
    if min(height, width) < len(patch):
        return np.inf
    whole = whole[: height * block, : width * block]
    whole = whole.reshape(height, block, width, block, 3).mean((1, 3))
    windows = np.lib.stride_tricks.sliding_window_view(whole, patch.shape[:2], axis=(0, 1))
    middle = np.abs(windows[..., 5, 5] - patch[5, 5]).max(-1)
    likely = windows[middle < 2.5]
    apart = np.abs(likely - patch.transpose(2, 0, 1)).max((1, 2, 3))
    return apart.min() if len(apart) else np.inf


def test_wrong_requests_are_refused():
    with pytest.raises(Refusal, match='holdout'):
        photos.patches('holdout', 1, 8)
    with pytest.raises(Refusal, match='chelsea'):
        photos.patches('test', 1, 256)
    with pytest.raises(ValueError, match='count'):
        photos.patches('train', 0, 8)
