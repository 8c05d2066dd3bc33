"""A function run over a data set in batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import features

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 1), np.uint8)


def means(x):
    return x.mean((1, 2, 3))


@pytest.mark.parametrize('batch', [1, 5, 23, 256])
def test_batches_do_not_show(batch):
    found = features(means, IMAGES, batch=batch)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, IMAGES.mean((1, 2, 3)) / 255, rtol=1e-5)


def test_one_compilation_of_one_shape():
    shapes = []

    def apply(x):
        shapes.append((x.shape, x.dtype))  # runs when traced
        return means(x)

    features(apply, IMAGES, batch=10)
    assert shapes == [((10, 4, 4, 1), jnp.float32)]


def test_partial_is_compiled_once_for_all_parameters():
    traces = []

    def apply(scale, x):
        traces.append(x.shape)
        return scale * means(x)

    for scale in (1.0, 2.0, 3.0):
        partial = jax.tree_util.Partial(apply, jnp.float32(scale))
        found = features(partial, IMAGES, batch=10)
        np.testing.assert_allclose(found, scale * IMAGES.mean((1, 2, 3)) / 255, rtol=1e-5)
    assert len(traces) == 1


def test_pytrees_and_bfloat16():
    apply = lambda x: {'a': (means(x).astype(jnp.bfloat16), x[:, 0, 0, 0] > 0.5)}
    a, b = features(apply, IMAGES, batch=10)['a']
    assert (a.dtype, b.dtype) == (np.float32, bool)
    np.testing.assert_array_equal(b, IMAGES[:, 0, 0, 0] > 127)
    np.testing.assert_allclose(a, IMAGES.mean((1, 2, 3)) / 255, rtol=1e-2)


def test_other_inputs_are_left_as_they_are():
    tokens = np.arange(7, dtype=np.int32)
    np.testing.assert_array_equal(features(lambda x: x, tokens, batch=3), tokens)
    halves = jnp.arange(7) / 2
    np.testing.assert_array_equal(features(lambda x: x, halves, batch=3), halves)


def test_refusals():
    with pytest.raises(ValueError, match='empty'):
        features(means, IMAGES[:0])
    with pytest.raises(ValueError, match='apply must return'):
        features(lambda x: x.mean(), IMAGES, batch=10)
