"""Group norm against flax and a float64 loop; the chooser; batch statistics."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models
from jssl.models.norms import group_count

RNG = np.random.default_rng(0)


def normalise_groups(x, groups, epsilon):
    """Each group of each example on its own, in float64."""
    x = np.asarray(x, np.float64)
    y, size = np.empty_like(x), x.shape[-1] // groups
    for b in range(len(x)):
        for g in range(groups):
            part = x[b, ..., g * size : (g + 1) * size]
            y[b, ..., g * size : (g + 1) * size] = (part - part.mean()) / np.sqrt(
                part.var() + epsilon
            )
    return y


@pytest.mark.parametrize(('shape', 'groups'), [((2, 5, 3, 8), 4), ((3, 7, 6), 2), ((4, 12), 3)])
def test_group_norm_equals_flax(shape, groups):
    x = RNG.normal(2.0, 3.0, size=shape).astype('f')
    ours, theirs = models.GroupNorm(groups), nn.GroupNorm(groups, epsilon=1e-5)
    params = {
        'scale': RNG.normal(size=shape[-1]).astype('f'),
        'bias': RNG.normal(size=shape[-1]).astype('f'),
    }

    @partial(jax.jit, static_argnums=0)
    def value_and_gradient(module, x):
        apply = lambda x: module.apply({'params': params}, x)
        return apply(x), jax.grad(lambda x: jnp.sum(jnp.sin(apply(x))))(x)

    for a, b in zip(value_and_gradient(ours, x), value_and_gradient(theirs, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize('offset', [0.0, 1000.0])
def test_group_norm_against_a_float64_loop(offset, run):
    x = (RNG.normal(size=(2, 4, 4, 6)) + offset).astype('f')
    y = run(models.GroupNorm(3, affine=False), {}, x)
    np.testing.assert_allclose(y, normalise_groups(x, 3, 1e-5), atol=2e-3 if offset else 1e-5)


def test_group_norm_does_not_erase_a_map_of_one_position(run):
    y = run(models.GroupNorm(32, affine=False), {}, np.array([[[[1.0, 2.0, 5.0]]]], 'f'))
    assert np.abs(y).min() > 0.1
    assert [group_count(c, 32) for c in (1, 3, 8, 48, 64, 512)] == [1, 1, 4, 24, 32, 32]


def test_batch_norm_statistics(run):
    x = RNG.normal(3.0, 2.0, size=(16, 5)).astype('f')

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            return models.norm('batch', train, name='norm')(x)

    variables = jax.jit(Layer().init)(jax.random.key(0), x)
    y, state = run(Layer(), variables, x, train=True, mutable=['batch_stats'])
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), atol=1e-5)
    np.testing.assert_allclose(state['batch_stats']['norm']['mean'], 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state['batch_stats']['norm']['var'], 0.9 + 0.1 * x.var(0), rtol=1e-4)
    np.testing.assert_allclose(run(Layer(), variables, x), x / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_the_chooser_refuses_and_passes_through():
    assert models.norm(None, train=True)('anything') == 'anything'
    with pytest.raises(ValueError, match='instance'):
        models.norm('instance', train=True)
    with pytest.raises(ValueError, match='x must be'):
        models.GroupNorm().init(jax.random.key(0), jnp.ones(3))
