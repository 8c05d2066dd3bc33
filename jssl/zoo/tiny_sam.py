"""A promptable segmenter of drawn things: points and boxes in, a part, an object, a group out.

    L = min_k [20 focal(logits_k, y) + dice(logits_k, y)] + mean_k (quality_k - IoU_k)^2

Every step draws its own pictures: groups of alike figures, each with a figure on it. A pixel is of
a part, of an object and of a group, or of the backdrop; a prompt means one of them and does not say
which, so the network answers with three masks and the overlap that it expects of each.

`network.apply(variables, images, points, kinds)` gives `models.Masks` of images in [0, 1]; its
methods 'encode' and 'decode' do so in two steps, the second as often as one likes;
`models.segment_everything(network, variables, images)` asks everywhere.

Fair at flat figures with edges, better where it is given a box than a point. Bad at texture, and at
photographs.

Segment Anything (Kirillov et al., 2023).

    jssl zoo tiny_sam
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl import evaluate, losses, models, train
from jssl.data import rasterise
from jssl.models.prompting import ABSENT, END, INSIDE, OUTSIDE, START

GROUPS = MEMBERS = 2  # groups of a picture; most members of a group
SMALLEST = 8  # pixels of a thing: of slivers that others leave to be seen, two are already an edge
FIGURES = (
    lambda p: rasterise.circle(p, 0.85),
    lambda p: rasterise.box(p, 0.75, 0.75),
    lambda p: rasterise.box(p, 0.95, 0.4),
    # a triangle; a general polygon would take most of the time that drawing takes
    lambda p: jnp.maximum(p[..., 1], 3**0.5 / 2 * jnp.abs(p[..., 0]) - p[..., 1] / 2) - 0.5,
    rasterise.cross,
)
PROMPTS = np.array(  # kinds of the slots: a point, two points, a box, a box and a point
    [
        [INSIDE, ABSENT, ABSENT, ABSENT],
        [INSIDE, INSIDE, ABSENT, ABSENT],
        [ABSENT, ABSENT, START, END],
        [INSIDE, ABSENT, START, END],
    ]
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    size: int = 32
    patch: int = 4
    width: int = 64
    depth: int = 3  # of the encoder
    layers: int = 2  # of the decoder
    heads: int = 2
    prompts: int = 8  # about each picture
    jitter: float = 0.1  # of a box's corners, in sides
    steps: int = 1400
    batch: int = 8  # pictures
    learning_rate: float = 2e-3  # peak
    weight_decay: float = 0.05
    seed: int = 0


NEEDS = {'point_iou': 0.7, 'box_iou': 0.75, 'quality': 0.5}


def network(recipe):
    sizes = recipe.patch, recipe.width, recipe.depth, recipe.heads
    vit = models.ViT(*sizes, class_token=False, pooling=None)
    return models.PromptableSegmenter(vit, depth=recipe.layers, heads=recipe.heads)


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=recipe.weight_decay, clip=1.0)

    def init(key):
        image = jnp.zeros((1, recipe.size, recipe.size, 3))
        variables = model.init(key, image, jnp.zeros((1, 1, 4, 2)), jnp.zeros((1, 1, 4), int))
        return train.create(variables['params'], optimiser)

    def loss_fn(params, state, batch, key):
        k_draw, k_ask = jax.random.split(key)
        images, levels = pictures(k_draw, recipe.batch, recipe.size)
        points, kinds, target = prompts(k_ask, levels, recipe.prompts, jitter=recipe.jitter)
        found = model.apply({'params': params}, images, points, kinds, train=True)
        return answer_loss(found, target)

    return init, train.gradient_step(loss_fn, optimiser)


def answer_loss(found, target):
    """Of `models.Masks` of prompts that mean target [B, Q, H, W]: (loss, metrics)."""
    count, shape = found.quality.size, found.logits.shape[3:]
    logits = found.logits.reshape(count, *shape)
    y = jnp.broadcast_to(target[:, :, None], found.logits.shape).reshape(count, *shape)
    each = 20 * losses.focal(logits, y, alpha=None) + losses.dice(logits, y)
    each = each.reshape(found.quality.shape)
    # not each.min(): XLA may round it in two ways, and the gradient then finds no least one
    best = jnp.take_along_axis(each, each.argmin(-1, keepdims=True), axis=-1).mean()
    overlap = overlaps(found, target)
    surprise = jnp.square(found.quality - overlap).mean()
    return best + surprise, {'iou': overlap.max(-1).mean(), 'surprise': surprise}


def batches(recipe):
    return None


def variables(recipe, state):
    return {'params': state.params}


def measure(recipe, variables):
    """Overlap of the best answer to a point and to a box; what an answer's own opinion tells."""

    def ask(variables, key):
        k_draw, k_ask = jax.random.split(key)
        images, levels = pictures(k_draw, 128, recipe.size)
        points, kinds, target = prompts(k_ask, levels, 8, jitter=recipe.jitter)
        found = network(recipe).apply(variables, images, points, kinds)
        return kinds, found.quality, overlaps(found, target)

    kinds, quality, overlap = jax.jit(ask)(variables, jax.random.key(1000 + recipe.seed))
    point, box = ((kinds == jnp.asarray(PROMPTS[i])).all(-1) for i in (0, 2))
    best = overlap.max(-1)
    return {
        'point_iou': best[point].mean(),
        'box_iou': best[box].mean(),
        'quality': evaluate.pearson(quality.ravel(), overlap.ravel()),
    }


def overlaps(found, target):
    """Intersection over union [B, Q, M] of answers with what was meant [B, Q, H, W]."""
    y = jnp.broadcast_to(target[:, :, None], found.logits.shape).reshape(-1, *target.shape[2:])
    overlap = evaluate.mask_overlap(found.logits.reshape(y.shape) > 0, y)
    return overlap.reshape(found.quality.shape)


def prompts(key, levels, count, *, jitter=0.1):
    """Prompts about pictures, and what they mean.

    A level is drawn, and a thing of it, the small ones as often as the large; then a pixel of that
    thing, and how it is asked for: see PROMPTS. What is left of fewer than SMALLEST pixels is not
    asked for.

    Args:
      levels: int [B, H, W, 3] of `pictures`.
      count: Q, of each picture.
      jitter: standard deviation of a box's corners, in its sides.

    Returns:
      points [B, Q, 4, 2], kinds int [B, Q, 4], both as `PromptableSegmenter.decode` takes them;
      target bool [B, Q, H, W].
    """
    size = levels.shape[1]

    def ask(key, levels):
        keys = jax.random.split(key, 6)
        level = jax.random.randint(keys[0], (), 0, levels.shape[-1])
        ids = levels.reshape(-1, levels.shape[-1])[:, level]
        area = jnp.zeros(1 + 2 * GROUPS * MEMBERS).at[ids].add(1.0)
        odds = jnp.where(area < SMALLEST, -1e9, -jnp.log(jnp.maximum(area, 1)))
        first = jax.random.categorical(keys[1], odds[ids])
        target = ids == ids[first]
        kinds = jnp.asarray(PROMPTS)[jax.random.randint(keys[2], (), 0, len(PROMPTS))]
        inside = jax.random.bernoulli(keys[3]) | target.all()
        second = jax.random.categorical(keys[4], jnp.where(target == inside, 0.0, -1e9))
        kinds = kinds.at[1].set(jnp.where((kinds[1] == INSIDE) & ~inside, OUTSIDE, kinds[1]))
        box = rasterise.tight_box(target.reshape(size, size)).reshape(2, 2)
        box += jitter * (box[1] - box[0])[None] * jax.random.normal(keys[5], (2, 2))
        middles = [jnp.stack([i % size + 0.5, i // size + 0.5]) for i in (first, second)]
        points = jnp.concatenate([jnp.stack(middles), box]) / size
        return points, kinds, target.reshape(size, size)

    keys = jax.random.split(key, (len(levels), count))
    return jax.vmap(lambda keys, levels: jax.vmap(lambda k: ask(k, levels))(keys))(keys, levels)


def pictures(key, count, size):
    """Drawn pictures, float [B, H, W, 3], and the ids of every pixel, int [B, H, W, 3].

    The ids are of its part, its object and its group, each 0 for the backdrop.
    """
    return jax.vmap(lambda key: _picture(key, size))(jax.random.split(key, count))


def _picture(key, size):
    numbers = jax.random.uniform(key, (GROUPS + 1, 32))
    points, noise = rasterise.pixel_grid(size), jax.random.normal(key, (size, size, 3))
    distances, colours = jax.vmap(lambda u: _group(u, points))(numbers[1:])
    u = numbers[0]
    wave = jnp.sin(points @ (12 * u[6:8] - 6) + 6 * u[8])[..., None]
    canvas = u[:3] + 0.3 * (u[3:6] - u[:3]) * (1 + wave)
    alphas = rasterise.coverage(distances.reshape(-1, size, size), 2 / size)
    image, seen = rasterise.composite(canvas, colours.reshape(-1, 3), alphas)
    part = jnp.where(seen.sum(0) > 0.5, 1 + seen.argmax(0), 0)
    ids = [jnp.where(part > 0, 1 + (part - 1) // n, 0) for n in (1, 2, 2 * MEMBERS)]
    return jnp.clip(image + 0.03 * noise, 0, 1), jnp.stack(ids, axis=-1)


def _group(u, points):
    """Distances [MEMBERS, 2, H, W] and colours [MEMBERS, 2, 3] of alike figures in a row."""
    scale, along = 0.35 + 0.25 * u[0], 2 * jnp.pi * u[1]
    step = 2.1 * scale * jnp.stack([jnp.cos(along), jnp.sin(along)])
    count, angle = 1 + jnp.floor(MEMBERS * u[2]), 2 * jnp.pi * u[3]
    offset = scale * (u[4:6] - 0.5)
    start = 1.4 * (u[6:8] - 0.5) - step * (count - 1) / 2
    figures = lambda at, scale: (
        scale
        * jnp.stack(
            [f(rasterise.place(points, rasterise.Transform(at, scale, angle))) for f in FIGURES]
        )
    )

    def member(number):
        at = start + number * step
        body = figures(at, scale)[jnp.int32(len(FIGURES) * u[8])]
        part = figures(at + offset, 0.5 * scale)[jnp.int32(len(FIGURES) * u[9])]
        return jnp.where(number < count, jnp.stack([body, part]), 9.0)

    return jax.vmap(member)(jnp.arange(MEMBERS)), jnp.tile(
        u[None, 10:16].reshape(1, 2, 3), (MEMBERS, 1, 1)
    )
