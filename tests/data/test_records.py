"""Records behave as the columns they stand for, and are read no sooner than they are asked for."""

import numpy as np
import pytest

from jssl import data
from jssl.errors import Refusal

N = 13
COLUMNS = {
    'image': np.arange(N * 12, dtype=np.uint8).reshape(N, 2, 2, 3),
    'label': (np.arange(N) % 3).astype(np.int32),
    'weight': np.linspace(0, 1, N, dtype=np.float32),
}


class Read(list):
    """Numbers of the records that were read."""


@pytest.fixture
def read():
    return Read()


@pytest.fixture
def records(read):
    def one(i):
        read.append(i)
        return {name: column[i] for name, column in COLUMNS.items()}

    return data.Records(range(N), one, labels=lambda: COLUMNS['label'])


def same(found, wanted):
    assert list(found) == list(wanted)
    for name in wanted:
        assert np.asarray(found[name]).dtype == wanted[name].dtype
        np.testing.assert_array_equal(np.asarray(found[name]), wanted[name])


def test_labels_come_without_reading(records, read):
    np.testing.assert_array_equal(records['label'], COLUMNS['label'])
    assert not read


def test_numbers_are_read_once_and_arrays_when_indexed(records, read):
    np.testing.assert_array_equal(records['weight'], COLUMNS['weight'])
    before = len(read)
    np.testing.assert_array_equal(records['weight'], COLUMNS['weight'])
    image = records['image']
    assert (image.shape, image.dtype, len(image)) == ((N, 2, 2, 3), np.uint8, N)
    assert len(read) <= before + 4
    del read[:]
    np.testing.assert_array_equal(image[3:6], COLUMNS['image'][3:6])
    assert sorted(read) == [3, 4, 5]


@pytest.mark.parametrize(
    'index',
    [4, -1, slice(2, 9, 3), [5, 0, 5], np.arange(N) % 2 == 0, np.zeros(N, bool)],
    ids=['row', 'last', 'slice', 'rows', 'mask', 'none'],
)
def test_a_column_is_indexed_like_an_array(records, index):
    found, wanted = records['image'][index], COLUMNS['image'][index]
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize('keep', [slice(2, 9), [7, 1, 1], np.arange(N) % 3 == 1], ids=str)
def test_rows_twice_with_more_columns(records, read, keep):
    extra = np.arange(N, dtype=np.int32)
    chosen = data.rows(data.with_columns(records, index=extra, weight=extra * 0.5), keep)
    wanted = data.rows(data.with_columns(COLUMNS, index=extra, weight=extra * 0.5), keep)
    assert not read
    order = ('image', 'label', 'weight', 'index')
    for found, expected in (
        (chosen, wanted),
        (data.rows(chosen, [1, 0]), data.rows(wanted, [1, 0])),
    ):
        assert len(found) == len(expected['label'])
        same(data.columns(found, order), data.columns(expected, order))
        np.testing.assert_array_equal(found['label'], expected['label'])
        np.testing.assert_array_equal(found['index'], expected['index'])


def test_mixed_columns_stream_as_arrays_do(records):
    mixed = {'image': records['image'], 'index': np.arange(N)}
    plain = {'image': COLUMNS['image'], 'index': np.arange(N)}
    for keep in (slice(None), np.arange(N) > 4):
        late, early = (
            data.batches(data.rows(source, keep), 5, seed=2) for source in (mixed, plain)
        )
        for k in range(4):
            same(late[k], early[k])
    whole = data.batches(data.with_columns(records, index=np.arange(N)), 5, seed=2)
    same({k: whole[0][k] for k in plain}, data.batches(plain, 5, seed=2)[0])


def test_images_are_resized_and_featured_from_records(records):
    from jssl import evaluate

    found, wanted = (data.resized(source, (4, 4, 1)) for source in (records, COLUMNS))
    same(found, wanted)
    sums = [
        evaluate.features(lambda x: x.sum((1, 2)), s['image'], batch=4) for s in (records, COLUMNS)
    ]
    np.testing.assert_array_equal(*sums)


def test_refusals(records):
    with pytest.raises(Refusal, match="no field 'mask'"):
        records['mask']
    with pytest.raises(ValueError, match='index has 3 rows'):
        data.with_columns(records, index=np.arange(3))
    with pytest.raises(ValueError, match='index has 3 rows'):
        data.with_columns(COLUMNS, index=np.arange(3))

    def broken(i):
        if i == 2:
            raise OSError('cut short')
        return {'image': np.zeros((1, 1 + (i == 4)))}

    images = data.Records(range(6), broken)['image']
    with pytest.raises(Refusal, match='record 2 cannot be read: cut short'):
        images[:4]
    with pytest.raises(Refusal, match='different shapes'):
        images[3:]
