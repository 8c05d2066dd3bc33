"""Endless streams of batches by number: batch k is a function of source, batch size, seed and k.

Nothing has to be remembered to resume, and any number of processes or workers sees the same
stream: start at the step that was saved.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import grain
import numpy as np
from absl import flags

from jssl.data.records import Column, record, stack

Batch = dict[str, np.ndarray]


def batches(
    source: Mapping[str, np.ndarray] | Sequence,
    batch: int,
    *,
    seed: int,
    shuffle: bool = True,
    transform: Callable[[dict, np.random.Generator], dict] | None = None,
    workers: int = 0,
    fields: Sequence[str] | None = None,
) -> 'Stream':
    """Streams batches without end; an example comes back only when all others were seen.

        example(k, j) = source[ permutation_e(g mod N) ],   g = k B + j,   e = g div N

    so that a batch may end one epoch and begin the next.

    Args:
      source: columns {name: [N, ...]}, some of which may be read late (`records.Column`); or
        records with `len` and `[i]` -> dict of arrays.
      batch: B, examples of a batch over all processes.
      seed: of the permutations and of what `transform` draws.
      shuffle: False keeps the order of the source in every epoch.
      transform: (example, generator) -> example, on the host; the generator depends on the seed
        and on g alone. For what must happen before examples have one shape; everything else is
        quicker on the device (`jssl.data.augment`).
      workers: processes that read and transform; 0 reads with threads. Workers need the usual
        `if __name__ == '__main__':` in the program that is started.
      fields: the columns to keep, by name; None keeps all.

    Returns:
      A `Stream`: `stream[k]`, `iter(stream)`, `stream.iterate(start)`.

    Grain (google-grain.readthedocs.io), whose random access makes the position a number.
    """
    return Stream(source, batch, seed, shuffle, transform, workers, fields)


def epoch(
    source: Mapping[str, np.ndarray] | Sequence,
    batch: int,
    *,
    transform: Callable[[dict, np.random.Generator], dict] | None = None,
    fields: Sequence[str] | None = None,
) -> Iterator[Batch]:
    """Reads every example once, in order: for evaluation. The last batch may be smaller.

    Args:
      source, batch, transform, fields: as in `batches`; what `transform` draws has seed 0.

    Returns:
      An iterator over ceil(N / B) batches.

    Grain (google-grain.readthedocs.io).
    """
    stream = Stream(source, batch, 0, False, transform, 0, fields)
    starts = grain.MapDataset.range(0, stream.examples, batch)

    def read(start):
        return stream.read(np.arange(start, min(start + batch, stream.examples)))

    return iter(starts.map(read).to_iter_dataset(stream.ahead))


class Stream:
    """What `batches` returns. `batch` is the size of a global batch, `examples` is N."""

    def __init__(self, source, batch, seed, shuffle, transform, workers, fields):
        self.columns = isinstance(source, Mapping)
        if self.columns:
            source = {name: _column(source[name]) for name in fields or source}
        self.examples = _count(source) if self.columns else len(source)
        if self.examples < 1 or batch < 1:
            raise ValueError(f'batch {batch} of a source with {self.examples} examples')
        self.source, self.batch, self.seed, self.shuffle = source, batch, seed, shuffle
        self.transform, self.workers, self.fields = transform, workers, fields
        gathers = self.columns and transform is None and not _read_late(source)
        self.ahead = grain.ReadOptions(
            num_threads=1 if gathers else 4, prefetch_buffer_size=2 if gathers else 4
        )

    def __getitem__(self, k: int) -> Batch:
        """Batch k."""
        return self._part(int(k))

    def __iter__(self) -> Iterator[Batch]:
        return self.iterate()

    def iterate(self, start: int = 0, *, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Batches start, start + 1, ..., read ahead; of each, the rows of one process.

        Args:
          start: number of the first batch.
          process: p of n: rows p B / n ... (p + 1) B / n - 1 of every batch.
          processes: n, which must divide B.

        Returns:
          An iterator without end; its `close()` ends threads and workers.

        Grain (google-grain.readthedocs.io).
        """
        if self.batch % processes:
            raise ValueError(f'{processes} processes cannot share a batch of {self.batch} equally')
        if not 0 <= process < processes:
            raise ValueError(f'process {process} is not one of {processes}')
        part = functools.partial(self._part, process=process, processes=processes)
        numbers = grain.MapDataset.range(start, sys.maxsize)
        read = numbers.map(part).to_iter_dataset(self.ahead)
        if not self.workers:
            return iter(read)
        if not flags.FLAGS.is_parsed():  # grain's workers read flags; a notebook never parses them
            flags.FLAGS(['jssl'])
        options = grain.multiprocessing.MultiprocessingOptions(
            num_workers=self.workers, per_worker_buffer_size=2
        )
        return iter(read.mp_prefetch(options))

    def _part(self, k, process=0, processes=1):
        if k < 0:
            raise IndexError(f'batch {k}: an endless stream has no last batch')
        rows = self.batch // processes
        first = k * self.batch + process * rows
        return self.read(np.arange(first, first + rows))

    def read(self, positions: np.ndarray) -> Batch:
        """Stacks the examples at some positions of the endless sequence."""
        indices = positions % self.examples
        if self.shuffle:
            epochs = positions // self.examples
            for e in np.unique(epochs):
                here = epochs == e
                indices[here] = permutation(self.examples, self.seed, int(e))[indices[here]]
        if self.columns and self.transform is None:
            return {name: column[indices] for name, column in self.source.items()}
        pairs = zip(indices.tolist(), positions.tolist(), strict=True)
        return stack([self._example(i, g) for i, g in pairs], indices)

    def _example(self, i, position):
        if self.columns:
            example = {name: column[i] for name, column in self.source.items()}
        else:
            example = record(self.source, i)
            example = {name: example[name] for name in self.fields or example}
        if self.transform is None:
            return example
        generator = np.random.Generator(np.random.Philox(key=_key(self.seed, position)))
        return self.transform(example, generator)


@functools.lru_cache(maxsize=4)
def permutation(examples: int, seed: int, epoch: int) -> np.ndarray:
    """Order of an epoch: the ranks of N words of the Philox generator with key (seed, epoch).

    Args:
      examples: N.
      seed: of the stream.
      epoch: number of the epoch.

    Returns:
      Read-only int64 [N]. Words, unlike NumPy's own shuffles, never change between its versions.

    Parallel random numbers: as easy as 1, 2, 3 (Salmon et al., 2011).
    """
    # The counter starts where the generators of `transform`, with equal keys, never arrive.
    words = np.random.Philox(key=_key(seed, epoch), counter=[0, 0, 0, 1]).random_raw(examples)
    order = np.argsort(words, kind='stable')
    order.setflags(write=False)
    return order


def _key(seed, number):
    return np.array([seed % 2**64, number % 2**64], np.uint64)


def _column(column):
    return column if isinstance(column, Column) else np.asarray(column)


def _read_late(columns):
    return any(isinstance(column, Column) for column in columns.values())


def _count(columns):
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f'columns need the same number of rows, at least one column: {sizes}')
    return next(iter(sizes.values()))
