"""A diffusion transformer that draws small images: freely, by class, or by caption.

    L = |f(x_t, t, c) - v|^2,   x_t = alpha_t x_0 + sigma_t e,   v = alpha_t e - sigma_t x_0

x_0 are images in [-1, 1], or codes of `tiny_vae`; t runs from 0 to 999. A condition c is None,
labels [B], or captions: sentences about drawn shapes in all textures, as `captions.encode` gives
them, [B, L], or vectors in place of their words [B, L, D]. `denoiser` gives the noise e that the
samplers of `jssl.algorithms` ask for; `sample` draws, `invert` finds the noise behind an image.
`network.apply(variables, x, t, ..., taps=True, weights=True)` shows every block's tokens and
attention, with captions that to each word too.

Good for guidance, editing and unlearning, where a concept is a class or a word. Bad at anything
that is not one object on a plain ground, or a digit.

Scalable Diffusion Models with Transformers (Peebles and Xie, 2023); Denoising Diffusion
Probabilistic Models (Ho et al., 2020).

    jssl zoo tiny_diffusion
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl import algorithms, data, evaluate, losses, models, train
from jssl.data import captions
from jssl.errors import Refusal
from jssl.zoo import judging, tiny_vae
from jssl.zoo.recipes import get

PLAIN = (
    ('size', 16),
    ('background', 'texture'),
    ('contrast', (0.0, 0.0)),  # of the texture: none, a dark grey
    ('clutter', 0),
    ('noise', 0.0),
    ('scale', (0.65, 0.8)),
    ('shift', 0.5),
    ('rotation', 0.0),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'shapes'  # a set of labelled images
    options: tuple = PLAIN  # of `data.load`
    condition: str = 'class'  # or 'none'; 'caption', of shapes in all textures
    classes: int = 10  # that the set has
    latent: bool = False  # whether x_0 are codes of tiny_vae, one for each patch
    patch: int = 4
    width: int = 96
    depth: int = 4
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 2e-3  # peak
    drop: float = 0.1  # share of conditions left out in training
    seed: int = 0


NEEDS = {'agreement': 0.8, 'closeness': 0.8, 'inversion': 20.0}
SCHEDULE = algorithms.cosine_schedule(1000)
SENTENCES = 4  # about each image


def network(recipe):
    # labels as quiet as the paper's at the start are not heard within so few steps
    labels = {'classes': recipe.classes, 'label_deviation': 1.0}
    kinds = {'none': {}, 'class': labels, 'caption': {'cross': True}}
    if recipe.condition not in kinds:
        raise Refusal(f'condition {recipe.condition!r} is unknown: {", ".join(kinds)}')
    sizes = recipe.width, recipe.depth, recipe.width // 32
    patch, channels = 1 if recipe.latent else recipe.patch, shape(recipe)[-1]
    # at the paper's base of 10000 the places of so small a grid are alike: a mean cosine of 0.84
    dit = models.DiT(patch, *sizes, channels=channels, base=10.0, **kinds[recipe.condition])
    if recipe.condition == 'caption':
        return models.CaptionDiT(dit, len(captions.WORDS), captions.LENGTH)
    return dit


@functools.lru_cache
def build(recipe):
    warmup = recipe.steps // 20
    rate = train.schedules.warmup_cosine(recipe.learning_rate, recipe.steps, warmup=warmup)
    optimiser = train.adamw(rate, weight_decay=0.01, b2=0.99, clip=1.0)

    def init(key):
        x, t = jnp.zeros((1, *shape(recipe))), jnp.zeros(1, jnp.int32)
        variables = network(recipe).init(key, x, t, **_given(recipe, blank(recipe, 1)))
        return train.create(variables['params'], optimiser, average=True)

    def loss_fn(params, state, batch, key):
        of_time, of_noise, of_drop = jax.random.split(key, 3)
        x0 = batch['x']
        # a time from each of B equal parts: a steadier gradient
        u = (jnp.arange(len(x0)) + jax.random.uniform(of_time, len(x0))) / len(x0)
        t = (u * len(SCHEDULE.alpha)).astype(jnp.int32)
        alpha, sigma = SCHEDULE.alpha[t], SCHEDULE.sigma[t]
        noise = jax.random.normal(of_noise, x0.shape)
        x = losses.diffuse(x0, noise, alpha, sigma)
        v = losses.denoising_target(x0, noise, alpha, sigma, target='v')
        condition = heard(of_drop, recipe, batch.get('condition'))
        return losses.denoising(velocity(recipe, {'params': params}, x, t, condition), v).mean()

    decay = lambda step: jnp.minimum(0.995, (1 + step) / (10 + step))
    return init, train.gradient_step(loss_fn, optimiser, ema=decay)


def batches(recipe):
    columns = load(recipe, 'train')
    code = jax.tree_util.Partial(functools.partial(encode, recipe), _kept(recipe))
    rows = {'x': evaluate.features(code, columns['image'])}
    if recipe.condition == 'class':
        rows['condition'] = columns['label']
    elif recipe.condition == 'caption':
        known = captions.factors(columns)
        texts = [captions.describe(known, seed=seed) for seed in range(SENTENCES)]
        rows['condition'] = np.stack([captions.encode(some) for some in texts], axis=1)
    return data.batches(rows, recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.average, **_kept(recipe)}


def measure(recipe, variables):
    """Samples as a classifier sees them, and what inversion and sampling make of images, in dB."""
    some = {name: column[:256] for name, column in load(recipe, 'test').items()}
    images = some['image'].astype('f') / 255
    asked = {'none': lambda _: None, 'class': lambda some: some['label'], 'caption': prompts}
    drawn, rebuilt = jax.jit(_drawn, static_argnums=0)(
        recipe, variables, images, asked[recipe.condition](some)
    )
    judged = dataclasses.replace(recipe, options=options(recipe))
    found = {
        'closeness': judging.closeness(judged, drawn),
        'inversion': evaluate.psnr(rebuilt, images).mean(),
    }
    if recipe.condition != 'none':
        found['agreement'] = judging.agreement(judged, drawn, some['label'])
    return found


def _drawn(recipe, variables, images, condition):
    """Samples, and images that were inverted and sampled again."""
    noise = jax.random.normal(jax.random.key(0), (len(images), *shape(recipe)))
    found = invert(recipe, variables, images, condition)
    return (
        sample(recipe, variables, noise, condition),
        sample(recipe, variables, found, condition, guidance=None),
    )


def velocity(recipe, variables, x, t, condition):
    """The network's output v [B, H, W, C] for a condition, None where it takes none."""
    return network(recipe).apply(variables, x, t, **_given(recipe, condition))


def denoiser(recipe, variables, condition=None, *, guidance=None):
    """(x, t) -> e for the samplers; `guidance` exaggerates the condition, None takes it as it is.

    Without a condition it draws freely.
    """

    def epsilon(x, t, condition):
        v = velocity(recipe, variables, x, t, condition)
        return algorithms.data_and_noise(v, x, SCHEDULE.alpha[t], SCHEDULE.sigma[t], target='v')[1]

    if condition is None:
        return lambda x, t: epsilon(x, t, blank(recipe, len(x)))
    if guidance is None:
        return lambda x, t: epsilon(x, t, condition)
    without = blank(recipe, len(condition))
    if condition.ndim == 3:
        vectors = network(recipe).apply(variables, without, method='vectors')
        without = vectors[:, : condition.shape[1]]
    return algorithms.guided(epsilon, condition, without, scale=guidance)


def sample(recipe, variables, noise, condition=None, *, guidance=2.0, steps=25):
    """Images [B, H, W, C] in [0, 1] from noise [B, *shape(recipe)]."""
    denoise = denoiser(recipe, variables, condition, guidance=guidance)
    clip = None if recipe.latent else 1.0
    x = algorithms.ddim(denoise, noise, SCHEDULE, steps=steps, clip=clip)
    return decode(recipe, variables, x)


def invert(recipe, variables, images, condition=None, *, steps=25, iterations=1):
    """Noise from which `sample` without guidance makes images [B, H, W, C] in [0, 1]."""
    denoise, x = denoiser(recipe, variables, condition), encode(recipe, variables, images)
    return algorithms.ddim_inversion(denoise, x, SCHEDULE, steps=steps, iterations=iterations)


def encode(recipe, variables, images):
    """x_0 [B, *shape(recipe)] of images in [0, 1]."""
    if recipe.latent:
        return tiny_vae.encode(coder(recipe), variables['coder'], images)
    return 2 * images - 1


def decode(recipe, variables, x):
    """Images in [0, 1] of x_0."""
    if recipe.latent:
        return tiny_vae.decode(coder(recipe), variables['coder'], x)
    return jnp.clip((1 + x) / 2, 0, 1)


def coder(recipe):
    """The recipe of `tiny_vae` whose codes are drawn."""
    known = tiny_vae.Recipe()
    steps = min(recipe.steps, known.steps)
    return dataclasses.replace(
        known, data=recipe.data, options=options(recipe), patch=recipe.patch, steps=steps
    )


def blank(recipe, rows):
    """The condition that says nothing."""
    if recipe.condition == 'class':
        return jnp.full(rows, recipe.classes)
    silence = captions.encode([''])
    return jnp.repeat(silence, rows, axis=0) if recipe.condition == 'caption' else None


def heard(key, recipe, condition):
    """Conditions as training hears them: of several sentences one, and some left out."""
    if condition is None:
        return None
    of_choice, of_drop = jax.random.split(key)
    drop = jax.random.bernoulli(of_drop, recipe.drop, condition.shape[:1])
    if condition.ndim == 3:
        chosen = jax.random.randint(of_choice, (len(condition), 1, 1), 0, condition.shape[1])
        condition, drop = jnp.take_along_axis(condition, chosen, axis=1)[:, 0], drop[:, None]
    return jnp.where(drop, blank(recipe, len(condition)), condition)


def prompts(columns):
    """Captions [N, L] that say texture, colour and shape: 'a striped red disc'."""
    known = captions.factors(columns)
    said = zip(*(known[name] for name in ('texture', 'colour', 'shape')), strict=True)
    return captions.encode([captions.phrase(texture=t, colour=c, shape=s) for t, c, s in said])


def shape(recipe):
    """Of x_0: an image's, or that of its codes."""
    height, width, channels = tiny_vae.shape(recipe)
    if not recipe.latent:
        return height, width, channels
    return height // recipe.patch, width // recipe.patch, coder(recipe).codes


def load(recipe, split):
    """Columns of a split."""
    return data.load(recipe.data, split, **dict(options(recipe)))


def options(recipe):
    """Of `data.load`: what captions can speak of is drawn where there are captions."""
    knobs = captions.KNOBS if recipe.condition == 'caption' else {}
    return tuple((knobs | dict(recipe.options)).items())


def _kept(recipe):
    """What is kept beside the parameters: those of the coder, trained when first asked for."""
    if not recipe.latent:
        return {}
    return {'coder': get('tiny_vae', **dataclasses.asdict(coder(recipe))).variables}


def _given(recipe, condition):
    """The condition as the network's argument."""
    name = {'class': 'label', 'caption': 'caption'}.get(recipe.condition)
    return {name: condition} if name else {}
