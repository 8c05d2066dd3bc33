"""Where a feature map is active."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.arrays import widen


@jax.jit
def attention_map(maps: jax.Array, *, p: float = 2.0) -> jax.Array:
    """Share of each place in the activity of a feature map, all channels together.

        A_ij = sum_c |h_ijc|^p / sum_ij sum_c |h_ijc|^p;  a map of zeros is even, 1 / (H W)

    Args:
        maps: feature maps [B, H, W, C].
        p: power; the larger, the more the strongest channels decide.

    Returns:
        Non-negative [B, H, W], each image summing to 1.

    Reference: Paying More Attention to Attention (Zagoruyko and Komodakis, 2017); Unsupervised
    Representation Learning by Predicting Image Rotations (Gidaris et al., 2018), figure 3.
    """
    chex.assert_rank(maps, 4)
    size = jnp.abs(widen(maps))
    largest = size.max((1, 2, 3), keepdims=True)  # powers of large values overflow
    active = jnp.power(size / jnp.where(largest > 0, largest, 1), p).sum(-1)
    total = active.sum((1, 2), keepdims=True)
    even = 1 / (maps.shape[1] * maps.shape[2])
    return jnp.where(total > 0, active / jnp.where(total > 0, total, 1), even)


@jax.jit
def attention_focus(attention: jax.Array, masks: jax.Array) -> jax.Array:
    """How much denser attention is on an object than on the whole image.

        sum_ij A_ij m_ij / mean_ij m_ij,  m the share of the object in each place of A

    1 where attention is even, 1 / (the object's share of the image) where none is wasted.

    Args:
        attention: `attention_map` of each image [B, h, w].
        masks: boolean, or shares in [0, 1] [B, H, W], H and W multiples of h and w; not empty.

    Returns:
        [B], non-negative.

    Reference: Top-Down Neural Attention by Excitation Backprop (Zhang et al., 2016), the pointing
    game, whose hits this makes gradual.
    """
    chex.assert_rank([attention, masks], 3)
    count, height, width = attention.shape
    if masks.shape[0] != count or masks.shape[1] % height or masks.shape[2] % width:
        raise ValueError(f'masks {masks.shape} are not multiples of attention {attention.shape}')
    cells = masks.reshape(count, height, -1, width, masks.shape[2] // width)
    share = cells.astype(attention.dtype).mean((2, 4))
    return (attention * share).sum((1, 2)) / share.mean((1, 2))
