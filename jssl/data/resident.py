"""A set that stays on the device: the host sends row numbers, and no example ever.

stream = data.resident(columns, 256, seed=0)     # as data.batches(columns, 256, seed=0)
fit(step, init, stream, steps=1000)              # `step` augments, in its own program
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jssl.data.batches import batches


def resident(
    source: Mapping[str, np.ndarray],
    batch: int,
    *,
    seed: int,
    shuffle: bool = True,
    fields: Sequence[str] | None = None,
) -> 'Resident':
    """Streams batches that the device gathers from columns it holds; the same as `batches` gives.

        batch k = columns[ rows(k) ],   rows(k) those of `batches`

    so that one may take the place of the other at any step of a run, resumed runs too.

    Args:
      source: columns {name: [N, ...]}, of types that a device has; bytes stay bytes.
      batch: B.
      seed: of the permutations.
      shuffle: False keeps the order of the source in every epoch.
      fields: the columns to keep, by name; None keeps all.

    Returns:
      A `Resident`: `stream[k]`, `iter(stream)`, `stream.iterate(start)`, as of `Stream`.

    Grain (google-grain.readthedocs.io), whose order it keeps.
    """
    return Resident({name: source[name] for name in fields or source}, batch, seed, shuffle)


class Resident:
    """What `resident` returns. `batch` is the size of a global batch, `examples` is N."""

    def __init__(self, source, batch, seed, shuffle):
        columns = {name: np.asarray(column) for name, column in source.items()}
        numbers = {'row': np.arange(len(next(iter(columns.values()))), dtype=np.int32)}
        self.order = batches(numbers, batch, seed=seed, shuffle=shuffle)
        self.batch, self.examples = batch, self.order.examples
        if odd := {name: len(c) for name, c in columns.items() if len(c) != self.examples}:
            raise ValueError(f'columns need {self.examples} rows each: {odd}')
        self.columns, self._placed = columns, {}

    def __getitem__(self, k: int) -> dict[str, jax.Array]:
        """Batch k."""
        return _gather(self._on(None), self.order[k]['row'])

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        return self.iterate()

    def iterate(self, start: int = 0, *, process: int = 0, processes: int = 1) -> Iterator[dict]:
        """Batches start, start + 1, ...; of each, the rows of one process.

        In a `jax.set_mesh` of one process every device holds the set, and gathers without asking
        another; otherwise the first device does.

        Args: as `Stream.iterate`.
        Returns: an iterator without end.

        Grain (google-grain.readthedocs.io).
        """
        if self.batch % processes or not 0 <= process < processes:
            raise ValueError(f'process {process} of {processes} for a batch of {self.batch}')
        mesh, rows = jax.sharding.get_mesh(), self.batch // processes
        columns = self._on(None if mesh.empty or processes > 1 else NamedSharding(mesh, P()))
        # No thread reads ahead: the row numbers of a batch take less time than to hand them over.
        firsts = itertools.count(start * self.batch + process * rows, self.batch)
        places = (np.arange(first, first + rows) for first in firsts)
        return (_gather(columns, self.order.read(place)['row']) for place in places)

    def _on(self, sharding):
        if sharding not in self._placed:
            self._placed = {sharding: jax.device_put(self.columns, sharding)}
        return self._placed[sharding]


@jax.jit
def _gather(columns, rows):
    return {name: column[rows] for name, column in columns.items()}
