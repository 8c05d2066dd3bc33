"""Playlists that rise in tempo and change genre once, and listeners who hold a few songs each.

Songs belong to a catalogue, which a number names; playlists and listeners are drawn from it.
"""

import functools

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 6000, 'validation': 500, 'test': 1000}
MOODS, TAGS, TAGGED = 4, 24, 3  # tags of all songs, and of one
_NEAR = 0.12  # how far a song's tempo may be from where the playlist is


@functools.lru_cache(maxsize=8)
def catalogue(songs: int = 1500, genres: int = 8, number: int = 0) -> dict[str, np.ndarray]:
    """All that can be played.

    Args:
      songs: S.
      genres: G, each about equally many songs.
      number: of the catalogue.

    Returns:
      genre, mood int32 [S]; tempo float32 [S], 0 to 1, each genre with its own middle; popularity
      float32 [S], summing to one, falling as 1 / rank; tag bool [S, TAGS], TAGGED to a song, those
      of its genre twice as likely as others. All are read-only.

    Current challenges and visions in music recommender systems research (Schedl et al., 2018).
    """
    random = np.random.default_rng([number, 19])
    genre = random.integers(genres, size=songs)
    middle = np.linspace(0.25, 0.75, genres)
    popularity = 1 / (1 + random.permutation(songs))
    fond = np.log(2) * (np.arange(TAGS) % genres == genre[:, None])
    rank = (fond + random.gumbel(size=(songs, TAGS))).argsort(1).argsort(1)
    found = {
        'genre': genre.astype(np.int32),
        'mood': random.integers(MOODS, size=songs).astype(np.int32),
        'tempo': np.clip(middle[genre] + 0.2 * random.standard_normal(songs), 0, 1).astype(
            np.float32
        ),
        'popularity': (popularity / popularity.sum()).astype(np.float32),
        'tag': rank >= TAGS - TAGGED,
    }
    for array in found.values():
        array.setflags(write=False)
    return found


def playlist(
    generator: np.random.Generator,
    *,
    songs: int = 1500,
    genres: int = 8,
    number: int = 0,
    length: tuple[int, int] = (10, 30),
    rise: float = 0.4,
    switch: float = 0.6,
) -> dict[str, np.ndarray]:
    """Songs in the order in which someone plays them.

    Args:
      generator: NumPy generator.
      songs, genres, number: of the `catalogue`.
      length: least and greatest number of songs.
      rise: of the tempo from the first song to the last; 0 makes the order say nothing.
      switch: probability that another genre takes over, once.

    Returns:
      tokens int32 [L], songs, -1 after the end; length int32; label int32, the first genre; second
      int32, the last genre; change int32, place of the first song of the last genre, 0 where there
      is but one genre.

    Representation, Exploration and Recommendation of Playlists (Papreja et al., 2019), for the
    task.
    """
    known = catalogue(songs, genres, number)
    count = int(generator.integers(length[0], length[1] + 1))
    first = second = int(generator.integers(genres))
    change = 0
    if generator.random() < switch:
        second = (first + int(generator.integers(1, genres))) % genres
        change = int(generator.integers(count // 3, count - count // 3))
    start = generator.uniform(0.15, 0.85 - rise)
    tempo = start + rise * np.arange(count) / (count - 1)
    free, tokens = np.ones(songs, bool), np.full(length[1], -1, np.int32)
    for place in range(count):
        genre = second if change and place >= change else first
        near = np.square((known['tempo'] - tempo[place]) / _NEAR)
        weight = np.sqrt(known['popularity']) * free * np.exp(-near / 2) * (known['genre'] == genre)
        if not weight.any():
            weight = free.astype(float)
        tokens[place] = np.searchsorted(np.cumsum(weight), generator.random() * weight.sum())
        free[tokens[place]] = False
    ids = {'length': count, 'label': first, 'second': second, 'change': change}
    return {'tokens': tokens, **{name: np.int32(value) for name, value in ids.items()}}


def listeners(
    generator: np.random.Generator,
    *,
    songs: int = 128,
    genres: int = 8,
    number: int = 0,
    people: int = 40,
    held: float = 0.1,
    groups: int = 1,
    fond: float = 3.0,
) -> dict[str, np.ndarray]:
    """A network of people, what each holds, and how gladly each would choose any song.

    Args:
      generator: NumPy generator.
      songs, genres, number: of the `catalogue`.
      people: P.
      held: share of the songs that a person holds.
      groups: of taste; those of one group prefer the same genres.
      fond: how much, as a logarithm of odds; taste is popularity alone where groups is 1.

    Returns:
      held bool [P, S]; taste float32 [P, S], rows summing to one; group int32 [P]; tag bool
      [S, TAGS].

    G-Rank: Unsupervised Continuous Learn-to-Rank for Edge Devices in a P2P Network (Gold and
    Pouwelse, 2023), for the task.
    """
    known = catalogue(songs, genres, number)
    group = generator.integers(groups, size=people)
    likes = (known['genre'] % groups == group[:, None]) & (groups > 1)
    taste = known['popularity'] * np.exp(fond * likes)
    taste = taste / taste.sum(1, keepdims=True)
    rank = (np.log(taste) + generator.gumbel(size=taste.shape)).argsort(1).argsort(1)
    return {
        'held': rank >= songs - round(held * songs),
        'taste': taste.astype(np.float32),
        'group': group.astype(np.int32),
        'tag': known['tag'],
    }


FAMILIES = {'playlist': playlist, 'listeners': listeners}


def source(
    split: str = 'train',
    *,
    family: str = 'playlist',
    count: int | None = None,
    seed: int = 0,
    **knobs,
) -> draw.Drawn:
    """Playlists, or networks of listeners, that are drawn when they are asked for.

    Args:
      split: train, validation or test; all are of one catalogue.
      family: playlist or listeners.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of the family's function.

    Returns:
      `draw.Drawn` of dicts.

    Current challenges and visions in music recommender systems research (Schedl et al., 2018).
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of playlists: choose {", ".join(FAMILIES)}')
    count = COUNTS[split] if count is None else count
    return draw.Drawn(FAMILIES[family], split, count, seed, **knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The items of `source` in memory: the columns of the family's function, [N, ...].

    Current challenges and visions in music recommender systems research (Schedl et al., 2018).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
