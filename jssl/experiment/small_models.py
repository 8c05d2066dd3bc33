"""The zoo's small models on the command line: what there is, how good it was, training one."""

import dataclasses
import json
import os
import pathlib
import sys

from jssl.errors import Refusal, nearest
from jssl.experiment import config, registry

FOLDER = pathlib.Path(__file__).parents[1] / 'zoo'
FILE = FOLDER / 'measured.json'


def entries() -> dict[str, registry.Entry]:
    """The recipes by name, read from their text."""
    return {path.stem: registry.read(path, 'Recipe') for path in sorted(FOLDER.glob('tiny_*.py'))}


def entry(name: str) -> registry.Entry:
    known = entries()
    if name not in known:
        raise Refusal(f'no small model is called {name!r}{nearest(name, known)}')
    return known[name]


def read() -> dict:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def listing() -> str:
    """A line per model, and under it what it measured and what is needed of it."""
    lines, rows = [], read()
    for name, recipe in entries().items():
        row = rows.get(name)
        cost = (
            f'{row["parameters"]:,} parameters, {row["seconds"]:.0f} s' if row else 'not measured'
        )
        lines += [f'{name:20} {recipe.title}', f'{"":20} {cost}']
        lines += [f'{"":20} {line}' for line in qualities(row)] if row else []
    return '\n'.join(lines)


def table() -> str:
    """The same for a README."""
    lines = [
        '| model | what it is | parameters | seconds | measured (needed) |',
        '|---|---|---|---|---|',
    ]
    titles = {name: recipe.title for name, recipe in entries().items()}
    for name, row in read().items():
        if name in titles:
            cells = (name, titles[name], f'{row["parameters"]:,}', f'{row["seconds"]:.0f}')
            lines.append('| ' + ' | '.join((*cells, '; '.join(qualities(row)))) + ' |')
    return '\n'.join(lines)


def qualities(row: dict) -> list[str]:
    """'zero_shot 0.91 (0.8)' for every metric; what falls short says so."""
    texts = []
    for metric, value in row['quality'].items():
        floor = row['needs'].get(metric)
        short = '' if floor is None or value >= floor else ', falls short'
        texts.append(
            f'{metric} {value:.3g}' + (f' ({floor:g}{short})' if floor is not None else '')
        )
    return texts


def show(name: str, changes: dict[str, str]) -> str:
    """Trains a model, or reads it: docstring, recipe and quality."""
    known = entry(name)
    from jssl import zoo

    recipe = config.override(zoo.recipe_module(name).Recipe(), changes, prefix='')
    model = zoo.get(name, **dataclasses.asdict(recipe))
    rows = [
        f'  --{f"{field}={getattr(recipe, field)}":30} {comment}'
        for field, _, _, comment in known.fields
    ]
    return '\n'.join([known.docstring, '', *rows, '', *qualities(row(model))])


def row(model) -> dict:
    """What the listing says of a model."""
    from jssl import zoo

    return {
        'quality': model.quality,
        'needs': zoo.recipe_module(model.name).NEEDS,
        'parameters': model.parameters,
        'seconds': model.seconds,
    }


def main():
    """`tools/zoo [NAME ...]`: measures models as their recipes have them, all by default."""
    from jssl import zoo
    from jssl.experiment import ledger
    from jssl.train import runtime

    runtime.configure()
    try:
        for name in sys.argv[1:] or entries():
            found = row(zoo.get(name))  # before the file is read: others may measure too
            rows = read() | {name: found}
            partial = FILE.with_suffix('.partial')
            partial.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + '\n')
            os.replace(partial, FILE)
        ledger.write_tables()
    except Refusal as refusal:
        print(f'zoo: {refusal}', file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == '__main__':
    main()
