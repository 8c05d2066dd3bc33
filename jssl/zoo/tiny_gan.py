"""A style-based generator of small images, with the encoder that finds the style of an image.

    w = mapping(z),   x' = synthesis(w)
    L_G = -log sigmoid(D(x')),   L_D = -log sigmoid(D(x)) - log(1 - sigmoid(D(x'))) + R1
    L_E = |encoder(x') - w|^2 + |synthesis(encoder(x)) - x|^2

all in one step, each with no gradient in what belongs to the others. `network` has the four parts,
`variables` a moving average of mapping and synthesis, encoder and discriminator as they are.
`draw` maps z to images, `synthesise` styles w, or one for each layer; `invert` finds w of an image.
The space of w is that to edit in, and to walk in.

Good for directions and edits, for fine-tuning by other losses, for inversion to something like the
image. Bad at exact inversion: start a search from what `invert` gives.

Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020); encoder: In-Domain GAN
Inversion for Real Image Editing (Zhu et al., 2020).

    jssl zoo tiny_gan
"""

import dataclasses
import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jssl import data, evaluate, losses, models, train
from jssl.zoo import judging

PLAIN = (('size', 24), ('background', 'plain'), ('clutter', 0), ('noise', 0.0))


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'shapes'  # a set of labelled images
    options: tuple = PLAIN  # of `data.load`
    width: int = 64  # of z, of w, and of the smaller map
    patch: int = 2  # side of the square of pixels that is one of the larger map
    steps: int = 1200
    batch: int = 32
    learning_rate: float = 2e-3
    penalty: float = 1.0  # gamma of R1
    seed: int = 0


NEEDS = {'closeness': 0.7, 'interpolation': 0.7, 'inversion': 14.0}


class Network(NamedTuple):
    """The parts of a model; each is applied with {'params': variables['params'][its name]}."""

    mapping: nn.Module
    synthesis: nn.Module
    discriminator: nn.Module
    encoder: nn.Module


def network(recipe):
    side, _, channels = shape(recipe)
    widths, patch = (recipe.width, recipe.width // 2), recipe.patch
    return Network(
        models.StyleMapping(recipe.width, 2),
        models.StyleSynthesis(widths, side // (2 * patch), channels, patch=patch),
        models.StyleTrunk(widths[::-1], 1, patch=patch),
        models.StyleTrunk(widths[::-1], recipe.width, patch=patch),
    )


@functools.lru_cache
def build(recipe):
    parts = network(recipe)
    optimiser = optax.adam(recipe.learning_rate, b1=0.0, b2=0.99)

    def init(key):
        z, x = jnp.zeros((1, recipe.width)), jnp.zeros((1, *shape(recipe)))
        inputs = Network(z, z, x, x)
        keys = jax.random.split(key, len(parts))
        params = {
            name: part.init(k, given)['params']
            for name, part, k, given in zip(parts._fields, parts, keys, inputs, strict=True)
        }
        return train.create(params, optimiser, average=True)

    def loss_fn(params, state, batch, key):
        x = 2 * data.augment.to_float(batch['image']) - 1
        apply = lambda name, x, params=params: getattr(parts, name).apply(
            {'params': params[name]}, x
        )
        fixed = jax.lax.stop_gradient(params)
        w = apply('mapping', jax.random.normal(key, (len(x), recipe.width)))
        fake = apply('synthesis', w)
        told = functools.partial(apply, 'discriminator')
        generator = losses.non_saturating_generator(told(fake, fixed)[:, 0])
        still = jax.lax.stop_gradient(fake)
        discriminator = losses.non_saturating_discriminator(told(x)[:, 0], told(still)[:, 0])
        flat = losses.r1(told, x, gamma=recipe.penalty)
        found = apply('encoder', jnp.concatenate([still, x]))
        of_fake, of_real = jnp.split(found, 2)
        rebuilt = apply('synthesis', of_real, fixed)
        style = jnp.square(of_fake - jax.lax.stop_gradient(w)).mean()
        pixels = jnp.square(rebuilt - x).mean()
        metrics = {
            'generator': generator.mean(),
            'discriminator': discriminator.mean(),
            'style': style,
            'pixels': pixels,
        }
        return (generator + discriminator + flat).mean() + style + pixels, metrics

    return init, train.gradient_step(loss_fn, optimiser, ema=0.995)


def batches(recipe):
    return data.batches(load(recipe, 'train'), recipe.batch, seed=recipe.seed, fields=['image'])


def variables(recipe, state):
    averaged = {name: state.average[name] for name in ('mapping', 'synthesis')}
    return {'params': state.params | averaged}


def measure(recipe, variables):
    """Samples and their midpoints in w as a classifier sees them, and inversion in dB."""
    images = load(recipe, 'test')['image'][:256].astype('f') / 255

    def drawn(variables, images):
        z = jax.random.normal(jax.random.key(0), (len(images), recipe.width))
        w = network(recipe).mapping.apply({'params': variables['params']['mapping']}, z)
        middles = (w + w[::-1]) / 2
        return [
            synthesise(recipe, variables, found)
            for found in (w, middles, invert(recipe, variables, images))
        ]

    samples, middles, rebuilt = jax.jit(drawn)(variables, images)
    closeness = functools.partial(judging.closeness, recipe)
    return {
        'closeness': closeness(samples),
        'interpolation': closeness(middles),
        'inversion': evaluate.psnr(rebuilt, images).mean(),
    }


def draw(recipe, variables, z):
    """Images [B, H, W, C] in [0, 1] of z [B, width]."""
    w = network(recipe).mapping.apply({'params': variables['params']['mapping']}, z)
    return synthesise(recipe, variables, w)


def synthesise(recipe, variables, w):
    """Images [B, H, W, C] in [0, 1] of styles w [B, width], or [B, layers, width]."""
    image = network(recipe).synthesis.apply({'params': variables['params']['synthesis']}, w)
    return jnp.clip((1 + image) / 2, 0, 1)


def invert(recipe, variables, images):
    """Styles w [B, width] of images [B, H, W, C] in [0, 1]."""
    encoder = network(recipe).encoder
    return encoder.apply({'params': variables['params']['encoder']}, 2 * images - 1)


def shape(recipe):
    """Of an image."""
    spec = data.spec(recipe.data, 1, size=dict(recipe.options).get('size'))
    return spec['image'].shape[1:]


def load(recipe, split):
    """Columns of a split."""
    return data.load(recipe.data, split, **dict(recipe.options))
