"""A set that stays on the device: the host sends row numbers, and no example ever.

stream = data.resident(columns, 256, seed=0)     # as data.batches(columns, 256, seed=0)
fit(step, init, stream, steps=1000)              # gathers and steps in one program
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
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
      A `Resident`: `stream[k]`, `iter(stream)`, `stream.iterate(start)`, as of `Stream`; `fit`
      takes its `rows` and gathers them inside the step.

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
        return _gathered(self.held(None), self.order[k]['row'])

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        return self.iterate()

    def iterate(self, start: int = 0, *, process: int = 0, processes: int = 1) -> Iterator[dict]:
        """Batches start, start + 1, ... on the first device; of each, the rows of one process.

        Args: as `Stream.iterate`.
        Returns: an iterator without end.

        Grain (google-grain.readthedocs.io).
        """
        columns, rows = self.held(None), self.rows(start, process=process, processes=processes)
        return (_gathered(columns, numbers) for numbers in rows)

    def rows(self, start: int = 0, *, process: int = 0, processes: int = 1) -> Iterator[np.ndarray]:
        """Row numbers int32 [B / processes] of the batches that `iterate` gathers."""
        if self.batch % processes or not 0 <= process < processes:
            raise ValueError(f'process {process} of {processes} for a batch of {self.batch}')
        count = self.batch // processes
        # No thread reads ahead: the row numbers of a batch take less time than to hand them over.
        firsts = itertools.count(start * self.batch + process * count, self.batch)
        return (self.order.read(np.arange(first, first + count))['row'] for first in firsts)

    def held(self, mesh: Mesh | None) -> dict[str, jax.Array]:
        """The columns, whole on every device of a mesh; of None, on the first device."""
        sharding = mesh and NamedSharding(mesh, P())
        if sharding not in self._placed:
            self._placed = {sharding: jax.device_put(self.columns, sharding)}
        return self._placed[sharding]

    @staticmethod
    def gather(columns: Mapping[str, jax.Array], rows: jax.Array) -> dict[str, jax.Array]:
        """Rows int32 [B] of columns [N, ...]: a batch; pure, so that it may be part of a step."""
        return {name: column[rows] for name, column in columns.items()}


_gathered = jax.jit(Resident.gather)
