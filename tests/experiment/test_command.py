"""The command line as people meet it: one clear line and exit code 2, and answers without jax."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jssl import data, sets
from jssl.errors import Refusal
from jssl.experiment import Config, command, registry
from jssl.experiment.config import override


@dataclasses.dataclass(frozen=True)
class Example(Config):
    rate: float = 0.1
    widths: tuple[int, ...] = (1, 2)
    note: str | None = None
    fast: bool = False


def test_override_parses_by_type():
    changes = {'rate': '1e-3', 'widths': '8,16', 'note': 'none', 'fast': 'true', 'seeds': '5'}
    assert override(Example(note='x'), changes) == Example(5, 1e-3, (8, 16), None, True)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'rat': '1'}, '--config.rat is not a field; the nearest is rate'),
        ({'rate': 'fast'}, '--config.rate=fast is not of type float'),
        ({'seeds': '1.5'}, '--config.seeds=1.5 is not of type int'),
        ({'fast': 'maybe'}, '--config.fast=maybe is not of type bool'),
        ({'widths': '1,x'}, r'--config.widths=1,x is not of type tuple\[int'),
    ],
)
def test_override_refuses(changes, reason):
    with pytest.raises(Refusal, match=reason):
        override(Example(), changes)


def jssl(*arguments, module='jssl.experiment.command'):
    return subprocess.run(
        [sys.executable, '-m', module, *arguments],
        cwd=registry.ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
    )


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['lst'], "'lst' is not a command; the nearest is list"),
        (['run'], 'run needs the name of an experiment'),
        (['show', 'simclr_v3'], "no experiment is called 'simclr_v3'; the nearest is simclr_v2"),
        (
            ['run', 'simclr_v2', '--preste=cpu'],
            '--preste is not a flag of simclr_v2; the nearest is preset',
        ),
        (['run', 'simclr_v2', '--config.temprature=1'], 'the nearest is config.temperature'),
        (['run', 'simclr_v2', '--config.temperature=hot'], 'is not of type float'),
        (['run', 'simclr_v2', '--preset=huge'], '--preset=huge is not a preset'),
        (['run', 'simclr_v2', '--seed=x'], 'seed'),
        (['run', 'simclr_v2', 'cpu'], "'cpu' is not a flag"),
        (['list', '--family=contrast'], '--family=contrast has no experiments; the nearest is'),
        (['plan', 'simclr_v2', '--mesh=data'], '--mesh=data'),
        (['plan', 'simclr_v2', '--config.bach=8'], 'the nearest is config.batch'),
        (['plan', 'simvq', '--mesh=data:7'], 'rows, which do not divide over the 7 data devices'),
        (['data', 'digit'], "unknown data set 'digit': the nearest is 'digits'"),
        (['data', '--modality=imag'], '--modality=imag has no sets; the nearest is image'),
        (['data', '--modal=image'], 'the nearest is modality'),
        (['data', 'digits', '--slit=test'], 'the nearest is split'),
    ],
)
def test_refusals_are_one_line_and_exit_2(arguments, reason):
    done = jssl(*arguments)
    assert done.returncode == 2, done
    assert reason in done.stderr
    assert done.stderr.startswith('jssl: ')
    assert done.stderr.count('\n') == 1
    assert done.stdout == ''


@pytest.mark.parametrize(
    'arguments',
    [['--help'], ['list'], ['show', 'simclr_v2'], ['run', 'simclr_v2', '--help'], ['data']],
)
def test_answers_without_jax(arguments):
    code = (
        'import sys\n'
        'from jssl.experiment import command\n'
        f'command.main({arguments!r})\n'
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=registry.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {'--help': 'jssl plan', 'data': 'mnist5k'}.get(arguments[0], 'simclr_v2') in done.stdout
    assert time.monotonic() - started < 3  # 0.1 s; generous for a loaded machine


def test_help_of_a_module_does_not_import_it():
    done = jssl('--help', module='experiments.contrastive.simclr_v2')
    assert done.returncode == 0
    assert '--config.temperature=' in done.stdout
    assert '--workdir' in done.stdout
    code = (
        'import sys, runpy\n'
        "sys.orig_argv = ['python', '-m', 'experiments.contrastive.simclr_v2', '--help']\n"
        'try:\n    import experiments\nexcept SystemExit:\n'
        "    assert 'jax' not in sys.modules\n    print('quick')\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=registry.ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith('quick\n')


def test_a_config_may_have_its_own_number_of_seeds():
    plain = registry.Entry(
        'slug', 'family', registry.ROOT / 'x.py', 'Title.', [('a', 'int', '1', '')]
    )
    own = plain._replace(fields=[('seeds', 'int', '1', 'a large model'), *plain.fields])
    for entry, default in ((plain, 3), (own, 1)):
        assert registry.help_text(entry).count('--config.seeds=') == 1
        assert f'--config.seeds={default}' in registry.help_text(entry)
        _, changes = command.parse(entry, ['--config.seeds=2', '--config.a=5'])
        assert changes == {'seeds': '2', 'a': '5'}


def test_list_shows_every_file():
    done = jssl('list')
    assert done.stdout.count('\n') == len(registry.entries())


def test_data_lists_sets_aligned_and_by_modality():
    head, *lines = jssl('data').stdout.splitlines()
    assert len(lines) == len(sets.table())
    for name, known in sets.table().items():
        (line,) = (line for line in lines if line.split()[0] == name)
        assert line[head.index('modality') :].startswith(known.modality)
        assert line[head.index('licence') :] == known.licence
    texts = jssl('data', '--modality=text').stdout.splitlines()[1:]
    wanted = [name for name, known in sets.table().items() if known.modality == 'text']
    assert [line.split()[0] for line in texts] == wanted


def test_data_writes_a_contact_sheet_and_says_where(tmp_path):
    file = tmp_path / 'sheet.png'
    done = jssl('data', 'digits', '--split=test', f'--out={file}')
    assert done.returncode == 0, done.stderr
    record, _, path = done.stdout.rstrip().rpartition('\n')
    assert path == str(file)
    assert file.read_bytes().startswith(b'\x89PNG')
    for said in ('digits: handwritten', 'image', 'train 1,258', 'scikit-learn', 'BSD-3-Clause'):
        assert said in record
    lost = jssl('data', 'digits', f'--out={tmp_path}/none/sheet.png')
    assert lost.returncode == 2
    assert lost.stderr.startswith(f'jssl: --out={tmp_path}/none/sheet.png cannot be written')


def test_data_of_a_set_that_is_not_on_disk_prints_its_record_first(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    done = jssl('data', 'cifar10')
    assert done.returncode == 2
    assert done.stdout.startswith('cifar10: ten classes of objects')
    assert 'tfds build cifar10' in done.stderr


def test_credit_of_emoji_is_on_the_record_and_on_the_figure(tmp_path, monkeypatch, capsys):
    import matplotlib.figure

    drawn = []
    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', lambda self, file: drawn.append(self))
    command.main(['data', 'emoji', f'--out={tmp_path}/sheet.png'])
    credit = 'Emoji: OpenMoji, CC BY-SA 4.0'
    assert credit in capsys.readouterr().out
    assert credit in drawn[0].get_supxlabel()


def test_flags_reach_config_and_context(tmp_path, monkeypatch):
    seen = {}

    class Module:
        CPU = Example()

        @staticmethod
        def run(config, ctx):
            seen.update(config=config, seeds=list(ctx.seeds), folder=ctx.folder)

    entry = registry.Entry(
        'example',
        'tests',
        tmp_path / 'example.py',
        'Doc.',
        [('rate', 'float', '0.1', ''), ('widths', 'tuple', '()', '')],
    )
    settings = {}
    monkeypatch.setattr('jssl.train.runtime.configure', settings.update)
    monkeypatch.setattr(command.registry, 'load', lambda entry: Module)
    arguments = [
        '--config.rate=0.5',
        '--config.seeds=2',
        '--seed=7',
        f'--workdir={tmp_path}',
        '--devices=8',
        '--cache=none',
        '--noheap',
    ]
    command.run(entry, arguments)
    expected = {'heap': False, 'devices': 8, 'cache': None, 'distributed': False, 'optimise': True}
    assert settings == expected
    assert seen['config'] == Example(seeds=2, rate=0.5)
    assert seen['seeds'] == [7, 8]
    assert seen['folder'] == tmp_path


def test_a_run_skips_what_cannot_be_read_only_if_asked(tmp_path, monkeypatch):
    for i in range(4):
        file = tmp_path / 'train' / 'a' / f'{i}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2, 3), i, np.uint8)).save(file)
    (tmp_path / 'validation').mkdir()
    file.write_bytes(file.read_bytes()[:45])
    seen = []

    class Module:
        CPU = Example()

        @staticmethod
        def run(config, ctx):
            found = data.load(f'folder:{tmp_path}', 'train')['image'][:]
            seen.append(found[:, 0, 0, 0].tolist())

    entry = registry.Entry('example', 'tests', tmp_path / 'example.py', 'Doc.', [])
    monkeypatch.setattr('jssl.train.runtime.configure', lambda **_: None)
    monkeypatch.setattr(command.registry, 'load', lambda entry: Module)
    command.run(entry, ['--data.on_error=skip'])
    assert seen == [[0, 1, 2, 0]]
    for flags in ([], ['--data.on_error=refuse']):  # nor after a run that asked
        with pytest.raises(Refusal, match=r'record 3 cannot be read: .*a/3\.png'):
            command.run(entry, flags)
    with pytest.raises(Refusal, match=r'data\.on_error=ignore'):
        command.run(entry, ['--data.on_error=ignore'])
    assert '--data.on_error' in registry.help_text(entry)


def test_report_is_whole_and_repeatable(tmp_path):
    from jssl.experiment import Claim
    from jssl.experiment.context import Context

    def run(folder):
        ctx = Context(Example(), slug='example', folder=folder, log=lambda line: None)
        for method, seed in ctx.grid(method=('a', 'b'), seed=ctx.seeds):
            ctx.add(method=method, seed=seed, accuracy=0.9 - 0.5 * (method == 'b') + 0.01 * seed)
        ctx.report(Claim('accuracy', 'a', 'b', margin=0.1, paper='74 %'))
        return json.loads((folder / 'report.json').read_text())

    first, second = run(tmp_path / '1'), run(tmp_path / '2')
    assert first['verdict'] == 'shown'
    assert first['claims'][0]['paper'] == '74 %'
    assert len(first['rows']) == 6
    assert first['config']['widths'] == [1, 2]
    assert set(first['versions']) >= {'jax', 'flax', 'optax'}
    assert (tmp_path / '1' / 'report.png').stat().st_size > 1000
    ignored = ('seconds', 'date', 'commit')
    assert {k: v for k, v in first.items() if k not in ignored} == {
        k: v for k, v in second.items() if k not in ignored
    }


def test_a_seed_may_measure_more_than_another(tmp_path):
    from jssl.experiment import Range
    from jssl.experiment.context import Context

    lines = []
    ctx = Context(Example(), slug='example', folder=tmp_path, log=lines.append, progress=False)
    ctx.add(method='a', seed=0, accuracy=0.5, slow=0.25)
    ctx.add(method='a', seed=1, accuracy=0.7)
    report = ctx.report(Range('accuracy', low=0.1))
    (line,) = (line for line in report.table().splitlines() if line.startswith('a '))
    assert '0.25' in line
    assert '0.6' in line
