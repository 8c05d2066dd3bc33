"""The folder is the registry: experiments are found and described by reading their text."""

import ast
import importlib
import pathlib
import re
import sys
from typing import NamedTuple

from jssl.errors import Refusal, nearest
from jssl.experiment.config import PRESETS

ROOT = pathlib.Path(__file__).resolve().parents[2]

RUN_FLAGS = {
    '--preset': 'smoke (about 10 s), cpu (default: minutes on a laptop) or paper',
    '--config.FIELD': 'another value for a field of the Config, listed below',
    '--workdir': 'keeps checkpoints, and resumes from them; without it only the report is kept',
    '--seed': 'first seed (0); --config.seeds says how many',
    '--mesh': 'data:-1, data:4,fsdp:2, data:2,tensor:4 ...; default: what divides the batch',
    '--devices': 'simulated CPU devices; default: one per core',
    '--checkpoint_every': 'steps between checkpoints; default: none but by time',
    '--checkpoint_seconds': 'seconds between checkpoints (300)',
    '--heap': 'keep freed memory in the process (true): fewer page faults',
    '--cache': 'folder of compiled programs; "none" switches it off',
    '--distributed': 'join the processes of a cluster (false)',
    '--data.on_error': 'refuse (default) what cannot be read, or skip it with a warning',
    '--quiet': 'no progress lines (false)',
}

SEEDS = ('seeds', 'int', '3', 'repetitions, paired in claims')  # where a Config has no own


class Entry(NamedTuple):
    """One experiment, as its text describes it."""

    slug: str
    family: str
    path: pathlib.Path
    docstring: str
    fields: list[tuple[str, str, str, str]]  # name, type, the paper's value, comment

    @property
    def module(self) -> str:
        return f'experiments.{self.family}.{self.slug}'

    @property
    def title(self) -> str:
        return self.docstring.split('\n', 1)[0]


def entries(family: str | None = None) -> list[Entry]:
    """All experiments in order of family and slug, without importing any.

    A leading underscore keeps a module that was not measured yet out of the list.
    """
    files = sorted((ROOT / 'experiments').glob('*/*.py'))
    found = [read(path) for path in files if not path.name.startswith('_')]
    if family is None:
        return found
    chosen = [entry for entry in found if entry.family == family]
    if not chosen:
        raise Refusal(
            f'--family={family} has no experiments{nearest(family, {e.family for e in found})}'
        )
    return chosen


def find(name: str) -> Entry:
    """The experiment called SLUG or FAMILY/SLUG."""
    found = entries()
    for entry in found:
        if name in (entry.slug, f'{entry.family}/{entry.slug}', entry.module):
            return entry
    raise Refusal(f'no experiment is called {name!r}{nearest(name, [e.slug for e in found][:400])}')


def load(entry: Entry):
    """Imports the experiment's module."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(entry.module)


def read(path: pathlib.Path, kind: str = 'Config') -> Entry:
    """Docstring and the fields of the Config, or of another class, from the source text."""
    text = path.read_text()
    tree = ast.parse(text)
    lines = text.splitlines()
    fields = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == kind:
            for item in node.body:
                if isinstance(item, ast.AnnAssign):
                    _, _, comment = lines[item.end_lineno - 1][item.end_col_offset :].partition('#')
                    value = ast.unparse(item.value) if item.value else ''
                    name, type_ = ast.unparse(item.target), ast.unparse(item.annotation)
                    fields.append((name, type_, value, comment.strip()))
    return Entry(path.stem, path.parent.name, path, ast.get_docstring(tree) or '', fields)


def paper(entry: Entry) -> str:
    """The citation line of the docstring."""
    match = re.search(r'^Paper: (.*(?:\n[ ]{4,}.*)*)', entry.docstring, re.MULTILINE)
    return ' '.join(match[1].split()) if match else ''


def every_field(entry: Entry) -> list[tuple[str, str, str, str]]:
    """The fields of a Config with what it inherits."""
    own = {name for name, *_ in entry.fields}
    return [*([] if SEEDS[0] in own else [SEEDS]), *entry.fields]


def help_text(entry: Entry) -> str:
    """What --help prints: the docstring, the flags, the fields with the paper's values."""
    rows = [f'  {flag:22} {text}' for flag, text in RUN_FLAGS.items()]
    rows += ['', "fields, with the paper's values:"]
    for name, kind, value, comment in every_field(entry):
        flag = f'--config.{name}={value}'
        rows.append(f'  {flag:34} {kind}{": " + comment if comment else ""}')
    usage = f'python -m {entry.module} [--preset={"|".join(PRESETS)}] [flags]'
    return '\n'.join([entry.docstring, '', usage, '', 'flags:', *rows])


def answer_help(arguments: list[str]):
    """Prints the help and exits if a module of experiments is being run with --help.

    Called when the package `experiments` is imported, which `python -m` does before it imports the
    module: so --help answers at once, and not after importing jax.
    """
    match arguments:
        case [_, '-m', module, *flags] if {'--help', '-h', '-help'} & set(flags):
            if module.startswith('experiments.') and module.count('.') == 2:
                print(help_text(find(module)))
                raise SystemExit(0)
