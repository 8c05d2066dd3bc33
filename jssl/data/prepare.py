"""Turns a set into shards of ArrayRecord files, which 'array_record:TARGET' reads at random.

    tools/prepare folder:~/photos ~/sets/photos --size=224
    tools/prepare stdlib_prose ~/sets/prose --splits=train,test

Everything is written below TARGET.partial, which gets its name when it is whole. The same command
goes on where it was stopped, and ends with the same bytes.
"""

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from jssl.data import readers, shards, sources
from jssl.data.records import by_threads, check_on_error, record
from jssl.errors import Refusal


def prepare(
    source: str,
    target: str | os.PathLike,
    *,
    splits: Sequence[str] | None = None,
    shard: int = 1000,
    on_error: str = 'refuse',
    **options,
) -> dict:
    """Writes the splits of a set as ArrayRecord files.

    Args:
      source: a name, as in `load`.
      target: the folder to make.
      splits: of the source; None is all that a name has, and train, validation and test of a path.
      shard: examples of a file.
      on_error: 'skip' leaves out what cannot be read, with a warning, and names it in set.json.
      **options: those of `load`: size, rate, length, fields ...

    Returns:
      What set.json says (`shards`).

    ArrayRecord (github.com/google/array_record).
    """
    check_on_error(on_error)
    target = Path(target).expanduser()
    if target.exists():
        raise Refusal(f'{target} exists: remove it, or name another place')
    known = sources.SETS.get(source)
    splits = list(splits or (known.sizes if known else readers.SPLITS))
    found = {split: sources.load(source, split, **options) for split in splits}
    plan = {
        'source': source,
        'options': options,
        'on_error': on_error,
        'shard': shard,
        'items': {split: _items(columns, source) for split, columns in found.items()},
        'classes': getattr(found[splits[0]], 'classes', None),
    }
    plan = json.loads(json.dumps(plan))  # as it is read again
    folder = shards.partial(target)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made = _begin(folder, plan)
        for split, columns in found.items():
            _write_split(folder, made, split, columns)
        folder.rename(target)
    except BlockingIOError:
        raise Refusal(f'{folder} is being written by another process') from None
    finally:
        os.close(lock)
    return made


def _items(columns, source):
    if not isinstance(columns, Mapping):
        return len(columns)
    counts = {len(column) if np.ndim(column) else 0 for column in columns.values()}
    if len(counts) != 1:
        raise Refusal(f'{source} is one whole, not a set of examples: there is nothing to shard')
    return counts.pop()


def _begin(folder, plan):
    """What was written before, by the same plan, or nothing yet."""
    if not (folder / shards.RECORD).exists():
        return plan | {'fields': {}, 'splits': {split: [] for split in plan['items']}}
    made = shards.read_record(folder)
    if other := [name for name in plan if made[name] != plan[name]]:
        raise Refusal(
            f'{folder} was begun with {other[0]} {made[other[0]]}, now {plan[other[0]]}: '
            'give the same again, or remove it'
        )
    return made


def _write_split(folder, made, split, columns):
    written, count, size = made['splits'][split], made['items'][split], made['shard']
    for number in range(len(written), -(-count // size)):
        numbers = range(number * size, min((number + 1) * size, count))
        examples, skipped = _read(columns, numbers, made['on_error'])
        for example in examples:
            _note(made['fields'], example)
        labelled = shards.labelled(made['fields'])
        shard = shards.write(
            folder,
            f'{split}-{number:05}',
            [shards.pack(example) for example in examples],
            [example['label'] for example in examples] if labelled else None,
        )
        written.append(shard | {'skipped': skipped})
        shards.write_record(folder, made)
        print(f'{split}: {numbers.stop} of {count}', file=sys.stderr)
    if not sum(shard['count'] for shard in written):
        raise Refusal(f'{split} has no example that can be read')


def _read(columns, numbers, on_error):
    """(examples, lines on those that cannot be read)."""

    def read(i):
        try:
            return _example(columns, i)
        except Refusal as refusal:
            if on_error == 'refuse':
                raise
            logging.warning('%s; left out', refusal)
            return str(refusal)

    found = by_threads(read, numbers)
    return [x for x in found if isinstance(x, dict)], [x for x in found if isinstance(x, str)]


def _example(columns, i):
    if isinstance(columns, Mapping):
        return {name: column[i] for name, column in columns.items()}
    return record(columns, i)


def _note(fields, example):
    """Adds an example's dtypes and shapes to those that are known."""
    if fields and fields.keys() != example.keys():
        raise Refusal(f'an example has {", ".join(example)}, those before {", ".join(fields)}')
    for name, value in example.items():
        text = isinstance(value, (str, bytes))
        dtype = type(value).__name__ if text else str(np.asarray(value).dtype)
        shape = [] if text else list(np.shape(value))
        known = fields.setdefault(name, {'dtype': dtype, 'shape': shape})
        if known['dtype'] != dtype or len(known['shape']) != len(shape):
            raise Refusal(f'{name} is {dtype} {shape} here and {known} before')
        known['shape'] = [a if a == b else None for a, b in zip(known['shape'], shape, strict=True)]


def main(arguments: Sequence[str] | None = None):
    """`tools/prepare SOURCE TARGET [--splits=] [--shard=] [--on_error=] [--OPTION=VALUE ...]`."""
    parser = argparse.ArgumentParser(
        prog='tools/prepare',
        allow_abbrev=False,
        description='Writes a set as ArrayRecord files, atomically and resumably.',
        epilog='Other --OPTION=VALUE go to the reader: --size=224, --rate=16000, --fields=text,id.',
    )
    parser.add_argument('source', help='a name, or tfds:NAME, folder:PATH, audio:PATH, ...')
    parser.add_argument('target', help='the folder to make')
    parser.add_argument('--splits', help='separated by commas; all there are by default')
    parser.add_argument('--shard', type=int, default=1000, help='examples of a file')
    parser.add_argument('--on_error', default='refuse', help='refuse or skip what is unreadable')
    known, others = parser.parse_known_args(arguments)
    try:
        made = prepare(
            known.source,
            known.target,
            splits=known.splits.split(',') if known.splits else None,
            shard=known.shard,
            on_error=known.on_error,
            **dict(map(_option, others)),
        )
    except (Refusal, OSError) as error:  # a full disk
        print(f'jssl: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print('jssl: stopped; the same command goes on from here', file=sys.stderr)
        raise SystemExit(130) from None
    except TypeError as error:
        if 'unexpected keyword' not in str(error):
            raise
        print(f'jssl: {known.source}: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    for split, written in made['splits'].items():
        count = sum(shard['count'] for shard in written)
        skipped = sum(len(shard['skipped']) for shard in written)
        print(f'{split}: {count} examples in {len(written)} files, {skipped} skipped')


def _option(argument):
    name, separator, value = argument.removeprefix('--').partition('=')
    if not argument.startswith('--') or not separator:
        raise Refusal(f'{argument} is not an option of the form --name=value')
    if name == 'fields':
        return name, value.split(',')
    return name, int(value) if value.isdecimal() else value


if __name__ == '__main__':
    main()
