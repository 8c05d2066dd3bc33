"""Images as published backbones expect them."""

import chex
import jax
import jax.numpy as jnp

from jssl.data import augment

# Mean and deviation of each channel that a backbone was trained with: 'half' is that of Google's
# transformers, which timm tags augreg and orig_in21k; 'clip' that of CLIP; 'imagenet' that of the
# others here.
PIXELS = {
    'imagenet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    'clip': ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    'half': (0.5, 0.5),
}


def prepare(images: jax.Array, *, size: int = 224, pixels: str = 'imagenet') -> jax.Array:
    """Scales images to a square of three channels and normalises them.

        (resize(x) - mean) / std

    Args:
      images: uint8, or float in [0, 1], [B, H, W, C]; grey ones, C = 1, have three equal channels.
      size: side in pixels; scaled bilinearly, not cut.
      pixels: whose mean and standard deviation, a name in `PIXELS`.

    Returns:
      float32 [B, size, size, 3].

    ImageNet Classification with Deep Convolutional Neural Networks (Krizhevsky et al., 2012).
    """
    chex.assert_rank(images, 4)
    if images.shape[-1] not in (1, 3):
        raise ValueError(f'images must have 1 or 3 channels, got shape {images.shape}')
    x = augment.to_float(images)
    x = jnp.broadcast_to(x, (*x.shape[:3], 3))
    x = jax.image.resize(x, (len(x), size, size, 3), 'linear')
    return augment.normalise(x, *PIXELS[pixels])
