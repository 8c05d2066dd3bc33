"""Sets too large for memory, and what is done to a set alike whether it is in memory or not.

A set is columns, {name: array [N, ...]}, or `Records`, which are read when they are asked for. Both
give a column by its name, `records['label']`, and `rows`, `with_columns` and `columns` take both.
"""

import concurrent.futures
import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from jssl.errors import Refusal

THREADS = 8  # that read and decode; both let go of the interpreter's lock
ON_ERROR = ('refuse', 'skip')

_unless_said = contextvars.ContextVar('on_error', default='refuse')
_noted = contextvars.ContextVar('skipped', default=None)


def check_on_error(on_error: str | None) -> str:
    """One of `ON_ERROR`, or refused; of None what `default_on_error` says, 'refuse' without it."""
    on_error = on_error or _unless_said.get()
    if on_error not in ON_ERROR:
        raise Refusal(f'on_error={on_error!r} is neither {" nor ".join(map(repr, ON_ERROR))}')
    return on_error


@contextlib.contextmanager
def default_on_error(on_error: str):
    """`on_error` of every `load` in this block that gives none: --data.on_error of a run.

    Gives a list, to which a line is added for every record that sets loaded in the block skip.
    """
    tokens = _unless_said.set(check_on_error(on_error)), _noted.set([])
    try:
        yield _noted.get()
    finally:
        for variable, token in zip((_unless_said, _noted), tokens, strict=True):
            variable.reset(token)


def skipped() -> list[str]:
    """The lines of the block that this is called in, sorted; none outside."""
    return sorted(_noted.get() or ())


class Records:
    """Random access to records that are read one at a time: `len(records)`, `records[i]`.

    `records['label']` is a column: of numbers an array, read once; of arrays a `Column`, read where
    it is indexed.

    A record that cannot be read is refused. With `on_error = 'skip'` the next one that can be read
    stands in its place, in columns too, each with a warning; `skipped` says why, {place: line}. To
    know who stands where, `records['label']` then reads everything once.

    Args:
      source: anything with `len` and `[i]`; a file list, a TFDS data source.
      read: what `source[i]` becomes, a dict of arrays.
      classes: names of the labels, where they are known.
      labels: () -> integers [len(source)], where labels can be had without the images.
      on_error: 'refuse' or 'skip'. A worker process counts what it skips itself.
    """

    def __init__(
        self,
        source: Sequence,
        read: Callable,
        classes: Sequence[str] | None = None,
        labels: Callable[[], np.ndarray] | None = None,
        on_error: str = 'refuse',
    ):
        check_on_error(on_error)
        self.source, self.read, self.classes, self.on_error = source, read, classes, on_error
        self.skipped: dict[int, str] = {}  # places in the source
        self._labels, self._order, self._more, self._read_already = labels, None, {}, {}
        self._noted = _noted.get()  # now, since threads that read have no context

    def __len__(self) -> int:
        return len(self.source if self._order is None else self._order)

    def __getitem__(self, item: int | str):
        if isinstance(item, str):
            return self._column(item)
        if not 0 <= item < len(self):
            raise IndexError(f'record {item} of {len(self)}')
        row, own = self._readable(int(item))
        return own | {name: column[row] for name, column in self._more.items()}

    def _readable(self, item):
        """(row, record) that stands at a row: the first from there on that can be read."""
        for row in itertools.chain(range(item, len(self)), range(item)):
            place = int(row if self._order is None else self._order[row])
            if place in self.skipped:
                continue
            try:
                return row, self.read(self.source[place])
            except Exception as error:
                if self.on_error == 'refuse':
                    raise
                self._skip(place, error)
        raise Refusal(f'none of {len(self)} records can be read: {self.skipped[place]}')

    def _skip(self, place, error):
        line = f'record {place} cannot be read: {error}'
        if self.skipped.setdefault(place, line) is line:  # of all threads one says so
            logging.warning('%s; skipped, %d of %d', line, len(self.skipped), len(self.source))
            if self._noted is not None:
                self._noted.append(line)

    @functools.cached_property
    def _standing(self):
        """The row that stands at each row; to skip none is to know it without reading."""
        if self.on_error == 'refuse':
            return slice(None)
        return np.array(by_threads(lambda i: self._readable(i)[0], range(len(self))), int)

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(record(self, 0))

    def _column(self, name):
        if name in self._more:
            column = self._more[name]
            return column if self.on_error == 'refuse' else column[self._standing]
        if name == 'label' and self._labels is not None:
            labels = np.asarray(self._labels(), np.int32)
            return (labels if self._order is None else labels[self._order])[self._standing]
        if name not in self.fields:
            raise Refusal(f'records have no field {name!r}, only {", ".join(self.fields)}')
        column = Column(self, name)
        if len(column.shape) > 1:
            return column
        if name not in self._read_already:
            self._read_already[name] = column[:]
        return self._read_already[name]

    def _derived(self, order, more):
        new = Records(self.source, self.read, self.classes, self._labels, self.on_error)
        new._order, new._more, new.skipped = order, more, self.skipped
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
        first = _array(record(records, 0)[name])
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

    return stack(by_threads(read, indices.tolist()), indices)


def by_threads(read: Callable, numbers: Sequence[int]) -> list:
    """[read(i) for i in numbers], a block of numbers a task: some reads are as short as a task."""
    size = min(64, -(-len(numbers) // THREADS)) or 1
    blocks = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda block: [read(i) for i in block], blocks)
        return list(itertools.chain.from_iterable(found))


def stack(examples: list[dict], indices: np.ndarray) -> dict[str, np.ndarray]:
    """Examples as columns; `indices` tell which they are, should their shapes differ."""
    stacked = {}
    for name in examples[0] if examples else ():
        values = [_array(example[name]) for example in examples]
        odd = next((i for i, v in enumerate(values) if v.shape != values[0].shape), None)
        if odd is not None:
            raise Refusal(
                f'records {indices[0]} and {indices[odd]} have {name} of different shapes, '
                f'{values[0].shape} and {values[odd].shape}: give load(..., size=), of sounds '
                'length=, or a transform'
            )
        stacked[name] = np.stack(values)
    return stacked


def _array(value):
    # NumPy's own strings end at a zero byte, and all are as long as the longest.
    return np.array(value, object) if isinstance(value, str) else np.asarray(value)
