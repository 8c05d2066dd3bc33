"""Meshes by text, and which dimension of which leaf goes where."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from jssl.errors import Refusal
from jssl.train import sharding


@pytest.mark.parametrize(
    ('text', 'devices', 'sizes'),
    [
        ('data:-1', 8, {'data': 8}),
        ('data:4,fsdp:2', 8, {'data': 4, 'fsdp': 2}),
        ('data:-1,tensor:4', 8, {'data': 2, 'tensor': 4}),
        ('fsdp:256', 256, {'fsdp': 256}),
    ],
)
def test_parse(text, devices, sizes):
    assert sharding.parse_mesh(text, devices) == sizes


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('data:3', 'does not fit 8 devices'),
        ('model:8', "'model:8' is not AXIS:SIZE"),
        ('data:4,data:2', 'each once'),
        ('data:0', 'not AXIS:SIZE'),
        ('data', 'not AXIS:SIZE'),
        ('data:-1,fsdp:-1', 'one may be -1'),
    ],
)
def test_refusals(text, reason):
    with pytest.raises(Refusal, match=reason):
        sharding.parse_mesh(text, 8)


def spec_of(mesh_text, devices, path, shape):
    mesh = sharding.make_mesh(mesh_text, devices)
    tree = jnp.zeros(shape)
    for name in reversed(path.split('/')):
        tree = {name: tree}
    return jax.tree.leaves(sharding.state_shardings(mesh, tree))[0].spec


def test_rules(devices):
    spec = lambda *a: spec_of(a[0], devices, *a[1:])
    assert spec('data:8', 'block/up/kernel', (128, 512)) == P(None, None)
    assert spec('fsdp:8', 'block/up/kernel', (128, 512)) == P(None, 'fsdp')
    assert spec('fsdp:8', 'block/up/bias', (512,)) == P(None)  # too small to be worth it
    assert spec('fsdp:8', 'odd/kernel', (127, 513)) == P(None, None)
    assert spec('data:2,tensor:4', 'block/up/kernel', (128, 512)) == P(None, 'tensor')
    assert spec('data:2,tensor:4', 'block/down/kernel', (512, 128)) == P('tensor', None)
    assert spec('data:2,tensor:4', 'attention/query/kernel', (128, 4, 32)) == P(
        None, 'tensor', None
    )
    assert spec('data:2,tensor:4', 'attention/query/kernel', (128, 3, 32)) == P(None, None, None)
    assert spec('fsdp:2,tensor:4', 'block/up/kernel', (128, 512)) == P('fsdp', 'tensor')


def test_moments_follow_their_parameter(devices):
    import optax

    mesh = sharding.make_mesh('fsdp:8', devices)
    params = {'block': {'up': {'kernel': jnp.zeros((128, 512))}}}
    state = {'params': params, 'opt': optax.adam(1e-3).init(params)}
    specs = {s.spec for s in jax.tree.leaves(sharding.state_shardings(mesh, state))}
    assert specs == {P(None, 'fsdp'), P()}
