"""Streams: batch k is a function of source, batch size, seed and k, whoever asks for it."""

import contextlib
import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest

from jssl import data
from jssl.data.batches import permutation
from jssl.errors import Refusal

N = 23
COLUMNS = {
    'image': np.arange(N * 4, dtype=np.uint8).reshape(N, 2, 2, 1),
    'label': np.arange(N, dtype=np.int32),
}


class Recorded:
    """The same examples one at a time."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return {name: column[i] for name, column in COLUMNS.items()}


def jitter(example, rng):
    return {**example, 'noise': rng.normal(size=3)}


def equal(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype
        np.testing.assert_array_equal(one[name], two[name])


def take(stream, count, *args, **options):
    with contextlib.closing(stream.iterate(*args, **options)) as iterator:
        return list(itertools.islice(iterator, count))


@pytest.mark.parametrize('batch', [1, 5, 23, 30, 50])
@pytest.mark.parametrize('shuffle', [True, False])
def test_epochs_are_permutations(batch, shuffle):
    stream = data.batches(COLUMNS, batch, seed=3, shuffle=shuffle)
    labels = np.concatenate([stream[k]['label'] for k in range(-(-4 * N // batch))])[: 4 * N]
    epochs = labels.reshape(4, N)
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(N))
    assert shuffle == (not np.array_equal(epochs[0], epochs[1]))
    assert shuffle == (not np.array_equal(epochs[0], np.arange(N)))


def test_columns_stay_together():
    for batch in take(data.batches(COLUMNS, 7, seed=0), 10):
        np.testing.assert_array_equal(batch['image'], COLUMNS['image'][batch['label']])


def test_records_and_columns_give_the_same_stream():
    gathered, read = (data.batches(s, 6, seed=1) for s in (COLUMNS, Recorded()))
    for k in (0, 3, 4, 1000):
        equal(gathered[k], read[k])


@pytest.mark.parametrize('transform', [None, jitter])
def test_start_equals_skipping(transform):
    stream = data.batches(COLUMNS, 6, seed=1, transform=transform)
    whole = take(stream, 9)
    for k, batch in enumerate(whole):
        equal(batch, stream[k])
    for one, two in zip(take(stream, 4, 5), whole[5:], strict=True):
        equal(one, two)
    equal(next(iter(stream)), whole[0])


@pytest.mark.parametrize('processes', [2, 3])
@pytest.mark.parametrize('source', [COLUMNS, Recorded()], ids=['columns', 'records'])
def test_processes_share_one_global_batch(processes, source):
    stream = data.batches(source, 12, seed=1, transform=jitter)
    parts = [take(stream, 4, 2, process=p, processes=processes) for p in range(processes)]
    for k, shares in enumerate(zip(*parts, strict=True)):
        equal(
            {name: np.concatenate([s[name] for s in shares]) for name in shares[0]}, stream[2 + k]
        )


def test_processes_must_divide_the_batch():
    stream = data.batches(COLUMNS, 12, seed=0)
    with pytest.raises(ValueError, match='5 processes cannot share a batch of 12'):
        stream.iterate(process=0, processes=5)
    with pytest.raises(ValueError, match='process 2'):
        stream.iterate(process=2, processes=2)


def test_workers_change_nothing():
    stream, worked = (
        data.batches(Recorded(), 6, seed=1, transform=jitter, workers=w) for w in (0, 2)
    )
    for one, two in zip(take(worked, 5, 3), take(stream, 5, 3), strict=True):
        equal(one, two)


PROGRAM = """
import hashlib
from jssl import data
stream = data.batches(data.load('digits', 'train'), 64, seed=7)
print(hashlib.sha256(b''.join(stream[k]['image'].tobytes() for k in (0, 19, 20, 999))).hexdigest())
"""


def test_another_process_sees_the_same_bytes():
    told = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    stream = data.batches(data.load('digits', 'train'), 64, seed=7)
    images = b''.join(stream[k]['image'].tobytes() for k in (0, 19, 20, 999))
    assert told.stdout.strip() == hashlib.sha256(images).hexdigest(), told.stderr


def test_the_order_of_an_epoch_never_changes():
    # A checkpoint resumes into these orders: a change would repeat and skip examples.
    np.testing.assert_array_equal(permutation(8, 0, 0), [7, 4, 2, 6, 5, 0, 1, 3])
    np.testing.assert_array_equal(permutation(8, 5, 2), [2, 3, 5, 1, 7, 4, 6, 0])


def test_seeds_and_epochs_differ():
    orders = [tuple(permutation(N, seed, epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16


def test_orders_are_uniform():
    first = np.bincount([permutation(5, 0, epoch)[0] for epoch in range(2000)], minlength=5)
    assert np.all(np.abs(first - 400) < 5 * np.sqrt(320))


def test_what_a_transform_draws_depends_on_the_position_alone():
    stream = data.batches(COLUMNS, 6, seed=1, transform=jitter)
    other = data.batches(COLUMNS, 4, seed=1, transform=jitter)
    np.testing.assert_array_equal(
        np.concatenate([stream[k]['noise'] for k in range(2)]),
        np.concatenate([other[k]['noise'] for k in range(3)]),
    )
    noise = np.concatenate([stream[k]['noise'] for k in range(20)])
    assert len(np.unique(noise)) == noise.size
    assert not np.array_equal(
        stream[0]['noise'], data.batches(COLUMNS, 6, seed=2, transform=jitter)[0]['noise']
    )


@pytest.mark.parametrize('source', [COLUMNS, Recorded()], ids=['columns', 'records'])
def test_fields_choose_columns(source):
    assert set(data.batches(source, 4, seed=0, fields=('label',))[0]) == {'label'}


@pytest.mark.parametrize('source', [COLUMNS, Recorded()], ids=['columns', 'records'])
def test_an_epoch_is_one_pass_in_order(source):
    seen = list(data.epoch(source, 10))
    assert [len(batch['label']) for batch in seen] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate([b['label'] for b in seen]), np.arange(N))


def test_a_record_that_cannot_be_read_is_named():
    class Broken(Recorded):
        def __getitem__(self, i):
            if i == 11:
                raise OSError('truncated')
            return super().__getitem__(i)

    with pytest.raises(Refusal, match='record 11 cannot be read: truncated'):
        list(data.epoch(Broken(), 5))
    with pytest.raises(Refusal, match='record 11'):
        take(data.batches(Broken(), 5, seed=0), 5)


def test_images_of_different_shapes_are_named():
    class Ragged(Recorded):
        def __getitem__(self, i):
            return {'image': np.zeros((2 + i // 4, 2, 1), np.uint8)}

    with pytest.raises(Refusal, match=r'records 0 and 4 have image of different shapes.*size='):
        data.batches(Ragged(), 6, seed=0, shuffle=False)[0]


@pytest.mark.parametrize(
    ('source', 'batch'),
    [({}, 2), ({'a': np.zeros(3), 'b': np.zeros(4)}, 2), ({'a': np.zeros(0)}, 2), (COLUMNS, 0)],
)
def test_bad_arguments(source, batch):
    with pytest.raises(ValueError, match=r'rows|examples'):
        data.batches(source, batch, seed=0)


def test_a_stream_has_no_last_batch():
    with pytest.raises(IndexError):
        data.batches(COLUMNS, 2, seed=0)[-1]


def test_a_closed_iterator_gives_nothing_more():
    iterator = data.batches(COLUMNS, 2, seed=0).iterate()
    next(iterator)
    iterator.close()
    with pytest.raises(ValueError, match='closed'):
        next(iterator)
