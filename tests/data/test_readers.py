"""Sounds, texts and mapped arrays; what is broken is named, and skipped only if asked."""

import json
import struct
import wave

import numpy as np
import pytest
from absl import logging
from PIL import Image

from jssl import data
from jssl.data import readers, tokens
from jssl.errors import Refusal

SPLITS = ('train', 'validation', 'test')
RATE = 8000


def write_wav(file, sound, *, rate=RATE, width=2):
    """Sounds [T] or [T, channels] in [-1, 1) as whole numbers of `width` bytes, one by one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sound = np.asarray(sound)
    frames = b''
    for value in sound.reshape(-1):
        whole = round(float(value) * 2 ** (8 * width - 1))
        frames += (whole + 128 * (width == 1)).to_bytes(width, 'little', signed=width > 1)
    with wave.open(str(file), 'wb') as opened:
        opened.setnchannels(sound.shape[1] if sound.ndim == 2 else 1)
        opened.setsampwidth(width)
        opened.setframerate(rate)
        opened.writeframes(frames)
    return file


def tone(hertz, seconds=0.1, rate=RATE):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def sounds(tmp_path):
    """Two classes of ten sounds, each of its own level."""
    for label, name in enumerate(('high', 'low')):
        for i in range(10):
            write_wav(tmp_path / name / f'{i}.wav', np.full(40 + i, (10 * label + i) / 32))
    return tmp_path


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, 'warning', lambda form, *values: lines.append(form % values))
    return lines


def test_sounds_of_a_folder_are_cut_in_three(sounds):
    seen = []
    for split, count in zip(SPLITS, (14, 2, 4), strict=True):
        records = data.load(f'audio:{sounds}', split, rate=RATE)
        assert (len(records), records.classes) == (count, ['high', 'low'])
        np.testing.assert_array_equal(np.bincount(records['label']), [count / 2] * 2)
        for i in range(count):
            level = round(float(records[i]['wave'][0]) * 32)
            assert records[i]['label'] == records['label'][i] == level // 10
            assert records[i]['length'] == len(records[i]['wave']) == 40 + level % 10
            assert (records[i]['wave'].dtype, records[i]['length'].dtype) == (np.float32, np.int32)
            seen.append(level)
    assert sorted(seen) == list(range(20))


@pytest.mark.parametrize('width', [1, 2, 3, 4])
def test_whole_numbers_of_every_width_become_the_same_sound(tmp_path, width):
    sound = np.array([-1, -0.5, 0, 0.25, 0.75])
    write_wav(tmp_path / 'train' / 'a' / 'x.wav', sound, width=width)
    (tmp_path / 'validation' / 'a').mkdir(parents=True)
    found = data.load(f'audio:{tmp_path}', 'train', rate=RATE)[0]['wave']
    np.testing.assert_array_equal(found, sound.astype(np.float32))


def test_channels_are_averaged(tmp_path):
    write_wav(tmp_path / 'a' / 'x.wav', [[0.5, -0.25], [0.25, 0.25]])
    found = data.load(f'audio:{tmp_path}', 'train', rate=RATE)[0]['wave']
    np.testing.assert_array_equal(found, [0.125, 0.25])


def test_sounds_of_mixed_rates_come_at_one(tmp_path):
    rates = (8000, 11025, 16000, 44100)
    for rate in rates:
        write_wav(tmp_path / 'train' / 'a' / f'{rate:05}.wav', tone(440, rate=rate), rate=rate)
    (tmp_path / 'validation' / 'a').mkdir(parents=True)
    records = data.load(f'audio:{tmp_path}', 'train', rate=RATE)
    wanted = tone(440)
    for i in range(len(rates)):
        found = records[i]['wave']
        assert abs(len(found) - len(wanted)) <= 1
        inner = slice(80, 700)  # the filter sees silence before and after
        np.testing.assert_allclose(found[inner], wanted[inner], atol=0.01)


def test_sounds_of_one_length_stream_with_their_true_length(sounds):
    records = data.load(f'audio:{sounds}', 'train', rate=RATE, length=45)
    batch = data.batches(records, 14, seed=0)[0]
    assert batch['wave'].shape == (14, 45)
    assert set(batch['length']) <= set(range(40, 46))
    assert len(set(batch['length'])) > 2
    for sound, length, label in zip(batch['wave'], batch['length'], batch['label'], strict=True):
        level = round(float(sound[0]) * 32)
        assert (level // 10, min(40 + level % 10, 45)) == (label, length)
        assert np.all(sound[:length] == sound[0])
        assert not np.any(sound[length:])
    with pytest.raises(Refusal, match=r'of sounds length='):
        data.batches(data.load(f'audio:{sounds}', 'train', rate=RATE), 14, seed=0)[0]


def broken_wavs():
    """How a good file is broken, and what is said of it."""

    def patch(place, form, value):
        return lambda raw: raw[:place] + struct.pack(form, value) + raw[place + len(form) * 2 - 2 :]

    return {
        'short': (lambda raw: raw[:100], 'is cut short: it has 28 samples of 40'),
        'header': (lambda raw: raw[:20], 'ends early.*ffmpeg -i .*x.wav'),
        'empty': (lambda raw: b'', 'ends early'),
        'silent': (lambda raw: raw[:40] + bytes(4), 'it has 0 samples of 0'),
        'float': (patch(20, '<H', 3), 'unknown format.*ffmpeg'),
        'text': (lambda raw: b'no sound', 'RIFF'),
    }


@pytest.mark.parametrize('how', broken_wavs())
def test_a_broken_sound_is_named(tmp_path, how):
    change, complaint = broken_wavs()[how]
    file = write_wav(tmp_path / 'a' / 'x.wav', np.zeros(40))
    file.write_bytes(change(file.read_bytes()))
    records = data.load(f'audio:{tmp_path}', 'train')
    with pytest.raises(
        Refusal, match=rf'record 0 cannot be read: .*a/x\.wav .*{complaint}'
    ) as told:
        data.columns(records)
    assert '\n' not in str(told.value)


def test_sounds_of_other_forms_are_refused_with_the_remedy(sounds):
    (sounds / 'low' / 'x.flac').write_bytes(b'')
    with pytest.raises(Refusal, match=r'low/x\.flac is not a WAV file.*ffmpeg -i x\.flac x\.wav'):
        data.load(f'audio:{sounds}', 'train')


def test_lines_of_a_file_are_cut_in_three_and_equal_ones_kept_together(tmp_path):
    lines = [f'line {i} ä' for i in range(100)] + ['twice'] * 2
    (tmp_path / 'x.txt').write_text('\r\n'.join(lines) + '\n\n  \n', newline='')
    found = {split: data.load(f'text:{tmp_path}/x.txt', split)['text'] for split in SPLITS}
    assert [len(texts) for texts in found.values()] == [71, 11, 20]
    assert sorted(t for texts in found.values() for t in texts) == sorted(lines)
    assert sum('twice' in texts for texts in found.values()) == 1


def test_texts_of_folders(tmp_path):
    for split in ('train', 'test'):
        (tmp_path / f'{split}.txt').write_text(f'{split} one\n{split} two')
    records = data.load(f'text:{tmp_path}', 'test')
    assert [records[i] for i in range(2)] == [{'text': 'test one'}, {'text': 'test two'}]
    with pytest.raises(Refusal, match=r'no validation\.txt, only train, test'):
        data.load(f'text:{tmp_path}', 'validation')
    for name in ('neg', 'pos'):
        for i in range(10):
            file = tmp_path / 'classed' / 'train' / name / f'{i}.txt'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f'{name}\n{i}')
    records = data.load(f'text:{tmp_path}/classed', 'train')
    assert (len(records), records.classes) == (18, ['neg', 'pos'])
    assert all(
        t.split('\n')[0] == records.classes[y]
        for t, y in zip(records['text'], records['label'], strict=True)
    )
    plain = data.load(f'text:{tmp_path}/classed/train/neg', 'test')
    assert len(plain) == 2
    assert list(plain[0]) == ['text']


def test_texts_become_packed_rows_that_are_mapped_from_disk(tmp_path):
    (tmp_path / 'train.txt').write_text('\n'.join(f'document {i}' for i in range(30)))
    vocabulary = tokens.bytewise()
    texts = data.load(f'text:{tmp_path}', 'train')['text']
    rows = tokens.packed(vocabulary, texts, 16)
    assert tokens.decode(vocabulary, rows['tokens'].reshape(-1)).startswith('document 0document 1')
    (tmp_path / 'rows' / 'train').mkdir(parents=True)
    for name, column in rows.items():
        np.save(tmp_path / 'rows' / 'train' / f'{name}.npy', column)
    found = data.load(f'npy:{tmp_path}/rows', 'train')
    assert all(isinstance(column, np.memmap) for column in found.values())
    for k in range(3):
        ours, wanted = (data.batches(source, 4, seed=1)[k] for source in (found, rows))
        assert ours.keys() == wanted.keys() == {'tokens', 'document'}
        np.testing.assert_array_equal(ours['tokens'], wanted['tokens'])
    with pytest.raises(Refusal, match="no split 'test': choose train"):
        data.load(f'npy:{tmp_path}/rows', 'test')


@pytest.mark.parametrize(
    ('write', 'complaint'),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-8]), r'image\.npy is not a readable npy file'),
        (lambda f: f.write_bytes(b''), r'image\.npy is not a readable npy file'),
        (lambda f: np.save(f, np.array([None] * 4)), r'image\.npy is not a readable npy file'),
        (lambda f: np.save(f, np.zeros(3)), r'equally many rows.*\[3\]'),
        (lambda f: np.save(f, 3), 'equally many rows'),
    ],
    ids=['short', 'empty', 'objects', 'rows', 'number'],
)
def test_broken_arrays_are_named(tmp_path, write, complaint):
    (tmp_path / 'train').mkdir()
    np.save(tmp_path / 'train' / 'label.npy', np.arange(4))
    np.save(tmp_path / 'train' / 'image.npy', np.zeros((4, 2)))
    assert data.load(f'npy:{tmp_path}', 'train')['label'].dtype == np.int32
    write(tmp_path / 'train' / 'image.npy')
    with pytest.raises(Refusal, match=complaint):
        data.load(f'npy:{tmp_path}', 'train')


def test_objects_of_json_lines(tmp_path):
    rows = [{'body': f'a\0{i}' * (i % 3), 'label': i, 'box': [0.5, i]} for i in range(20)]
    (tmp_path / 'train.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    records = data.load(f'jsonl:{tmp_path}', 'train', fields=('body', 'label', 'box'))
    columns = data.columns(records)
    assert list(columns['body']) == [row['body'] for row in rows]
    np.testing.assert_array_equal(columns['label'], range(20))
    np.testing.assert_array_equal(columns['box'], [row['box'] for row in rows])
    kinds = [column.dtype for column in columns.values()]
    assert kinds == [object, np.int32, np.float32]


@pytest.mark.parametrize(
    ('line', 'complaint'),
    [
        ('{"text": "cut sho', 'is not JSON'),
        ('{"other": 1}', "has no field 'text': other"),
        ('[1, 2]', "has no field 'text': it holds none"),
        ('{"text": null}', 'neither a text nor numbers'),
        ('{"text": [[1], [2, 3]]}', 'neither a text nor numbers'),
        ('{"text": 3000000000}', 'numbers of 32 bits'),
    ],
)
def test_a_broken_json_line_is_named_by_its_number(tmp_path, line, complaint):
    (tmp_path / 'train.jsonl').write_text('{"text": "good"}\n\n' + line)
    with pytest.raises(Refusal, match=r'line 3 of .*train\.jsonl.* ?' + complaint) as told:
        data.load(f'jsonl:{tmp_path}', 'train')[1]
    assert 'text in line 3' in str(told.value) or str(told.value).startswith('line 3')


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / 'train.txt').write_bytes(b'good\nbad \xff\n')
    with pytest.raises(Refusal, match=r'line 2 of .*train\.txt is not UTF-8'):
        data.load(f'text:{tmp_path}', 'train')[1]


@pytest.mark.parametrize('kind', ['text', 'jsonl'])
def test_files_without_lines_are_refused(tmp_path, kind):
    (tmp_path / 'x').write_text('\n \n')
    with pytest.raises(Refusal, match='x holds no line'):
        data.load(f'{kind}:{tmp_path}/x', 'train')
    with pytest.raises(Refusal, match=r'holds no texts|has no train\.jsonl'):
        data.load(f'{kind}:{tmp_path}', 'train')


@pytest.mark.parametrize('kind', readers.EXPECTED)
def test_what_is_not_there_is_refused_in_one_line(tmp_path, kind):
    line = data.missing(f'{kind}:{tmp_path}/none')
    assert f'{tmp_path}/none' in line
    assert 'does not exist: expected ' in line
    assert '\n' not in line
    with pytest.raises(Refusal) as refusal:
        data.load(f'{kind}:{tmp_path}/none', 'train')
    assert str(refusal.value) == line


@pytest.mark.parametrize('kind', ['folder', 'audio', 'npy'])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path, kind):
    (tmp_path / 'x').write_text('')
    with pytest.raises(Refusal, match='x is no folder: expected '):
        data.load(f'{kind}:{tmp_path}/x', 'train')


@pytest.fixture
def photos(tmp_path):
    """Twelve images of level i and class i // 6, of which 2, 3 and 11 are broken."""
    for i in range(12):
        file = tmp_path / 'train' / 'ab'[i // 6] / f'{i:02}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(file)
        if i in (2, 3, 11):
            file.write_bytes(file.read_bytes()[:45])
    (tmp_path / 'validation').mkdir()
    return f'folder:{tmp_path}'


STANDING = np.array([0, 1, 4, 4, 4, 5, 6, 7, 8, 9, 10, 0])


def level(records):
    return np.asarray(records['image'])[:, 0, 0, 0]


def test_what_is_broken_is_refused_unless_asked(photos, warnings):
    records = data.load(photos, 'train')
    with pytest.raises(Refusal, match=r'record 2 cannot be read: .*a/02\.png is not a readable'):
        data.columns(records)
    assert not records.skipped
    assert not warnings
    with pytest.raises(Refusal, match="'ignore' is neither 'refuse' nor 'skip'"):
        data.load(photos, 'train', on_error='ignore')


def test_the_next_stands_for_what_is_broken_in_every_column(photos, warnings):
    records = data.load(photos, 'train', on_error='skip')
    np.testing.assert_array_equal(level(records), STANDING)
    assert sorted(records.skipped) == [2, 3, 11]
    assert all(f'{i:02}.png' in records.skipped[i] for i in (2, 3, 11))
    assert len(warnings) == 3
    assert any('02.png' in line and 'of 12' in line for line in warnings)
    np.testing.assert_array_equal(records['label'], STANDING // 6)
    more = data.with_columns(records, index=np.arange(12))
    np.testing.assert_array_equal(more['index'], STANDING)
    assert [int(more[i]['index']) for i in range(12)] == STANDING.tolist()


def test_a_run_is_told_what_it_skipped(photos, warnings):
    with data.records.default_on_error('skip') as lines:
        data.columns(data.rows(data.load(photos, 'train'), slice(0, 6)))
        found = data.records.skipped()
    assert found == sorted(lines)
    assert [line[:9] for line in found] == ['record 2 ', 'record 3 ']
    assert data.records.skipped() == []


def test_labels_agree_before_an_image_was_read(photos, warnings):
    np.testing.assert_array_equal(
        data.load(photos, 'train', on_error='skip')['label'], STANDING // 6
    )


def test_what_stands_in_comes_from_the_same_rows(photos, warnings):
    records = data.load(photos, 'train', on_error='skip')
    np.testing.assert_array_equal(level(data.rows(records, [11, 2, 8])), [8, 8, 8])
    assert sorted(records.skipped) == [2, 11]
    with pytest.raises(Refusal, match=r'none of 2 records can be read: .*03\.png'):
        data.rows(records, [2, 3])[0]


def test_streams_skip_alike_in_any_order(photos, warnings):
    streams = [data.batches(data.load(photos, 'train', on_error='skip'), 4, seed=3) for _ in '12']
    forward = [streams[0][k] for k in range(6)]
    for k in reversed(range(6)):
        again = streams[1][k]
        np.testing.assert_array_equal(again['image'], forward[k]['image'])
        np.testing.assert_array_equal(again['label'], again['image'][:, 0, 0, 0] // 6)


def test_sets_in_memory_have_nothing_to_skip():
    found, wanted = (data.load('digits', 'test', on_error=how) for how in ('skip', 'refuse'))
    np.testing.assert_array_equal(found['image'], wanted['image'])
