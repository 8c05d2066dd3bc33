"""The device's stream: the host's stream, batch for batch, in `fit` too, on one device or eight."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import data
from jssl.data.resident import resident
from jssl.train import fit, make_mesh
from jssl.train.sharding import place

N = 37
RNG = np.random.default_rng(0)
COLUMNS = {
    'image': RNG.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8),
    'label': np.arange(N, dtype=np.int32),
    'box': RNG.random((N, 4), np.float32),
}


def equal(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype
        np.testing.assert_array_equal(one[name], two[name])


def pair(batch, **options):
    return data.batches(COLUMNS, batch, **options), resident(COLUMNS, batch, **options)


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('batch', [8, 50])
def test_the_same_batches_over_many_epochs(batch, shuffle):
    host, device = pair(batch, seed=4, shuffle=shuffle)
    assert (device.batch, device.examples) == (host.batch, host.examples)
    with contextlib.closing(device.iterate(3)) as batches:
        for k, found in zip(range(3, 14), batches, strict=False):
            assert isinstance(found['image'], jax.Array)
            equal(found, host[k])
            equal(device[k], host[k])
    equal(next(iter(device)), host[0])


def test_processes_share_a_batch():
    host, device = pair(8, seed=1)
    parts = [next(device.iterate(5, process=p, processes=4)) for p in range(4)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    equal(whole, host[5])
    with pytest.raises(ValueError, match='process 0 of 3'):
        device.iterate(processes=3)


def test_only_the_fields_that_are_wanted():
    device = resident(COLUMNS, 4, seed=0, fields=('label',))
    assert set(device[0]) == {'label'}


def test_columns_of_one_length():
    with pytest.raises(ValueError, match='37 rows'):
        resident({**COLUMNS, 'extra': np.zeros(3)}, 4, seed=0)


def init(key):
    return jax.random.normal(key, (48,)) / 100


def step(w, batch, key):
    x = batch['image'].reshape(len(batch['label']), -1) / 255
    x = x + 0.1 * jax.random.normal(key, x.shape)
    loss = lambda w: jnp.square(x @ w - batch['label'] / N).mean()
    value, gradient = jax.value_and_grad(loss)(w)
    return w - 0.05 * gradient, {'loss': value}


@pytest.mark.parametrize('count', [1, 8])
def test_fit_ends_with_the_same_bits(devices, count):
    mesh = make_mesh('data:-1', devices[:count])
    states = [
        fit(step, init, stream, steps=9, key=0, mesh=mesh, progress=False)[0]
        for stream in pair(16, seed=2)
    ]
    np.testing.assert_array_equal(*states)


def test_each_may_resume_the_other(tmp_path):
    host, device = pair(16, seed=2)
    run = lambda stream, steps, **options: fit(
        step, init, stream, steps=steps, key=0, progress=False, log=lambda _: None, **options
    )[0]
    whole = run(host, 12)
    run(host, 5, checkpoint=tmp_path)
    run(device, 9, checkpoint=tmp_path)
    np.testing.assert_array_equal(run(host, 12, checkpoint=tmp_path), whole)


def test_the_set_is_sent_once_and_gathered_inside_the_step(devices, monkeypatch):
    device, mesh = resident(COLUMNS, 16, seed=0), make_mesh('data:8', devices)
    held = device.held(mesh)
    assert all(len(column.devices()) == 8 for column in held.values())
    monkeypatch.setitem(resident.__globals__, '_gathered', None)  # nothing is gathered outside
    fit(step, init, device, steps=2, mesh=mesh, progress=False)
    fit(step, init, device, steps=2, mesh=mesh, progress=False)
    assert device.held(mesh) is held
    shares = jax.jit(device.gather)(held, place(device.order[0]['row'], mesh))
    assert shares['image'].sharding.shard_shape(shares['image'].shape)[0] == 2
