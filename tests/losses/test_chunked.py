"""Losses in tiles: the same numbers as in one piece, in much less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import losses

LOSSES = pytest.mark.parametrize('loss', [losses.info_nce, losses.nt_xent])
BATCH = 22


def draw():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(k, (n, 6)) for k, n in zip(keys, (BATCH, BATCH, 9), strict=True)]


def everything(loss, chunk, queue):
    """(losses, gradients of both views, the queue and the temperature)."""

    def objective(z1, z2, rows, temperature):
        negatives = rows if queue else None
        out = loss(z1, z2, temperature=temperature, negatives=negatives, chunk=chunk)
        return jnp.cos(jnp.arange(out.size)) @ out, out

    return jax.value_and_grad(objective, (0, 1, 2, 3), has_aux=True)


@LOSSES
@pytest.mark.parametrize('queue', [False, True], ids=['batch', 'queue'])
def test_tiles_equal_one_piece(loss, queue):
    arguments = [*draw(), jnp.float32(0.2)]
    expected = jax.tree.leaves(jax.jit(everything(loss, None, queue))(*arguments))
    for chunk in (7, 11, 1000):  # 7 does not divide the batch, 1000 exceeds it
        actual = jax.tree.leaves(jax.jit(everything(loss, chunk, queue))(*arguments))
        for a, e in zip(actual, expected, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-6 * np.abs(e).max())


@LOSSES
def test_gradients_of_gradients(loss):
    """Penalties on gradients and implicit differentiation go through the backward pass again."""
    z1, z2, direction = draw()[0], draw()[1], jnp.ones((BATCH, 6))

    def curvature(chunk):
        slope = jax.grad(lambda z: loss(z, z2, chunk=chunk).mean())
        return jax.jit(jax.grad(lambda z: jnp.vdot(slope(z), direction)))(z1)

    np.testing.assert_allclose(curvature(7), curvature(None), rtol=1e-4, atol=1e-4)


@LOSSES
def test_memory(loss):
    jax.config.update('jax_disable_most_optimizations', False)  # this one is about the real program
    views = [jax.ShapeDtypeStruct((2048, 32), jnp.float32)] * 2

    def temporaries(chunk):
        gradient = jax.grad(lambda z1, z2: loss(z1, z2, chunk=chunk).mean(), (0, 1))
        return jax.jit(gradient).lower(*views).compile().memory_analysis().temp_size_in_bytes

    plain = temporaries(None)
    assert plain > 2048**2 * 4  # it holds at least the matrix, so the comparison means something
    assert temporaries(64) < plain / 8


@LOSSES
def test_a_tile_has_at_least_one_row(loss):
    with pytest.raises(ValueError, match='chunk must be at least 1, got 0'):
        loss(*draw()[:2], chunk=0)
