"""RandAugment and its fourteen operations, on the device.

A batch that mixes operations computes each of them for every image and selects. The five that move
pixels share one warp, and a loop takes one kind after the other: side by side in one program, the
compiler would repeat the warp inside each of them.
"""

import chex
import dm_pix
import jax
import jax.numpy as jnp
from jax import lax

LARGEST = 30  # magnitude at which the operations are at full strength
GREY = 0.5  # what moves into view from outside the image


def rand_augment(
    key: jax.Array, images: jax.Array, *, operations: int = 2, magnitude: jax.Array | float = 10
) -> jax.Array:
    """Applies some operations one after the other, each chosen per image out of fourteen.

        rotate 30 degrees, shear 0.3, translate 0.45 of a side, factor 1 +- 0.9 on brightness,
        colour, contrast and sharpness, 8 - 4 bits, solarize from 1 down to 0: times magnitude / 30

    and identity, autocontrast, equalize, which have no strength; signs are random.

    Args:
      key: random key.
      images: float [B, H, W, C] in [0, 1], C 1 or 3.
      operations: how many; the paper's N.
      magnitude: 0 to 30; the paper's M. May be traced.

    Returns:
      [B, H, W, C] in [0, 1].

    RandAugment: Practical Automated Data Augmentation with a Reduced Search Space (Cubuk et al.,
    2019).
    """
    chex.assert_rank(images, 4)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f'images must be float in [0, 1], got {images.dtype}: call to_float first')
    level = jnp.asarray(magnitude, jnp.float32) / LARGEST
    moves, changes = len(MOVES), len(CHANGES)
    kinds = [lambda x, which, strength: jax.vmap(move)(x, which, strength)]
    kinds += [lambda x, _, strength, f=f: jax.vmap(f)(x, strength) for f in CHANGES]

    def operation(x, key):
        k_which, k_sign = jax.random.split(key)
        # 0 ... 4 are the moves, together kind 0; then come the changes; the last is the identity.
        which = jax.random.randint(k_which, (len(x),), 0, moves + changes + 1)
        strength = level * jax.random.rademacher(k_sign, (len(x),), jnp.float32)
        kind = jnp.maximum(which - moves + 1, 0)

        def one_kind(x, i):
            changed = jnp.clip(lax.switch(i, kinds, x, which, strength), 0, 1)
            return jnp.where((kind == i)[:, None, None, None], changed, x), None

        return lax.scan(one_kind, x, jnp.arange(1 + changes))[0], None

    keys = jax.random.split(key, operations)
    return lax.scan(operation, images.astype(jnp.float32), keys)[0].astype(images.dtype)


MOVES = ('rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y')


def move(image: jax.Array, which: jax.Array | int, strength: jax.Array | float) -> jax.Array:
    """Warps an image by one of `MOVES` about its centre, bilinearly; grey comes in from outside.

        output pixel o takes the value at A (o - c) + c + t

    Args:
      image: [H, W, C].
      which: place in `MOVES`; any other number moves nothing.
      strength: -1 to 1.

    Returns:
      [H, W, C].

    AutoAugment: Learning Augmentation Policies from Data (Cubuk et al., 2018), table 6.
    """
    sides = jnp.array(image.shape[:2], jnp.float32)
    amount = lambda name, full: jnp.where(which == MOVES.index(name), full * strength, 0.0)
    angle = amount('rotate', jnp.pi / 6)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    down = jnp.stack([cos, sin + amount('shear_y', 0.3)])
    across = jnp.stack([amount('shear_x', 0.3) - sin, cos])
    share = jnp.stack([amount('translate_y', 0.45), amount('translate_x', 0.45)])
    centre = (sides - 1) / 2
    return _warp(image, jnp.stack([down, across]), centre, centre + share * sides)


def _warp(image, matrix, centre, target):
    """Bilinear values at matrix (o - centre) + target, for every pixel o.

    dm_pix.affine_transform does this too, with eight taps one number at a time: 70 times slower.
    """
    height, width, channels = image.shape
    last = jnp.array([height - 1, width - 1])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing='ij'), -1)
    place = (grid - centre[None, None]) @ matrix.T + target[None, None]
    inside = ((place >= 0) & (place <= last[None, None])).all(-1, keepdims=True)
    corner = jnp.clip(jnp.floor(place), 0, jnp.maximum(last - 1, 0)[None, None])
    rest = place - corner
    across, down = rest[..., 1:], rest[..., :1]
    pixels = image.reshape(-1, channels)
    first = (corner[..., 0] * width + corner[..., 1]).astype(jnp.int32)
    above = pixels[first] * (1 - across) + pixels[first + 1] * across
    below = pixels[first + width] * (1 - across) + pixels[first + width + 1] * across
    return jnp.where(inside, above * (1 - down) + below * down, GREY)


def brightness(image, strength):
    """Blends with black."""
    return image * _factor(strength)


def contrast(image, strength):
    """Blends with the image's mean luma."""
    return _blend(jnp.full_like(image, _luma(image).mean()), image, strength)


def colour(image, strength):
    """Blends with the grey image."""
    return _blend(jnp.broadcast_to(_luma(image), image.shape), image, strength)


def sharpness(image, strength):
    """Blends with a smoothed image; the border stays, as in Pillow."""
    height, width, _ = image.shape
    near = sum(
        image[1 + i : height - 1 + i, 1 + j : width - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
    )
    smooth = image.at[1:-1, 1:-1].set((near + 4 * image[1:-1, 1:-1]) / 13)
    return _blend(smooth, image, strength)


def posterize(image, strength):
    """Keeps the highest 8 to 4 bits of each value."""
    step = 2 ** jnp.round(4 * jnp.abs(strength))
    return jnp.floor(_bytes(image) / step) * step / 255


def solarize(image, strength):
    """Inverts values from a threshold on, which falls from 1 (nothing changes) to 0."""
    threshold = 1 - jnp.abs(strength)
    return jnp.where((image >= threshold) & (strength != 0), 1 - image, image)


def autocontrast(image, strength):
    """Stretches each channel to the whole range."""
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    spread = high - low
    return jnp.where(spread > 0, (image - low) / jnp.where(spread > 0, spread, 1), image)


def equalize(image, strength):
    """Flattens the histogram of each channel, by Pillow's rule."""
    values = _bytes(image).astype(jnp.int32)

    def channel(values):
        counts = jnp.zeros(256, jnp.int32).at[values.ravel()].add(1)
        last = 255 - jnp.argmax(counts[::-1] > 0)
        step = (counts.sum() - counts[last]) // 255
        below = jnp.cumsum(counts) - counts
        table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
        return jnp.where(step > 0, table[values], values)

    return jax.vmap(channel, in_axes=2, out_axes=2)(values).astype(image.dtype) / 255


CHANGES = (
    *(brightness, contrast, colour, sharpness),
    *(posterize, solarize, autocontrast, equalize),
)


def _factor(strength):
    return 1 + 0.9 * strength


def _blend(plain, image, strength):
    return plain + _factor(strength) * (image - plain)


def _luma(image):
    return image if image.shape[-1] == 1 else dm_pix.rgb_to_grayscale(image)


def _bytes(image):
    return jnp.round(jnp.clip(image, 0, 1) * 255)
