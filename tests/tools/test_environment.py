"""The shell tools, in a copy of the repository whose Python is a stub: nothing is installed."""

import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
import yaml

from jssl.experiment import command, registry
from jssl.train import sharding

ROOT = pathlib.Path(__file__).parents[2]
TOOLS = ('environment', 'run', 'test', 'lock')
LAUNCHERS = sorted((ROOT / 'tools' / 'launch').glob('*.sh'))
COMMANDS = (
    *('bash', 'awk', 'cat', 'chmod', 'cp', 'dirname', 'find', 'grep'),
    *('mkdir', 'mktemp', 'mv', 'rm', 'sed', 'sleep', 'tail'),
)

# A Python that makes empty environments and notes what pip would have installed. While the file
# `hold` exists pip does not end; while `refuse` exists it fails.
STUB = """#!/usr/bin/env bash
case "$*" in
    *'-m venv '*)
        mkdir -p "${@: -1}/bin"
        cp "$0" "${@: -1}/bin/python"
        printf '#!/usr/bin/env bash\\nprintf "<%%s>" "$@"\\n' >"${@: -1}/bin/jssl"
        chmod +x "${@: -1}/bin/jssl"
        ;;
    *'-m pip install '*)
        printf '%s\\n' "${@: -1}" >>'STAGE/installed'
        while [[ -e 'STAGE/hold' ]]; do sleep 0.02; done
        if [[ -e 'STAGE/refuse' ]]; then
            echo 'ERROR: cannot reach https://index.example/simple/pip'
            exit 1
        fi
        ;;
    '-m pytest'*) printf '<%s>' "${@:3}" ;;
    *) exec 'PYTHON' "$@" ;;
esac
"""
FIRST, LOCK, PROJECT = '.venv/first.lock', 'requirements.lock', ''
ALL = [FIRST, LOCK, PROJECT]


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Stage:
    """A repository with the real tools and little else, in a folder whose name has a space."""

    def __init__(self, folder):
        self.folder, self.bin, self.root = folder, folder / 'bin', folder / 'a repository'
        self.bin.mkdir()
        for name in COMMANDS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.stub = STUB.replace('STAGE', str(folder)).replace('PYTHON', sys.executable)
        executable(self.bin / 'python3', self.stub)
        (self.root / 'tools').mkdir(parents=True)
        for name in TOOLS:
            shutil.copy(ROOT / 'tools' / name, self.root / 'tools')
        hashed = ' \\\n    --hash=sha256:00\n'
        (self.root / LOCK).write_text(f'jax==1{hashed}pip==2{hashed}setuptools==3{hashed}')
        (self.root / 'pyproject.toml').write_text('[project]\n')

    def start(self, tool, *arguments, **environment):
        # A suite that runs in the background of a shell inherits an ignored SIGINT.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [str(self.root / 'tools' / tool), *arguments],
            env={'PATH': str(self.bin), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        signal.signal(signal.SIGINT, handler)
        return process

    def call(self, tool, *arguments, code=0, **environment):
        """(standard output, standard error), after checking the exit status."""
        process = self.start(tool, *arguments, **environment)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == code, errors
        return output, errors

    def installed(self):
        """What pip was asked for since the last look, relative to the repository."""
        noted = self.folder / 'installed'
        lines = noted.read_text().splitlines() if noted.exists() else []
        noted.unlink(missing_ok=True)
        return [line.removeprefix(str(self.root)).lstrip('/') for line in lines]

    def wait_for_pip(self):
        deadline = time.monotonic() + 20
        while not (self.folder / 'installed').exists():
            assert time.monotonic() < deadline, 'pip was never called'
            time.sleep(0.01)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture
def made(stage):
    stage.call('environment')
    assert stage.installed() == ALL
    return stage


def one_line(errors):
    assert len(errors.splitlines()) == 1, errors
    return errors


def test_made_once_and_then_left_alone(made):
    first = (made.root / FIRST).read_text()
    assert re.findall(r'^\w+', first, re.MULTILINE) == ['pip', 'setuptools']
    assert made.call('environment') == ('', '')
    assert made.installed() == []


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda root: (root / LOCK).write_text('jax==2 --hash=sha256:00\n'), ALL),
        (lambda root: (root / 'pyproject.toml').write_text('[project]\nname="n"\n'), [PROJECT]),
        (lambda root: (root / '.venv/stamp').unlink(), ALL),
        (lambda root: (root / '.venv/stamp').write_text(''), ALL),
        (lambda root: (root / '.venv/stamp').write_text('half a line'), ALL),
        (lambda root: (root / '.venv/bin/python').unlink(), ALL),
        (lambda root: executable(root / '.venv/bin/python', '#!/bin/sh\nexit 1\n'), ALL),
    ],
    ids=['lock', 'project', 'no stamp', 'empty stamp', 'torn stamp', 'no python', 'dead python'],
)
def test_what_is_stale_is_made_again(made, change, expected):
    leftover = made.root / '.venv' / 'leftover'
    leftover.touch()
    change(made.root)
    made.call('environment')
    assert made.installed() == expected
    assert leftover.exists() == (expected == [PROJECT])
    assert made.call('environment') == ('', '')


def test_moved_repository_is_made_again(made):
    made.root = made.root.rename(made.folder / 'moved')
    made.call('environment')
    assert made.installed() == ALL


def test_shim_that_does_not_run_is_skipped(stage):
    executable(stage.bin / 'python3', '#!/usr/bin/env bash\necho no such version >&2\nexit 127\n')
    executable(stage.bin / 'python3.12', stage.stub)
    _, errors = stage.call('environment')
    assert 'no such version' not in errors
    assert stage.installed() == ALL


def test_activated_environment_does_not_rebuild_itself(made):
    (made.root / '.venv/stamp').unlink()
    executable(made.root / '.venv/bin/python3', made.stub)
    made.call('environment', PATH=f'{made.root}/.venv/bin:{made.bin}')
    assert made.installed() == ALL


@pytest.mark.parametrize('tool', ['environment', 'run', 'test'])
def test_no_python_is_one_line(stage, tool):
    (stage.bin / 'python3').unlink()
    output, errors = stage.call(tool, code=2)
    assert 'Python 3.11' in one_line(errors)
    assert not output
    assert not (stage.root / '.venv').exists()


def test_named_python_is_used_or_refused(made):
    errors = made.call('environment', code=2, JSSL_PYTHON='no-such-python')[1]
    assert 'JSSL_PYTHON=no-such-python' in one_line(errors)
    assert made.call('environment', JSSL_PYTHON=str(made.bin / 'python3')) == ('', '')
    assert made.call('environment') == ('', '')


def test_named_python_stays_when_it_is_no_longer_named(made):
    other = made.stub.replace('"$@" ;;\nesac', '"${@//platform.python_version()/3.99}" ;;\nesac')
    executable(made.folder / 'other', other)
    made.call('environment', JSSL_PYTHON=str(made.folder / 'other'))
    assert made.installed() == ALL
    (made.root / 'pyproject.toml').write_text('[project]\nname = "n"\n')
    made.call('environment')
    assert made.installed() == [PROJECT]
    assert made.call('environment') == ('', '')


def test_refused_installation_is_one_line_and_tried_again(stage):
    (stage.folder / 'refuse').touch()
    _, errors = stage.call('run', 'simclr', code=2)
    assert 'cannot reach (address)' in one_line(errors.split('\n', 1)[1])
    assert stage.installed() == [FIRST]
    (stage.folder / 'refuse').unlink()
    assert stage.call('run', 'simclr')[0] == '<run><simclr>'
    assert stage.installed() == ALL


def test_refused_extra_leaves_what_was_there(made):
    (made.folder / 'refuse').touch()
    made.call('environment', code=2, JSSL_EXTRA='cuda')
    (made.folder / 'refuse').unlink()
    made.installed()
    assert made.call('environment') == ('', '')
    made.call('environment', JSSL_EXTRA='cuda')
    assert made.installed() == [PROJECT, '[cuda]']
    assert made.call('environment', JSSL_EXTRA='cuda') == ('', '')
    assert made.call('environment') == ('', '')


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_interrupted_half_way(stage, number, code):
    (stage.folder / 'hold').touch()
    process = stage.start('environment')
    stage.wait_for_pip()
    os.killpg(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert not (stage.root / '.venv/stamp').exists()
    (stage.folder / 'hold').unlink()
    stage.installed()
    stage.call('environment')
    assert stage.installed() == ALL


def test_killed_while_adding_an_extra_is_made_again(made):
    (made.folder / 'hold').touch()
    process = made.start('environment', JSSL_EXTRA='cuda')
    made.wait_for_pip()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    (made.folder / 'hold').unlink()
    made.installed()
    made.call('environment')
    assert made.installed() == ALL


def test_two_at_once_make_it_once(stage):
    (stage.folder / 'hold').touch()
    first = stage.start('environment')
    stage.wait_for_pip()
    second = stage.start('environment')
    assert 'waiting' in second.stderr.readline()
    (stage.folder / 'hold').unlink()
    assert [process.wait(timeout=20) for process in (first, second)] == [0, 0]
    assert stage.installed() == ALL
    for process in (first, second):
        process.communicate()


def test_arguments_pass_unchanged(made):
    awkward = ['', 'two words', '*', '--config.data=a "b"', '$HOME', '--', 'line\nbreak']
    shown = ''.join(f'<{argument}>' for argument in awkward)
    assert made.call('run', 'slug', *awkward)[0] == '<run><slug>' + shown
    assert made.call('test', *awkward)[0] == shown


def test_whole_suite_runs_in_two_processes(made):
    assert made.call('test')[0] == '<-n><2><--dist><loadgroup><--no-loadscope-reorder>'


def test_lock_needs_uv(stage):
    before = (stage.root / LOCK).read_text()
    assert 'uv' in one_line(stage.call('lock', code=2)[1])
    assert (stage.root / LOCK).read_text() == before


@pytest.mark.parametrize(
    ('written', 'code'),
    [('jax==9 --hash=sha256:00', 0), ('a line with ://', 2), (None, 2)],
)
def test_lock_is_replaced_only_by_a_good_one(stage, written, code):
    before = (stage.root / LOCK).read_text()
    act = f'echo \'{written}\' >"${{@: -1}}"' if written else 'exit 1'
    executable(stage.bin / 'uv', f'#!/usr/bin/env bash\n{act}\n')
    stage.call('lock', code=code)
    assert (stage.root / LOCK).read_text() == (before if code else written + '\n')
    assert [path.name for path in stage.root.glob('requirements*')] == [LOCK]


def test_lock_names_hashes_and_no_address():
    text = (ROOT / LOCK).read_text()
    assert '://' not in text
    entries = text.replace('\\\n', ' ').splitlines()
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r'[\w.-]+==\S+', entry), entry
        assert re.search(r'--hash=sha256:[0-9a-f]{64}', entry), entry


@pytest.mark.parametrize(
    'path', [ROOT / '.ci/run', *LAUNCHERS, *(ROOT / 'tools' / t for t in TOOLS)]
)
def test_scripts_parse(path):
    subprocess.run(['bash', '-n', str(path)], check=True)
    assert path.stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    'path', [*LAUNCHERS, ROOT / 'tools/launch/gke.yaml'], ids=lambda path: path.name
)
def test_launchers_use_flags_that_the_command_knows(path):
    text = re.sub(r'^ *#.*$', '', path.read_text(), flags=re.MULTILINE)
    flags = re.findall(r'--(?:preset|distributed|mesh|workdir)\b\S*', text)
    entry = registry.Entry('slug', 'family', path, 'Title', [])
    values, _ = command.parse(entry, flags)
    assert (values.preset, values.distributed) == ('paper', True)
    assert values.workdir.strip('"')
    assert sharding.parse_mesh(values.mesh, 16) == {'data': 16}


def test_kubernetes_job_is_whole():
    documents = list(yaml.safe_load_all((ROOT / 'tools/launch/gke.yaml').read_text()))
    kinds = {document['kind']: document for document in documents}
    assert set(kinds) == {'ServiceAccount', 'Role', 'RoleBinding', 'Service', 'Job'}
    job = kinds['Job']
    assert job['spec']['completionMode'] == 'Indexed'
    assert job['spec']['completions'] == job['spec']['parallelism']
    pod = job['spec']['template']['spec']
    assert pod['subdomain'] == kinds['Service']['metadata']['name']
    assert kinds['Service']['spec']['selector'] == {'job-name': job['metadata']['name']}
    assert {volume['name'] for volume in pod['volumes']} == {
        mount['name'] for mount in pod['containers'][0]['volumeMounts']
    }
