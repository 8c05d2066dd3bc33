"""Every experiment in the folder: its text, presets, smoke run and paper preset."""

import ast
import dataclasses
import json
import math
import re

import jax
import pytest

from jssl import train
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


def run_smoke(entry, folder, devices, **options):
    module = registry.load(entry)
    ctx = Context(
        module.SMOKE,
        slug=entry.slug,
        preset='smoke',
        folder=folder,
        progress=False,
        log=lambda line: None,
        mesh=train.make_mesh('data:1', devices[:1]),
        **options,
    )
    return module.run(module.SMOKE, ctx)


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
def test_smoke_runs_end_to_end(entry, tmp_path, devices):
    report = run_smoke(entry, tmp_path, devices)
    saved = json.loads((tmp_path / 'report.json').read_text())
    assert saved['slug'] == entry.slug
    assert saved['verdict'] in ('shown', 'not shown', 'inconclusive')
    assert len(report.rows) >= 2
    for row in report.rows:
        for name, value in row.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            assert finite or name.startswith(('t_', 'ratio')), f'{name} is {value}'
    for figure in saved['figures']:
        assert (tmp_path / figure).stat().st_size > 1000


@every
def test_paper_preset_has_shapes(entry):
    module = registry.load(entry)
    if not hasattr(module, 'build'):
        pytest.skip('trains no network')
    init, step = module.build(module.PAPER)
    state = jax.eval_shape(init, jax.random.key(0))
    key = jax.eval_shape(lambda: jax.random.key(0))
    after, metrics = jax.eval_shape(step, state, module.inputs(module.PAPER), key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), state, after)
    assert all(jax.tree.leaves(same)), 'a step changes the shape or type of its state'
    assert metrics
    assert all(m.shape == () for m in metrics.values())
