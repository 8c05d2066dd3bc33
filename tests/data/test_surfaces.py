"""Surfaces: a defect changes what its mask says and nothing else; knobs move what they name."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jssl.data.generated import draw, surfaces
from jssl.errors import Refusal


def test_items_are_functions_of_seed_split_and_index():
    many, few = (surfaces.dataset('test', count=n, size=16) for n in (5, 3))
    lazy = surfaces.source('test', count=5, size=16)[2]
    for name in many:
        np.testing.assert_array_equal(many[name][:3], few[name])
        np.testing.assert_array_equal(many[name][2], lazy[name])
    for other in (
        surfaces.dataset('validation', count=3, size=16),
        surfaces.dataset('test', count=3, size=16, seed=1),
    ):
        assert (other['image'] != few['image']).mean() > 0.5


def test_training_is_sound_and_testing_half_defective():
    train, test = (surfaces.dataset(split, count=100, size=24) for split in ('train', 'test'))
    assert not train['label'].any()
    assert not train['mask'].any()
    np.testing.assert_array_equal(train['image'], train['clean'])
    assert 0.35 < test['label'].mean() < 0.65
    assert not test['mask'][test['label'] == 0].any()
    np.testing.assert_array_equal(test['defect'] > 0, test['label'])
    assert set(test['defect']) == set(range(6))
    assert set(test['texture']) == set(range(5))
    assert surfaces.dataset('train', count=20, size=16, rate=1.0)['label'].all()
    assert surfaces.source('train', count=20, size=16)[0]['label'] == 0


@pytest.mark.parametrize('defect', surfaces.DEFECTS)
def test_a_defect_changes_its_mask_and_nothing_else(defect):
    found = surfaces.dataset('test', count=30, defects=(defect,), rate=1.0, noise=0.0)
    changed = (found['image'] != found['clean']).any(-1)
    assert not changed[~found['mask']].any()
    # Clipped colours and a dent's middle may stay what they were.
    assert changed[found['mask']].mean() > 0.9
    assert (found['mask'].sum((1, 2)) > 3).mean() > 0.9
    assert (found['defect'] == 1 + surfaces.DEFECTS.index(defect)).all()


def test_radius_and_strength_move_size_and_contrast():
    masks, gaps = [], []
    for knobs in ({'radius': (0.08, 0.1)}, {'radius': (0.25, 0.3)}):
        found = surfaces.dataset('test', count=40, rate=1.0, **knobs)
        masks.append(found['mask'].mean((1, 2)))
    assert masks[1].mean() > 3 * masks[0].mean()
    for strength in ((0.2, 0.25), (0.9, 1.0)):
        knobs = {'defects': ('blotch', 'stain', 'scratch'), 'strength': strength, 'noise': 0.0}
        found = surfaces.dataset('test', count=40, rate=1.0, **knobs)
        gap = abs(found['image'].astype(int) - found['clean']).mean(-1)
        gaps.append(gap[found['mask']].mean())
    assert gaps[1] > 2.5 * gaps[0]


def test_textures_differ_in_structure_rather_than_colour():
    """Orientation and scale tell textures apart, mean colours do not."""
    found = surfaces.dataset('train', count=300, size=32)
    half, label = slice(0, 150), found['texture']
    grey = found['image'].mean(-1) / 255
    colour = found['image'].mean((1, 2)) / 255
    flat = (grey - grey.mean((1, 2), keepdims=True)).reshape(300, -1)
    bands = []
    for sigma in (0.5, 1.0, 2.0, 4.0):
        smooth = ndimage.gaussian_filter(grey, (0, sigma, sigma))
        for axis in (1, 2):
            slope = np.diff(smooth, axis=axis)
            bands += [np.log(slope.std((1, 2)) + 1e-3), (slope**4).mean((1, 2)) ** 0.25]
    bands = np.stack(bands, 1) / np.std(bands, 1)
    scores = [
        LogisticRegression(max_iter=150).fit(x[half], label[half]).score(x[150:], label[150:])
        for x in (colour, flat, bands)
    ]
    assert max(scores[:2]) < 0.5
    assert scores[2] > 0.7


def test_an_oracle_finds_defects_and_brightness_does_not():
    found = surfaces.dataset('test', count=150, size=32)
    gap = abs(found['image'].astype(int) - found['clean']).max((1, 2, 3))
    assert roc_auc_score(found['label'], gap) > 0.99
    grey = found['image'].mean(-1)
    for score in (grey.mean((1, 2)), -grey.min((1, 2)), grey.std((1, 2))):
        assert roc_auc_score(found['label'], score) < 0.75


def test_mistakes_are_named():
    for knobs, line in [({'textures': ('silk',)}, 'silk'), ({'defects': ('hole',)}, 'hole')]:
        with pytest.raises(Refusal, match=line):
            surfaces.sample(draw.generator(0, 'train', 0), **knobs)
