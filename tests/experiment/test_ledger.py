"""The table in experiments/README.md is the ledger's, and every experiment has a row."""

import json
import subprocess

import pytest

from jssl.experiment import Claim, Config, ledger, registry
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
    (folder / 'tiny.py').write_text('"""Tiny: a title."""\n')
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
    assert '| ✓ | x: a - b | 0.49 ' in table
    assert '| 9 points |' in table
