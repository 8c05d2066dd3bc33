"""Playlists: what a bag of songs tells, what their order alone tells, and who holds what."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from jssl.data.generated import draw, playlists
from jssl.errors import Refusal


@pytest.mark.parametrize('family', playlists.FAMILIES)
def test_items_are_functions_of_seed_split_and_index(family):
    many, few = (playlists.dataset('test', family=family, count=n) for n in (4, 2))
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
    told = 'tokens' if family == 'playlist' else 'held'
    for other in (
        playlists.dataset('validation', family=family, count=2),
        playlists.dataset('test', family=family, count=2, seed=1),
    ):
        assert (other[told] != few[told]).mean() > 0.1


@pytest.fixture(scope='module')
def found():
    return playlists.dataset('train', count=400)


def test_the_catalogue():
    known = playlists.catalogue()
    np.testing.assert_allclose(known['popularity'].sum(), 1, rtol=1e-5)
    assert (known['tag'].sum(1) == playlists.TAGGED).all()
    own = np.arange(24) % 8 == known['genre'][:, None]
    assert 1.5 < known['tag'][own].mean() / known['tag'][~own].mean() < 2.2
    assert (playlists.catalogue(number=1)['genre'] != known['genre']).mean() > 0.8


def test_songs_come_once_in_genres_that_change_once(found):
    genre = playlists.catalogue()['genre']
    for i in range(400):
        length, change = found['length'][i], found['change'][i]
        songs = found['tokens'][i]
        assert (songs[:length] >= 0).all()
        assert (songs[length:] == -1).all()
        assert len(set(songs[:length])) == length
        until = change or length
        assert (genre[songs[:until]] == found['label'][i]).all()
        assert (genre[songs[until:length]] == found['second'][i]).all()
    assert (found['length'].min(), found['length'].max()) == (10, 30)
    np.testing.assert_allclose((found['change'] > 0).mean(), 0.6, atol=0.08)
    assert not playlists.dataset('train', count=20, switch=0.0)['change'].any()


def test_order_is_told_by_tempo_and_not_by_the_bag(found):
    """Half of the playlists are shuffled: the slope of the tempo says which, the songs do not."""
    random, tempo = np.random.default_rng(0), playlists.catalogue()['tempo']
    tokens, shuffled = found['tokens'].copy(), random.random(400) < 0.5
    slope, bag = np.zeros(400), np.zeros((400, 1500))
    for i, length in enumerate(found['length']):
        if shuffled[i]:
            tokens[i, :length] = random.permutation(tokens[i, :length])
        slope[i] = np.polyfit(np.arange(length) / length, tempo[tokens[i, :length]], 1)[0]
        bag[i, tokens[i, :length]] = 1
    assert ((slope < 0.2) == shuffled).mean() > 0.85
    probe = lambda y: RidgeClassifier(10).fit(bag[:300], y[:300]).score(bag[300:], y[300:])
    assert probe(shuffled) < 0.62
    assert probe(found['label']) > 0.5
    flat = playlists.dataset('train', count=100, rise=0.0, switch=0.0)
    rise = [
        np.polyfit(np.arange(n), tempo[t[:n]], 1)[0]
        for t, n in zip(flat['tokens'], flat['length'], strict=True)
    ]
    assert abs(np.mean(rise)) < 0.002


def test_popular_songs_are_played_and_held_more(found):
    popularity = playlists.catalogue()['popularity']
    count = np.bincount(found['tokens'][found['tokens'] >= 0], minlength=1500)
    top = popularity > np.quantile(popularity, 0.9)
    assert count[top].mean() > 2 * count[~top].mean()
    one = playlists.dataset('train', family='listeners', count=3)
    assert (one['held'].sum(-1) == 13).all()
    np.testing.assert_allclose(one['taste'].sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(one['taste'][:, 0], one['taste'][:, 1])
    small = playlists.catalogue(128)['popularity']
    held = one['held'].mean((0, 1))
    assert held[small > np.median(small)].mean() > 3 * held[small <= np.median(small)].mean()


def test_groups_hold_alike():
    knobs = {'family': 'listeners', 'count': 4}
    found = playlists.dataset('train', groups=4, **knobs)
    genre = playlists.catalogue(128)['genre']
    own = genre % 4 == found['group'][..., None]
    assert found['held'][own].mean() > 3 * found['held'][~own].mean()
    assert set(playlists.dataset('train', **knobs)['group'].ravel()) == {0}


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='mixtape'):
        playlists.source('train', family='mixtape')
    with pytest.raises(Refusal, match='holdout'):
        draw.columns(playlists.playlist, 'holdout', 1)
