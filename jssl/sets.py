"""The register of data sets: what there is, read from a table without importing numpy or jax."""

import functools
import importlib.metadata
import json
import pathlib
import re
from typing import NamedTuple

TABLE = pathlib.Path(__file__).parent / 'data' / 'sets.txt'
SPLITS = ('train', 'validation', 'test')
_COUNT = re.compile(r'(?:(\w+)=)?(?:(\w+)\[)?(\d+)(?::(\d+)\])?')


class Set(NamedTuple):
    """One line of the table."""

    name: str
    modality: str
    shape: tuple[int, ...] | None  # of an image; what papers feed when those on disk differ
    classes: int | None
    sizes: dict[str, int]  # items of every split; {'whole': n} where all is one graph
    parts: dict[str, tuple[str, int, int]]  # of TFDS's own splits: (split, start, stop)
    origin: str  # a package, a file below jssl/data, 'drawn', 'tfds' or 'folder'
    extra: str | None  # of pyproject.toml, which brings the package
    at: str  # the function below jssl.data that reads it, its TFDS name, or its folders
    licence: str
    description: str


@functools.cache
def table() -> dict[str, Set]:
    """All sets by name, in the order of the table."""
    lines = TABLE.read_text(encoding='utf-8').splitlines()
    sets = [_read(line) for line in lines if line and not line.startswith('#')]
    return {known.name: known for known in sets}


def _read(line: str) -> Set:
    name, modality, shape, classes, counts, origin, at, licence, description = (
        cell.strip() for cell in line.split('|')
    )
    sizes, parts = {}, {}
    for place, text in enumerate(counts.split()):
        split, own, start, stop = _COUNT.fullmatch(text).groups()
        split = split or SPLITS[place]
        sizes[split] = int(stop) - int(start) if own else int(start)
        if own:
            parts[split] = (own, int(start), int(stop))
    package, _, extra = origin.rstrip(']').partition(' [')
    return Set(
        name,
        modality,
        tuple(map(int, shape.split('x'))) if shape else None,
        int(classes) if classes else None,
        sizes,
        parts,
        package,
        extra or None,
        at,
        licence,
        description,
    )


def lacks(known: Set) -> str | None:
    """One line that names the extra to install before a set can be read, or None."""
    try:
        if known.extra:
            importlib.metadata.distribution(known.origin)
    except importlib.metadata.PackageNotFoundError:
        return f'{known.name} needs the extra {known.extra!r}: pip install jssl[{known.extra}]'
    return None


def credit(known: Set) -> str:
    """Licence of a set, and whom a vendored one was made by."""
    folder, _, file = known.origin.partition('/')
    if not file:
        return known.licence
    text = (TABLE.parent / folder / 'SOURCE.json').read_text(encoding='utf-8')
    makers = {(s['package'], s['version'], s['credit']) for s in json.loads(text)[file]['sources']}
    said = '; '.join(f'{package} {version}, {name}' for package, version, name in sorted(makers))
    return f'{known.licence} ({said})'


def listing(modality: str | None = None) -> str:
    """Name, modality, size, source and licence of all sets, or of one modality, as a table."""
    rows = [('name', 'modality', 'item', 'train / validation / test', 'source', 'licence')]
    for known in table().values():
        if modality in (None, known.modality):
            rows.append((*_cells(known), known.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(f'{cell:{width}}' for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(known):
    shape = 'x'.join(map(str, known.shape or ()))
    sizes = ' / '.join(f'{n:,}' for n in known.sizes.values())
    return known.name, known.modality, shape, sizes, known.origin


def record(known: Set) -> str:
    """All that the table says about one set, a line each."""
    _, modality, shape, _, origin = _cells(known)
    said = {
        'modality': modality,
        'item': shape,
        'classes': known.classes,
        'splits': ', '.join(f'{split} {n:,}' for split, n in known.sizes.items()),
        'source': f'{origin}, extra {known.extra!r}' if known.extra else origin,
        'read by': known.at,
        'licence': credit(known),
    }
    lines = [f'{known.name}: {known.description}', '']
    return '\n'.join(lines + [f'  {name:9} {value}' for name, value in said.items() if value])
