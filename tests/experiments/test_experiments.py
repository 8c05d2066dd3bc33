"""Every experiment in the folder: its text, presets, smoke run and paper preset."""

import ast
import dataclasses
import functools
import itertools
import json
import math
import pathlib
import re
import shutil

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from jssl import data, train
from jssl.experiment import Config, registry
from jssl.experiment.context import Context

ENTRIES = registry.entries()
ALLOWED = {
    'dataclasses',
    'functools',
    'itertools',
    'math',
    'typing',
    'collections',
    'jax',
    'numpy',
    'flax',
    'optax',
    'chex',
    'jssl',
    'scipy',
    'sklearn',
}
every = pytest.mark.parametrize('entry', ENTRIES, ids=lambda e: e.slug)
LOAD = data.load


def run_smoke(entry, folder, devices):
    module = registry.load(entry)
    ctx = Context(
        module.SMOKE,
        slug=entry.slug,
        preset='smoke',
        folder=folder,
        progress=False,
        log=lambda line: None,
        mesh=train.make_mesh('data:1', devices[:1]),
        checkpoint={'every': 1, 'seconds': None, 'keep': 100},
    )
    return module.run(module.SMOKE, ctx)


@pytest.fixture(scope='module')
def whole(tmp_path_factory, devices):
    """entry -> (report, folder) of a smoke run that nothing interrupts, each run once."""
    return functools.cache(lambda slug: _whole(slug, tmp_path_factory.mktemp(slug), devices))


def _whole(slug, folder, devices):
    return run_smoke(registry.find(slug), folder, devices), folder


def read_late(name, split, **options):
    """A packaged set as if it lay on disk: records in place of columns."""
    columns = LOAD(name, split, **options)
    if set(columns) != {'image', 'label'}:
        return columns
    read = lambda i: {name: column[i] for name, column in columns.items()}
    return data.Records(range(len(columns['label'])), read)


def killed(folder, copy):
    """A copy of a run's folder as it was after the first step of the fit in the middle."""
    fits = sorted((folder / 'fits').iterdir(), key=lambda fit: fit.stat().st_mtime_ns)
    *before, last = fits[: len(fits) // 2 + 1]
    for fit in before:
        shutil.copytree(fit, copy / 'fits' / fit.name)

    def not_yet(path, names):  # steps/2, digests/2.0.json
        numbered = pathlib.Path(path).name in ('steps', 'digests')
        return [name for name in names if numbered and int(name.split('.')[0]) > 1]

    shutil.copytree(last, copy / 'fits' / last.name, ignore=not_yet)


def drawn(spec):
    rng = np.random.default_rng(0)
    if np.issubdtype(spec.dtype, np.floating):
        return rng.uniform(0, 0.5, spec.shape).astype(spec.dtype)
    return rng.integers(0, 200 if spec.dtype == np.uint8 else 2, spec.shape).astype(spec.dtype)


def states(folder):
    """{fit: digests of every leaf of its last state, step and history}."""
    last = lambda fit: max((fit / 'digests').iterdir(), key=lambda f: int(f.name.split('.')[0]))
    return {fit.name: last(fit).read_text() for fit in (folder / 'fits').iterdir()}


@every
def test_reads_like_the_others(entry):
    text = entry.path.read_text()
    assert registry.paper(entry), 'no `Paper:` line'
    for part in ('Claim:', 'Differences from the paper:', f'python -m {entry.module} --preset=cpu'):
        assert part in entry.docstring, f'docstring lacks {part!r}'
    numbered = re.search(r'Differences from the paper:\s+1\. ', entry.docstring)
    assert numbered, 'differences are not numbered'
    assert text.count('\n') <= 360, 'too long: what in it belongs to jssl/?'
    assert text.endswith("if __name__ == '__main__':\n    experiment.main()\n")
    for node in ast.walk(ast.parse(text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        for name in names:
            assert name.split('.')[0] in ALLOWED, f'imports {name}'
    for name, _, _, comment in entry.fields:
        assert comment, f'Config.{name} has no comment with its table or section'


@every
def test_presets(entry):
    module = registry.load(entry)
    assert dataclasses.is_dataclass(module.Config)
    assert issubclass(module.Config, Config)
    assert module.Config() == module.PAPER
    for preset in (module.SMOKE, module.CPU, module.PAPER):
        assert type(preset) is module.Config
    assert module.CPU.seeds >= 3 or module.CPU.seeds == 1


@every
def test_smoke_runs_end_to_end(entry, whole):
    report, folder = whole(entry.slug)
    saved = json.loads((folder / 'report.json').read_text())
    assert saved['slug'] == entry.slug
    assert saved['verdict'] in ('shown', 'not shown', 'inconclusive')
    assert len(report.rows) >= 2
    for row in report.rows:
        for name, value in row.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            assert finite or name.startswith(('t_', 'ratio')), f'{name} is {value}'
    for figure in saved['figures']:
        assert (folder / figure).stat().st_size > 1000


@every
def test_a_killed_run_resumes_to_the_same_bits(entry, whole, tmp_path, devices, monkeypatch):
    """And its sets come as records, not columns. Pictures are drawn once, by the whole run."""
    report, folder = whole(entry.slug)
    killed(folder, tmp_path)
    assert states(tmp_path) != states(folder)
    monkeypatch.setattr(data, 'load', read_late)
    monkeypatch.setattr(Context, 'save_figure', lambda self, name, figure: plt.close(figure))
    resumed = run_smoke(entry, tmp_path, devices)
    assert states(tmp_path) == states(folder)
    untimed = lambda rows: [{k: v for k, v in row.items() if k != 'seconds'} for row in rows]
    assert untimed(resumed.rows) == untimed(report.rows)


@every
def test_one_and_eight_devices_give_the_same_losses(entry, devices):
    module = registry.load(entry)
    init, step = module.build(module.SMOKE)
    batch = jax.tree.map(drawn, module.inputs(module.SMOKE))
    one, eight = (
        train.fit(step, init, itertools.repeat(batch), steps=3, mesh=mesh, progress=False)[1]
        for mesh in (train.make_mesh('data:1', devices[:1]), train.make_mesh('data:8', devices))
    )
    assert one.keys() == eight.keys()
    for name, values in one.items():
        np.testing.assert_allclose(eight[name], values, rtol=2e-4, atol=1e-5, err_msg=name)


@every
def test_paper_preset_has_shapes(entry):
    module = registry.load(entry)
    init, step = module.build(module.PAPER)
    state = jax.eval_shape(init, jax.random.key(0))
    key = jax.eval_shape(lambda: jax.random.key(0))
    after, metrics = jax.eval_shape(step, state, module.inputs(module.PAPER), key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), state, after)
    assert all(jax.tree.leaves(same)), 'a step changes the shape or type of its state'
    assert metrics
    assert all(m.shape == () for m in metrics.values())
