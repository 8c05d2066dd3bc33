"""Clips, tubelets and tubes against slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models
from jssl.data.clips import pan, tube_mask, tubelets
from jssl.data.masking import random_mask

KEY = jax.random.key(0)


def test_pan_rolls_each_image_at_one_velocity():
    x = np.asarray(jax.random.uniform(KEY, (40, 7, 9, 2)))
    clips = np.asarray(pan(KEY, x, frames=5, speed=2))
    assert clips.shape == (40, 5, 7, 9, 2)
    found = set()
    for image, clip in zip(x, clips, strict=True):
        fits = [
            (u, v)
            for u in range(-2, 3)
            for v in range(-2, 3)
            if all(
                np.array_equal(np.roll(image, (t * u, t * v), (0, 1)), clip[t]) for t in range(5)
            )
        ]
        assert len(fits) == 1
        found |= set(fits)
    assert len(found) > 12, 'velocities hardly differ'
    jitted = jax.jit(lambda k, x: pan(k, x, frames=5))(KEY, x)
    np.testing.assert_array_equal(clips, jitted)


def test_patches_of_folded_clips_are_tubelets_in_order():
    clips = np.asarray(jax.random.uniform(KEY, (2, 6, 8, 12, 3)))
    patches = np.asarray(models.patchify(tubelets(clips, duration=2), 4))
    assert patches.shape == (2, 3 * 2 * 3, 4 * 4 * 2 * 3)
    for s in range(3):
        for i in range(2):
            for j in range(3):
                block = clips[:, 2 * s : 2 * s + 2, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                wanted = block.transpose(0, 2, 3, 1, 4).reshape(2, -1)
                np.testing.assert_array_equal(patches[:, (s * 2 + i) * 3 + j], wanted)
    np.testing.assert_array_equal(tubelets(clips[:, :1], duration=1), clips[:, 0])


def test_tubes_hide_a_place_at_every_time():
    mask, keep = random_mask(KEY, 5, 12, ratio=0.75)
    tubes, kept = tube_mask(mask, keep, times=4)
    assert tubes.shape == (5, 48)
    assert kept.dtype == jnp.int32
    for row, tube, visible in zip(*map(np.asarray, (mask, tubes, kept)), strict=True):
        for s in range(4):
            np.testing.assert_array_equal(tube[12 * s : 12 * s + 12], row)
        np.testing.assert_array_equal(np.flatnonzero(tube == 0), visible)
    once, same = tube_mask(mask, keep, times=1)
    np.testing.assert_array_equal(once, mask)
    np.testing.assert_array_equal(same, keep)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match='clips has 3 frames'):
        tubelets(jnp.zeros((1, 3, 4, 4, 1)))
    with pytest.raises(AssertionError):
        tube_mask(jnp.zeros((2, 4)), jnp.zeros((3, 1), int), times=2)
