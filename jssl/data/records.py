"""Sets too large for memory, and what is done to a set alike whether it is in memory or not.

A set is columns, {name: array [N, ...]}, or `Records`, which are read when they are asked for. Both
give a column by its name, `records['label']`, and `rows`, `with_columns` and `columns` take both.
"""

import concurrent.futures
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jssl.errors import Refusal

THREADS = 8  # that read and decode; both let go of the interpreter's lock


class Records:
    """Random access to records that are read one at a time: `len(records)`, `records[i]`.

    `records['label']` is a column: of numbers an array, read once; of arrays a `Column`, read where
    it is indexed.

    Args:
      source: anything with `len` and `[i]`; a file list, a TFDS data source.
      read: what `source[i]` becomes, a dict of arrays.
      classes: names of the labels, where they are known.
      labels: () -> integers [len(source)], where labels can be had without the images.
    """

    def __init__(
        self,
        source: Sequence,
        read: Callable,
        classes: Sequence[str] | None = None,
        labels: Callable[[], np.ndarray] | None = None,
    ):
        self.source, self.read, self.classes = source, read, classes
        self._labels, self._order, self._more, self._read_already = labels, None, {}, {}

    def __len__(self) -> int:
        return len(self.source if self._order is None else self._order)

    def __getitem__(self, item: int | str):
        if isinstance(item, str):
            return self._column(item)
        if not 0 <= item < len(self):
            raise IndexError(f'record {item} of {len(self)}')
        place = item if self._order is None else self._order[item]
        own = self.read(self.source[int(place)])
        return own | {name: column[item] for name, column in self._more.items()}

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(record(self, 0))

    def _column(self, name):
        if name in self._more:
            return self._more[name]
        if name == 'label' and self._labels is not None:
            labels = np.asarray(self._labels(), np.int32)
            return labels if self._order is None else labels[self._order]
        if name not in self.fields:
            raise Refusal(f'records have no field {name!r}, only {", ".join(self.fields)}')
        column = Column(self, name)
        if len(column.shape) > 1:
            return column
        if name not in self._read_already:
            self._read_already[name] = column[:]
        return self._read_already[name]

    def _derived(self, order, more):
        new = Records(self.source, self.read, self.classes, self._labels)
        new._order, new._more = order, more
        return new

    def rows(self, keep) -> 'Records':
        """Some of the records: see `rows`."""
        chosen = np.arange(len(self))[keep]
        order = chosen if self._order is None else self._order[chosen]
        return self._derived(order, {k: v[keep] for k, v in self._more.items()})

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> 'Records':
        """Records with more fields, or others in place of their own: see `with_columns`."""
        return self._derived(self._order, self._more | dict(columns))


class Column:
    """One field of records: `len`, `shape`, `[i]`, `[slice | rows | mask]` -> array, by threads.

    NumPy functions take it as the array that it stands for, and then read all of it.
    """

    def __init__(self, records: Records, name: str):
        self.records, self.name = records, name
        first = np.asarray(record(records, 0)[name])
        self.shape, self.dtype = (len(records), *first.shape), first.dtype

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index) -> np.ndarray:
        chosen = np.arange(len(self))[index]
        if not chosen.ndim:
            return record(self.records, int(chosen))[self.name]
        found = read_rows(self.records, chosen, (self.name,))
        return found[self.name] if found else np.zeros((0, *self.shape[1:]), self.dtype)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def rows(source: Mapping | Records, keep):
    """Some rows of a set.

    Args:
      source: columns [N, ...], or records, which are not read for it.
      keep: a mask [N], rows, or a slice.

    Returns:
      The same kind of set, shorter.
    """
    if isinstance(source, Records):
        return source.rows(keep)
    return {
        name: Column(column.records.rows(keep), column.name)
        if isinstance(column, Column)
        else column[keep]
        for name, column in source.items()
    }


def with_columns(source: Mapping | Records, **columns: np.ndarray):
    """A set with more columns, or with others in place of its own.

    Args:
      source: columns [N, ...], or records.
      **columns: arrays [N, ...].

    Returns:
      The same kind of set.
    """
    count = len(source) if isinstance(source, Records) else len(next(iter(source.values())))
    for name, column in columns.items():
        if len(column) != count:
            raise ValueError(f'{name} has {len(column)} rows, the set {count}')
    if isinstance(source, Records):
        return source.with_columns(columns)
    return {**source, **columns}


def columns(source: Mapping | Sequence, fields: Sequence[str] | None = None) -> dict:
    """A set in memory.

    Args:
      source: columns, or records, each of which is read once.
      fields: names of the columns to keep; None keeps all.

    Returns:
      {name: array [N, ...]}.
    """
    if isinstance(source, Mapping):
        return {name: np.asarray(source[name]) for name in fields or source}
    return read_rows(source, np.arange(len(source)), fields)


def record(source: Sequence, i: int) -> dict[str, np.ndarray]:
    """One record; one that cannot be read is refused by its number."""
    try:
        return source[i]
    except Exception as error:
        raise Refusal(f'record {i} cannot be read: {error}') from error


def read_rows(source: Sequence, indices: np.ndarray, fields: Sequence[str] | None = None) -> dict:
    """Records, read by threads and stacked: {name: array [len(indices), ...]}."""

    def read(i):
        example = record(source, i)
        return {name: example[name] for name in fields or example}

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return stack(list(pool.map(read, indices.tolist())), indices)


def stack(examples: list[dict], indices: np.ndarray) -> dict[str, np.ndarray]:
    """Examples as columns; `indices` tell which they are, should their shapes differ."""
    stacked = {}
    for name in examples[0] if examples else ():
        values = [np.asarray(example[name]) for example in examples]
        odd = next((i for i, v in enumerate(values) if v.shape != values[0].shape), None)
        if odd is not None:
            raise Refusal(
                f'records {indices[0]} and {indices[odd]} have {name} of different shapes, '
                f'{values[0].shape} and {values[odd].shape}: give load(..., size=) or a transform'
            )
        stacked[name] = np.stack(values)
    return stacked
