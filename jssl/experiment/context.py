"""What `run(config, ctx)` is handed: fits with a place to resume from, keys, rows, the report."""

import dataclasses
import itertools
import math
import pathlib
import time
from collections.abc import Callable

import jax
import numpy as np

from jssl import train
from jssl.data import records
from jssl.errors import Refusal
from jssl.experiment import figures
from jssl.experiment.report import Report


class Context:
    """The surroundings of one run of one experiment.

    Attributes:
      seeds: the seeds to repeat everything with.
      rows: what `add` collected.
    """

    def __init__(
        self,
        config,
        *,
        slug: str,
        title: str = '',
        preset: str = 'cpu',
        seed: int = 0,
        mesh: str | None = None,
        folder: pathlib.Path | str | None = None,
        checkpoint: dict | None = None,
        log: Callable[[str], None] = print,
        progress: bool = True,
    ):
        self.config, self.slug, self.title, self.preset = config, slug, title, preset
        self.seeds = range(seed, seed + config.seeds)
        self.folder = pathlib.Path(folder or f'runs/{slug}-{preset}')
        self.rows: list[dict] = []
        self.log, self._mesh, self._progress = log, mesh, progress
        self._checkpoint, self._names = checkpoint, set()
        self._figures, self._protocols = [], {}
        self._started = time.monotonic()

    def key(self, seed: int) -> jax.Array:
        """The key of a seed: the same for every method, so that methods are paired."""
        return jax.random.key(seed)

    def grid(self, **axes):
        """Every combination of the axes' values, the last axis fastest, announced one by one."""
        combinations = list(itertools.product(*axes.values()))
        for number, values in enumerate(combinations, 1):
            named = ' '.join(f'{k}={v}' for k, v in zip(axes, values, strict=True))
            if self._progress:
                seconds = time.monotonic() - self._started
                self.log(f'[{number}/{len(combinations)}] {named}  ({seconds:.0f} s)')
            yield values[0] if len(values) == 1 else values

    def fit(self, step, init, batches=None, *, steps: int, seed: int, name: str, every=None):
        """`train.fit` under this run's mesh; with a workdir it is saved, and resumed, under `name`.

        Args: as `train.fit`; `name` is unique in the run ('simclr-0'), `seed` gives the key.
        Returns: the last state, and the history.
        """
        if name in self._names:
            raise ValueError(f'two fits are called {name!r}; checkpoints need a name each')
        self._names.add(name)
        checkpoint = None
        if self._checkpoint is not None:
            checkpoint = train.Checkpoint(self.folder / 'fits' / name, **self._checkpoint)
        return train.fit(
            step,
            init,
            batches,
            steps=steps,
            key=self.key(seed),
            mesh=self._mesh,
            checkpoint=checkpoint,
            config=dataclasses.asdict(self.config),
            log=self.log,
            every=every,
            name=name,
            progress=self._progress,
        )

    def add(self, **row):
        """Adds a measurement: factors are str, int and bool; metrics are floats or 0-d arrays."""
        clean = {}
        for name, value in row.items():
            if hasattr(value, 'protocol'):
                self._protocols[name] = _named(name, value.protocol)
            if isinstance(value, bool | int | str):
                clean[name] = value
            else:
                clean[name] = float(np.asarray(value))
        self.rows.append(clean)

    def save_figure(self, name: str, figure):
        """Writes `name`.png beside the report."""
        from matplotlib import pyplot

        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / f'{name}.png', dpi=110)
        pyplot.close(figure)
        self._figures.append(f'{name}.png')

    def report(self, *claims) -> Report:
        """Judges the claims, writes report.json and report.png, and prints table and verdicts."""
        if not self.rows or not claims:
            raise Refusal(f'{self.slug} measured nothing: `run` must `add` rows and give claims')
        report = Report(
            slug=self.slug,
            title=self.title,
            preset=self.preset,
            config=dataclasses.asdict(self.config),
            rows=self.rows,
            protocols=self._protocols,
            verdicts=[claim.judge(self.rows) for claim in claims],
            seconds=time.monotonic() - self._started,
            figures=[*self._figures, 'report.png'],
            skipped=records.skipped(),
        )
        self.save_figure('report', figures.measurements(report))
        report.write(self.folder)
        self.log(report.text())
        self.log(f'report, table and pictures: {self.folder}')
        return report


def _named(column: str, protocol: str) -> str:
    return protocol if protocol.startswith(f'{column}/') else f'{column} [{protocol}]'


def is_finite(row: dict) -> bool:
    """Whether every metric of a row is a number."""
    return all(math.isfinite(v) for v in row.values() if isinstance(v, float))
