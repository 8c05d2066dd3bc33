"""The table in experiments/README.md is the ledger's, and every experiment has a row."""

import json
import math
import subprocess
import types

import jax
import jax.numpy as jnp
import pytest

from jssl.experiment import Claim, Config, ledger, plans, registry
from jssl.experiment.claims import worst
from jssl.experiment.context import Context


@pytest.mark.parametrize('path', ledger.READMES, ids=lambda p: str(p.relative_to(registry.ROOT)))
def test_tables_are_current(path):
    text = path.read_text()
    assert ledger.with_tables(path, text, ledger.read()) == text, 'run tools/ledger'


def test_every_experiment_has_a_row_and_every_row_an_experiment():
    assert {e.slug for e in registry.entries()} == set(ledger.read())


@pytest.mark.parametrize('slug', sorted(ledger.read()))
def test_verdicts_follow_from_the_recorded_figures(slug):
    row = ledger.read()[slug]
    assert row['verdict'] == worst(c['verdict'] for c in row['claims'])
    for claim in row['claims']:
        if claim['verdict'] == 'shown' and claim['target'].startswith('>='):
            assert claim['estimate']['mean'] >= float(claim['target'].split()[1])


def test_a_failed_run_leaves_the_ledger_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, 'FILE', tmp_path / 'ledger.json')
    ledger.write({'kept': {'family': 'f'}})
    broken = tmp_path / 'experiments' / 'f'
    broken.mkdir(parents=True)
    (broken / 'broken.py').write_text('raise SystemExit(2)\n')
    monkeypatch.setattr(registry, 'ROOT', tmp_path)
    assert not ledger.measure(registry.read(broken / 'broken.py'))
    assert json.loads(ledger.FILE.read_text()) == {'kept': {'family': 'f'}}


def test_a_finished_run_is_recorded_with_its_figures(tmp_path, monkeypatch):
    folder = tmp_path / 'experiments' / 'f'
    folder.mkdir(parents=True)
    (folder / 'tiny.py').write_text('"""Tiny: a title."""\n\nsteps = 1\n')
    monkeypatch.setattr(ledger, 'FILE', tmp_path / 'ledger.json')
    monkeypatch.setattr(registry, 'ROOT', tmp_path)

    def finished(command, *, cwd, check):
        assert command[1:4] == ['-m', 'experiments.f.tiny', '--preset=cpu']
        silent = {'log': lambda line: None, 'folder': cwd / 'runs' / 'tiny-cpu'}
        ctx = Context(Config(), slug='tiny', **silent)
        for seed in ctx.seeds:
            ctx.add(method='a', seed=seed, x=1.0)
            ctx.add(method='b', seed=seed, x=0.5 + 0.01 * seed)
        ctx.report(Claim('x', 'a', 'b', margin=0.1, paper='9 points'))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(ledger.subprocess, 'run', finished)
    monkeypatch.setattr('jssl.experiment.report.commit', lambda: 'abc')
    entry = registry.read(folder / 'tiny.py')
    assert ledger.measure(entry)
    row = ledger.read()['tiny']
    assert row['verdict'] == 'shown'
    assert row['source'] == ledger.source(entry)
    table = ledger.details('tiny', row)
    assert '[f/tiny](experiments/f/tiny.py) | Tiny: a title. | shown | 1 of 1' in ledger.overview(
        ledger.read(), 'experiments/'
    )
    same = '"""Tiny: a title, and more."""\n\nsteps = 1\nSMOKE = dict(\n    steps=1\n)\n'
    (folder / 'tiny.py').write_text(same)
    assert '(changed since)' not in ledger.overview(ledger.read())
    (folder / 'tiny.py').write_text('"""Tiny: a title."""\n\nsteps = 2\n')
    assert '| shown (changed since) |' in ledger.overview(ledger.read())
    assert '| ✓ | x: a - b | 0.49 ' in table
    assert '| 9 points |' in table


def test_every_paper_preset_that_trains_is_planned_for_8_and_256_devices():
    trained = {e.slug for e in registry.entries() if hasattr(registry.load(e), 'build')}
    recorded = plans.read()
    assert set(recorded) == trained
    for slug, made in recorded.items():
        for devices, plan in made.items():
            sizes = [int(part.split(':')[1]) for part in plan['mesh'].split(',')]
            assert math.prod(sizes) == int(devices), slug
            assert min(plan['state'], plan['temporaries'], plan['flops']) > 0, slug
        assert tuple(made) == ('8', '256'), slug
        assert made['256']['flops'] <= made['8']['flops'], slug


def test_sets_that_come_along_are_credited_and_no_others():
    lines = {line.split(' | ')[0][2:]: line for line in ledger.credits().splitlines()[2:]}
    assert 'imagenet2012' not in lines
    assert 'CC BY-SA 4.0' in lines['emoji']
    assert lines['umls'].endswith('|')
    assert 'pykeen' in lines['umls']


@pytest.mark.parametrize(
    ('devices', 'mesh'), [(8, 'data:8'), (64, 'data:64'), (256, 'data:64,tensor:4')]
)
def test_a_small_batch_leaves_devices_to_a_tensor_axis(devices, mesh, monkeypatch):
    batch = {'image': jax.ShapeDtypeStruct((64, 2), jnp.float32)}
    module = types.SimpleNamespace(PAPER=None, inputs=lambda config: batch)
    monkeypatch.setattr(registry, 'load', lambda entry: module)
    assert plans.fitting_mesh(None, devices) == mesh
