"""Data sets by name: how to load one, what shape it has, what is missing.

    train = load('digits', 'train')            # {'image': uint8 [N, 8, 8, 1], 'label': int32 [N]}
    train = load('imagenet2012', 'train', size=224)        # records that are read when asked for

What there is stands in data/sets.txt, a line a set; `jssl.sets` reads it. The splits of a name,
'train', 'validation' and 'test', are fixed and disjoint; where a set has no validation split of its
own, the last records of its training split are held out. The prefix 'tfds:' gives TFDS's own splits
instead, 'tfds:imagenet2012' with 'train' all 1 281 167 images; the others read what lies at a path,
each as the function of its name in `readers` says. Nothing is ever downloaded: a set that is not
there is refused with the line that `missing` gives.
"""

import difflib
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jssl import sets
from jssl.data import readers, shards
from jssl.data.records import Records, check_on_error
from jssl.errors import Refusal

SETS: dict[str, sets.Set] = sets.table()
PREFIXES = ('tfds', 'folder', 'audio', 'text', 'jsonl', 'npy', 'npz', 'array_record')


def load(
    name: str, split: str, *, on_error: str | None = None, **options
) -> dict[str, np.ndarray] | Records:
    """Loads one split of a data set.

    Args:
      name: a name in `SETS`, 'tfds:NAME', or one of `PREFIXES` and a path: 'folder:PATH'.
      split: 'train', 'validation' or 'test', fixed and disjoint; some sets have more, and what is
        one graph has 'whole' alone.
      on_error: 'refuse', or 'skip', which puts the next record in the place of one that cannot be
        read (`Records`); None is the run's --data.on_error, or 'refuse'.
      **options: those of the reader: `size=` (centre square in pixels) and `data_dir=` for sets on
        disk, those of `dataset` in the generator's module for sets that are drawn. The record that
        `jssl data NAME` prints says which function reads a set.

    Returns:
      For sets in memory, columns {name: array [N, ...]}, of images {'image': uint8 [N, H, W, C],
      'label': int32 [N]}; for sets on disk but arrays, records: `len(records)`, `records[i]` ->
      {'image': uint8 [H, W, C], 'label': int32}.

    Raises: Refusal when the name is unknown, or the set or its package is not there.

    TensorFlow Datasets (tensorflow.org/datasets) prepares most of those on disk.
    """
    on_error = check_on_error(on_error)
    kind, rest = _parse(name)
    read = getattr(readers, kind) if kind else _load
    found = read(rest, split, **options)
    if isinstance(found, Records):
        found.on_error = on_error
    return found


def _load(name, split, **options):
    known = _known(name)
    readers.check_split(split, list(known.sizes), name)
    if known.origin == 'tfds':
        parts = {ours: readers.Part(*part) for ours, part in known.parts.items()}
        return readers.tfds(known.at, split, parts=parts, **options)
    if line := missing(name, data_dir=options.get('data_dir')):
        raise Refusal(line)
    if known.origin == 'folder':
        return readers.folder(_place(name, options.pop('data_dir', None)), split, **options)
    module, _, function = known.at.rpartition('.')
    read = getattr(importlib.import_module(f'jssl.data.{module}'), function)
    return read(**options) if split == 'whole' else read(split, **options)


def missing(name: str, *, data_dir: str | None = None) -> str | None:
    """One line that says what a data set lacks before `load` can read it; None when it is there.

    Args:
      name: as in `load`.
      data_dir: folder of prepared sets; None is $TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
      A line for people, which names the place where the set is expected, or the extra to install;
      or None.

    TensorFlow Datasets (tensorflow.org/datasets).
    """
    kind, rest = _parse(name)
    if kind == 'tfds':
        return readers.missing_tfds(rest, data_dir)
    if kind:
        return readers.missing(kind, rest)
    if name not in SETS:
        return _unknown(name)
    known = SETS[name]
    if known.origin == 'tfds':
        return readers.missing_tfds(known.at, data_dir)
    if known.origin == 'folder':
        place = _place(name, data_dir)
        return None if place.is_dir() else f'{name} is not on disk: unpack it as {place}/{known.at}'
    return sets.lacks(known)


def spec(
    name: str, batch: int, *, size: int | tuple[int, int] | None = None, **options
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of one batch, known without the data.

    Args:
      name: as in `load`.
      batch: B.
      size: side, or (H, W), where images are scaled; None is the size that papers use.
      **options: those of `load`, for sets that are no images.

    Returns:
      {'image': uint8 [B, H, W, C], 'label': int32 [B]} as `jax.ShapeDtypeStruct`s; of a set that is
      no images, all its columns but texts, after one item of it was drawn; of a prepared one, those
      that were written.

    Planning a step by shapes alone (jax.eval_shape).
    """
    kind, rest = _parse(name)
    if kind == 'array_record':
        return _prepared_spec(name, rest, batch)
    if kind and kind not in ('tfds', 'folder', 'npz'):
        raise Refusal(f'the shapes of {name} are not known beforehand: prepare it, or name a set')
    if kind and size is None:
        raise Refusal(f'the size of images in {name} is not known beforehand: give size=')
    known = None if kind else _known(name)
    if known and known.shape is None:
        few = {'count': 1} if known.origin == 'drawn' else {}
        first = load(name, next(iter(known.sizes)), **few, **options)
        arrays = {column: np.asarray(array) for column, array in first.items()}
        return {
            column: jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype)
            for column, array in arrays.items()
            if array.dtype.kind in 'biuf'
        }
    height, width, channels = known.shape if known else (0, 0, 3)
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
    return {
        'image': jax.ShapeDtypeStruct((batch, height, width, channels), jnp.uint8),
        'label': jax.ShapeDtypeStruct((batch,), jnp.int32),
    }


def _prepared_spec(name, path, batch):
    if line := missing(name):
        raise Refusal(line)
    fields = shards.read_record(Path(path).expanduser())['fields']
    fields = {k: v for k, v in fields.items() if v['dtype'] not in ('str', 'bytes')}
    if loose := [field for field, known in fields.items() if None in known['shape']]:
        raise Refusal(
            f'{name} has {loose[0]} of many shapes: prepare it with one, --size=, --length='
        )
    return {
        field: jax.ShapeDtypeStruct((batch, *known['shape']), known['dtype'])
        for field, known in fields.items()
    }


def describe(name: str | None = None) -> str:
    """All that is known of one data set, or a table of them all.

    Args:
      name: a name in `SETS`; None for all.

    Returns:
      Text, as `jssl data` prints it.

    TensorFlow Datasets' catalogue (tensorflow.org/datasets/catalog).
    """
    return sets.listing() if name is None else sets.record(_known(name))


def _parse(name):
    kind, colon, rest = name.partition(':')
    return (kind, rest) if colon and kind in PREFIXES else (None, name)


def _place(name, data_dir) -> Path:
    return Path(readers.root(data_dir)) / name


def _known(name) -> sets.Set:
    if name not in SETS:
        raise Refusal(_unknown(name))
    return SETS[name]


def _unknown(name):
    near = difflib.get_close_matches(name.lower(), SETS, n=1, cutoff=0.5)
    hint = f'the nearest is {near[0]!r}' if near else '`jssl data` lists those known'
    return f'unknown data set {name!r}: {hint}; or {", ".join(PREFIXES)} with a colon'
