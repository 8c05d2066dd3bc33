"""Step builders, schedules and optimisers against formulas written out in NumPy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl import train
from jssl.train import schedules


def linear_loss(params, state, batch, key):
    return jnp.mean((jnp.dot(batch['x'], params['w']) - batch['y']) ** 2)


def example(rows=12):
    rng = np.random.default_rng(1)
    return {'x': rng.normal(size=(rows, 3)).astype('f'), 'y': rng.normal(size=(rows,)).astype('f')}


def once(step, state, batch):
    return jax.jit(step)(state, batch, jax.random.key(0))


def test_accumulation_equals_the_whole_batch():
    optimiser = optax.sgd(0.1)
    state = train.create({'w': jnp.array([1.0, -2.0, 0.5])}, optimiser)
    whole, a = once(train.gradient_step(linear_loss, optimiser), state, example())
    parts, b = once(train.gradient_step(linear_loss, optimiser, accumulate=4), state, example())
    np.testing.assert_allclose(parts.params['w'], whole.params['w'], rtol=1e-6)
    np.testing.assert_allclose(b['loss'], a['loss'], rtol=1e-6)


def test_extra_passes_through_accumulation_in_order():
    def loss(params, state, batch, key):
        seen = state.extra * 10 + batch['i'][0]
        return jnp.sum(params['w']) * 0.0, {}, seen

    optimiser = optax.sgd(0.1)
    state = train.create({'w': jnp.ones(2)}, optimiser, extra=jnp.zeros(()))
    state, _ = once(
        train.gradient_step(loss, optimiser, accumulate=3), state, {'i': jnp.arange(6.0)}
    )
    assert float(state.extra) == 12.0  # parts begin with rows 0, 1, 2


def test_ema_of_the_new_parameters_with_a_schedule():
    optimiser = optax.sgd(1.0)
    loss = lambda params, state, batch, key: jnp.sum(params['w'])
    step = train.gradient_step(loss, optimiser, ema=lambda k: jnp.where(k == 0, 0.5, 0.9))
    state = train.create({'w': jnp.array([4.0])}, optimiser, average=True)
    expected, w = 4.0, 4.0
    for decay in (0.5, 0.9, 0.9):
        state, _ = once(step, state, None)
        w -= 1.0
        expected = decay * expected + (1 - decay) * w
        np.testing.assert_allclose(state.average['w'], [expected], rtol=1e-6)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32():
    seen = []

    def loss(params, state, batch, key):
        seen.append((params['w'].dtype, batch['x'].dtype))
        value = jnp.mean((jnp.dot(batch['x'], params['w']) - batch['y']) ** 2)
        return value, {}, state.extra * 0.5

    optimiser = optax.sgd(0.1)
    state = train.create({'w': jnp.ones(3)}, optimiser, extra=jnp.ones(2))
    step = train.gradient_step(train.mixed_precision(loss), optimiser)
    new, metrics = once(step, state, example())
    reference, _ = once(train.gradient_step(linear_loss, optimiser), state, example())
    assert seen[0] == (jnp.bfloat16, jnp.bfloat16)
    assert new.params['w'].dtype == new.extra.dtype == metrics['loss'].dtype == jnp.float32
    np.testing.assert_allclose(new.params['w'], reference.params['w'], atol=0.02)
    assert not np.array_equal(new.params['w'], reference.params['w'])


def test_warmup_cosine():
    s = schedules.warmup_cosine(2.0, 110, warmup=10, final=0.5)
    for k in (0, 5, 10, 60, 110, 200):
        t = min(max(k - 10, 0) / 100, 1)
        expected = 2.0 * k / 10 if k < 10 else 0.5 + 1.5 * (1 + math.cos(math.pi * t)) / 2
        assert float(s(k)) == pytest.approx(expected, rel=1e-5)


def test_infinite_has_four_phases():
    s = schedules.infinite(
        1.0, constant=0.3, final=0.03, warmup=10, cooldown=20, hold=30, anneal=40
    )
    assert float(s(5)) == pytest.approx(0.5)
    assert float(s(20)) == pytest.approx(0.3 + 0.7 / 2)
    assert float(s(30)) == float(s(60)) == pytest.approx(0.3)
    assert float(s(80)) == pytest.approx(0.3 * 0.1**0.5)
    assert float(s(500)) == pytest.approx(0.03)
    values = [float(s(k)) for k in range(10, 110)]
    assert all(a >= b for a, b in itertools.pairwise(values))


def test_cosine_momentum():
    s = schedules.cosine_momentum(0.99, 100)
    assert [float(s(k)) for k in (0, 50, 100)] == pytest.approx([0.99, 0.995, 1.0])


@pytest.mark.parametrize('make', [train.adamw, train.lars, train.lamb, train.sgd])
def test_decay_spares_biases_and_normalisation(make):
    params = {'kernel': jnp.ones((3, 3)), 'bias': jnp.ones(3), 'scale': jnp.ones(3)}
    optimiser = make(0.1, weight_decay=0.5)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimiser.update(zero, optimiser.init(params), params)
    assert float(jnp.abs(updates['bias']).max()) == float(jnp.abs(updates['scale']).max()) == 0.0
    assert float(updates['kernel'].max()) < 0.0


def test_clipping_bounds_the_global_norm():
    params = {'a': jnp.zeros((2, 2)), 'b': jnp.zeros(3)}
    grads = {'a': jnp.full((2, 2), 30.0), 'b': jnp.full(3, 40.0)}
    optimiser = train.sgd(1.0, momentum=0.0, clip=1.0)
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    assert float(optax.global_norm(updates)) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(updates['a'][0, 0] / updates['b'][0], 0.75, rtol=1e-5)


@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('returned', [0, 1, 2])
def test_extra_stays_unless_a_new_one_is_returned(returned, accumulate):
    def loss_fn(params, state, batch, key):
        loss = (params * batch['x']).sum()
        return (loss, (loss, {'seen': loss}), (loss, {}, state.extra + 1))[returned]

    optimiser = optax.sgd(0.1)
    state = train.create(jnp.ones(3), optimiser, extra=jnp.float32(7))
    step = jax.jit(train.gradient_step(loss_fn, optimiser, accumulate=accumulate))
    after, metrics = step(state, {'x': jnp.ones((4, 3))}, jax.random.key(0))
    assert after.extra == 7 + (accumulate if returned == 2 else 0)
    assert ('seen' in metrics) == (returned == 1)
