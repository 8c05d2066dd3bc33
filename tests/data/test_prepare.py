"""Prepared sets hold what their source held, whole or not at all, however often one was killed."""

import hashlib
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from absl import logging
from PIL import Image

from jssl import data
from jssl.data import prepare as prepares
from jssl.data import shards
from jssl.errors import Refusal

ROOT = pathlib.Path(__file__).parents[2]
prepare = prepares.prepare


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten images of unlike sizes, each of its own level."""
    for i in range(20):
        file = tmp_path / 'photos' / 'ab'[i // 10] / f'{i:02}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4 + i % 2, 5, 3), i, np.uint8)).save(file)
    return tmp_path / 'photos'


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def same(found, wanted):
    assert len(found) == len(wanted)
    for i in range(len(wanted)):
        assert found[i].keys() == wanted[i].keys()
        for name, value in wanted[i].items():
            assert np.asarray(found[i][name]).dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(found[i][name], value)


def test_a_folder_comes_back_from_its_shards(photos, tmp_path):
    made = prepare(f'folder:{photos}', tmp_path / 'set', shard=4)
    counts = {split: [s['count'] for s in written] for split, written in made['splits'].items()}
    assert counts == {'train': [4, 4, 4, 2], 'validation': [2], 'test': [4]}
    assert made['fields']['image'] == {'dtype': 'uint8', 'shape': [None, 5, 3]}
    assert json.loads((tmp_path / 'set' / 'set.json').read_text()) == made
    for split in counts:
        wanted = data.load(f'folder:{photos}', split)
        found = data.load(f'array_record:{tmp_path}/set', split)
        same(found, wanted)
        assert found.classes == ['a', 'b']
        np.testing.assert_array_equal(found['label'], wanted['label'])
    for written in made['splits'].values():
        for shard in written:
            raw = (tmp_path / 'set' / shard['file']).read_bytes()
            assert (hashlib.sha256(raw).hexdigest(), len(raw)) == (shard['sha256'], shard['bytes'])
    with pytest.raises(Refusal, match="no split 'dev': choose train, validation, test"):
        data.load(f'array_record:{tmp_path}/set', 'dev')


def test_labels_are_read_without_images(photos, tmp_path):
    prepare(f'folder:{photos}', tmp_path / 'set', shard=4)
    records = data.load(f'array_record:{tmp_path}/set', 'train')
    records.read = lambda packed: pytest.fail('read')
    assert np.bincount(records['label']).tolist() == [7, 7]


def test_texts_and_arrays_of_a_packaged_set(tmp_path):
    prepare('stdlib_prose', tmp_path / 'prose', splits=['validation'])
    wanted = data.load('stdlib_prose', 'validation')
    found = data.columns(data.load(f'array_record:{tmp_path}/prose', 'validation'))
    assert found.keys() == wanted.keys()
    for name, column in wanted.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)


def test_one_shape_is_known_without_reading(photos, tmp_path):
    prepare(f'folder:{photos}', tmp_path / 'one', splits=['test'], size=6)
    spec = data.spec(f'array_record:{tmp_path}/one', 8)
    batch = data.batches(data.load(f'array_record:{tmp_path}/one', 'test'), 8, seed=0)[0]
    assert {k: (v.shape, v.dtype) for k, v in spec.items()} == {
        k: (v.shape, v.dtype) for k, v in batch.items()
    }
    prepare(f'folder:{photos}', tmp_path / 'many', splits=['test'])
    with pytest.raises(Refusal, match='image of many shapes'):
        data.spec(f'array_record:{tmp_path}/many', 8)


def test_workers_may_share_a_prepared_set(photos, tmp_path):
    prepare(f'folder:{photos}', tmp_path / 'set', splits=['test'])
    records = data.load(f'array_record:{tmp_path}/set', 'test')
    same(pickle.loads(pickle.dumps(records)), records)


def test_stopped_between_any_two_steps_it_goes_on_to_the_same_bytes(photos, tmp_path, monkeypatch):
    options = {'splits': ['train', 'test'], 'shard': 5}
    prepare(f'folder:{photos}', tmp_path / 'whole', **options)
    wanted = contents(tmp_path / 'whole')
    settle, stopped = shards.settle, 0

    class Stopped(BaseException):
        """Nothing catches it."""

    for steps in range(len(wanted) * 3):
        left = iter(range(steps))

        def failing(new, file, left=left):
            if next(left, None) is None:
                raise Stopped
            settle(new, file)

        monkeypatch.setattr(shards, 'settle', failing)
        target = tmp_path / f'stopped{steps}'
        try:
            prepare(f'folder:{photos}', target, **options)
        except Stopped:
            stopped += 1
            assert not target.exists()
            assert 'not finished' in data.missing(f'array_record:{target}') or not steps
        monkeypatch.setattr(shards, 'settle', settle)
        if not target.exists():
            prepare(f'folder:{photos}', target, **options)
        assert contents(target) == wanted
        assert not shards.partial(target).exists()
    assert stopped == 12  # labels, examples and set.json of four shards


def test_killed_it_goes_on_to_the_same_bytes(photos, tmp_path):
    options = {'shard': 1, 'size': 64, 'splits': ['train', 'test']}
    target = tmp_path / 'killed'
    flags = ['--shard=1', '--size=64', '--splits=train,test']
    code = (
        'import os, signal, sys\n'
        'from jssl.data import prepare, shards\n'
        'settle, left = shards.settle, iter(range(10))\n'
        'def killed(new, file):\n'
        '    if next(left, None) is None: os.kill(os.getpid(), signal.SIGKILL)\n'
        '    settle(new, file)\n'
        'shards.settle = killed\n'
        'prepare.main(sys.argv[1:])'
    )
    ended = subprocess.run(
        [sys.executable, '-c', code, f'folder:{photos}', target, *flags],
        cwd=ROOT,
        env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(list(shards.partial(target).glob('*.array_record'))) == 3
    assert not target.exists()
    prepare(f'folder:{photos}', target, **options)
    prepare(f'folder:{photos}', tmp_path / 'whole', **options)
    assert contents(target) == contents(tmp_path / 'whole')


def test_what_was_begun_otherwise_is_not_gone_on_with(photos, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    record = shards.write_record
    monkeypatch.setattr(shards, 'write_record', lambda *a: (record(*a), stop()))
    with pytest.raises(KeyboardInterrupt):
        prepare(f'folder:{photos}', tmp_path / 'set', size=4)
    monkeypatch.undo()
    before = contents(tmp_path / 'set.partial')
    with pytest.raises(Refusal, match=r"begun with options \{'size': 4\}, now \{'size': 8\}"):
        prepare(f'folder:{photos}', tmp_path / 'set', size=8)
    (photos / 'a' / '00.png').unlink()
    with pytest.raises(Refusal, match='begun with items'):
        prepare(f'folder:{photos}', tmp_path / 'set', size=4)
    assert contents(tmp_path / 'set.partial') == before


def test_what_is_broken_is_refused_or_left_out_and_named(photos, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(logging, 'warning', lambda form, *values: lines.append(form % values))
    names = [pathlib.Path(file).name for file, _ in data.load(f'folder:{photos}', 'train').source]
    for name in (names[1], names[6]):
        file = next(photos.glob(f'*/{name}'))
        file.write_bytes(file.read_bytes()[:45])
    with pytest.raises(Refusal, match=rf'record [16] cannot be read: .*{names[1]}|{names[6]}'):
        prepare(f'folder:{photos}', tmp_path / 'set', splits=['train'], shard=5)
    assert not (tmp_path / 'set').exists()
    made = prepare(
        f'folder:{photos}', tmp_path / 'fewer', splits=['train'], shard=5, on_error='skip'
    )
    assert [shard['count'] for shard in made['splits']['train']] == [4, 4, 4]
    skipped = [line for shard in made['splits']['train'] for line in shard['skipped']]
    assert [f'record {i}' in line for i, line in zip((1, 6), skipped, strict=True)] == [True] * 2
    assert lines == [f'{line}; left out' for line in skipped]
    found = data.load(f'array_record:{tmp_path}/fewer', 'train')
    levels = [int(found[i]['image'][0, 0, 0]) for i in range(len(found))]
    assert levels == [int(name[:2]) for i, name in enumerate(names) if i not in (1, 6)]


def test_a_shard_of_which_nothing_can_be_read_holds_nothing(photos, tmp_path):
    names = [file for file, _ in data.load(f'folder:{photos}', 'train').source]
    for name in names[:2]:
        pathlib.Path(name).write_bytes(b'')
    made = prepare(f'folder:{photos}', tmp_path / 'set', splits=['train'], shard=2, on_error='skip')
    assert [shard['count'] for shard in made['splits']['train']] == [0, 2, 2, 2, 2, 2, 2]
    found = data.load(f'array_record:{tmp_path}/set', 'train')
    wanted = [data.load(f'folder:{photos}', 'train')[i] for i in range(2, 14)]
    same(found, wanted)
    np.testing.assert_array_equal(found['label'], [example['label'] for example in wanted])


@pytest.mark.parametrize('change', [lambda raw: raw[:-1], lambda raw: b'', None])
@pytest.mark.parametrize('name', ['set.json', 'train-00000.label.npy'])
def test_what_stands_beside_the_shards_is_named_when_damaged(photos, tmp_path, name, change):
    prepare(f'folder:{photos}', tmp_path / 'set', splits=['train'])
    file = tmp_path / 'set' / name
    file.write_bytes(change(file.read_bytes()[:-1])) if change else file.unlink()
    with pytest.raises(Refusal, match=rf'{name} (is damaged|does not exist)') as told:
        data.load(f'array_record:{tmp_path}/set', 'train')['label']
    assert '\n' not in str(told.value)


def test_damaged_shards_are_named(photos, tmp_path):
    prepare(f'folder:{photos}', tmp_path / 'set', splits=['train'], shard=4, size=64)
    file = tmp_path / 'set' / 'train-00001.array_record'
    raw = file.read_bytes()
    place = next(i for i in range(len(raw) // 2, len(raw)) if raw[i])
    file.write_bytes(raw[:place] + bytes([raw[place] ^ 255]) + raw[place + 1 :])
    records = data.load(f'array_record:{tmp_path}/set', 'train')
    with pytest.raises(Refusal, match=r'record [4567] .*train-00001\.array_record is damaged'):
        data.columns(records)
    file.write_bytes(raw[:-7])
    with pytest.raises(Refusal, match=rf'train-00001\.array_record has {len(raw) - 7} bytes of'):
        data.load(f'array_record:{tmp_path}/set', 'train')
    file.unlink()
    with pytest.raises(Refusal, match='has 0 bytes of'):
        data.load(f'array_record:{tmp_path}/set', 'train')


def test_refusals(photos, tmp_path):
    with pytest.raises(Refusal, match='exists: remove it'):
        prepare(f'folder:{photos}', photos)
    with pytest.raises(Refusal, match='unknown data set'):
        prepare('digit', tmp_path / 'set')
    with pytest.raises(Refusal, match='is one whole'):
        prepare('import_graph', tmp_path / 'set')
    assert not list(tmp_path.glob('set*'))
    with pytest.raises(Refusal, match='other is neither numbers nor a text'):
        shards.pack({'other': np.array([None])})


def test_two_do_not_write_one_set(photos, tmp_path):
    import fcntl

    folder = tmp_path / 'set.partial'
    folder.mkdir()
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(Refusal, match='written by another process'):
        prepare(f'folder:{photos}', tmp_path / 'set')
    os.close(other)
    assert prepare(f'folder:{photos}', tmp_path / 'set')


def test_command_line(photos, tmp_path, capsys):
    command = [f'folder:{photos}', f'{tmp_path}/set']
    prepares.main([*command, '--size=6', '--splits=train', '--shard=10'])
    assert 'train: 14 examples in 2 files, 0 skipped' in capsys.readouterr().out
    assert data.load(f'array_record:{tmp_path}/set', 'train')[3]['image'].shape == (6, 6, 3)
    for flags, complaint in [
        ([command[1]], 'exists'),
        ([f'{tmp_path}/other', '--sice'], '--sice is not an option'),
        ([f'{tmp_path}/other', '--sice=3'], "unexpected keyword argument 'sice'"),
        ([f'{tmp_path}/other', '--on_error=ignore'], "on_error='ignore' is neither"),
        ([f'{tmp_path}/other', '--splits=dev'], "no split 'dev'"),
        ([f'{tmp_path}/other', 'more'], 'more is not an option'),
    ]:
        with pytest.raises(SystemExit) as ended:
            prepares.main([command[0], *flags])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert complaint in told
        assert told.count('\n') == 1


def test_an_interrupted_command_says_how_to_go_on(photos, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, 'write_record', stop)
    with pytest.raises(SystemExit) as ended:
        prepares.main([f'folder:{photos}', f'{tmp_path}/set'])
    assert ended.value.code == 130
    assert capsys.readouterr().err == 'jssl: stopped; the same command goes on from here\n'
