"""Films: the graph is consistent, its three forms agree, splits are disjoint."""

import numpy as np
import pytest

from jssl.data.packaged import films
from jssl.data.readers import SPLITS
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def graph():
    return films.film_graph()


@pytest.fixture(scope='module')
def parts():
    sets = (films.films, films.film_choices, films.filmographies)
    return {each.__name__: [each(split) for split in SPLITS] for each in sets}


def test_the_graph_has_its_nodes_and_edges(graph):
    assert len(graph['title']) == len(graph['year']) == 17470
    assert len(graph['director']) == 8282
    assert len(graph['actor']) == 25317
    assert graph['acted'].shape == (166501, 2)
    for name, ends in (('directed', 'director'), ('acted', 'actor')):
        assert graph[name].max(0)[1] == len(graph[ends]) - 1
        assert len(np.unique(graph[name], axis=0)) == len(graph[name])
        busiest = np.bincount(graph[name][:, 1])
        assert (np.diff(busiest) <= 0).all()
    assert graph['year'].min() == 1940
    assert graph['year'].max() == 2014
    years = 1940 + graph['released'] / 365.25
    assert (abs(years - graph['year']) < 1.1).all()


def test_a_film_that_people_know_is_right(graph):
    (film,) = np.flatnonzero(graph['title'] == 'The Intouchables')
    assert graph['year'][film] == 2011
    assert graph['language'][film] == 'French'
    genres = set(graph['genre'][graph['genres'][film]])
    assert genres == {'Biography', 'Comedy', 'Drama'}
    assert graph['label'][film] == -1
    cast = graph['actor'][graph['acted'][graph['acted'][:, 0] == film, 1]]
    assert {'Omar Sy', 'François Cluzet'} <= set(cast)
    directors = graph['director'][graph['directed'][graph['directed'][:, 0] == film, 1]]
    assert set(directors) == {'Olivier Nakache', 'Éric Toledano'}


def test_splits_are_disjoint_and_whole(graph, parts):
    film = np.concatenate([part['film'] for part in parts['films']])
    assert sorted(film) == list(range(17470))
    links = np.concatenate(
        [np.stack([part['user'], part['item']], 1) for part in parts['film_choices']]
    )
    assert len(np.unique(links, axis=0)) == len(links) == 127319
    people = np.concatenate([part['actor'] for part in parts['filmographies']])
    assert sorted(people) == list(range(10485))
    for share in (
        [len(part['film']) for part in parts['films']],
        [len(part['item']) for part in parts['film_choices']],
        [len(part['actor']) for part in parts['filmographies']],
    ):
        np.testing.assert_allclose(np.array(share) / sum(share), (0.7, 0.1, 0.2), atol=1e-3)
    with pytest.raises(Refusal, match='no split'):
        films.films('all')


def test_labels_are_only_genres(graph, parts):
    for part in parts['films']:
        known = part['label'] >= 0
        assert (part['genres'].sum(1) == 1).tolist() == known.tolist()
        assert part['genres'][known, part['label'][known]].all()
        np.testing.assert_array_equal(part['title'], graph['title'][part['film']])
        drama = (part['label'][known] == graph['genre'].tolist().index('Drama')).mean()
        assert 0.38 < drama < 0.42


def test_playlists_are_filmographies_in_order(graph, parts):
    part = parts['filmographies'][2]
    assert part['film'].shape == part['mask'].shape == (len(part['actor']), 32)
    np.testing.assert_array_equal(part['mask'], part['film'] >= 0)
    acted = set(map(tuple, graph['acted'].tolist()))
    for film, mask, actor in list(zip(*(part[k] for k in ('film', 'mask', 'actor')), strict=True))[
        ::9
    ]:
        own = film[mask]
        assert len(own) >= 5
        assert len(set(own)) == len(own)
        assert (np.diff(graph['released'][own]) >= 0).all()
        assert all((f, actor) in acted for f in own.tolist())
    few = films.filmographies('test', length=4)
    np.testing.assert_array_equal(few['film'], part['film'][:, :4])
    assert few['mask'].all()


def test_edges_know_the_genre(graph):
    """Films of one director share their only genre more often than any two films do."""
    label = graph['label'][graph['directed'][:, 0]]
    known = graph['directed'][label >= 0]
    label, director = graph['label'][known[:, 0]], known[:, 1]
    order = np.argsort(director, kind='stable')
    pairs = director[order][1:] == director[order][:-1]
    same = (label[order][1:] == label[order][:-1])[pairs].mean()
    chance = (np.bincount(label) / len(label)) @ (np.bincount(label) / len(label))
    assert same > 1.8 * chance
