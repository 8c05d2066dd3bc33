"""Shapes, the silent start, conditions, contexts, taps and refusals."""

from functools import partial

import jax
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 8, 12, 1)).astype('f')
CONDITION = RNG.normal(size=(2, 5)).astype('f')
CONTEXT = RNG.normal(size=(2, 3, 6)).astype('f')


def test_shapes_taps_and_weights():
    module = models.UNet((4, 8, 8), out_channels=3, attention_at=(1, 2), heads=2, blocks=2)
    call = lambda key: module.init_with_output(key, X, taps=True, weights=True)
    (y, taps, weights), _ = jax.eval_shape(call, jax.random.key(0))
    assert y.shape == (2, 8, 12, 3)
    sizes = [(8, 12, 4), (4, 6, 8), (2, 3, 8), (4, 6, 8), (8, 12, 4)]
    assert [t.shape[1:] for t in taps] == [size for size in sizes for _ in range(2)]
    assert [w.shape[-1] for w in weights] == [24, 24, 6, 6, 24, 24]


def test_conditions_and_contexts_are_heard(draw):
    module = models.UNet(
        (4, 8), out_channels=2, attention_at=(1,), heads=2, conditioning=6, cross=True
    )
    given = {'condition': CONDITION, 'context': CONTEXT}
    apply = jax.jit(lambda v, c, k: module.apply(v, X, condition=c, context=k))
    variables = draw(module, X, **given)
    y = np.asarray(apply(variables, CONDITION, CONTEXT))
    assert np.abs(apply(variables, 2 * CONDITION, CONTEXT) - y).max() > 1e-4
    assert np.abs(apply(variables, CONDITION, -CONTEXT) - y).max() > 1e-4


def test_output_starts_at_zero():
    module = models.UNet((4,), out_channels=1)
    y = jax.jit(lambda key: module.init_with_output(key, X)[0])(jax.random.key(0))
    np.testing.assert_array_equal(y, 0.0)


def test_skips_carry_detail(draw):
    module = models.UNet((4, 8), out_channels=1)
    variables = jax.tree_util.tree_map_with_path(
        lambda path, p: np.zeros_like(p) if 'downsample' in str(path) else p, draw(module, X)
    )
    apply = jax.jit(partial(module.apply, variables))
    shifted = X.copy()
    shifted[:, 0, 0] += 1.0
    change = np.abs(apply(X) - apply(shifted))
    assert change[:, 0, 0].max() > 1e-3


def test_refusals():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match='divisible by 8'):
        models.UNet((4, 4, 4, 4), out_channels=1).init(key, X)
    with pytest.raises(ValueError, match='condition'):
        models.UNet((4,), out_channels=1).init(key, X, condition=CONDITION)
    with pytest.raises(ValueError, match='context'):
        models.UNet((4,), out_channels=1, cross=True).init(key, X)
