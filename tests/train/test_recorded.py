"""Copies that train together are those that train alone, and every step is on record."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import train
from jssl.train.recorded import recorded

COPIES, STEPS, STRIDE = 3, 6, 2


def init(key, scale=1.0):
    return scale * jax.random.normal(key, (2,))


def step(w, batch, key):
    error = batch['x'] @ w - batch['y']
    after = w - 0.1 * batch['x'].T @ error
    return after, {'loss': jnp.square(error).mean(), 'norm': jnp.linalg.norm(after)}


def measure(w, batch):
    return {'sum': w.sum()}


def descend(w, x, y):
    losses, norms, sums = [], [], []
    for _ in range(STEPS):
        error = x @ w - y
        w = w - 0.1 * x.T @ error
        losses.append(np.mean(error**2))
        norms.append(np.sqrt(w @ w))
        sums.append(w.sum())
    return w, losses, norms, sums


@pytest.fixture
def batch():
    x, y = np.random.default_rng(0).normal(size=(COPIES, 4, 3)).astype(np.float32)[..., :2], None
    y = np.random.default_rng(1).normal(size=(COPIES, 4)).astype(np.float32)
    return {'x': x, 'y': y}


def built(**options):
    return recorded(init, step, curves=('loss',), steps=STEPS, stride=STRIDE, **options)


def test_equals_the_loops(batch):
    begin, stretch = built(copies=COPIES, measure=measure)
    start = begin(jax.random.key(0), 2.0)
    found, history = train.fit(
        stretch, start, batch, steps=STEPS // STRIDE, every=1, progress=False
    )
    runs = [
        descend(np.float64(start.state[i]), batch['x'][i], batch['y'][i]) for i in range(COPIES)
    ]
    ends, losses, norms, sums = (np.array(part) for part in zip(*runs, strict=True))
    np.testing.assert_allclose(found.state, ends, rtol=1e-4)
    np.testing.assert_allclose(found.curves['loss'], losses, rtol=1e-4)
    assert found.time == STEPS
    last = slice(STRIDE - 1, None, STRIDE)
    np.testing.assert_allclose(history['loss'], losses.mean(0)[last], rtol=1e-4)
    np.testing.assert_allclose(history['norm'], norms.mean(0)[last], rtol=1e-4)
    np.testing.assert_allclose(history['sum'], sums.mean(0)[last], rtol=1e-4, atol=1e-6)


def test_keys_and_arguments():
    keyed = lambda w, batch, key: (w, {'loss': jax.random.normal(key)})
    begin, stretch = recorded(init, keyed, curves=('loss',), steps=4, stride=4, copies=2)
    start = begin(jax.random.key(0))
    assert not np.allclose(*start.state)
    np.testing.assert_allclose(begin(jax.random.key(0), 3.0).state, 3 * start.state, rtol=1e-6)
    curve = jax.jit(stretch)(start, {'x': jnp.zeros((2, 1))}, jax.random.key(1))[0].curves['loss']
    assert len(np.unique(curve)) == 8  # every copy and every step has its own key


def test_refusal():
    with pytest.raises(ValueError, match='stride 4 must divide steps 6'):
        recorded(init, step, curves=(), steps=6, stride=4)
