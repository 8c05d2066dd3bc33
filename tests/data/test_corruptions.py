"""Corruptions: in range, one program for five severities, worse as they grow, as oracles say."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import colors
from PIL import Image
from scipy import ndimage, stats

from jssl.data import corruptions
from jssl.data.corruptions import CORRUPTIONS

KEY = jax.random.key(0)
DRAWN = ('gaussian_noise', 'shot_noise', 'impulse_noise', 'glass_blur', 'motion_blur')
DRAWN += ('snow', 'frost', 'fog', 'elastic')

# Distance does not grow with the severity of these, as in the benchmark: mild ones displace more,
# are blurred less, or keep more light.
MIXED = ('elastic', 'glass_blur', 'frost')


def pictures():
    """Four times the same smooth picture in colour, neither black nor white."""
    noise = np.random.default_rng(0).random((32, 40, 3))
    smooth = ndimage.gaussian_filter(noise, (1.5, 1.5, 0))
    smooth = 0.1 + 0.8 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return jnp.asarray(np.stack([smooth] * 4), jnp.float32)


X = pictures()
compiled = functools.cache(lambda name: jax.jit(CORRUPTIONS[name]))


def corrupt(name, severity, key=KEY):
    return np.asarray(compiled(name)(key, X, severity=jnp.int32(severity)))


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_laws(name):
    made = [corrupt(name, severity) for severity in range(1, 6)]
    assert compiled(name)._cache_size() == 1
    distance = [np.abs(x - np.asarray(X)).mean() for x in made]
    for x in made:
        assert x.shape == X.shape
        assert x.dtype == np.float32
        assert 0 <= x.min() <= x.max() <= 1
    assert distance[0] > 1e-3
    if name not in MIXED:
        assert distance == sorted(distance)
    drawn = name in DRAWN
    assert drawn == (not np.allclose(made[4][0], made[4][1], atol=1e-6)), 'a draw for each image'
    other = corrupt(name, 5, jax.random.key(1))
    assert drawn == (not np.allclose(made[4], other, atol=1e-6))
    np.testing.assert_array_equal(made[4], corrupt(name, 5))


def test_the_table_is_complete():
    assert len(CORRUPTIONS) == 15
    assert all(getattr(corruptions, name) is f for name, f in CORRUPTIONS.items())


@pytest.mark.parametrize('name', ['snow', 'brightness', 'jpeg', 'contrast'])
def test_grey_half_precision_images(name):
    grey = X[:2, :28, :28, :1].astype(jnp.bfloat16)
    made = jax.jit(CORRUPTIONS[name])(KEY, grey, severity=3)
    assert made.shape == grey.shape
    assert made.dtype == jnp.bfloat16
    assert jnp.isfinite(made.astype(jnp.float32)).all()


@pytest.mark.parametrize(('severity', 'c'), [(1, 0.04), (5, 0.1)])
def test_gaussian_noise_has_its_deviation(severity, c):
    flat = jnp.full(X.shape, 0.5)
    made = compiled('gaussian_noise')(KEY, flat, severity=jnp.int32(severity))
    np.testing.assert_allclose([made.mean(), made.std()], [0.5, c], rtol=0.03)


@pytest.mark.parametrize('value', [0.02, 0.1, 0.5])
def test_shot_noise_has_poissons_moments(value):
    flat = jnp.full((1, 200, 200, 3), value)
    counts = 50 * np.asarray(corruptions.shot_noise(KEY, flat, severity=5)).ravel()
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    mean, variance, skew = stats.poisson.stats(50 * value, moments='mvs')
    np.testing.assert_allclose(counts.mean(), mean, rtol=0.04)
    np.testing.assert_allclose(counts.var(), variance, rtol=0.1)
    np.testing.assert_allclose(stats.skew(counts), skew, atol=0.15)
    assert not corruptions.shot_noise(KEY, 0 * flat, severity=5).any()


def test_impulse_noise_has_its_share():
    flat = jnp.full((1, 100, 100, 3), 0.5)
    made = corruptions.impulse_noise(KEY, flat, severity=5)
    np.testing.assert_allclose([(made == 0).mean(), (made == 1).mean()], 0.035, atol=0.004)


@pytest.mark.parametrize('severity', [1, 4, 5])
def test_defocus_blur_against_a_convolution(severity):
    radius, sigma = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][severity - 1]
    place = np.arange(-3, 4)
    disk = (place[:, None] ** 2 + place[None, :] ** 2 <= radius**2).astype(float)
    soft = np.exp(-np.array([1.0, 0, 1]) / (2 * sigma**2))
    soft /= soft.sum()
    kernel = ndimage.convolve(disk / disk.sum(), np.outer(soft, soft), mode='constant')
    expected = ndimage.convolve(np.asarray(X[0]), kernel[..., None], mode='mirror')
    np.testing.assert_allclose(corrupt('defocus_blur', severity)[0], expected, atol=1e-5)


def test_motion_blur_smears_a_point_along_a_line():
    point = jnp.zeros((64, 33, 33, 1)).at[:, 16, 16].set(1.0)
    made = np.asarray(jax.jit(corruptions.motion_blur)(KEY, point, severity=5))
    np.testing.assert_allclose(made.sum((1, 2, 3)), 1, rtol=1e-5)
    angles = []
    for image in made[..., 0]:
        rows, columns = np.nonzero(image)
        assert 5 <= len(rows) <= 19
        # The value at p comes from p + i u, so the point is seen from the pixels before it.
        assert (columns <= 16).all()
        slope = (rows - 16) @ (columns - 16) / ((columns - 16) @ (columns - 16))
        assert np.abs(rows - 16 - slope * (columns - 16)).max() < 1.2
        angles.append(np.arctan(slope))
    assert -0.85 < min(angles) < -0.4
    assert 0.4 < max(angles) < 0.85


def test_zoom_blur_against_interpolation():
    image, total = np.asarray(X[0, ..., 0]), np.asarray(X[0, ..., 0]).copy()
    down, across = np.meshgrid(np.arange(32.0), np.arange(40.0), indexing='ij')
    for z in 1 + np.arange(11) / 100:
        place = [15.5 + (down - 15.5) / z, 19.5 + (across - 19.5) / z]
        total += ndimage.map_coordinates(image, place, order=1)
    np.testing.assert_allclose(corrupt('zoom_blur', 2)[0, ..., 0], total / 12, atol=1e-5)


@pytest.mark.parametrize('severity', [1, 5])
def test_brightness_against_hsv(severity):
    c = {1: 0.05, 5: 0.3}[severity]
    hsv = colors.rgb_to_hsv(np.asarray(X[0]))
    hsv[..., 2] = np.clip(hsv[..., 2] + c, 0, 1)
    expected = colors.hsv_to_rgb(hsv)
    np.testing.assert_allclose(corrupt('brightness', severity)[0], expected, atol=1e-5)
    black = corruptions.brightness(KEY, jnp.zeros((1, 2, 2, 3)), severity=severity)
    np.testing.assert_allclose(black, c)


def test_contrast_formula():
    mean = np.asarray(X[0]).mean((0, 1))
    expected = 0.15 * (np.asarray(X[0]) - mean) + mean
    np.testing.assert_allclose(corrupt('contrast', 5)[0], expected, atol=1e-6)


@pytest.mark.parametrize(('severity', 'c'), [(1, 0.95), (3, 0.85), (5, 0.65)])
def test_pixelate_against_pillow(severity, c):
    image = Image.fromarray(np.uint8(np.round(255 * X[0])))
    small = image.resize((int(40 * c), int(32 * c)), Image.Resampling.BOX)
    expected = np.asarray(small.resize((40, 32), Image.Resampling.BOX)) / 255
    np.testing.assert_allclose(corrupt('pixelate', severity)[0], expected, atol=0.006)


@pytest.mark.parametrize(('severity', 'quality'), [(1, 80), (5, 40)])
def test_jpeg_against_pillow(severity, quality):
    def pillow(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, 'JPEG', quality=quality)
        return np.asarray(Image.open(file)) / 255

    image = np.uint8(np.round(255 * X))
    ours = compiled('jpeg')(KEY, image / np.float32(255), severity=jnp.int32(severity))[0]
    theirs = pillow(image[0])
    assert np.abs(ours - theirs).mean() < 0.25 * np.abs(theirs - X[0]).mean()
    grey = image[:1, ..., :1]
    ours = jax.jit(corruptions.jpeg)(KEY, grey / np.float32(255), severity=severity)[0, ..., 0]
    theirs = pillow(grey[0, ..., 0])
    assert np.abs(np.round(255 * ours) - 255 * theirs).mean() < 0.25, 'a quarter of a grey level'


def test_fog_is_rougher_at_higher_severities_and_leaves_black_alone():
    clouds = jax.jit(lambda decay: corruptions._fractal(KEY, (4, 32, 32), decay)[..., 0])
    cloud = lambda decay: np.asarray(clouds(decay))
    rough = [np.abs(np.diff(cloud(decay), axis=1)).mean() for decay in (3.0, 2.0, 1.5)]
    assert rough == sorted(rough)
    assert (cloud(2.0).min((1, 2)) == 0).all()
    np.testing.assert_allclose(cloud(2.0).max((1, 2)), 1)
    assert not compiled('fog')(KEY, 0 * X, severity=jnp.int32(5)).any()


def test_frost_is_the_same_ice_over_any_image():
    black = corrupt('frost', 5) * 0
    ice = compiled('frost')(KEY, jnp.asarray(black), severity=jnp.int32(5)) / 0.45
    grey = compiled('frost')(KEY, jnp.asarray(black) + 0.3, severity=jnp.int32(5))
    np.testing.assert_allclose(grey, 0.75 * 0.3 + 0.45 * ice, atol=1e-6)
    assert np.ptp(ice, axis=-1).max() < 1e-6, 'ice has no colour'
    assert 0.2 < ice.mean() < 0.7
    assert ice.max() > 0.95


def test_glass_blur_shows_pixels_from_nearby():
    ramp = jnp.broadcast_to(jnp.arange(32.0)[None, :, None, None] / 64, X.shape)
    moved = 64 * (compiled('glass_blur')(KEY, ramp, severity=jnp.int32(1)) - ramp)
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-3)
    assert set(np.unique(np.round(moved))) == {-1, 0, 1}, 'one pass, one pixel far'
    far = 64 * (compiled('glass_blur')(KEY, ramp, severity=jnp.int32(4)) - ramp)
    assert 1.5 < np.abs(far).max() <= 2 + 1e-3


def test_elastic_keeps_flat_images_and_moves_points_as_far_as_it_may():
    flat = jnp.full(X.shape, 0.3)
    np.testing.assert_allclose(
        compiled('elastic')(KEY, flat, severity=jnp.int32(5)), 0.3, atol=1e-6
    )
    ramp = jnp.broadcast_to(jnp.arange(32.0)[None, :, None, None] / 32, X.shape)
    moved = 32 * (compiled('elastic')(KEY, ramp, severity=jnp.int32(1)) - ramp)[:, 8:24, 8:24]
    # The three points move by at most 0.08 sides, the middle of the picture hardly more.
    assert 0.5 < np.abs(moved).max() < 3 * 0.08 * 32


def test_refusals():
    with pytest.raises(ValueError, match='severity'):
        corruptions.fog(KEY, X, severity=6)
    with pytest.raises(ValueError, match='to_float'):
        corruptions.contrast(KEY, jnp.zeros((1, 4, 4, 3), jnp.uint8))
