"""The planner against a step whose memory, work and messages are known by hand."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest

from jssl import train
from jssl.experiment import planner, registry

WIDE, ROWS = 64, 256


def linear():
    optimiser = optax.sgd(0.1)
    init = lambda key: train.create({'w': jax.random.normal(key, (WIDE, WIDE))}, optimiser)
    loss_fn = lambda params, state, batch, key: jnp.square(batch['x'] @ params['w']).mean()
    batch = {'x': jax.ShapeDtypeStruct((ROWS, WIDE), jnp.float32)}
    return (init, train.gradient_step(loss_fn, optimiser)), batch


def test_a_linear_step_costs_what_it_must(devices):
    built, batch = linear()
    one = planner.compile_step(built, batch, train.make_mesh('data:1', devices[:1]))
    eight = planner.compile_step(built, batch, train.make_mesh('data:8', devices))
    # The matrix, its step count, the loop's key and step count.
    assert one.state == eight.state == 4 * WIDE**2 + 4 + 8 + 4
    assert (one.batch, eight.batch) == (4 * ROWS * WIDE, 4 * ROWS * WIDE // 8)
    # Forward and the gradient of w: two products of 2 B D D operations, shared by the devices.
    products = 4 * ROWS * WIDE**2
    assert products <= one.flops <= 1.1 * products
    assert products / 8 <= eight.flops <= 1.3 * products / 8
    assert not one.collectives
    count, sent = eight.collectives['all-reduce']
    assert count >= 1
    assert 4 * WIDE**2 <= sent <= 4 * WIDE**2 + 64  # the gradient and some scalars


def test_fsdp_divides_the_state(devices):
    built, batch = linear()
    plan = planner.compile_step(built, batch, train.make_mesh('data:2,fsdp:4', devices))
    assert plan.state == 4 * WIDE**2 // 4 + 4 + 8 + 4
    assert 'all-gather' in plan.collectives


@pytest.mark.parametrize(
    ('text', 'size'),
    [('f32[8,128]{1,0}', 4096), ('(bf16[2,3], u8[5]{0})', 17), ('f32[]', 4), ('pred[7]', 7)],
)
def test_bytes_of_shapes(text, size):
    assert planner.shape_bytes(text) == size


@pytest.mark.parametrize('mesh', ['data:8', 'data:256'])
def test_a_paper_preset_is_planned_by_name(mesh):
    command = [sys.executable, '-m', 'jssl.experiment.command', 'plan', 'transductive_clustering']
    done = subprocess.run(
        [*command, f'--mesh={mesh}'],
        cwd=registry.ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'XLA_FLAGS': ''},
    )
    assert done.returncode == 0, done.stderr
    assert f'transductive_clustering (paper) on {mesh}' in done.stdout
    for part in ('temporaries', 'FLOPs a step', 'all-reduce', 'compiling', 'mini_imagenet'):
        assert part in done.stdout, done.stdout
