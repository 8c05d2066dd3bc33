"""What a run leaves: rows, claims with verdicts, a table, report.json and a picture."""

import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
from typing import NamedTuple

from jssl.experiment.claims import Verdict, estimate, worst

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


class Report(NamedTuple):
    """A finished run."""

    slug: str
    title: str
    preset: str
    config: dict
    rows: list[dict]
    protocols: dict[str, str]
    verdicts: list[Verdict]
    seconds: float
    figures: list[str]
    skipped: list[str]  # records that could not be read, with --data.on_error=skip

    @property
    def verdict(self) -> str:
        return worst(v.verdict for v in self.verdicts)

    def asdict(self) -> dict:
        shown = sum(v.verdict == 'shown' for v in self.verdicts)
        return {
            'slug': self.slug,
            'title': self.title,
            'preset': self.preset,
            'verdict': self.verdict,
            'claims_shown': f'{shown} of {len(self.verdicts)}',
            'claims': [
                {**v._asdict(), 'estimate': v.estimate._asdict(), 'text': v.text}
                for v in self.verdicts
            ],
            'rows': self.rows,
            'protocols': self.protocols,
            'config': self.config,
            'seconds': round(self.seconds, 1),
            'figures': self.figures,
            'skipped': self.skipped,
            **surroundings(),
        }

    def table(self) -> str:
        """Mean and half-width of the 95 % interval over seeds, a line per combination of
        factors."""
        groups = {}
        for row in self.rows:
            factors = tuple((k, v) for k, v in row.items() if k != 'seed' and not _metric(v))
            groups.setdefault(factors, []).append(row)
        # A row's own metrics decide the table it stands in, so that no table is mostly empty.
        tables = {}
        for factors, rows in groups.items():
            metrics = tuple(k for k, v in rows[0].items() if _metric(v))
            names = tuple(k for k, _ in factors)
            # Some seeds may measure more than others.
            values = [[row[m] for row in rows if m in row] for m in metrics]
            cells = [str(v) for _, v in factors] + [_cell(v) for v in values]
            tables.setdefault((names, metrics), []).append(cells)
        return '\n\n'.join(
            grid([*names, *(self.protocols.get(m, m) for m in metrics)], cells)
            for (names, metrics), cells in tables.items()
        )

    def text(self) -> str:
        lines = [self.table(), '']
        lines += [f'{v.verdict:>12}  {v.text}' for v in self.verdicts]
        if self.skipped:
            lines += ['', f'{len(self.skipped)} records skipped, as {self.skipped[0]}']
        lines += ['', f'{self.slug} ({self.preset}): {self.verdict} in {self.seconds:.0f} s']
        return '\n'.join(lines)

    def write(self, folder: pathlib.Path):
        """report.json, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / 'report.json.partial'
        partial.write_text(json.dumps(finite(self.asdict()), indent=1) + '\n')
        partial.replace(folder / 'report.json')


def surroundings() -> dict:
    """Versions, device, date and commit: what a figure depends on besides the code's text."""
    import jax

    devices = jax.devices()
    return {
        'versions': {p: importlib.metadata.version(p) for p in PACKAGES},
        'python': platform.python_version(),
        'device': f'{len(devices)} x {devices[0].device_kind}',
        'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
        'commit': commit(),
    }


def commit() -> str:
    """The commit of this code, with + where files differ from it; '' outside a checkout."""
    command = ['git', 'describe', '--always', '--dirty=+', '--abbrev=12', '--match=']
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ''
    return done.stdout.strip()


def grid(header: list[str], rows: list[list[str]]) -> str:
    """Columns aligned, a rule under the header."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ['-' * w for w in widths], *rows]
    return '\n'.join(
        '  '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def finite(tree):
    """JSON has no nan and no inf: they become text."""
    if isinstance(tree, dict):
        return {k: finite(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(v) for v in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return str(tree)
    return tree


def _metric(value) -> bool:
    return isinstance(value, float)


def _cell(values) -> str:
    mean, low, high, seeds = estimate(values)
    if seeds < 2 or not math.isfinite(high):
        return f'{mean:.4g}'
    return f'{mean:.4g} ± {(high - low) / 2:.2g}'
