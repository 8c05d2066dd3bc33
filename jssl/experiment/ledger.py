"""The claim ledger: what every experiment's cpu preset measured, and the tables made of it."""

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import time

from jssl import sets
from jssl.errors import Refusal
from jssl.experiment import plans, registry, small_models

FILE = registry.ROOT / 'experiments' / 'ledger.json'
READMES = (registry.ROOT / 'experiments' / 'README.md', registry.ROOT / 'README.md')
BEGIN, END = '<!-- ledger: made by tools/ledger -->', '<!-- /ledger -->'
PLANNED = (
    'What `tools/ledger --plans` read off the compiled step, for one device; nothing was run. A\n'
    "tensor axis takes the devices that the paper's batch has no rows for."
)
SMALL = (
    'What `tools/zoo` measured on data held out, and what the papers that stand on a model need.'
)
CREDITS = (
    'What comes with the packages, lies in `jssl/data/vendored` or is drawn. Sets that you bring\n'
    'yourself keep their own terms.'
)
MARK = {'shown': '✓', 'not shown': '✗', 'inconclusive': '?'}


def main():
    """`tools/ledger [--only=SLUG,..] [--family=F] [--changed] [--plans]`; else the tables alone."""
    parser = argparse.ArgumentParser(
        prog='tools/ledger', description='Measures cpu presets and writes experiments/ledger.json.'
    )
    parser.add_argument('--only', help='slugs, separated by commas')
    parser.add_argument('--family', help='all experiments of a family')
    parser.add_argument(
        '--changed', action='store_true', help='those whose text changed since they were measured'
    )
    parser.add_argument('--all', action='store_true', help='every experiment')
    parser.add_argument(
        '--plans', action='store_true', help='plan the paper presets in place of measuring'
    )
    options = parser.parse_args()
    take = plans.record if options.plans else measure
    try:
        failed = [entry.slug for entry in chosen(options) if not take(entry)]
        write_tables()
    except Refusal as refusal:
        print(f'ledger: {refusal}', file=sys.stderr)
        raise SystemExit(2) from None
    if failed:
        print(f'ledger: no new row for {", ".join(failed)}; see above', file=sys.stderr)
        raise SystemExit(1)


def chosen(options) -> list[registry.Entry]:
    if options.only:
        return [registry.find(slug) for slug in options.only.split(',')]
    if options.family:
        return registry.entries(options.family)
    if options.changed:
        rows = read()
        return [e for e in registry.entries() if rows.get(e.slug, {}).get('source') != source(e)]
    return registry.entries() if options.all else []


def measure(entry: registry.Entry) -> bool:
    """Runs the cpu preset in a process of its own, and records its report if it finished."""
    print(f'ledger: {entry.slug}', flush=True)
    text = source(entry)
    folder = registry.ROOT / 'runs' / f'{entry.slug}-cpu'
    (folder / 'report.json').unlink(missing_ok=True)
    started = time.monotonic()
    command = [sys.executable, '-m', entry.module, '--preset=cpu', '--quiet']
    done = subprocess.run(command, cwd=registry.ROOT, check=False)
    if done.returncode or not (folder / 'report.json').exists():
        return False
    report = json.loads((folder / 'report.json').read_text())
    row = {
        'family': entry.family,
        'title': entry.title,
        'verdict': report['verdict'],
        'claims_shown': report['claims_shown'],
        'claims': report['claims'],
        'seconds': round(time.monotonic() - started, 1),  # with imports and compiling
        'seeds': report['config']['seeds'],
        **{k: report[k] for k in ('date', 'commit', 'device', 'versions', 'python', 'protocols')},
        'source': text,
    }
    write({**read(), entry.slug: row})
    return True


def source(entry: registry.Entry) -> str:
    """A digest of what a measurement rests on: the module's text but docstring and smoke preset."""
    text = entry.path.read_text(encoding='utf-8')
    left_out = set()
    for node in ast.parse(text).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'SMOKE'):
            left_out.update(range(node.lineno, node.end_lineno + 1))
    kept = [line for number, line in enumerate(text.splitlines(), 1) if number not in left_out]
    return hashlib.sha256('\n'.join(filter(None, kept)).encode()).hexdigest()[:16]


def read() -> dict:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def write(rows: dict):
    partial = FILE.with_suffix('.partial')
    partial.write_text(json.dumps(dict(sorted(rows.items())), indent=1, ensure_ascii=False) + '\n')
    os.replace(partial, FILE)


def write_tables():
    """Puts the tables between the marks: all of them in the folder's README, one in the front's."""
    for path in READMES:
        text = path.read_text()
        if BEGIN not in text or END not in text:
            raise Refusal(f'{path} lacks the marks {BEGIN} and {END}')
        path.write_text(with_tables(path, text, read()))


def with_tables(path, text: str, rows: dict) -> str:
    """`text` of a README with its part of the ledger made anew."""
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    detailed = path.parent.name == 'experiments'
    made = [overview(rows, '' if detailed else 'experiments/')]
    if detailed:
        made += [details(slug, row) for slug, row in by_family(rows)]
        made += [f'### Paper presets on a pod\n\n{PLANNED}\n\n{plans.table(plans.read())}']
        made += [f'### Small models of the zoo\n\n{SMALL}\n\n{small_models.table()}']
        made += [f'### Credits and licences of the data\n\n{CREDITS}\n\n{credits()}']
    return f'{before}{BEGIN}\n' + '\n\n'.join(made) + f'\n{END}{after}'


def by_family(rows: dict) -> list[tuple[str, dict]]:
    return sorted(rows.items(), key=lambda item: (item[1]['family'], item[0]))


def overview(rows: dict, folder: str = '') -> str:
    """A line per paper; a verdict on another text than today's says so."""
    now = {entry.slug: source(entry) for entry in registry.entries()}
    lines = ['| experiment | paper | verdict | claims shown | seconds |', '|---|---|---|---|---|']
    for slug, row in by_family(rows):
        link = f'[{row["family"]}/{slug}]({folder}{row["family"]}/{slug}.py)'
        verdict = row['verdict'] + (' (changed since)' if now.get(slug) != row['source'] else '')
        cells = (link, row['title'], verdict, row['claims_shown'], f'{row["seconds"]:.0f}')
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def credits() -> str:
    """A line per set that is here: where it is from, and on what terms."""
    lines = ['| set | what it is | source | licence and credit |', '|---|---|---|---|']
    for known in sets.table().values():
        if known.origin not in ('tfds', 'folder'):
            cells = (known.name, known.description, known.origin, sets.credit(known))
            lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def details(slug: str, row: dict) -> str:
    """Every claim of a paper, its figures beside the paper's own."""
    made = f'{row["seeds"]} seeds, {row["device"]}, {row["date"]}, commit {row["commit"]}'
    lines = [f'### {row["family"]}/{slug}', '', made, '']
    lines += ['| | claim | measured | wanted | the paper |', '|---|---|---|---|---|']
    for claim in row['claims']:
        found = claim['estimate']
        measured = f'{found["mean"]:.4g}' if isinstance(found['mean'], float) else found['mean']
        if isinstance(found['low'], float):
            measured += f' [{found["low"]:.3g}, {found["high"]:.3g}]'
        cells = (MARK[claim['verdict']], claim['claim'], measured, claim['target'], claim['paper'])
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
