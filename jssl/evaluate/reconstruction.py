"""How close a reconstruction is to its image."""

from functools import partial

import chex
import dm_pix
import jax
import jax.numpy as jnp

from jssl.losses.arrays import widen


def _pair(x, y):
    chex.assert_rank([x, y], {3, 4})
    chex.assert_equal_shape([x, y])
    return widen(x), widen(y)


@jax.jit
def psnr(x: jax.Array, y: jax.Array, *, peak: float = 1.0) -> jax.Array:
    """Peak signal-to-noise ratio, in decibels.

        10 log10(peak^2 / mean (x - y)^2)

    Args:
        x: images [B, H, W, C], or one [H, W, C].
        y: their reconstructions, of the same shape.
        peak: largest value a pixel can have.

    Returns:
        Ratios [B], or a scalar; infinite for identical images.

    Reference: Image Quality Metrics: PSNR vs. SSIM (Horé and Ziou, 2010).
    """
    # dm-pix takes the peak to be 1. Dividing the images by it would round identical ones apart.
    return dm_pix.psnr(*_pair(x, y)) + 20 * jnp.log10(peak)


@partial(jax.jit, static_argnames='window')
def ssim(x: jax.Array, y: jax.Array, *, peak: float = 1.0, window: int = 11) -> jax.Array:
    """Structural similarity, averaged over Gaussian windows and channels.

        (2 mu_x mu_y + c1)(2 sigma_xy + c2) / ((mu_x^2 + mu_y^2 + c1)(sigma_x^2 + sigma_y^2 + c2))

    Args:
        x: images [B, H, W, C], or one [H, W, C].
        y: their reconstructions, of the same shape.
        peak: largest value a pixel can have.
        window: side of the Gaussian window (sigma 1.5), no larger than the image.

    Returns:
        Similarities [B], or a scalar, at most 1.

    Reference: Image Quality Assessment: from Error Visibility to Structural Similarity (Wang et
    al., 2004).
    """
    x, y = _pair(x, y)
    if min(x.shape[-3:-1]) < window:
        raise ValueError(f'window {window} is larger than the images {x.shape}')
    return dm_pix.ssim(x, y, max_val=peak, filter_size=window)
