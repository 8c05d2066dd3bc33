"""The convolutional probe: its convolution, and a label that only neighbours tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import evaluate
from jssl.evaluate.conv_probe import conv_probe, neighbourhoods


def test_neighbourhoods_make_a_convolution():
    rng = np.random.default_rng(0)
    maps, kernel = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(3, 3, 3, 2))
    wanted = np.zeros((2, 4, 5, 2))
    for b, i, j, r, c in np.ndindex(2, 4, 5, 3, 3):
        row, column = i + r - 1, j + c - 1
        if 0 <= row < 4 and 0 <= column < 5:
            wanted[b, i, j] += maps[b, row, column] @ kernel[r, c]
    found = neighbourhoods(jnp.asarray(maps, jnp.float32)) @ kernel.reshape(27, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def pairs(count, seed):
    """Two bright places, side by side in one class, one above the other in the other."""
    rng = np.random.default_rng(seed)
    maps, y = np.zeros((count, 6, 6, 2), np.float32), rng.integers(0, 2, count).astype(np.int32)
    for image, label in zip(maps, y, strict=True):
        i, j = rng.integers(0, 5, 2)
        image[i, j] = image[i + label, j + 1 - label] = 1
    return maps, y


def test_sees_what_no_single_place_shows():
    train, test = pairs(300, 0), pairs(200, 1)
    options = {'classes': 2, 'width': 16, 'steps': 200, 'batch': 64, 'learning_rate': 1e-2}
    score = conv_probe(jax.random.key(0), *train, *test, **options)
    assert score > 0.95
    assert score.protocol == 'conv_probe/1'
    assert conv_probe(jax.random.key(0), *train, *test, **options) == score
    means = [maps.mean((1, 2)) for maps, _ in (train, test)]
    assert evaluate.linear_probe(means[0], train[1], means[1], test[1]) < 0.7


def test_maps_that_do_not_fit_are_refused():
    maps, y = pairs(20, 0)
    with pytest.raises(ValueError, match='train_y'):
        conv_probe(jax.random.key(0), maps, y[:5], maps, y)
    with pytest.raises(AssertionError):
        conv_probe(jax.random.key(0), maps[..., 0], y, maps[..., 0], y)
