"""Rotations by eighths of a turn, for the pretext task that has them."""

import chex
import jax
import jax.numpy as jnp


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
