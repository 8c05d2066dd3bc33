"""Pictures at all their turns, by eighths of a turn."""

import chex
import jax
import jax.numpy as jnp

from jssl.data.augment import rotate90


def rotate45(images: jax.Array, eighths: jax.Array) -> jax.Array:
    """Turns square images by multiples of 45 degrees, counter-clockwise, and keeps what they share.

        out(p) = image(c + R(45 eighths)' (p - c) / sqrt(2)), bilinear

    The square of side S / sqrt(2) in the middle is inside the image at every turn; it is scaled up
    to side S. No turn leaves empty corners, and all of them, the even ones too, are interpolated,
    so that neither gives the angle away.

    Args:
      images: [B, S, S, C], floating.
      eighths: eighths of a turn of each image [B], integers.

    Returns:
      [B, S, S, C].

    Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al., 2018).
    """
    chex.assert_rank([images, eighths], [4, 1])
    side = images.shape[1]
    if side != images.shape[2]:
        raise ValueError(f'images must be square to turn, got {images.shape}')
    centred = (jnp.arange(side) - (side - 1) / 2) / 2**0.5
    down, right = jnp.meshgrid(centred, centred, indexing='ij')

    def turn(image, eighth):
        # A point of the result came from one turned clockwise, with y pointing down.
        cos, sin = jnp.cos(jnp.pi / 4 * eighth), jnp.sin(jnp.pi / 4 * eighth)
        rows = (side - 1) / 2 + cos * down + sin * right
        columns = (side - 1) / 2 + cos * right - sin * down
        sample = lambda plane: jax.scipy.ndimage.map_coordinates(plane, [rows, columns], order=1)
        return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)

    return jax.vmap(turn)(images, eighths)


def every_turn(
    images: jax.Array, *, eighths: tuple[int, ...] = (0, 2, 4, 6)
) -> tuple[jax.Array, jax.Array]:
    """Every image at each of K turns, side by side; quarter turns alone leave no trace.

    Args:
      images: [B, S, S, C]; floating, if a turn is an odd number of eighths.
      eighths: the turns, K of them.

    Returns:
      [B K, S, S, C], and which turn int32 [B K].

    Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al., 2018).
    """
    which = jnp.tile(jnp.arange(len(eighths), dtype=jnp.int32), len(images))
    copies, turns = jnp.repeat(images, len(eighths), axis=0), jnp.array(eighths)[which]
    odd = any(eighth % 2 for eighth in eighths)
    return rotate45(copies, turns) if odd else rotate90(copies, turns // 2), which
