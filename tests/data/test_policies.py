"""RandAugment's operations against Pillow's and scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance, ImageOps

from jssl.data import policies
from jssl.data.policies import rand_augment

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DARK = RNG.integers(40, 130, (24, 20, 3)).astype(np.uint8)
FULL = RNG.integers(0, 256, (24, 20, 3)).astype(np.uint8)
FLAT = np.full((24, 20, 3), 77, np.uint8)
COARSE = (RNG.integers(0, 4, (24, 20, 3)) * 60).astype(np.uint8)


def applied(name, image, strength):
    change = jax.jit(policies.CHANGES[[c.__name__ for c in policies.CHANGES].index(name)])
    return np.asarray(jnp.clip(change(jnp.asarray(image, jnp.float32) / 255, strength), 0, 1)) * 255


@pytest.mark.parametrize('strength', [0.4, -0.8])
@pytest.mark.parametrize('image', [DARK, FULL, FLAT], ids=['dark', 'full', 'flat'])
@pytest.mark.parametrize(
    ('name', 'enhancer'),
    [
        ('brightness', ImageEnhance.Brightness),
        ('contrast', ImageEnhance.Contrast),
        ('colour', ImageEnhance.Color),
        ('sharpness', ImageEnhance.Sharpness),
    ],
)
def test_blends_are_pillows(name, enhancer, image, strength):
    theirs = enhancer(Image.fromarray(image)).enhance(1 + 0.9 * strength)
    np.testing.assert_allclose(applied(name, image, strength), np.asarray(theirs), atol=2.01)


@pytest.mark.parametrize(
    'image', [DARK, FULL, FLAT, COARSE], ids=['dark', 'full', 'flat', 'coarse']
)
@pytest.mark.parametrize('name', ['equalize', 'autocontrast'])
def test_histograms_are_pillows(name, image):
    theirs = getattr(ImageOps, name)(Image.fromarray(image))
    np.testing.assert_allclose(applied(name, image, 0.5), np.asarray(theirs), atol=1.01)


def test_equalize_is_exact():
    for image in (DARK, FULL, FLAT, COARSE):
        theirs = np.asarray(ImageOps.equalize(Image.fromarray(image)))
        np.testing.assert_array_equal(np.round(applied('equalize', image, 0.0)), theirs)


@pytest.mark.parametrize(('strength', 'bits'), [(0.0, 8), (0.25, 7), (-0.5, 6), (1.0, 4)])
def test_posterize_keeps_bits(strength, bits):
    theirs = ImageOps.posterize(Image.fromarray(FULL), bits)
    np.testing.assert_allclose(applied('posterize', FULL, strength), np.asarray(theirs), atol=1e-4)


@pytest.mark.parametrize(('strength', 'threshold'), [(0.0, 256), (-0.5, 128), (1.0, 0)])
def test_solarize_inverts_from_the_threshold(strength, threshold):
    theirs = ImageOps.solarize(Image.fromarray(FULL), threshold)
    np.testing.assert_allclose(applied('solarize', FULL, strength), np.asarray(theirs), atol=1e-4)


@pytest.mark.parametrize('strength', [0.5, -1.0])
@pytest.mark.parametrize('name', policies.MOVES)
def test_moves_are_scipys(name, strength):
    height, width, _ = FULL.shape
    matrix, shift = np.eye(2), np.zeros(2)
    if name == 'rotate':
        angle = np.deg2rad(30 * strength)
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    elif name.startswith('shear'):
        matrix[(1, 0) if name == 'shear_x' else (0, 1)] = 0.3 * strength
    else:
        axis = int(name == 'translate_x')
        shift[axis] = 0.45 * FULL.shape[axis] * strength
    centre = np.array([height - 1, width - 1]) / 2
    image = FULL / 255
    which = policies.MOVES.index(name)
    ours = jax.jit(policies.move, static_argnums=1)(
        jnp.asarray(image, jnp.float32), which, strength
    )
    for c in range(3):
        theirs = scipy.ndimage.affine_transform(
            image[..., c],
            matrix,
            offset=centre - matrix @ centre + shift,
            order=1,
            mode='constant',
            cval=policies.GREY,
        )
        np.testing.assert_allclose(ours[..., c], theirs, atol=1e-5)


def test_no_move_is_exact():
    image = jnp.asarray(FULL, jnp.float32) / 255
    np.testing.assert_array_equal(policies.move(image, -1, 0.7), image)


@pytest.fixture(scope='module')
def draw():
    images = jnp.broadcast_to(jnp.asarray(DARK, jnp.float32) / 255, (300, *DARK.shape))
    return images, jax.jit(lambda m: rand_augment(KEY, images, operations=1, magnitude=m))


def test_every_operation_is_drawn(draw):
    # Nine have two signs; identity, posterize, solarize, autocontrast and equalize have none.
    kinds = {np.round(image * 2550).astype(int).tobytes() for image in np.asarray(draw[1](17))}
    assert len(kinds) == 23


def test_magnitude_may_be_traced_and_counts(draw):
    images, augmented = draw
    weak, middle, strong = (float(jnp.abs(augmented(m) - images).mean()) for m in (2, 10, 30))
    assert weak < middle < strong
    assert augmented._cache_size() == 1


def test_operations_follow_one_another():
    images = jnp.broadcast_to(jnp.asarray(DARK, jnp.float32) / 255, (64, *DARK.shape))
    several = jax.jit(rand_augment, static_argnames='operations')
    changed = [
        (several(KEY, images, operations=n) != images).any((1, 2, 3)).mean() for n in (0, 1, 4)
    ]
    assert changed[0] == 0
    assert changed[1] < changed[2]
