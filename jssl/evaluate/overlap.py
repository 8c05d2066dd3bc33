"""Intersection over union: how well a mask or a box covers another."""

import chex
import jax
import jax.numpy as jnp


@jax.jit
def mask_overlap(masks: jax.Array, other: jax.Array) -> jax.Array:
    """Intersection over union of two masks; 1 where both are empty.

        |m & n| / |m | n|

    Args:
        masks: boolean [B, H, W].
        other: boolean [B, H, W].

    Returns:
        [B] in [0, 1].

    Reference: The distribution of the flora in the alpine zone (Jaccard, 1912).
    """
    chex.assert_rank([masks, other], 3)
    chex.assert_equal_shape([masks, other])
    shared = (masks & other).sum((1, 2))
    whole = (masks | other).sum((1, 2))
    return jnp.where(whole > 0, shared / jnp.maximum(whole, 1), 1.0)


@jax.jit
def box_overlap(boxes: jax.Array, other: jax.Array) -> jax.Array:
    """Intersection over union of two boxes; a box that ends before it begins is empty.

        |a & b| / (|a| + |b| - |a & b|), 0 where both are empty

    Args:
        boxes: left, top, right, bottom [..., 4], right and bottom exclusive.
        other: the same, of a shape that broadcasts.

    Returns:
        [...] in [0, 1].

    Reference: The PASCAL Visual Object Classes Challenge (Everingham et al., 2010).
    """
    start = jnp.maximum(boxes[..., :2], other[..., :2])
    end = jnp.minimum(boxes[..., 2:], other[..., 2:])
    area = lambda start, end: jnp.maximum(end - start, 0).prod(-1)
    shared = area(start, end)
    whole = sum(area(b[..., :2], b[..., 2:]) for b in (boxes, other)) - shared
    return jnp.where(whole > 0, shared / jnp.where(whole > 0, whole, 1), 0.0)
