"""Events: reports add up to the change of light, and frames show the picture that moves."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import RidgeClassifier

from jssl.data import readers
from jssl.data.generated import events
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def clean():
    return events.dataset('train', count=12, noise=0.0, most=99)


def test_items_are_functions_of_seed_split_and_index():
    many, few = (events.dataset('test', count=n) for n in (4, 2))
    lazy = events.source('test', count=4)[3]
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
        np.testing.assert_array_equal(many[name][3], lazy[name])
    for other in (events.dataset('validation', count=2), events.dataset('test', count=2, seed=1)):
        assert (other['video'] != few['video']).mean() > 0.01


def test_reports_add_up_to_the_change_of_the_logarithm(clean):
    light = np.log(events.DARK + clean['frame'][..., 0] / 255)
    change = (clean['video'][..., 0] - clean['video'][..., 1]).cumsum(1)
    threshold = clean['threshold'][:, None]
    gap = change * threshold - (light[:, 1:] - light[:, :1])
    # What is not yet reported is less than one threshold; frames are rounded to bytes.
    assert (np.abs(gap) < threshold + 0.03).all()
    assert clean['video'].sum() > 1000
    np.testing.assert_allclose(clean['threshold'].mean(), 0.25, rtol=0.02)


def test_frames_are_the_picture_moved(clean):
    np.testing.assert_array_equal(clean['frame'][:, 0], clean['image'])
    np.testing.assert_array_equal(clean['frame'][:, -1], clean['image'])
    moved = events._moved(clean['image'][0, ..., 0] / 255, np.array([1.3, -2.4]))
    expected = ndimage.shift(clean['image'][0, ..., 0] / 255, (-2.4, 1.3), order=1)
    np.testing.assert_allclose(moved[:25], expected[:25], atol=1e-6)
    middle = [
        [ndimage.center_of_mass(frame[..., 0].astype(float)) for frame in clip]
        for clip in clean['frame']
    ]
    assert 1.5 < np.ptp(middle, axis=1).max(1).mean() < 5


def test_knobs_move_their_statistic(clean):
    count = lambda **knobs: events.dataset('train', count=12, **knobs)['video'].sum()
    plain = clean['video'].sum()
    assert count(noise=0.0, most=99, threshold=0.5) < 0.7 * plain
    assert count(noise=0.0, most=1) < 0.8 * plain
    assert count(noise=0.0, most=99, light=0.2) < 0.8 * plain
    assert count(noise=0.0, reach=0.0) == 0
    false = count(noise=0.01, reach=0.0)
    np.testing.assert_allclose(false, 0.01 * 12 * 12 * 28 * 28 * 2, rtol=0.1)


def test_pictures_are_the_splits_own():
    found = events.dataset('test', count=20)
    known = readers.mnist5k('test')
    digits = {image.tobytes(): label for image, label in zip(*known.values(), strict=True)}
    assert [digits[image.tobytes()] for image in found['image']] == list(found['label'])


def test_still_pictures_tell_digits_better_than_reports_do():
    """A linear probe that was trained on pictures fails on events, as adaptation supposes."""
    found, test = (events.dataset(split, count=240, steps=6) for split in ('train', 'test'))
    flat = lambda x: x['image'].reshape(240, -1) / 255
    probe = RidgeClassifier(10).fit(flat(found), found['label'])
    assert probe.score(flat(test), test['label']) > 0.65
    stack = test['video'].sum((1, 4)).reshape(240, -1)
    assert probe.score(stack / stack.max(1, keepdims=True), test['label']) < 0.55


def test_figures_are_laid_on_black(monkeypatch):
    found = {'image': np.full((3, 16, 16, 3), 200, np.uint8), 'label': np.arange(3, dtype=np.int32)}
    found['image'][:, 4:9, 5:8] = 50
    monkeypatch.setattr(events.shapes, 'dataset', lambda split, count: found)
    events._pictures.cache_clear()
    image = events.dataset('train', count=4, look='shapes')['image']
    events._pictures.cache_clear()
    assert (image[:, 4:9, 5:8] == 150).all()
    assert image.astype(bool).sum() == 4 * 15


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='cats'):
        events.dataset('train', count=1, look='cats')
