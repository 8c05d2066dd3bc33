"""The file format, against bytes written down by hand; damaged files, files of other kinds."""

import json
import re
import struct

import ml_dtypes
import numpy as np
import pytest

from jssl.errors import Refusal
from jssl.zoo import safetensors


def packed(header, data=b''):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def known(dtype='F32', shape=(2,), offsets=(0, 8)):
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': list(offsets)}


def test_bytes_by_hand(tmp_path):
    file = tmp_path / 'a.safetensors'
    header = {
        '__metadata__': {'made': 'by hand'},
        'b': known('BF16', (1, 2), (8, 12)),
        'a': known(),
        'none': known('I64', (0, 3), (12, 12)),
        'one': known('U8', (), (12, 13)),
    }
    file.write_bytes(packed(header, struct.pack('<ff', 1.5, -2) + b'\x80\x3f\x00\xc0\x07'))
    found = safetensors.read(file)
    assert {name: x.tolist() for name, x in found.items()} == {
        'a': [1.5, -2.0],
        'b': [[1.0, -2.0]],
        'none': [],
        'one': 7,
    }
    assert found['none'].shape == (0, 3)


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        'f': rng.normal(size=(3, 2)).astype('f'),
        't': rng.normal(size=(3, 2)).T,
        'b': rng.normal(size=5).astype(ml_dtypes.bfloat16),
        'n': np.int64(4) + np.zeros((), np.int64),
        'empty': np.zeros((2, 0), np.float16),
    }
    file = tmp_path / 'a.safetensors'
    safetensors.write(file, arrays)
    assert (8 + int.from_bytes(file.read_bytes()[:8], 'little')) % 8 == 0
    found = safetensors.read(file)
    assert found.keys() == arrays.keys()
    for name, x in arrays.items():
        assert found[name].dtype == x.dtype
        np.testing.assert_array_equal(found[name], x)
    safetensors.write(file, {})
    assert safetensors.read(file) == {}
    assert [path.name for path in tmp_path.iterdir()] == ['a.safetensors']


DAMAGED = {
    'empty': b'',
    'a zip': b'PK\x03\x04' + 40 * b'\0',
    'cut header': packed({'a': known()})[:20],
    'no JSON': packed(b'{"a": '),
    'no text': packed(b'\xff\xfe'),
    'deep': packed(b'[' * 100_000),
    'a list': packed([1, 2]),
    'no record': packed({'a': 1}),
    'no offsets': packed({'a': {'dtype': 'F32', 'shape': []}}),
    'no shape': packed({'a': {'dtype': 'F32', 'data_offsets': [0, 8]}}, bytes(8)),
    'unknown type': packed({'a': known('F7')}, bytes(8)),
    'a type that is none': packed({'a': known([1])}, bytes(8)),
    'negative shape': packed({'a': known(shape=(-2,))}, bytes(8)),
    'a real shape': packed({'a': known(shape=(2.0,))}, bytes(8)),
    'negative offset': packed({'a': known(offsets=(-8, 0))}, bytes(8)),
    'another extent': packed({'a': known(offsets=(0, 12))}, bytes(12)),
    'an overlap': packed({'a': known(), 'b': known(offsets=(4, 12))}, bytes(12)),
    'a gap': packed({'a': known(), 'b': known(offsets=(12, 20))}, bytes(20)),
    'cut': packed({'a': known()}, bytes(7)),
    'too long': packed({'a': known()}, bytes(9)),
    'offsets of words': packed({'a': known(offsets='ab'), 'b': known()}, bytes(8)),
}


@pytest.mark.parametrize('case', DAMAGED)
def test_damage_is_refused_in_a_line(case, tmp_path):
    file = tmp_path / 'a.safetensors'
    file.write_bytes(DAMAGED[case])
    with pytest.raises(Refusal, match='is not a whole safetensors file') as refusal:
        safetensors.read(file)
    assert '\n' not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize('suffix', ['.pt', '.pth', '.bin', '.ckpt', '.pkl'])
def test_a_pickle_is_never_opened(suffix, tmp_path):
    file = tmp_path / f'weights{suffix}'
    with pytest.raises(Refusal, match='convert it: python -c') as refusal:  # it need not even exist
        safetensors.read(file)
    assert str(refusal.value).endswith(f'{file} {tmp_path}/weights.safetensors')
    program = str(refusal.value).split('"')[1]
    assert 'weights_only=True' in program
    compile(program, 'the line', 'exec')


def test_files_that_cannot_be(tmp_path):
    with pytest.raises(Refusal, match='safetensors cannot be read: No such file'):
        safetensors.read(tmp_path / 'none.safetensors')
    with pytest.raises(Refusal, match='cannot be written: No such file'):
        safetensors.write(tmp_path / 'none' / 'a.safetensors', {'a': np.zeros(2, 'f')})


@pytest.fixture
def shards(tmp_path):
    """A folder with two arrays in two files, and its index."""
    arrays = {'a': np.arange(3, dtype='f'), 'b': np.ones((2, 2), 'f')}
    for i, name in enumerate(arrays):
        safetensors.write(tmp_path / f'model-{i}.safetensors', {name: arrays[name]})
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(
        json.dumps({'weight_map': {'b': 'model-1.safetensors', 'a': 'model-0.safetensors'}})
    )
    return tmp_path, index, arrays


def test_several_files_by_their_index(shards):
    folder, index, arrays = shards
    for path in (folder, index):
        found = safetensors.read(path)
        assert found.keys() == arrays.keys()
        for name, x in arrays.items():
            np.testing.assert_array_equal(found[name], x)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (
            '{"weight_map": {"a": "../model-0.safetensors"}}',
            "model-0.safetensors' is not in its folder",
        ),
        ('{"weight_map": {"c": "model-0.safetensors"}}', "lacks 'c', which"),
        ('{"weight_map": {"a": "model-7.safetensors"}}', 'model-7.safetensors cannot be read'),
        ('{"weight_map": {"a": "model-0.bin"}}', 'model-0.bin is a pickle'),
        ('{"weight_map": ["a"]}', 'is not an index of safetensors files'),
        ('{"a": 1}', "is not an index of safetensors files: 'weight_map'"),
        ('{', 'is not an index of safetensors files'),
    ],
)
def test_a_wrong_index_is_refused(text, reason, shards):
    shards[1].write_text(text)
    with pytest.raises(Refusal, match=re.escape(reason)):
        safetensors.read(shards[1])


def test_a_folder_without_one_model_is_refused(shards, tmp_path):
    shards[1].unlink()
    with pytest.raises(Refusal, match=r'has 2 of \*.safetensors: name one of model-0'):
        safetensors.read(tmp_path)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(Refusal, match=r'has no \.safetensors file'):
        safetensors.read(tmp_path / 'empty')
