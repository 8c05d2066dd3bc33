"""Augmentation: laws that every operation keeps, and oracles for those that compute something."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from PIL import Image

from jssl.data import augment

QUICK = True
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
COLOUR = jnp.asarray(RNG.random((8, 12, 12, 3)), jnp.float32)
GREY = COLOUR[..., :1]
ALIKE = jnp.broadcast_to(COLOUR[:1], COLOUR.shape)

RANDOM = {
    'random_resized_crop': functools.partial(augment.random_resized_crop, size=8),
    'random_crop': functools.partial(augment.random_crop, padding=3),
    'reflected_crop': functools.partial(augment.random_crop, padding=3, mode='reflect'),
    'flip': augment.flip,
    'colour_jitter': augment.colour_jitter,
    'grayscale': functools.partial(augment.grayscale, probability=0.5),
    'blur': augment.blur,
    'solarize': functools.partial(augment.solarize, probability=0.5),
    'erase': augment.erase,
    'rand_augment': augment.rand_augment,
    'random_apply': functools.partial(
        augment.random_apply, augment=functools.partial(augment.flip, probability=1.0)
    ),
    'simclr': functools.partial(augment.simclr, size=8),
}
PLAIN_ON_GREY = ('grayscale',)

IDENTITIES = {
    'whole crop': functools.partial(
        augment.random_resized_crop, size=12, scale=(1.0, 1.0), ratio=(1.0, 1.0)
    ),
    'no padding': functools.partial(augment.random_crop, padding=0),
    'never flip': functools.partial(augment.flip, probability=0.0),
    'no jitter': functools.partial(
        augment.colour_jitter, brightness=0, contrast=0, saturation=0, hue=0, probability=1.0
    ),
    'never jitter': functools.partial(augment.colour_jitter, probability=0.0),
    'never grey': functools.partial(augment.grayscale, probability=0.0),
    'no width': functools.partial(augment.blur, sigma=(0.0, 0.0), probability=1.0),
    'never blur': functools.partial(augment.blur, probability=0.0),
    'nothing above': functools.partial(augment.solarize, threshold=1.1, probability=1.0),
    'never erase': functools.partial(augment.erase, probability=0.0),
    'no operations': functools.partial(augment.rand_augment, operations=0),
    'never apply': functools.partial(
        augment.random_apply, augment=augment.colour_jitter, probability=0.0
    ),
}


@pytest.mark.parametrize('name', RANDOM)
def test_laws(name):
    operation = RANDOM[name]
    jitted = jax.jit(operation)
    eager, compiled = operation(KEY, ALIKE), jitted(KEY, ALIKE)
    chex.assert_trees_all_close(eager, compiled, atol=1e-5)
    np.testing.assert_array_equal(compiled, jitted(KEY, ALIKE))
    assert compiled.dtype == jnp.float32
    assert compiled.min() >= -1e-6
    assert compiled.max() <= 1 + 1e-6
    rows = np.asarray(compiled)
    assert any(not np.array_equal(row, rows[0]) for row in rows[1:]), 'rows differ'
    assert not np.array_equal(jitted(jax.random.key(5), ALIKE), compiled), 'keys differ'


@pytest.mark.parametrize('name', [name for name in RANDOM if name != 'simclr'])
def test_gradients_halves_and_grey(name):
    operation = RANDOM[name]

    @jax.jit
    def probe(colour, grey):
        return jax.grad(lambda x: jnp.square(operation(KEY, x)).sum())(colour), operation(KEY, grey)

    # Black, white, plain grey and repeated pixels are where divisions and sorts go wrong.
    hard = COLOUR.at[0].set(0).at[1].set(1).at[2].set(0.5).at[3, :6].set(COLOUR[3, :1])
    grey = hard[..., :1].astype(jnp.bfloat16)
    gradient, changed = probe(hard, grey)
    assert np.isfinite(np.asarray(gradient)).all()
    assert np.isfinite(np.asarray(changed, np.float32)).all()
    assert changed.dtype == jnp.bfloat16
    assert changed.shape[-1] == 1
    assert (name in PLAIN_ON_GREY) == np.array_equal(changed, grey)


@pytest.mark.parametrize('name', IDENTITIES)
def test_identity_settings_are_the_identity(name):
    np.testing.assert_allclose(jax.jit(IDENTITIES[name])(KEY, COLOUR), COLOUR, atol=2e-6)


@pytest.mark.parametrize('name', RANDOM)
def test_bytes_are_refused(name):
    with pytest.raises(ValueError, match='to_float'):
        RANDOM[name](KEY, jnp.zeros((2, 12, 12, 3), jnp.uint8))


def test_one_device_equals_eight(devices):
    mesh = jax.make_mesh((8,), ('data',), (jax.sharding.AxisType.Auto,), devices=devices)
    view = jax.jit(RANDOM['simclr'])
    sharded = view(KEY, jax.device_put(COLOUR, NamedSharding(mesh, P('data'))))
    chex.assert_trees_all_close(np.asarray(sharded), np.asarray(view(KEY, COLOUR)), atol=1e-6)


@pytest.mark.parametrize(
    ('box', 'size'), [((0, 0, 12, 12), 5), ((1.5, 2.25, 7.5, 9.5), 16), ((2.5, 0, 9.3, 4.1), 3)]
)
def test_a_crop_is_what_pillow_gives(box, size):
    top, left, tall, wide = (jnp.full((8,), v) for v in box)
    rows, columns = augment._bilinear(top, tall, 12, size), augment._bilinear(left, wide, 12, size)
    ours = augment._product(rows, COLOUR, columns)
    corners = (box[1], box[0], box[1] + box[3], box[0] + box[2])
    for image, result in zip(np.asarray(COLOUR), np.asarray(ours), strict=True):
        for c in range(3):
            plane = Image.fromarray(image[..., c])
            theirs = plane.resize((size, size), Image.Resampling.BILINEAR, box=corners)
            np.testing.assert_allclose(result[..., c], np.asarray(theirs), atol=2e-6)


def test_boxes_fit_and_have_the_areas_and_ratios_asked_for():
    height, width, scale, ratio = 20, 30, (0.2, 0.6), (0.5, 2.0)
    boxes = jax.jit(lambda k: augment._boxes(k, 4000, height, width, scale, ratio))(KEY)
    top, left, tall, wide = map(np.asarray, boxes)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= height + 1e-4).all()
    assert (left + wide <= width + 1e-4).all()
    area = tall * wide / (height * width)
    assert area.min() >= 0.2 - 1e-4
    assert area.max() <= 0.6 + 1e-4
    assert area.min() < 0.21
    shapes = np.log(wide / tall)
    assert np.abs(shapes).max() <= np.log(2) + 1e-4
    room = height - tall > 1
    np.testing.assert_allclose((top / (height - tall))[room].mean(), 0.5, atol=0.03)


def test_a_box_that_never_fits_becomes_the_largest_in_the_middle():
    boxes = augment._boxes(KEY, 3, 10, 40, (1.0, 1.0), (0.5, 2.0))
    for box in np.stack(boxes, 1):
        np.testing.assert_allclose(box, [0, 10, 10, 20], atol=1e-5)


@pytest.mark.parametrize('side', [(16, 16), (9, 16)])
def test_blur_is_scipys_gaussian_scaled_at_the_edges(side):
    images = jnp.asarray(RNG.random((2, *side, 1)), jnp.float32)
    ours = augment.blur(KEY, images, sigma=(1.3, 1.3), probability=1.0)
    smooth = functools.partial(
        scipy.ndimage.gaussian_filter, sigma=1.3, mode='constant', truncate=20
    )
    for image, result in zip(np.asarray(images, np.float64), ours, strict=True):
        expected = smooth(image[..., 0]) / smooth(np.ones(side))
        np.testing.assert_allclose(result[..., 0], expected, atol=1e-6)


def test_random_crops_are_shifts():
    images = COLOUR[:1].repeat(200, 0)
    padded = np.pad(np.asarray(COLOUR[0]), ((2, 2), (2, 2), (0, 0)))
    windows = {padded[i : i + 12, j : j + 12].tobytes() for i in range(5) for j in range(5)}
    shifted = jax.jit(functools.partial(augment.random_crop, padding=2))(KEY, images)
    found = {np.asarray(x).tobytes() for x in shifted}
    assert found <= windows
    assert len(found) > 20


def test_flip_mirrors_columns():
    flipped = augment.flip(KEY, COLOUR, probability=1.0)
    np.testing.assert_array_equal(flipped, np.asarray(COLOUR)[:, :, ::-1])


@pytest.mark.parametrize('name', ['flip', 'grayscale', 'blur', 'solarize', 'erase'])
def test_probability_counts_images(name):
    images = jnp.broadcast_to(COLOUR[:1, :6, :6], (1000, 6, 6, 3))
    changed = getattr(augment, name)(KEY, images, probability=0.3) != images
    assert abs(float(changed.any((1, 2, 3)).mean()) - 0.3) < 0.06


def test_grey_images_have_three_equal_channels_of_luma():
    grey = np.asarray(augment.grayscale(KEY, COLOUR, probability=1.0))
    expected = np.asarray(COLOUR, np.float64) @ [0.2989, 0.587, 0.114]
    for c in range(3):
        np.testing.assert_allclose(grey[..., c], expected, atol=1e-6)
    with pytest.raises(ValueError, match='channels'):
        augment.grayscale(KEY, jnp.zeros((1, 4, 4, 2)))


def test_each_colour_change_alone():
    none = {'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0, 'hue': 0.0, 'probability': 1.0}
    jitter = lambda **change: np.asarray(
        augment.colour_jitter(KEY, 0.4 + 0.2 * COLOUR, **{**none, **change}), np.float64
    )
    x = 0.4 + 0.2 * np.asarray(COLOUR, np.float64)
    factors = jitter(brightness=0.3) / x
    np.testing.assert_allclose(
        factors, factors[:, :1, :1, :1].repeat(12, 1).repeat(12, 2).repeat(3, 3), rtol=1e-4
    )
    assert 0.7 <= factors.min() < factors.max() <= 1.3
    np.testing.assert_allclose(jitter(contrast=0.3).mean((1, 2)), x.mean((1, 2)), atol=1e-5)
    for change in ({'saturation': 0.3}, {'hue': 0.4}):
        changed = jitter(**change)
        np.testing.assert_allclose(changed.max(-1), x.max(-1), atol=1e-5)  # the value stays
        assert np.abs(changed - x).max() > 0.01
    np.testing.assert_allclose(jitter(hue=0.4).min(-1), x.min(-1), atol=1e-5)  # so does saturation


def test_erased_boxes_are_rectangles_of_the_value():
    erased = np.asarray(
        augment.erase(KEY, COLOUR + 1, value=0.5, probability=1.0, scale=(0.2, 0.4))
    )
    for image in erased:
        gone = (image == 0.5).all(-1)
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert gone.sum() == len(rows) * len(columns) > 0


def test_solarize_inverts_the_bright():
    x = np.asarray(COLOUR)
    result = augment.solarize(KEY, COLOUR, threshold=0.3, probability=1.0)
    np.testing.assert_allclose(result, np.where(x >= 0.3, 1 - x, x), atol=1e-7)


def test_two_views():
    x1, x2 = augment.two_views(KEY, COLOUR, RANDOM['random_resized_crop'])
    assert x1.shape == x2.shape == (8, 8, 8, 3)
    assert not np.array_equal(x1, x2)


def test_multi_crop_keeps_the_views_of_an_image_together():
    flat = jnp.broadcast_to(jnp.arange(8.0)[:, None, None, None], COLOUR.shape)
    kinds = {'sizes': (8, (4, 6)), 'counts': (2, 3), 'scales': ((0.3, 1), (0.05, 0.3))}
    large, small = augment.multi_crop(KEY, flat, **kinds)
    assert large.shape == (8, 2, 8, 8, 3)
    assert small.shape == (8, 3, 4, 6, 3)
    for views in (large, small):  # image i has the value i everywhere
        value = np.arange(8.0)[:, None, None, None, None]
        np.testing.assert_allclose(views, np.broadcast_to(value, views.shape), rtol=1e-5)
    large, small = augment.multi_crop(KEY, COLOUR, **kinds)
    each = [np.asarray(v).tobytes() for views in (large, small) for v in views.swapaxes(0, 1)]
    assert len(set(each)) == 5
    # A kind gets its own size and area.
    told = []
    note = lambda key, x, *, size, scale: told.append((size, scale)) or x
    augment.multi_crop(KEY, COLOUR, augment=note, **kinds)
    assert told == [(8, (0.3, 1)), ((4, 6), (0.05, 0.3))]
    with pytest.raises(ValueError, match='as many'):
        augment.multi_crop(KEY, COLOUR, sizes=(8,), counts=(2, 3), scales=((0.3, 1),))


@pytest.mark.parametrize('dtype', [np.float32, np.uint8])
def test_quarter_turns_are_numpys(dtype):
    images = RNG.integers(0, 256, (9, 7, 7, 3)).astype(dtype)
    turns = np.arange(-2, 7)
    turned = jax.jit(augment.rotate90)(jnp.asarray(images), jnp.asarray(turns))
    assert turned.dtype == dtype
    for image, k, result in zip(images, turns, turned, strict=True):
        np.testing.assert_array_equal(result, np.rot90(image, k))
    with pytest.raises(ValueError, match='square'):
        augment.rotate90(jnp.zeros((2, 3, 4, 1)), jnp.zeros(2, int))


def test_to_float_and_normalise():
    values = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)
    x = augment.to_float(values)
    np.testing.assert_allclose(np.asarray(x).ravel(), np.arange(256) / 255, atol=1e-7)
    assert augment.to_float(x) is x
    with pytest.raises(ValueError, match='uint8'):
        augment.to_float(values.astype(jnp.int32))
    scaled = augment.normalise(COLOUR, (0.1, 0.2, 0.3), (1.0, 2.0, 4.0))
    expected = (np.asarray(COLOUR) - [0.1, 0.2, 0.3]) / [1, 2, 4]
    np.testing.assert_allclose(scaled, expected, atol=1e-6)
    np.testing.assert_allclose(
        augment.normalise(GREY, 0.5, 0.5), 2 * np.asarray(GREY) - 1, atol=1e-6
    )


def test_strict_ranks_and_keys():
    with jax.numpy_rank_promotion('raise'), jax.debug_key_reuse(True):
        for operation in RANDOM.values():
            jax.eval_shape(operation, jax.random.key(0), COLOUR)
