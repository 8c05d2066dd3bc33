"""What spoils images in the world, in five severities: noise, blur, weather, and digital losses.

Images are float [B, H, W, C] in [0, 1] and stay there; every image has its own draw. The constants
are those of CIFAR-10-C, and lengths in pixels are for 32 pixels: they grow with the shorter side.
`severity`, 1 to 5, may be traced, so that one compiled program serves all five.

    bad = corruptions.fog(key, to_float(batch['image']), severity=5)
"""

import functools
import math

import chex
import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SIDE = 32  # for which the constants stand
Severity = jax.Array | int


def gaussian_noise(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Adds noise of one strength, as in low light.

        x' = x + c e,   e ~ N(0, 1)

    Args:
      key: random key.
      images: [B, H, W, C].
      severity: 1 to 5.

    Returns:
      [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    c = _level(images, severity, [0.04, 0.06, 0.08, 0.09, 0.10])
    return _unit(images + c * jax.random.normal(key, images.shape), images)


def shot_noise(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Counts light in quanta.

        x' = n / c,   n ~ Poisson(c x)

    drawn as round(m + sqrt(m) e + (e^2 - 1) / 6), m = c x, e ~ N(0, 1) (Cornish and Fisher): its
    mean, variance and skewness are those of Poisson's, thirty times quicker.

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    c = _level(images, severity, [500, 250, 100, 75, 50])
    mean, e = c * images, jax.random.normal(key, images.shape)
    skew = (jnp.square(e) - 1) / 6 * jnp.minimum(mean, 1)  # nothing is counted in the dark
    return _unit(jnp.round(mean + jnp.sqrt(mean) * e + skew) / c, images)


def impulse_noise(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Sets a share c of all values to 0 or 1 (salt and pepper).

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    c = _level(images, severity, [0.01, 0.02, 0.03, 0.05, 0.07])
    u = jax.random.uniform(key, images.shape)
    return _unit(jnp.where(u < c / 2, 0, jnp.where(u < c, 1, images)), images)


def defocus_blur(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Averages over a disk, as a lens out of focus.

    Args: as `gaussian_noise`; nothing is drawn.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    del key
    radius, sigma = _level(images, severity, [0.3, 0.4, 0.5, 1, 1.5], [0.4, 0.5, 0.6, 0.2, 0.1])
    scale = _scale(images)
    reach = math.ceil(1.5 * scale) + 1
    place = jnp.arange(-reach, reach + 1)
    squares = jnp.square(place[:, None]) + jnp.square(place[None, :])
    disk = (squares <= jnp.square(radius * scale)).astype(jnp.float32)
    soft = jax.nn.softmax(-jnp.square(jnp.array([-1.0, 0, 1])) / (2 * jnp.square(sigma)))
    kernel = jax.scipy.signal.convolve2d(disk / disk.sum(), soft[:, None] * soft[None, :], 'same')
    border = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = jnp.pad(images, border, mode='reflect')

    def add(total, tap):
        i, j = jnp.divmod(tap, len(place))
        shifted = lax.dynamic_slice(padded, (0, i, j, 0), images.shape)
        return total + kernel[i, j] * shifted, None

    start = jnp.zeros(images.shape, jnp.float32)
    return _unit(lax.scan(add, start, jnp.arange(kernel.size))[0], images)


def glass_blur(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Swaps pixels with near ones between two Gaussian blurs, as frosted glass.

        x' = G_s * swap(G_s * x),   each pixel once or twice with one at most d away

    The benchmark swaps pixel after pixel; here all pixels of a pass fetch theirs at once, so that a
    pixel may be seen twice. At 32 pixels d is one.

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    sigma, passes = _level(images, severity, [0.05, 0.25, 0.4, 0.25, 0.4], [1, 1, 1, 2, 2])
    reach, (height, width) = max(1, round(_scale(images))), images.shape[1:3]
    blur = lambda x: _resample(x, functools.partial(_gaussian, sigma * _scale(images)))
    shifts = jax.random.randint(key, (2, 2, len(images), height, width), -reach, reach + 1)

    def fetch(image, down, across):
        rows = jnp.clip(jnp.arange(height)[:, None] + down, 0, height - 1)
        columns = jnp.clip(jnp.arange(width) + across, 0, width - 1)
        return image[rows, columns]

    x = blur(images)
    for n in range(2):
        x = jax.vmap(fetch)(x, *(shifts[n] * (n < passes)))
    return _unit(blur(x), images)


def motion_blur(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Smears images along a line, as a camera that moves.

        x'(p) = sum_i w_i x(p + i u),   w_i ~ exp(-i^2 / 2 s^2),  i = 0 .. 2 r,  |u| = 1

    at an angle within 45 degrees of the horizontal; p + i u is rounded to a pixel.

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    radius, sigma = _level(images, severity, [6, 6, 6, 8, 9], [1, 1.5, 2, 2, 2.5])
    angle = jax.random.uniform(key, (len(images),), minval=-jnp.pi / 4, maxval=jnp.pi / 4)
    return _unit(_smear(images, angle, radius, sigma), images)


def zoom_blur(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Averages an image with its enlargements, as a camera that comes nearer.

        x' = (x + sum_z zoom(x, z)) / (1 + n),   z = 1, 1.01, ..., 1.05 up to 1.25

    Args: as `gaussian_noise`; nothing is drawn.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    del key
    count = _level(images, severity, [6, 11, 16, 21, 26])
    step = jnp.arange(26)
    weight = jnp.where(step < count, 1, 0) + (step == 0)  # the image itself, and its zoom by 1
    rows, columns = (_zoom(1 + step / 100, side) for side in images.shape[1:3])
    rows = rows * (weight / weight.sum())[:, None, None]
    full = lax.Precision.HIGHEST
    return _unit(jnp.einsum('zih,bhwc,zjw->bijc', rows, images, columns, precision=full), images)


def fog(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Lays a cloud over images.

        x' = (x + c f) max(x) / (max(x) + c),   f a fractal in [0, 1]

    f sums noise on grids of 2, 4, 8, ... points a side, each weaker than the last by a factor d:
    the cloud of the benchmark is made by diamonds and squares, with the same spectrum.

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    c, decay = _level(images, severity, [0.2, 0.5, 0.75, 1, 1.5], [3, 3, 2.5, 2, 1.75])
    largest = images.max((1, 2, 3), keepdims=True)
    cloudy = images + c * _fractal(key, images.shape[:3], decay)
    return _unit(cloudy * largest / (largest + c), images)


def snow(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Streaks of falling snow, before and behind an image that they whiten.

        x' = c x + (1 - c) max(x, 1.5 luma + 0.5) + s + rot180(s),   s blurred flakes

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    mean, spread, zoom, least, radius, sigma, keep = _level(
        images,
        severity,
        [0.1, 0.1, 0.15, 0.25, 0.3],
        [0.2, 0.2, 0.3, 0.3, 0.3],
        [1, 1, 1.75, 2.25, 1.25],
        [0.6, 0.5, 0.55, 0.6, 0.65],
        [8, 10, 10, 12, 14],
        [3, 4, 4, 6, 12],
        [0.95, 0.9, 0.9, 0.85, 0.8],
    )
    k_flakes, k_angle = jax.random.split(key)
    flakes = mean + spread * jax.random.normal(k_flakes, (*images.shape[:3], 1))
    flakes = _resample(flakes, lambda side: _zoom(zoom[None], side)[0])
    flakes = jnp.where(flakes < least, 0, jnp.clip(flakes, 0, 1))
    angle = jax.random.uniform(k_angle, (len(images),), minval=-3 * jnp.pi / 4, maxval=-jnp.pi / 4)
    flakes = _smear(flakes, angle, radius, sigma)
    white = jnp.maximum(images, 1.5 * _luma(images) + 0.5)
    return _unit(keep * images + (1 - keep) * white + flakes + flakes[:, ::-1, ::-1], images)


def frost(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Lays crystals of ice over images.

        x' = a x + b f,   f crystals in [0, 1]

    The benchmark cuts f from six photographs; ours is drawn: needles at random places and turns,
    with branches at sixty degrees, over a fractal of haze. a and b are the benchmark's.

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    keep, ice = _level(images, severity, [1, 1, 0.9, 0.85, 0.75], [0.2, 0.3, 0.4, 0.4, 0.45])
    k_crystals, k_haze = jax.random.split(key)
    crystals = _crystals(k_crystals, images.shape[:3])
    haze = _fractal(k_haze, images.shape[:3], 2.0)
    return _unit(keep * images + ice * jnp.clip(crystals + 0.4 * haze, 0, 1), images)


def brightness(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Adds to the value of hue, saturation, value, as daylight of another hour.

        v' = v + c

    Args: as `gaussian_noise`; nothing is drawn.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    del key
    c = _level(images, severity, [0.05, 0.1, 0.15, 0.2, 0.3])
    # Hue and saturation stay when all channels are scaled alike; black has none, and becomes grey.
    value = images.max(-1, keepdims=True)
    scaled = images * (jnp.minimum(value + c, 1) / jnp.where(value > 0, value, 1))
    return _unit(jnp.where(value > 0, scaled, c), images)


def contrast(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Brings values nearer to their channel's mean.

        x' = c (x - mean) + mean

    Args: as `gaussian_noise`; nothing is drawn.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    del key
    c = _level(images, severity, [0.75, 0.5, 0.4, 0.3, 0.15])
    mean = images.mean((1, 2), keepdims=True)
    return _unit(c * (images - mean) + mean, images)


def elastic(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Bends images: a random affine map, then small displacements that vary smoothly.

        x'(p) = x(A p + a G_s * u),   u ~ U(-1, 1) for each pixel, G_s a Gaussian

    A moves three points about the centre by up to r each; the border mirrors. As in the benchmark,
    the mild severities turn and shear more, the severe ones ripple more.

    Args: as `gaussian_noise`.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    a, sigma, r = _level(
        images,
        severity,
        [0, 0.05, 0.08, 0.1, 0.1],
        [0.2, 0.2, 0.06, 0.04, 0.03],
        [0.08, 0.07, 0.06, 0.05, 0.03],
    )
    batch, height, width, _ = images.shape
    k_affine, k_smooth = jax.random.split(key)
    side, centre = min(height, width), np.array([height // 2, width // 2])
    corners, third = np.array([[1, 1], [1, -1], [-1, -1]]), side // 3
    jitter = jax.random.uniform(k_affine, (batch, 3, 2), minval=-1, maxval=1) * r * side
    # Points are (p - centre) / third, so that one system stands for every image and size.
    inverse = np.linalg.inv(np.hstack([corners, np.ones((3, 1))]))
    affine = jnp.einsum('ij,bjk->bik', inverse, (centre + third * corners)[None] + jitter)
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing='ij'), -1)
    about = ((grid - centre) / third).reshape(-1, 2)
    place = about[None] @ affine[:, :2] + affine[:, 2:]
    u = jax.random.uniform(k_smooth, (batch, height, width, 2), minval=-1, maxval=1)
    smooth = _resample(u, functools.partial(_gaussian, sigma * side))
    place = place.reshape(u.shape) + a * side * smooth
    sample = functools.partial(jax.scipy.ndimage.map_coordinates, order=1, mode='mirror')
    channel = jax.vmap(lambda plane, at: sample(plane, [at[..., 0], at[..., 1]]), (-1, None), -1)
    return _unit(jax.vmap(channel)(images, place), images)


def pixelate(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Scales images down to a share c of their side, and up again without smoothing.

    Args: as `gaussian_noise`; nothing is drawn.
    Returns: [B, H, W, C] in [0, 1].

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    del key
    c = _level(images, severity, [0.95, 0.9, 0.85, 0.75, 0.65])

    def weights(side):
        cell = jnp.floor((jnp.arange(side) + 0.5) * jnp.floor(side * c + 1e-4) / side)
        same = (cell[:, None] == cell[None, :]).astype(jnp.float32)
        return same / same.sum(1, keepdims=True)

    return _unit(_resample(images, weights), images)


def jpeg(key: jax.Array, images: jax.Array, *, severity: Severity = 1) -> jax.Array:
    """Rounds the cosine transform of blocks of 8 pixels, as JPEG does at quality c.

    Luma and chroma have JPEG's standard tables; chroma of colour images is at half the resolution.

    Args: as `gaussian_noise`; nothing is drawn.
    Returns: [B, H, W, C] in [0, 1], C 1 or 3.

    Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and
    Dietterich, 2019).
    """
    del key
    quality = _level(images, severity, [80, 65, 58, 50, 40])
    percent = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    table = lambda base: jnp.clip(jnp.floor((base * percent + 50) / 100), 1, 255)
    height, width, channels = images.shape[1:]
    border = ((0, 0), (0, -height % 16), (0, -width % 16), (0, 0))
    x = jnp.pad(255 * images.astype(jnp.float32), border, mode='edge')
    if channels == 1:
        coded = _blocks(x - 128, table(LUMA)) + 128
    else:
        full = lax.Precision.HIGHEST
        y = jnp.einsum('bhwc,dc->bhwd', x, YCBCR, precision=full)
        luma = _blocks(y[..., :1] - 128, table(LUMA)) + 128
        batch, tall, wide = x.shape[:3]
        half = y[..., 1:].reshape(batch, tall // 2, 2, wide // 2, 2, 2).mean((2, 4))
        half = _blocks(jnp.round(half), table(CHROMA))
        chroma = jax.image.resize(half, (batch, tall, wide, 2), 'linear')
        coded = jnp.einsum(
            'bhwd,cd->bhwc',
            jnp.concatenate([luma, chroma], -1),
            np.linalg.inv(YCBCR),
            precision=full,
        )
    return _unit(coded[:, :height, :width] / 255, images)


CORRUPTIONS = {
    f.__name__: f
    for f in (
        *(gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur),
        *(zoom_blur, snow, frost, fog, brightness, contrast, elastic, pixelate, jpeg),
    )
}

# Tables K.1 and K.2 of the JPEG standard.
LUMA = np.array(
    [
        *([16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55]),
        *([14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62]),
        *([18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92]),
        *([49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]),
    ],
    np.float32,
)
CHROMA = np.full((8, 8), 99, np.float32)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
COSINES = np.sqrt(2 / 8) * np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(8) + 1) / 16)
COSINES[0] = np.sqrt(1 / 8)


def _blocks(x, table):
    """What is left of planes [B, H, W, C] when their blocks' cosines are rounded by a table."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // 8, 8, width // 8, 8, channels)
    turn = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    cosines = turn('ui,bhiwjc,vj->bhuwvc', COSINES, blocks, COSINES)
    table = table[None, None, :, None, :, None]
    rounded = jnp.round(cosines / table) * table
    return turn('ui,bhuwvc,vj->bhiwjc', COSINES, rounded, COSINES).reshape(x.shape)


def _level(images, severity, *tables):
    """The constants of a severity, and a check of the images."""
    chex.assert_rank(images, 4)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f'images must be float in [0, 1], got {images.dtype}: call to_float first')
    if isinstance(severity, int) and not 1 <= severity <= 5:
        raise ValueError(f'severity must be 1 to 5, got {severity}')
    found = [jnp.asarray(table, jnp.float32)[jnp.asarray(severity) - 1] for table in tables]
    return found if len(found) > 1 else found[0]


def _scale(images):
    return min(images.shape[1:3]) / SIDE


def _unit(x, images):
    return jnp.clip(x, 0, 1).astype(images.dtype)


def _resample(images, weights):
    """Images [B, H, W, C] whose rows and columns are mixed by weights(H) [H, H], weights(W)."""
    rows, columns = weights(images.shape[1]), weights(images.shape[2])
    return jnp.einsum('ih,bhwc,jw->bijc', rows, images, columns, precision=lax.Precision.HIGHEST)


def _gaussian(sigma, side):
    """Weights [side, side] of a Gaussian around each pixel, rows summing to one."""
    apart = jnp.arange(side)[:, None] - jnp.arange(side)[None, :]
    return jax.nn.softmax(-jnp.square(apart / jnp.maximum(sigma, 1e-3)) / 2, axis=-1)


def _luma(images):
    return dm_pix.rgb_to_grayscale(images) if images.shape[-1] == 3 else images


def _smear(images, angle, radius, sigma):
    """Averages along a line from each pixel, of 2 radius + 1 taps; the border goes on outside."""
    scale = _scale(images)
    taps = jnp.arange(2 * math.ceil(14 * scale) + 1)
    weights = jnp.exp(-jnp.square(taps / (sigma * scale)) / 2) * (taps <= 2 * radius * scale)
    down, across = jnp.sin(angle), jnp.cos(angle)
    height, width = images.shape[1:3]

    def shifted(image, down, across):
        rows = jnp.clip(jnp.arange(height) + down, 0, height - 1)
        columns = jnp.clip(jnp.arange(width) + across, 0, width - 1)
        return image[rows][:, columns]

    def add(total, tap):
        i, weight = tap
        shift = [jnp.round(i * step).astype(jnp.int32) for step in (down, across)]
        return total + weight * jax.vmap(shifted)(images, *shift), None

    start = jnp.zeros(images.shape, jnp.float32)
    total, _ = lax.scan(add, start, (taps, weights / weights.sum()))
    return total


def _zoom(factor, side):
    """Weights [Z, side, side] that enlarge the middle of a line by each factor, linearly."""
    middle = (side - 1) / 2
    source = middle + (jnp.arange(side) - middle)[None, :] / factor[:, None]
    return jnp.maximum(0, 1 - jnp.abs(source[:, :, None] - jnp.arange(side)[None, None, :]))


def _fractal(key, shape, decay):
    """Clouds [B, H, W, 1] from 0 to 1: bilinear noise on ever finer grids."""
    batch, height, width = shape
    sides = [2 ** (n + 1) for n in range(math.ceil(math.log2(max(height, width))))]
    # One draw for all grids: every draw of its own takes a second to compile.
    noise = jax.random.uniform(key, (batch, sum(n * n for n in sides)), minval=-1, maxval=1)
    parts = jnp.split(noise, np.cumsum([n * n for n in sides])[:-1], axis=1)
    total = 0
    for level, (side, part) in enumerate(zip(sides, parts, strict=True)):
        rows, columns = (_linear(side, n) for n in (height, width))
        grid = part.reshape(batch, side, side)
        total += jnp.einsum('ih,bhw,jw->bij', rows, grid, columns) / decay**level
    total = total - total.min((1, 2), keepdims=True)
    return (total / jnp.maximum(total.max((1, 2), keepdims=True), 1e-6))[..., None]


def _crystals(key, shape):
    """Needles of ice [B, H, W, 1] from 0 to 1, each with branches at sixty degrees."""
    batch, height, width = shape
    numbers = jax.random.uniform(key, (batch, 8, 4))
    rows, columns = ((jnp.arange(n) - (n - 1) / 2) / min(height, width) for n in (height, width))
    middle, thin = 1.3 * (numbers[..., :2] - 0.5), 0.4 / min(height, width)

    def add(total, needle):
        at, turn, long = needle
        angle = 2 * jnp.pi * turn[:, None, None]
        y, x = rows[:, None] - at[:, 0, None, None], columns - at[:, 1, None, None]
        u, v = jnp.cos(angle) * x + jnp.sin(angle) * y, jnp.cos(angle) * y - jnp.sin(angle) * x
        reach = 0.3 + 0.4 * long[:, None, None]
        # Branches leave the stem at every tenth of the side and grow shorter towards its end.
        stem, out = jnp.abs(u), jnp.abs(v)
        side = jnp.abs((stem - out / 3**0.5 + 0.05) % 0.1 - 0.05) * 3**0.5 / 2
        branch = jnp.where(out < 0.35 * (reach - stem), side, 1)
        ice = jnp.exp(-jnp.minimum(out, branch) / (2 * thin)) * jnp.clip(3 * (reach - stem), 0, 1)
        return jnp.maximum(total, ice), None

    needles = (middle.swapaxes(0, 1), numbers[..., 2].T, numbers[..., 3].T)
    return lax.scan(add, jnp.zeros(shape), needles)[0][..., None]


def _linear(points, side):
    """Weights [side, points] that draw straight lines between points over a whole side."""
    source = np.linspace(0, points - 1, side)
    return np.maximum(0, 1 - np.abs(source[:, None] - np.arange(points)[None, :]))
