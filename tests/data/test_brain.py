"""The template of the brain, where nilearn is installed."""

import numpy as np
import pytest

from jssl import data

pytest.importorskip('nilearn')


def test_slices_show_tissue_and_are_in_one_split():
    found = {split: data.load('mni152', split) for split in ('train', 'validation', 'test')}
    assert {split: len(c['place']) for split, c in found.items()} == data.SETS['mni152'].sizes
    places = np.concatenate([columns['place'] for columns in found.values()])
    assert len(places) == len(set(places))
    for columns in found.values():
        image, mask = columns['image'][..., 0], columns['mask']
        assert set(np.unique(mask)) == {0, 1, 2}
        assert image[mask == 2].mean() > image[mask == 1].mean() > image[mask == 0].mean()
