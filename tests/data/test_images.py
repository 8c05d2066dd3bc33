"""Tiles of packaged pictures: exact windows, no pixel in two splits, truth that fits the views."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from jssl import data
from jssl.data import photos
from jssl.data.packaged import images
from jssl.errors import Refusal

SPLITS = ('train', 'validation', 'test')
SIDES = {'textures': 32, 'retina': 32, 'histology': 32, 'stereo': 48}


@pytest.mark.parametrize('name', SIDES)
def test_no_pixel_is_in_two_splits(name):
    side = SIDES[name]
    seen = np.zeros((3, len(images.TEXTURES), 1500, 1500), bool)
    for k, split in enumerate(SPLITS):
        columns = data.load(name, split)
        assert len(columns['image']) == data.SETS[name].sizes[split]
        assert columns['image'].shape[1:3] == (side, side)
        pictures = columns.get('label', np.zeros(len(columns['image']), int))
        for picture, (row, column) in zip(pictures, columns['corner'], strict=True):
            # A point of the stereo pair lies in one row of both views, anywhere along it.
            across = slice(None) if name == 'stereo' else slice(column, column + side)
            seen[k, picture, row : row + side, across] = True
    assert seen.any((1, 2, 3)).all()
    assert seen.sum(0).max() == 1


@pytest.mark.parametrize('name', SIDES)
def test_tiles_depend_on_seed_split_and_index_alone(name):
    few, many = (data.load(name, 'train', count=n) for n in (10, 30))
    for column in many:
        np.testing.assert_array_equal(few[column], many[column][:10])
    assert (data.load(name, 'train', count=30, seed=1)['corner'] != many['corner']).any()
    assert len({tile.tobytes() for tile in many['image']}) > 25


def test_textures_are_windows_of_their_pictures():
    columns = data.load('textures', 'test', count=60, size=20)
    pictures = list(images.TEXTURES.values())
    np.testing.assert_array_equal(np.bincount(columns['label']), [10] * 6)
    for tile, label, (row, column) in zip(*columns.values(), strict=True):
        whole = photos.photographs([pictures[label]])[pictures[label]].astype(float)
        whole = whole @ [0.2125, 0.7154, 0.0721] if whole.ndim == 3 else whole
        window = whole[row : row + 20, column : column + 20]
        assert np.abs(tile[..., 0] - window).max() <= 0.51


def test_textures_are_told_by_their_spectra_and_not_by_their_pixels():
    def columns(split):
        found = data.load('textures', split, count=600)
        pixels = found['image'][..., 0] / 255.0
        pixels -= pixels.mean((1, 2), keepdims=True)
        pixels /= pixels.std((1, 2), keepdims=True) + 0.02
        return pixels, np.log(np.abs(np.fft.rfft2(pixels)) + 0.1), found['label']

    train, test = columns('train'), columns('test')
    raw, spectrum = (
        RidgeClassifier(alpha=1000.0)
        .fit(train[k].reshape(600, -1), train[2])
        .score(test[k].reshape(600, -1), test[2])
        for k in (0, 1)
    )
    assert spectrum > 0.8
    assert raw < spectrum - 0.2


def test_disparity_finds_the_match_in_the_other_view():
    columns = data.load('stereo', 'test', count=40)
    size = columns['image'].shape[1]
    errors, shuffled = [], []
    for i in range(40):
        mask = columns['mask'][i]
        rows, places = np.nonzero(mask)
        match = (places - columns['disparity'][i][mask]).round().astype(int)
        assert ((match >= 0) & (match < size)).all()
        left = columns['image'][i][mask].astype(float)
        errors.append(np.abs(left - columns['right'][i][rows, match]).mean())
        shuffled.append(np.abs(left - columns['right'][i][rows, match[::-1]]).mean())
    assert columns['mask'].mean() > 0.7
    assert np.median(errors) < 8
    assert np.median(errors) < 0.4 * np.median(shuffled)


def test_stains_are_the_colours_that_tissue_has():
    columns = data.load('histology', 'train', count=100)
    image, stain = columns['image'] / 255.0, columns['stain']
    assert stain.min() >= 0
    brown, blue = stain[..., 1] > 0.4, (stain[..., 0] > 0.3) & (stain[..., 1] < 0.1)
    assert (image[brown][:, 0] > image[brown][:, 2]).mean() > 0.99
    assert (image[blue][:, 2] > image[blue][:, 0]).mean() > 0.9


def test_the_retina_is_not_its_dark_surround():
    columns = data.load('retina', 'train', count=300)
    assert columns['image'].mean((1, 2, 3)).min() > 5
    assert columns['image'][..., 0].mean() > 1.5 * columns['image'][..., 2].mean()


def test_too_large_tiles_are_refused():
    for name, size in (('textures', 65), ('stereo', 51), ('retina', 0)):
        with pytest.raises(Refusal, match=f'size {size} of {name}'):
            data.load(name, 'train', size=size)
    with pytest.raises(Refusal, match='train, validation, test'):
        images.retina('dev')
