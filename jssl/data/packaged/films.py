"""Seventeen thousand films with directors and casts: a graph, a matrix of choices, playlists.

Films are numbered in one order, people from the busiest on, in all three forms alike. People of
one name are one person here, and an actor appears who has two films or more.
"""

import functools

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

FEWEST = 5  # films of an actor whose choices are learned from


def films(split: str) -> dict[str, np.ndarray]:
    """Films as labelled nodes of `film_graph`.

    Args:
      split: train, validation or test, in every class.

    Returns:
      film int32 [N], rows of the graph; label int32 [N], the only genre of a film, as a place in
      the graph's genre names, or -1 where it has several or none; genres bool [N, G]; year and
      released int32 [N]; and title, country and language (object [N]).

    Heterogeneous Graph Attention Network (Wang et al., 2019), for films labelled by genre.
    """
    check_split(split, SPLITS, 'films')
    graph = film_graph()
    tags = [title.encode() + b'%d' % i for i, title in enumerate(graph['title'])]
    film = stratified_split(graph['label'], tags, split)
    names = ('label', 'genres', 'year', 'released', 'title', 'country', 'language')
    return {'film': film.astype(np.int32), **{name: graph[name][film] for name in names}}


@functools.cache
def film_graph() -> dict[str, np.ndarray]:
    """Films, directors and actors, and who made what.

    Returns:
      Of F films: title, country and language (object [F], the latter two empty where unknown);
      year int32 [F], 1940 to 2014; released int32 [F], days since 1 January 1940; genres bool
      [F, G]; label int32 [F] as in `films`. Edges: directed int32 [E, 2], (film, director); acted
      int32 [E, 2], (film, actor). Names: genre (object [G]), director and actor (object), those of
      most films first.

    Heterogeneous Graph Attention Network (Wang et al., 2019), whose IMDB has this form.
    """
    found = vendored.arrays('films')
    genre = vendored.lines(found['genre'])
    genres = np.unpackbits(found['genres'], axis=1, count=len(genre)).astype(bool)
    alone = genres.sum(1) == 1
    graph = {
        'title': vendored.lines(found['title']),
        'year': found['year'].astype(np.int32),
        'released': found['released'].astype(np.int32),
        'genres': genres,
        'label': np.where(alone, genres.argmax(1), -1).astype(np.int32),
        'country': _named(found['countries'], found['country']),
        'language': _named(found['languages'], found['language']),
        'directed': _edges(found['directed'], found['directed_count']),
        'acted': _edges(found['acted'], found['acted_count']),
        'genre': genre,
        'director': vendored.lines(found['director']),
        'actor': vendored.lines(found['actor']),
    }
    for array in graph.values():
        array.setflags(write=False)
    return graph


def film_choices(split: str) -> dict[str, np.ndarray]:
    """Who acted where, as what users chose: the matrix of a recommender, of actors and films.

    Args:
      split: train, validation or test; of every actor's links about 70, 10 and 20 %.

    Returns:
      user int32 [E], actors of five films or more, numbered as in `film_graph`; item int32 [E],
      films.

    Collaborative Filtering for Implicit Feedback Datasets (Hu et al., 2008).
    """
    check_split(split, SPLITS, 'film_choices')
    item, user = film_graph()['acted'].T
    busy = np.bincount(user)[user] >= FEWEST
    item, user = item[busy], user[busy]
    tags = [b'%d %d' % link for link in zip(user.tolist(), item.tolist(), strict=True)]
    rows = stratified_split(np.zeros(len(user), int), tags, split)
    return {'user': user[rows], 'item': item[rows]}


def filmographies(split: str, *, length: int = 32) -> dict[str, np.ndarray]:
    """Playlists: the films of one actor in the order in which they came out.

    Args:
      split: train, validation or test, by actor, those of five films or more.
      length: T; later films are left out.

    Returns:
      film int32 [N, T], rows of `film_graph`, -1 after the last; mask bool [N, T], where there is
      a film; label int32 [N], the genre of most of them; actor int32 [N].

    Million Playlist Dataset (Chen et al., 2018), for recommendation from ordered lists.
    """
    check_split(split, SPLITS, 'filmographies')
    graph = film_graph()
    film, actor = graph['acted'].T
    order = np.lexsort((film, graph['released'][film], actor))
    counts = np.bincount(actor)
    starts = np.cumsum(counts) - counts
    busy = np.flatnonzero(counts >= FEWEST)
    tags = [graph['actor'][i].encode() for i in busy]
    chosen = busy[stratified_split(np.zeros(len(busy), int), tags, split)]
    place = np.arange(length)
    mask = place < counts[chosen, None]
    rows = order[np.where(mask, starts[chosen, None] + place, 0)]
    listed = np.where(mask, film[rows], -1).astype(np.int32)
    genres = (graph['genres'][listed] & mask[..., None]).sum(1)
    label = genres.argmax(1).astype(np.int32)
    return {'film': listed, 'mask': mask, 'label': label, 'actor': chosen.astype(np.int32)}


def _named(codes, names):
    """Strings of codes; 255 is an empty one."""
    names = vendored.lines(names)
    return np.append(names, [''] * (256 - len(names)))[codes]


def _edges(targets, counts):
    """(source, target) int32 [E, 2] of targets that stand source after source."""
    return np.stack([np.repeat(np.arange(len(counts)), counts), targets], 1).astype(np.int32)
