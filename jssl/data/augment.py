"""Augmentation on the device: pure, keyed, one decision per image, made to be jitted in a step.

Images are float [B, H, W, C] in [0, 1] (`to_float` makes them) and stay there, up to rounding.
Without the three channels of colour, hue and saturation have no meaning and change nothing.

    x1, x2 = two_views(key, to_float(batch['image']), functools.partial(simclr, size=32))
"""

import math
from collections.abc import Callable, Sequence

import chex
import dm_pix
import jax
import jax.numpy as jnp
from jax import lax

from jssl.data.policies import rand_augment

__all__ = [
    'blur',
    'colour_jitter',
    'erase',
    'flip',
    'grayscale',
    'multi_crop',
    'normalise',
    'rand_augment',
    'random_apply',
    'random_crop',
    'random_resized_crop',
    'rotate90',
    'simclr',
    'solarize',
    'to_float',
    'two_views',
]

Size = int | tuple[int, int]


def to_float(images: jax.Array) -> jax.Array:
    """Scales bytes to [0, 1]; images that are float already come back as they are.

        x = bytes / 255

    Args:
      images: uint8 or float [B, H, W, C].

    Returns:
      float32 [B, H, W, C], or the float images given.

    The convention of torchvision's ToTensor (Marcel and Rodriguez, 2010).
    """
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    if images.dtype != jnp.uint8:
        raise ValueError(f'images must be uint8 or float, got {images.dtype}')
    return images.astype(jnp.float32) / 255


def normalise(
    images: jax.Array, mean: float | Sequence[float], std: float | Sequence[float]
) -> jax.Array:
    """Shifts and scales each channel.

        (x - mean) / std

    Args:
      images: [B, H, W, C].
      mean: of each channel [C], or of all.
      std: of each channel [C], or of all.

    Returns:
      [B, H, W, C], no longer in [0, 1].

    ImageNet Classification with Deep Convolutional Neural Networks (Krizhevsky et al., 2012).
    """
    _check(images)
    mean, std = (
        jnp.broadcast_to(jnp.asarray(value, images.dtype), images.shape) for value in (mean, std)
    )
    return (images - mean) / std


def random_resized_crop(
    key: jax.Array,
    images: jax.Array,
    *,
    size: Size,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> jax.Array:
    """Cuts a random box out of each image and scales it to one size.

        area ~ U(scale) H W,   log(width / height) ~ U(log ratio),   ten tries until the box fits

    Bilinear with anti-aliasing, as two matrix products per image; boxes end between pixels.

    Args:
      key: random key.
      images: [B, H, W, C].
      size: side of the result, or (h, w).
      scale: range of the box's area, as a share of the image's.
      ratio: range of the box's width over height.

    Returns:
      [B, h, w, C].

    Going Deeper with Convolutions (Szegedy et al., 2014).
    """
    _check(images)
    batch, height, width, _ = images.shape
    top, left, tall, wide = _boxes(key, batch, height, width, scale, ratio)
    h, w = _pair(size)
    return _product(_bilinear(top, tall, height, h), images, _bilinear(left, wide, width, w))


def random_crop(
    key: jax.Array, images: jax.Array, *, padding: int = 4, mode: str = 'constant'
) -> jax.Array:
    """Pads each image and cuts it to its old size at a random place.

    Args:
      key: random key.
      images: [B, H, W, C].
      padding: pixels on every side.
      mode: of `jnp.pad`: 'constant' is black, 'reflect' mirrors.

    Returns:
      [B, H, W, C].

    Deep Residual Learning for Image Recognition (He et al., 2015), section 4.2.
    """
    _check(images)
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, border, mode=mode)
    cut = lambda key, image: dm_pix.random_crop(key, image, images.shape[1:])
    return jax.vmap(cut)(jax.random.split(key, len(images)), padded)


def flip(key: jax.Array, images: jax.Array, *, probability: float = 0.5) -> jax.Array:
    """Mirrors images left to right.

    Args:
      key: random key.
      images: [B, H, W, C].
      probability: of mirroring an image.

    Returns:
      [B, H, W, C].

    ImageNet Classification with Deep Convolutional Neural Networks (Krizhevsky et al., 2012).
    """
    _check(images)
    return _choose(key, probability, dm_pix.flip_left_right(images), images)


def colour_jitter(
    key: jax.Array,
    images: jax.Array,
    *,
    brightness: float = 0.8,
    contrast: float = 0.8,
    saturation: float = 0.8,
    hue: float = 0.2,
    probability: float = 0.8,
) -> jax.Array:
    """Changes brightness, contrast, saturation and hue, in random order.

        x f,   (x - mean) f + mean,   saturation f,   hue + d,    f ~ U(max(0, 1 - s), 1 + s)

    d ~ U(-hue, hue) in turns of the colour circle. Every image has its own factors; the order is
    drawn once for the batch, because a device would compute all orders of a batch that mixes them.

    Args:
      key: random key.
      images: [B, H, W, C].
      brightness: s of the factor on all values.
      contrast: s of the factor on the distance from each channel's mean.
      saturation: s of the factor on the saturation of hue, saturation, value.
      hue: largest shift, at most 0.5.
      probability: of changing an image at all.

    Returns:
      [B, H, W, C] in [0, 1].

    A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020).
    """
    _check(images)
    k_apply, k_order, *keys = jax.random.split(key, 6)
    pixel = jax.vmap(lambda image, factor: image * factor)
    steps = [(pixel, brightness), (jax.vmap(dm_pix.adjust_contrast), contrast)]
    if images.shape[-1] == 3:
        steps.append((jax.vmap(dm_pix.adjust_saturation), saturation))
        steps.append((jax.vmap(dm_pix.adjust_hue), hue))

    def change(number, adjust, strength):
        low, high = (-hue, hue) if number == 3 else (max(0.0, 1 - strength), 1 + strength)
        draws = jax.random.uniform(
            keys[number], (len(images),), images.dtype, minval=low, maxval=high
        )
        return lambda x: jnp.clip(adjust(x, draws), 0, 1)

    changes = [change(i, *step) for i, step in enumerate(steps)]
    order = jax.random.permutation(k_order, len(changes))
    jittered, _ = lax.scan(lambda x, i: (lax.switch(i, changes, x), None), images, order)
    return _choose(k_apply, probability, jittered, images)


def grayscale(key: jax.Array, images: jax.Array, *, probability: float = 0.2) -> jax.Array:
    """Takes the colour out of images: all channels become the luma.

        0.2989 R + 0.5870 G + 0.1140 B

    Args:
      key: random key.
      images: [B, H, W, C].
      probability: of greying an image.

    Returns:
      [B, H, W, C].

    A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020).
    """
    _check(images)
    if images.shape[-1] == 1:
        return images
    if images.shape[-1] != 3:
        raise ValueError(f'images must have one or three channels to be greyed, got {images.shape}')
    return _choose(key, probability, dm_pix.rgb_to_grayscale(images, keep_dims=True), images)


def blur(
    key: jax.Array,
    images: jax.Array,
    *,
    sigma: tuple[float, float] = (0.1, 2.0),
    probability: float = 0.5,
) -> jax.Array:
    """Blurs images with a Gaussian, its weights scaled to sum to one at the edges too.

        x'_i = sum_j w_ij x_j,   w_ij ~ exp(-(i - j)^2 / 2 s^2),   s ~ U(sigma)

    One matrix product per axis, many times quicker than a convolution per image; not truncated.

    Args:
      key: random key.
      images: [B, H, W, C].
      sigma: range of the standard deviation in pixels; the paper's is for 224 pixels.
      probability: of blurring an image.

    Returns:
      [B, H, W, C].

    A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020).
    """
    _check(images)
    k_apply, k_sigma = jax.random.split(key)
    low, high = sigma
    s = jax.random.uniform(k_sigma, (len(images),), minval=low, maxval=high)
    rows, columns = (_gaussian(s, side) for side in images.shape[1:3])
    return _choose(k_apply, probability, _product(rows, images, columns), images)


def solarize(
    key: jax.Array, images: jax.Array, *, threshold: float = 0.5, probability: float = 0.2
) -> jax.Array:
    """Inverts the bright values of images.

        x' = 1 - x where x >= threshold

    Args:
      key: random key.
      images: [B, H, W, C].
      threshold: smallest value that is inverted.
      probability: of changing an image.

    Returns:
      [B, H, W, C].

    Bootstrap Your Own Latent (Grill et al., 2020).
    """
    _check(images)
    return _choose(key, probability, dm_pix.solarize(images, threshold), images)


def erase(
    key: jax.Array,
    images: jax.Array,
    *,
    scale: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
    value: float = 0.0,
    probability: float = 0.5,
) -> jax.Array:
    """Fills a random box of each image with one value.

    Args:
      key: random key.
      images: [B, H, W, C].
      scale: range of the box's area, as a share of the image's.
      ratio: range of the box's width over height.
      value: what the box is filled with.
      probability: of changing an image.

    Returns:
      [B, H, W, C].

    Random Erasing Data Augmentation (Zhong et al., 2017).
    """
    _check(images)
    batch, height, width, _ = images.shape
    k_apply, k_box = jax.random.split(key)
    top, left, tall, wide = _boxes(k_box, batch, height, width, scale, ratio)
    rows, columns = _within(top, tall, height), _within(left, wide, width)
    box = (rows[:, :, None] & columns[:, None, :])[..., None]
    return _choose(
        k_apply, probability, jnp.where(box, jnp.asarray(value, images.dtype), images), images
    )


def random_apply(
    key: jax.Array, images: jax.Array, augment: Callable, *, probability: float = 0.5
) -> jax.Array:
    """Augments some images and leaves the others.

    Args:
      key: random key.
      images: [B, H, W, C].
      augment: (key, images) -> images of the same shape.
      probability: of augmenting an image.

    Returns:
      [B, H, W, C].

    The RandomApply of SimCLR's pipeline (Chen et al., 2020), one decision per image.
    """
    _check(images)
    k_apply, k_augment = jax.random.split(key)
    return _choose(k_apply, probability, augment(k_augment, images), images)


def simclr(
    key: jax.Array,
    images: jax.Array,
    *,
    size: Size,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.08, 1.0),
    blur_probability: float = 0.5,
    flip_probability: float = 0.5,
) -> jax.Array:
    """One view of SimCLR: resized crop, flip, colour jitter, greyness, blur.

        jitter with probability 0.8: 0.8 s, 0.8 s, 0.8 s, 0.2 s;   grey 0.2;   blur 0.5

    Args:
      key: random key.
      images: [B, H, W, C].
      size: side of the view, or (h, w).
      strength: s of the colour jitter; the paper takes 1 for ImageNet, 0.5 for CIFAR-10.
      scale: range of the crop's area.
      blur_probability: of blurring; the paper takes 0 for CIFAR-10.
      flip_probability: of mirroring; 0 for what reads from left to right.

    Returns:
      [B, h, w, C] in [0, 1].

    A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020).
    """
    k_crop, k_flip, k_colour, k_grey, k_blur = jax.random.split(key, 5)
    colour, hue = 0.8 * strength, 0.2 * strength
    x = random_resized_crop(k_crop, images, size=size, scale=scale)
    x = flip(k_flip, x, probability=flip_probability)
    x = colour_jitter(k_colour, x, brightness=colour, contrast=colour, saturation=colour, hue=hue)
    x = grayscale(k_grey, x)
    return blur(k_blur, x, probability=blur_probability)


def two_views(key: jax.Array, images: jax.Array, augment: Callable) -> tuple[jax.Array, jax.Array]:
    """Augments the same images twice.

    Args:
      key: random key.
      images: [B, H, W, C].
      augment: (key, images) -> images.

    Returns:
      x1 and x2, of the shape that `augment` gives.

    A Simple Framework for Contrastive Learning of Visual Representations (Chen et al., 2020).
    """
    k1, k2 = jax.random.split(key)
    return augment(k1, images), augment(k2, images)


def multi_crop(
    key: jax.Array,
    images: jax.Array,
    *,
    sizes: Sequence[Size] = (224, 96),
    counts: Sequence[int] = (2, 6),
    scales: Sequence[tuple[float, float]] = ((0.14, 1.0), (0.05, 0.14)),
    augment: Callable = random_resized_crop,
) -> list[jax.Array]:
    """Cuts several views of several sizes out of each image.

    An image's views lie side by side, so that an array that is split over images stays so.

    Args:
      key: random key.
      images: [B, H, W, C].
      sizes: of each kind of view.
      counts: n, how many of each kind.
      scales: range of the crop's area of each kind.
      augment: (key, images, *, size, scale) -> images of this size: a crop alone, or `simclr`.

    Returns:
      One array [B, n, h, w, C] for each kind.

    Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (Caron et al.,
    2020).
    """
    if not len(sizes) == len(counts) == len(scales):
        raise ValueError(f'sizes, counts, scales must be as many: {sizes}, {counts}, {scales}')
    keys, kinds = jax.random.split(key, len(sizes)), []
    for k, size, n, scale in zip(keys, sizes, counts, scales, strict=True):
        views = augment(k, jnp.repeat(images, n, axis=0), size=size, scale=scale)
        kinds.append(views.reshape(-1, n, *views.shape[1:]))
    return kinds


def rotate90(images: jax.Array, turns: jax.Array) -> jax.Array:
    """Turns square images by quarters, counter-clockwise; exact, without interpolation.

    Args:
      images: [B, S, S, C], any type.
      turns: quarters of each image [B], integers.

    Returns:
      [B, S, S, C].

    Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al., 2018).
    """
    chex.assert_rank([images, turns], [4, 1])
    if images.shape[1] != images.shape[2]:
        raise ValueError(f'images must be square to turn by quarters, got {images.shape}')
    turns = (turns % 4)[:, None, None, None]
    turned = jnp.where(turns % 2 == 1, images.swapaxes(1, 2), images)
    turned = jnp.where((turns == 1) | (turns == 2), turned[:, ::-1], turned)
    return jnp.where(turns >= 2, turned[:, :, ::-1], turned)


def _check(images):
    chex.assert_rank(images, 4)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f'images must be float in [0, 1], got {images.dtype}: call to_float first')


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _choose(key, probability, changed, images):
    """One coin per image."""
    heads = jax.random.bernoulli(key, probability, (len(images),))
    return jnp.where(heads[:, None, None, None], changed, images)


def _boxes(key, batch, height, width, scale, ratio, tries=10):
    """Random boxes (top, left, tall, wide), each float [B]; the first of some tries that fits.

    When none fits: the largest box in the middle whose ratio is allowed.
    """
    k_area, k_ratio, k_top, k_left = jax.random.split(key, 4)
    shape = (batch, tries)
    area = jax.random.uniform(k_area, shape, minval=scale[0], maxval=scale[1]) * (height * width)
    low, high = (math.log(r) for r in ratio)
    shapes = jnp.exp(jax.random.uniform(k_ratio, shape, minval=low, maxval=high))
    tall, wide = jnp.sqrt(area / shapes), jnp.sqrt(area * shapes)
    fits = (tall <= height) & (wide <= width)
    first, found = fits.argmax(1)[:, None], fits.any(1)
    pick = lambda x: jnp.take_along_axis(x, first, 1)[:, 0]
    tall = jnp.where(found, pick(tall), min(height, width / ratio[0]))
    wide = jnp.where(found, pick(wide), min(width, height * ratio[1]))
    place = lambda k: jnp.where(found, jax.random.uniform(k, (batch,)), 0.5)
    return place(k_top) * (height - tall), place(k_left) * (width - wide), tall, wide


def _bilinear(start, extent, side, size):
    """Weights [B, size, side] that resample the interval [start, start + extent] to `size` pixels.

    A triangle one output pixel wide (one input pixel when enlarging), as in Pillow.
    """
    step = (extent / size)[:, None]
    centre = start[:, None] + (jnp.arange(size) + 0.5)[None, :] * step
    distance = (jnp.arange(side) + 0.5)[None, None, :] - centre[:, :, None]
    weights = jnp.maximum(0, 1 - jnp.abs(distance) / jnp.maximum(step, 1)[:, :, None])
    return weights / weights.sum(-1, keepdims=True)


def _gaussian(sigma, side):
    """Weights [B, side, side] of a Gaussian around each pixel, rows summing to one."""
    place = jnp.arange(side)
    apart = (place[:, None] - place[None, :])[None]
    squares = jnp.square(apart / jnp.maximum(sigma, 1e-3)[:, None, None])
    return jax.nn.softmax(-squares / 2, axis=-1)


def _product(rows, images, columns):
    """rows [B, h, H] times images [B, H, W, C] times columns [B, w, W], in full precision."""
    full = lax.Precision.HIGHEST
    weights = (rows.astype(images.dtype), columns.astype(images.dtype))
    return jnp.einsum('bih,bhwc,bjw->bijc', weights[0], images, weights[1], precision=full)


def _within(start, extent, side):
    """Pixels [B, side] whose centres lie in [start, start + extent)."""
    centre = (jnp.arange(side) + 0.5)[None, :]
    return (centre >= start[:, None]) & (centre < (start + extent)[:, None])
