"""Glyphs: alphabets are disjoint by split, writings are of their characters, knobs move."""

import itertools

import jax
import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from jssl.data.generated import draw, glyphs
from jssl.errors import Refusal


def test_items_are_functions_of_seed_split_and_index():
    many, few = (glyphs.dataset('test', count=n, size=16) for n in (260, 3))
    for name in many:
        np.testing.assert_array_equal(many[name][:3], few[name])
    drawn = tuple(glyphs.ALPHABETS['test'])
    for other in (
        glyphs.dataset('train', count=3, size=16, alphabets=drawn),
        glyphs.dataset('test', count=3, size=16, seed=1),
    ):
        np.testing.assert_array_equal(other['label'], few['label'])
        assert not np.isclose(other['angle'], few['angle']).any()


def test_alphabets_are_in_one_split_and_characters_are_even():
    seen = [set(glyphs.ALPHABETS[split]) for split in draw.SPLITS]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 40
    for split in ('validation', 'test'):
        found = glyphs.dataset(split, size=16)
        classes = glyphs.CHARACTERS * len(glyphs.ALPHABETS[split])
        np.testing.assert_array_equal(np.bincount(found['label']), [20] * classes)
        np.testing.assert_array_equal(found['label'] % glyphs.CHARACTERS, found['character'])
        first = min(glyphs.ALPHABETS[split])
        np.testing.assert_array_equal(found['label'] // 20 + first, found['alphabet'])


def test_characters_of_an_alphabet_differ_and_fill_their_box():
    for place in (0, 17, 39):
        points, stroke = glyphs.alphabet(place)
        assert stroke.any(1).all()
        for i in range(glyphs.CHARACTERS):
            mine = points[i][stroke[i]].reshape(-1, 2)
            np.testing.assert_allclose(np.ptp(mine, axis=0).max(), 1.5, atol=1e-4)
            for j in range(i):
                other = points[j][stroke[j]].reshape(-1, 2)
                apart = np.linalg.norm(mine[:, None] - other, axis=-1)
                assert max(apart.min(0).mean(), apart.min(1).mean()) > 0.1


def curve_of(points, pieces=200):
    """Points of a cubic curve by de Casteljau's halving of the way, in float64."""
    t = np.linspace(0, 1, pieces)[:, None]
    points = [np.float64(point) for point in points]
    while len(points) > 1:
        points = [(1 - t) * one + t * other for one, other in itertools.pairwise(points)]
    return points[0]


def test_ink_lies_along_the_strokes():
    size = 16
    found = glyphs.dataset('train', count=20, size=size, noise=0.0)
    centre = (2 * np.arange(size) + 1 - size) / size
    grid = np.stack(np.meshgrid(centre, centre), -1)
    for i in range(20):
        curves = [curve_of(points) for points in found['points'][i][found['stroke'][i]]]
        curve = np.concatenate(curves)
        distance = np.linalg.norm(grid[:, :, None] - curve, axis=-1).min(-1)
        covered = np.clip(0.5 - (distance - found['thickness'][i] / 2) * size / 2, 0, 1)
        gap = np.abs(found['image'][i, :, :, 0] / 255 - covered)
        assert gap.max() < 0.3  # a curve is drawn by twelve straight pieces
        assert gap.mean() < 0.01


def test_knobs_do_what_they_say():
    draws = lambda **knobs: glyphs.dataset('train', count=200, size=16, **knobs)
    ink = [draws(thickness=width)['image'].mean() for width in ((0.08, 0.1), (0.2, 0.22))]
    assert ink[1] > 1.5 * ink[0]
    spread = []
    for jitter in (0.0, 0.1):
        knobs = {'rotation': 0.0, 'shear': 0.0, 'scale': (1.0, 1.0), 'shift': 0.0}
        found = draws(alphabets=(0,), characters=2, jitter=jitter, **knobs)
        spread.append(found['points'][found['label'] == 0].std(0).mean())
    assert spread[0] < 1e-6
    assert 0.05 < spread[1] < 0.11  # absent strokes move too
    assert np.abs(draws(rotation=40.0)['angle']).max() > np.radians(35)
    assert draws(style='paper')['image'].mean() > 128 > draws()['image'].mean()
    middle = draws(noise=0.0)['image'] == 255  # of a stroke
    assert draws(style='pen')['image'][middle].mean() > 245
    for style in ('outline', 'dashed'):
        assert draws(style=style)['image'][middle].mean() < 215


def test_strokes_tell_new_characters_apart_better_than_pixels():
    """Prototypes of five writings each, among the 20 characters of an alphabet never seen."""
    scores = {}
    for place in (30, 31):
        found = glyphs.dataset('test', count=400, size=16, alphabets=(place,))
        for name in ('image', 'points'):
            x, y = found[name].reshape(400, -1) / 1.0, found['label']
            score = NearestCentroid().fit(x[:100], y[:100]).score(x[100:], y[100:])
            scores.setdefault(name, []).append(score)
    assert min(scores['points']) > 0.97
    assert max(scores['image']) < 0.9


def test_labels_are_drawn_when_none_is_given():
    keys = jax.random.split(jax.random.key(0), 60)
    write = lambda key: glyphs.sample(key, alphabets=(0, 3), characters=3, size=16)
    label = np.array(jax.jit(jax.vmap(write))(keys)['label'])
    assert set(label) == set(range(6))


def test_mistakes_are_named():
    for knobs, line in [({'style': 'brush'}, 'brush'), ({'characters': 21}, 'characters=21')]:
        with pytest.raises(Refusal, match=line):
            glyphs.dataset('train', count=1, **knobs)
