"""Clips: made from still images, folded for image networks, masked by tubes."""

import chex
import jax
import jax.numpy as jnp


def pan(key: jax.Array, images: jax.Array, *, frames: int = 16, speed: int = 2) -> jax.Array:
    """Clips of a camera that moves over each image at a constant random velocity.

        clip_t[i, j] = x[(i - t u) mod H, (j - t v) mod W],   u, v ~ U{-speed, ..., speed}

    Args:
      key: random key.
      images: x [B, H, W, C].
      frames: T; the first is the image itself.
      speed: most pixels per frame and axis.

    Returns:
      [B, T, H, W, C].

    Unsupervised Learning of Video Representations using LSTMs (Srivastava et al., 2015): things
    that drift over a canvas.
    """
    chex.assert_rank(images, 4)
    velocity = jax.random.randint(key, (len(images), 1, 2), -speed, speed + 1)
    shifts = velocity * jnp.arange(frames)[None, :, None]
    roll = lambda image, shift: jnp.roll(image, shift, axis=(0, 1))
    return jax.vmap(jax.vmap(roll, (None, 0)))(images, shifts)


def tubelets(clips: jax.Array, *, duration: int = 2) -> jax.Array:
    """Folds clips into tall images, whose patches are tubelets in the order time, row, column.

        y[b, s H + i, j, (u, c)] = x[b, s duration + u, i, j, c]

    Args:
      clips: x [B, T, H, W, C], T divisible by `duration`.
      duration: frames of a tubelet.

    Returns:
      [B, (T / duration) H, W, duration C].

    ViViT: A Video Vision Transformer (Arnab et al., 2021), tubelet embedding.
    """
    chex.assert_rank(clips, 5)
    batch, frames, height, width, channels = clips.shape
    if frames % duration:
        raise ValueError(f'clips has {frames} frames, which duration {duration} does not divide')
    folded = clips.reshape(batch, -1, duration, height, width, channels)
    return jnp.moveaxis(folded, 2, 4).reshape(batch, -1, width, duration * channels)


def tube_mask(mask: jax.Array, keep: jax.Array, *, times: int) -> tuple[jax.Array, jax.Array]:
    """Repeats a mask of places at every time, so that what is masked is masked throughout.

        mask'[b, s N + n] = mask[b, n],   s = 0 .. times - 1

    Args:
      mask: float [B, N], 1 where masked.
      keep: int [B, K], places of the visible patches in ascending order.
      times: how many times.

    Returns:
      mask [B, times N]; keep int32 [B, times K], ascending.

    VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video
    Pre-Training (Tong et al., 2022).
    """
    chex.assert_rank([mask, keep], 2)
    chex.assert_equal_shape_prefix([mask, keep], 1)
    starts = mask.shape[1] * jnp.arange(times, dtype=jnp.int32)
    every = (starts[None, :, None] + keep[:, None, :]).reshape(len(keep), -1)
    return jnp.tile(mask, (1, times)), every.astype(jnp.int32)
