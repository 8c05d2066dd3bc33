"""How a generator becomes a set: an item is a function of (seed, split, index) and of the knobs."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from jssl.data.readers import check_split

SPLITS = ('train', 'validation', 'test')
CHUNK = 256  # items that are drawn by one compiled call


def generator(seed: int, split: str, index: int) -> np.random.Generator:
    """Random numbers of one item; no two items of any seed or split share them.

    Args:
      seed: of the set.
      split: 'train', 'validation' or 'test'.
      index: of the item.

    Returns:
      A NumPy generator.

    Parallel random numbers: as easy as 1, 2, 3 (Salmon et al., 2011).
    """
    check_split(split, SPLITS, 'a drawn set')
    # The counter's last word starts where neither epochs' orders nor transforms ever arrive.
    start = [0, 0, 0, 2 + SPLITS.index(split)]
    words = np.array([seed % 2**64, index % 2**64], np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=start))


def key(seed: int, split: str, index) -> jax.Array:
    """The same for generators that draw on the device: a key of one item; `index` may be traced."""
    check_split(split, SPLITS, 'a drawn set')
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), SPLITS.index(split)), index)


class Drawn:
    """Items that are drawn when they are asked for: `len(drawn)`, `drawn[i]` -> dict of arrays.

    Args:
      sample: (generator, **knobs) -> dict of arrays of fixed shapes.
      split, count, seed: of the set; `count` may be as large as one likes.
      **knobs: of `sample`.
    """

    def __init__(self, sample: Callable, split: str, count: int, seed: int = 0, **knobs):
        check_split(split, SPLITS, 'a drawn set')
        self.sample, self.split, self.count, self.seed = sample, split, count, seed
        self.knobs = knobs

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        if not 0 <= i < self.count:
            raise IndexError(f'item {i} of {self.count}')
        return self.sample(generator(self.seed, self.split, int(i)), **self.knobs)


def columns(sample: Callable, split: str, count: int, seed: int = 0, **knobs) -> dict:
    """The first items of a set in memory, drawn by NumPy.

    Args: as `Drawn`.
    Returns: {name: array [count, ...]}.
    """
    drawn = Drawn(sample, split, count, seed, **knobs)
    items = [drawn[i] for i in range(count)]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def mapped(sample: Callable, split: str, count: int, seed: int = 0, **knobs) -> dict:
    """The first items of a set in memory, drawn on the device.

    Args:
      sample: (key, **knobs) -> dict of arrays, traceable; a function of a module, whose compiled
        form is kept.
      split, count, seed, **knobs: as `Drawn`; the knobs are hashable.

    Returns:
      {name: NumPy array [count, ...]}.
    """
    check_split(split, SPLITS, 'a drawn set')
    draw = compiled(sample, tuple(sorted(knobs.items())))
    return chunked(lambda keys, _: draw(keys), split, count, seed, chunk=min(CHUNK, count))


def chunked(
    draw: Callable, split: str, count: int, seed: int = 0, *, chunk: int = CHUNK
) -> dict[str, np.ndarray]:
    """The first items of a set, by a program that draws a chunk of them.

    Args:
      draw: (keys [chunk], indices int [chunk]) -> dict of arrays [chunk, ...].
      split, count, seed: as `Drawn`.
      chunk: items of a call; those of the last that are too many are dropped.

    Returns:
      {name: NumPy array [count, ...]}.
    """
    check_split(split, SPLITS, 'a drawn set')
    parts = []
    for start in range(0, count, chunk):
        indices = start + np.arange(chunk)
        parts.append(jax.device_get(draw(_keys(seed, split, indices), indices)))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


@functools.lru_cache(maxsize=32)
def compiled(sample: Callable, knobs: tuple) -> Callable:
    """keys [N] -> {name: [N, ...]}; seeds, splits and counts share the program."""
    return jax.jit(jax.vmap(lambda key: sample(key, **dict(knobs))))


def _keys(seed, split, indices):
    return jax.vmap(lambda index: key(seed, split, index))(indices)
