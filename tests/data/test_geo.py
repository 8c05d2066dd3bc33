"""Geo: tiles agree with the world that they are part of, and with what is told of them."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier

from jssl.data.generated import draw, geo
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def places():
    return geo.dataset('train', family='globe', count=400, size=8)


@pytest.mark.parametrize('family', geo.FAMILIES)
def test_items_are_functions_of_seed_split_and_index(family):
    knobs = {'family': family, 'size': 8}
    many, few = (geo.dataset('test', count=n, **knobs) for n in (4, 2))
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
    for other in (
        geo.dataset('validation', count=2, **knobs),
        geo.dataset('test', count=2, seed=1, **knobs),
    ):
        assert (other['image'] != few['image']).mean() > 0.3


def test_places_lie_evenly_on_land_and_have_its_climate(places):
    latitude, longitude = np.deg2rad(places['location']).T
    unit = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)]
    found = geo.climate(np.stack([*unit, np.sin(latitude)], -1))
    for name in ('temperature', 'elevation', 'population'):
        np.testing.assert_allclose(places[name], found[name], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(places['label'], found['biome'])
    assert (places['elevation'] > 0).all()
    assert set(places['label']) == set(range(6))
    assert len(set(places['country'])) > 20
    people = places['population']
    assert people.mean() > 1.3 * np.median(people), 'skewed'
    # A sphere's area grows with the sine of the latitude: half of it lies below thirty degrees.
    points = np.random.default_rng(0).standard_normal((4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    land = geo.climate(points)['elevation'] > 0
    assert 0.4 < land.mean() < 0.85


def test_continents_can_be_held_out_and_worlds_differ(places):
    held = geo.dataset('test', family='globe', count=30, size=4, continents=(0, 3))
    assert set(held['continent']) <= {0, 3}
    assert set(places['continent']) == set(range(6))
    other = geo.dataset('train', family='globe', count=400, size=4, world=1)
    assert np.mean(other['label'] == places['label']) < 0.7


def test_tiles_tell_the_climate_better_than_latitude(places):
    """A probe of the bands' means beats one of the location; both leave something to learn."""
    half = slice(0, 200)
    bands = places['image'].mean((1, 2)) / 255
    for name, least in (('temperature', 0.8), ('population', 0.0)):
        y = np.log(places[name]) if name == 'population' else places[name]
        scores = [
            Ridge(0.01).fit(x[half], y[half]).score(x[200:], y[200:])
            for x in (bands, places['location'] / 90)
        ]
        assert scores[0] > max(least, scores[1]), name
    fit = RidgeClassifier().fit(places['location'][half], places['country'][half])
    assert fit.score(places['location'][200:], places['country'][200:]) < 0.4


def test_land_covers_what_its_mask_says():
    found = geo.dataset('train', count=40, size=24)
    for i in range(40):
        shares = np.bincount(found['mask'][i].ravel(), minlength=20) / 24**2
        np.testing.assert_array_equal(found['present'][i], shares > 0)
        np.testing.assert_allclose(found['cover'][i], shares.reshape(5, 4).sum(1), atol=1e-6)
        assert found['label'][i] == shares.argmax()
    np.testing.assert_array_equal(found['label'], 4 * found['material'] + found['layout'])
    assert geo.dataset('train', count=9, size=16, patches=1)['present'].sum(1).max() == 1


def test_spectra_are_linear_and_layouts_are_not():
    """The nearest spectrum gives the material; fine layouts are lost at half the resolution."""
    knobs = {'patches': 1, 'size': 16}
    found = geo.dataset('train', count=300, shift=0.0, **knobs)
    bands = found['image'].mean((1, 2)) / 255
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = (unit(bands) @ unit(geo.SPECTRA).T).argmax(1)
    assert (nearest == found['material']).mean() > 0.98
    grey = found['image'].mean(-1) / found['image'].mean((1, 2, 3))[:, None, None]
    flat = grey.reshape(300, -1)
    probe = RidgeClassifier().fit(flat[:200], found['layout'][:200])
    assert probe.score(flat[200:], found['layout'][200:]) < 0.6
    coarse = grey.reshape(300, 4, 4, 4, 4).mean((2, 4))
    rough = lambda x: x.std((1, 2))[found['layout'] == 3].mean()
    assert rough(coarse) < 0.5 * rough(grey)
    wild = geo.dataset('train', count=300, shift=0.5, **knobs)['image'].mean((1, 2)) / 255
    assert ((unit(wild) @ unit(geo.SPECTRA).T).argmax(1) == found['material']).mean() < 0.97


def test_a_photograph_shows_the_ground_between_its_corners():
    clear = {'cloud': 0.0, 'haze': 0.0, 'noise': 0.0, 'family': 'orbit', 'size': 16}
    found = geo.dataset(
        'train', count=30, turn=0.0, tilt=0.0, zoom=(1.0, 1.0), popular=0.0, **clear
    )
    middle = found['corner'].mean(1)
    np.testing.assert_array_equal(np.floor(middle), found['cell'])
    assert (found['cell'][:, 0] < geo.PLANET / 2).all(), 'training sees the left half'
    sides = found['corner'][:, 1] - found['corner'][:, 0]
    np.testing.assert_allclose(sides, np.tile([15 / 16, 0], (30, 1)), atol=1e-5)
    same = []
    for i in np.flatnonzero(~found['plain']):
        # Whole pixels between tile and photograph: the part of the ground that both show.
        down, right = np.round(16 * (middle[i] - found['cell'][i] - 0.5)[::-1]).astype(int)
        rows, columns = (slice(max(0, d), 16 + min(0, d)) for d in (down, right))
        back = [slice(max(0, -d), 16 + min(0, -d)) for d in (down, right)]
        tile = found['tile'][i][:, rows, columns].mean(-1).reshape(4, -1)
        photo = found['image'][i][back[0], back[1]].mean(-1).ravel()
        if photo.std() > 12 and tile.std(1).min() > 12:
            same.append(max(np.corrcoef(photo, year)[0, 1] for year in tile))
    assert len(same) > 8
    assert np.median(same) > 0.85


def test_knobs_of_photographs_move_their_statistic():
    draws = lambda **knobs: geo.dataset('train', family='orbit', count=60, size=8, **knobs)
    plain = draws()
    away = np.abs(plain['point'] - plain['corner'].mean(1)).max(1)
    assert 0.15 < plain['weak'].mean() < 0.5
    assert away[plain['weak']].mean() > 3 * away[~plain['weak']].mean()
    hot = lambda found: (geo.hashed(*found['cell'].T, 90) < 0.2).mean()
    assert hot(draws(popular=0.0)) < 0.35 < 0.7 < hot(plain)
    assert draws(cloud=0.9)['cloud'].mean() > 2 * plain['cloud'].mean()
    assert not draws(cloud=0.0)['cloud'].any()
    years = plain['tile'].astype(int)
    assert np.abs(years[:, 1] - years[:, 0]).mean() > 1


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='mars'):
        geo.source('train', family='mars')
    for family, knobs, line in [
        ('globe', {'continents': (9,)}, '9'),
        ('land', {'patches': 0}, '0'),
    ]:
        with pytest.raises(Refusal, match=line):
            geo.FAMILIES[family](draw.generator(0, 'train', 0), **knobs)
