"""A variational autoencoder of small images: a Gaussian code for every patch.

    L = |x - x'|^2 + beta KL(q(z | x) | N(0, I)) / (numbers in x),   x in [-1, 1]

`encode` gives codes of unit variance [B, h, w, D], `decode` images of them; the network's own
methods 'encode' and 'decode' know the mean and the log-variance. A code is short of details and
free of its place: a diffusion model draws codes more cheaply than pixels.

Good for latent diffusion, and for interpolation within a patch. Bad for drawing: codes of an image
depend on each other, so that independent ones decode to nothing.

Auto-Encoding Variational Bayes (Kingma and Welling, 2014); High-Resolution Image Synthesis with
Latent Diffusion Models (Rombach et al., 2022).

    jssl zoo tiny_vae
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jssl import data, evaluate, losses, models, train

PLAIN = (('size', 24), ('background', 'plain'), ('clutter', 0), ('noise', 0.0))


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'shapes'  # a set of images
    options: tuple = PLAIN  # of `data.load`
    patch: int = 4  # side of the square of pixels that has a code
    codes: int = 8  # numbers in a code
    width: int = 64
    depth: int = 2  # of the encoder, and of the decoder
    beta: float = 0.01
    steps: int = 600
    batch: int = 64
    learning_rate: float = 3e-3  # peak
    seed: int = 0


NEEDS = {'psnr': 24.0}


def network(recipe):
    sizes = recipe.patch, recipe.width, recipe.depth, recipe.width // 32
    encoder = models.PatchEncoder(*sizes, 2 * recipe.codes)
    return models.KLAutoencoder(encoder, models.PatchDecoder(*sizes, shape(recipe)[-1]))


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    warmup = recipe.steps // 20
    rate = train.schedules.warmup_cosine(recipe.learning_rate, recipe.steps, warmup=warmup)
    optimiser = train.adamw(rate, weight_decay=0.01, b2=0.99, clip=1.0)

    def init(key):
        params = model.init(key, jnp.zeros((1, *shape(recipe))))['params']
        return train.create(params, optimiser, extra=jnp.ones(()))

    def loss_fn(params, state, batch, key):
        x = 2 * data.augment.to_float(batch['image']) - 1
        apply = functools.partial(model.apply, {'params': params})
        mean, log_variance = apply(x, method='encode')
        noise = jax.random.normal(key, mean.shape)
        rebuilt = apply(mean + jnp.exp(log_variance / 2) * noise, method='decode')
        error = jnp.square(x - rebuilt).mean()
        rows = lambda z: z.reshape(len(z), -1)
        kl = losses.gaussian_kl(rows(mean), rows(log_variance)).mean() / x[0].size
        # what codes are divided by, so that their variance is one
        spread = train.ema_update(state.extra, mean.std(), 0.99)
        return error + recipe.beta * kl, {'error': error, 'kl': kl}, spread

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    return data.batches(load(recipe, 'train'), recipe.batch, seed=recipe.seed, fields=['image'])


def variables(recipe, state):
    return {'params': state.params, 'spread': state.extra}


def measure(recipe, variables):
    """What the codes keep of images, in dB."""
    images = load(recipe, 'test')['image'][:512].astype('f') / 255
    both = lambda variables, x: decode(recipe, variables, encode(recipe, variables, x))
    return {'psnr': evaluate.psnr(jax.jit(both)(variables, images), images).mean()}


def encode(recipe, variables, images):
    """Codes [B, h, w, D] of images [B, H, W, C] in [0, 1]."""
    params = {'params': variables['params']}
    mean, _ = network(recipe).apply(params, 2 * images - 1, method='encode')
    return mean / variables['spread']


def decode(recipe, variables, codes):
    """Images [B, H, W, C] in [0, 1] of codes [B, h, w, D]."""
    params, z = {'params': variables['params']}, codes * variables['spread']
    return jnp.clip((1 + network(recipe).apply(params, z, method='decode')) / 2, 0, 1)


def shape(recipe):
    """Of an image."""
    spec = data.spec(recipe.data, 1, size=dict(recipe.options).get('size'))
    return spec['image'].shape[1:]


def load(recipe, split):
    """Columns of a split."""
    return data.load(recipe.data, split, **dict(recipe.options))
