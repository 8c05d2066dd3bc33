"""Overlaps against counting pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl.evaluate.overlap import box_overlap, mask_overlap


def filled(box):
    mask = np.zeros((9, 9), bool)
    left, top, right, bottom = box
    for i, j in np.ndindex(9, 9):
        mask[i, j] = top <= i < bottom and left <= j < right
    return mask


def test_boxes_and_their_masks_agree_with_counting():
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.integers(0, 10, (2, 40, 2, 2)), axis=2).reshape(2, 40, 4)
    masks = np.array([[filled(b) for b in row] for row in boxes])
    counted = [(m & n).sum() / max((m | n).sum(), 1) for m, n in zip(*masks, strict=True)]
    np.testing.assert_allclose(box_overlap(*jnp.asarray(boxes, jnp.float32)), counted, rtol=1e-6)
    some = masks.any((2, 3)).any(0)
    found = jax.jit(mask_overlap)(*jnp.asarray(masks))
    np.testing.assert_allclose(found[some], np.array(counted)[some], rtol=1e-6)
    assert len(set(counted)) > 5


def test_limits():
    box = jnp.array([1.0, 2.0, 5.0, 4.0])
    assert box_overlap(box, box) == 1
    assert box_overlap(box, box + 10) == 0
    assert box_overlap(box[None], jnp.zeros((3, 4))).shape == (3,)
    assert box_overlap(jnp.array([5.0, 2.0, 1.0, 4.0]), box) == 0  # turned inside out
    gradient = jax.grad(lambda b: box_overlap(b, jnp.zeros(4)))(jnp.zeros(4))
    assert jnp.isfinite(gradient).all()
    empty = jnp.zeros((1, 3, 3), bool)
    assert mask_overlap(empty, empty) == 1
    assert mask_overlap(empty, ~empty) == 0
