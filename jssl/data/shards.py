"""Prepared sets: shards of examples in ArrayRecord files, and set.json, which says what they hold.

SPLIT-00000.array_record   examples, each {field: array or text} as flax.serialization's msgpack
SPLIT-00000.label.npy      their labels, where they have some
set.json                   source, options, classes; fields: dtype and shape, null where it
                           varies; of every shard: count, bytes, sha256, what was skipped
"""

import bisect
import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from flax import serialization

from jssl.errors import Refusal

RECORD = 'set.json'


def partial(target: Path) -> Path:
    """Where a set lies until it is whole."""
    return target.with_name(target.name + '.partial')


def pack(example: dict) -> bytes:
    """Bytes of an example of arrays and texts."""
    plain = {}
    for name, value in example.items():
        plain[name] = value if isinstance(value, (str, bytes)) else np.asarray(value)
        if getattr(plain[name], 'dtype', np.dtype(int)).kind not in 'biufc':
            raise Refusal(f'{name} is neither numbers nor a text, but {plain[name].dtype}')
    return serialization.msgpack_serialize(plain)


def unpack(packed: bytes) -> dict:
    """The example that `pack` packed; arrays are read-only."""
    return serialization.msgpack_restore(packed)


def write(folder: Path, name: str, examples: Sequence[bytes], label: Sequence | None) -> dict:
    """Writes a shard, whole or not at all.

    Args:
      folder: where.
      name: of the shard, without suffix.
      examples: what `pack` made.
      label: one whole number an example; None where they have none.

    Returns:
      Its file, count, bytes and sha256.
    """
    file, new = folder / f'{name}.array_record', folder / 'new'
    if label is not None:
        with open(new, 'wb') as opened:
            np.save(opened, np.asarray(label, np.int32))
        settle(new, folder / f'{name}.label.npy')
    writer = ArrayRecordWriter(str(new), 'group_size:1')  # every example is read by itself
    for example in examples:
        writer.write(example)
    writer.close()
    settle(new, file)
    with open(file, 'rb') as opened:
        digest = hashlib.file_digest(opened, 'sha256').hexdigest()
    return {
        'file': file.name,
        'count': len(examples),
        'bytes': file.stat().st_size,
        'sha256': digest,
    }


def write_record(folder: Path, made: dict):
    """Writes set.json, whole or not at all."""
    (folder / 'new').write_text(json.dumps(made, indent=1) + '\n', encoding='utf-8')
    settle(folder / 'new', folder / RECORD)


def read_record(folder: Path) -> dict:
    """What set.json says."""
    try:
        return json.loads((folder / RECORD).read_text(encoding='utf-8'))
    except ValueError as error:
        raise Refusal(f'{folder / RECORD} is damaged: {error}') from error


def settle(new: Path, file: Path):
    """Gives a written file its name once its bytes are on the disk."""
    with open(new, 'rb') as opened:
        os.fsync(opened.fileno())
    new.replace(file)


class Shards:
    """Packed examples of some shards, by number: `len`, `[i]`.

    Args:
      folder: of the set.
      shards: what `write` returned of each.
    """

    def __init__(self, folder: Path, shards: Sequence[dict]):
        self.files = [folder / shard['file'] for shard in shards]
        for file, shard in zip(self.files, shards, strict=True):
            size = file.stat().st_size if file.is_file() else 0
            if size != shard['bytes']:
                raise Refusal(
                    f'{file} has {size} bytes of {shard["bytes"]}: copy it anew, or remove '
                    f'{folder} and prepare it again'
                )
        counts = [shard['count'] for shard in shards]
        self.starts = [0, *itertools.accumulate(counts)]
        self.source = grain.sources.ArrayRecordDataSource(
            [f'{file}[0:{count}]' for file, count in zip(self.files, counts, strict=True)]
        )

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, i: int) -> bytes:
        try:
            return self.source[i]
        except RuntimeError as error:
            file = self.files[bisect.bisect_right(self.starts, i) - 1]
            raise Refusal(f'{file} is damaged: {error}') from error


def labelled(fields: dict) -> bool:
    """Whether every example has one label, by the fields of set.json."""
    label = fields.get('label', {'dtype': '', 'shape': None})
    return label['shape'] == [] and 'int' in label['dtype']


def labels(folder: Path, shards: Sequence[dict]) -> np.ndarray:
    """Labels of some shards, int32 [N]."""
    return np.concatenate([_label(folder, shard) for shard in shards if shard['count']])


def _label(folder, shard):
    file = folder / shard['file'].replace('.array_record', '.label.npy')
    try:
        label = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Refusal(f'{file} is damaged: {error}') from error
    if label.shape != (shard['count'],):
        raise Refusal(f'{file} has labels {list(label.shape)}, for {shard["count"]} examples')
    return label
