"""Turns by 45 degrees against a loop over pixels, and against exact quarter turns."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.data.augment import rotate90
from jssl.data.rotations import every_turn, rotate45

IMAGES = np.random.default_rng(0).random((8, 9, 9, 2))


def turned(image, eighth):
    """Bilinear reading at the place that each pixel came from, in complex numbers."""
    side = len(image)
    centre = (side - 1) / 2
    out = np.zeros(image.shape)
    for i in range(side):
        for j in range(side):
            # x to the right, y up: a counter-clockwise turn multiplies by exp(i angle).
            to = complex(j - centre, centre - i) / math.sqrt(2)
            came = to * complex(math.cos(-eighth * math.pi / 4), math.sin(-eighth * math.pi / 4))
            row, column = centre - came.imag, centre + came.real
            top, left = math.floor(row), math.floor(column)
            for r, wr in ((top, 1 - row + top), (top + 1, row - top)):
                for c, wc in ((left, 1 - column + left), (left + 1, column - left)):
                    if wr * wc > 1e-9:
                        out[i, j] += wr * wc * image[r, c]
    return out


def test_equals_the_loop_for_every_turn():
    found = rotate45(jnp.asarray(IMAGES, jnp.float32), jnp.arange(8))
    wanted = np.stack([turned(image, k) for k, image in enumerate(IMAGES)])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_two_eighths_are_a_quarter_turn_and_eight_are_none():
    images = jnp.asarray(IMAGES, jnp.float32)
    flat = jnp.zeros(8, jnp.int32)
    for quarters in range(4):
        exact = rotate90(rotate45(images, flat), flat + quarters)
        np.testing.assert_allclose(rotate45(images, flat + 2 * quarters), exact, atol=1e-5)
    np.testing.assert_allclose(rotate45(images, flat + 8), rotate45(images, flat), atol=1e-5)


def test_no_turn_reaches_outside_the_image():
    ones = jnp.ones((8, 12, 12, 1))
    np.testing.assert_allclose(jax.jit(rotate45)(ones, jnp.arange(8)), ones, atol=1e-6)


def test_oblong_images_are_refused():
    with pytest.raises(ValueError, match='square'):
        rotate45(jnp.zeros((1, 4, 5, 3)), jnp.zeros(1, jnp.int32))


@pytest.mark.parametrize('eighths', [(0, 2, 4, 6), (2, 6), tuple(range(8))])
def test_every_image_is_there_at_every_turn(eighths):
    images = IMAGES[:3].astype(np.float32)
    x, which = every_turn(jnp.asarray(images), eighths=eighths)
    exact = len(eighths) < 8
    turn = lambda image, e: np.rot90(image, e // 2) if exact else turned(image, e)
    wanted = np.stack([turn(image, e) for image in images for e in eighths])
    np.testing.assert_allclose(x, wanted, atol=1e-5)
    np.testing.assert_array_equal(which, [*range(len(eighths))] * 3)
    assert which.dtype == jnp.int32


def test_bytes_stay_bytes_at_quarter_turns():
    images = (255 * IMAGES).astype(np.uint8)
    x, _ = every_turn(jnp.asarray(images), eighths=(0, 4))
    np.testing.assert_array_equal(x[1::2], np.rot90(images, 2, axes=(1, 2)))
    assert x.dtype == jnp.uint8
