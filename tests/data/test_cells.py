"""Cells and tiles from above: bands stay apart, masks are whole, kinds can be told."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from jssl.data import vendored
from jssl.data.packaged import cells, sentinel
from jssl.data.readers import SPLITS
from jssl.errors import Refusal


@pytest.mark.parametrize('load', [cells.nuclei, sentinel.sentinel])
@pytest.mark.parametrize('size', [30, 24])
def test_no_pixel_is_in_two_splits(load, size):
    seen = np.zeros((512, 512), int)
    for number, split in enumerate(SPLITS, 1):
        columns = load(split, size=size, hop=size // 2)
        assert columns['image'].shape[1:3] == (size, size)
        for row, column in columns['corner']:
            place = seen[row : row + size, column : column + size]
            assert set(np.unique(place)) <= {0, number}
            place[:] = number
    with pytest.raises(Refusal, match='no split'):
        load('all')
    with pytest.raises(ValueError, match='size'):
        load('test', size=100)


def test_a_mask_numbers_its_nuclei_and_they_are_bright():
    for split, count in zip(SPLITS, (40, 8, 8), strict=True):
        columns = cells.nuclei(split)
        assert len(columns['image']) == count
        assert columns['image'].dtype == np.uint8
        assert columns['mask'].dtype == np.int32
        for image, mask, nuclei in zip(
            *(columns[k] for k in ('image', 'mask', 'count')), strict=True
        ):
            assert np.unique(mask).tolist() in (list(range(nuclei + 1)), list(range(1, nuclei + 1)))
            assert image[mask > 0].mean() > 1.5 * image[mask == 0].mean()
    assert len(np.unique(vendored.arrays('nuclei')['mask'])) == 126


def test_tiles_are_cut_from_the_picture():
    whole = vendored.arrays('nuclei')
    columns = cells.nuclei('test', size=32)
    for image, mask, (row, column) in zip(
        *(columns[k] for k in ('image', 'mask', 'corner')), strict=True
    ):
        place = np.s_[row : row + 32, column : column + 32]
        np.testing.assert_array_equal(image[..., 0], whole['image'][place])
        np.testing.assert_array_equal(mask > 0, whole['mask'][place] > 0)


def test_blood_cells_are_told_by_their_genes():
    train, test = cells.blood_cells('train'), cells.blood_cells('test')
    rows = np.concatenate([cells.blood_cells(split)['feature'] for split in SPLITS])
    assert rows.shape == (700, 765)
    assert rows.dtype == np.float32
    assert len(np.unique(rows, axis=0)) == 700
    assert rows.min() == 0
    model = RidgeClassifier(10).fit(train['feature'], train['label'])
    assert 0.7 < model.score(test['feature'], test['label']) < 0.98
    kinds = vendored.lines(vendored.arrays('blood_cells')['kind'])
    assert kinds.tolist() == list(cells.KINDS)
    # CD79A is a gene of B cells, NKG7 of killer cells.
    names = cells.genes().tolist()
    for gene, kind in (('CD79A', 'CD19+ B'), ('NKG7', 'CD56+ NK')):
        means = [
            train['feature'][train['label'] == k, names.index(gene)].mean()
            for k in range(len(cells.KINDS))
        ]
        assert np.argmax(means) == cells.KINDS.index(kind)


def test_a_scene_is_reflectance_in_four_bands():
    for split, count in zip(SPLITS, (70, 10, 20), strict=True):
        image = sentinel.sentinel(split)['image']
        assert image.shape == (count, 30, 30, len(sentinel.BANDS))
        assert image.dtype == np.float32
        assert 0.01 < image.min() < image.max() < 0.5


def test_spectra_of_vegetation_rise_in_the_near_infrared():
    parts = [sentinel.spectra(split) for split in SPLITS]
    feature = np.concatenate([part['feature'] for part in parts])
    label = np.concatenate([part['label'] for part in parts])
    assert feature.shape == (120, 7)
    assert len(np.unique(feature, axis=0)) == 120
    assert np.bincount(label).tolist() == [37, 46, 37]
    vegetation = (feature[:, 4] - feature[:, 3]) / (feature[:, 4] + feature[:, 3])
    assert vegetation[label == 1].min() > vegetation[label == 2].max()
    kelvin = np.concatenate([part['temperature'] for part in parts])
    assert 280 < kelvin.min() < kelvin.max() < 300
