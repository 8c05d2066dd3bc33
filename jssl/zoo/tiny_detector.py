"""A DETR that finds one to three drawn objects in a picture.

    L = mean over layers of set_matching(logits, boxes, labels, target)

`network.apply(variables, images)` gives `models.Detections` of images in [0, 1]: logits
[B, N, K + 1], the last that of no object, boxes [B, N, 4] in 0 to 1, features [B, N, D];
`detect(network, variables, images)` names and scores each.

Good for some objects of known kinds, small or large, well apart or overlapping. Bad at boxes to the
pixel, and at objects that hide most of each other.

End-to-End Object Detection with Transformers (Carion et al., 2020).

    jssl zoo tiny_detector
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl import data, evaluate, losses, models, train


@dataclasses.dataclass(frozen=True)
class Recipe:
    options: tuple = (  # of `data.shapes.dataset`
        ('size', 48),
        ('objects', (1, 3)),
        ('classes', 4),
        ('scale', (0.25, 0.5)),
    )
    widths: tuple[int, ...] = (32, 64, 96, 96)  # of the convolutions, all but the last at stride 2
    layers: int = 2  # of the decoder
    heads: int = 4
    grid: tuple[int, int] = (4, 4)  # of queries
    weights: tuple[float, float, float] = (5.0, 5.0, 2.0)  # class (learned last), distance, overlap
    no_object: float = 0.2  # weight of a query that is matched with nothing
    steps: int = 1000
    batch: int = 32
    learning_rate: float = 2e-3  # peak
    seed: int = 0


# LPLD's teacher must know most objects of its source before it loses the small ones in fog.
NEEDS = {'recall': 0.6, 'precision': 0.6}


def network(recipe):
    strides = [2] * (len(recipe.widths) - 1) + [1]
    backbone = models.ConvNet(recipe.widths, strides=strides)
    classes = dict(recipe.options).get('classes', 10)
    options = {'grid': recipe.grid, 'depth': recipe.layers, 'heads': recipe.heads}
    return models.DETR(backbone, classes, **options)


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=1e-4, clip=1.0)
    shape = load(recipe, 'test')['image'].shape[1:]

    def init(key):
        return train.create(model.init(key, jnp.zeros((1, *shape)))['params'], optimiser)

    def loss_fn(params, state, batch, key):
        found = model.apply(
            {'params': params}, data.augment.to_float(batch['image']), layers=True, train=True
        )
        matched = functools.partial(
            losses.set_matching, weights=recipe.weights, no_object=recipe.no_object
        )
        loss = jax.vmap(matched, (0, 0, None, None))
        return loss(found.logits, found.boxes, batch['label'], batch['box']).mean()

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    return data.batches(load(recipe, 'train'), recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.params}


def detect(network, variables, images):
    """(boxes [B, N, 4] in 0 to 1, labels [B, N], scores [B, N]) of images [B, H, W, 3]."""
    found = network.apply(variables, images)
    p = jax.nn.softmax(found.logits)[..., :-1]
    return found.boxes, p.argmax(-1), p.max(-1)


def measure(recipe, variables):
    """Shares of the objects that are found, and of the answers above one half that find one."""
    test = load(recipe, 'test')
    apply = jax.tree_util.Partial(functools.partial(detect, network(recipe)), variables)
    boxes, labels, scores = evaluate.features(apply, test['image'])
    overlap = np.asarray(evaluate.box_overlap(boxes[:, :, None], test['box'][:, None]))
    same = labels[:, :, None] == test['label'][:, None]
    hits = same & (overlap > 0.5) & (scores > 0.5)[:, :, None]
    found = hits.any(1).sum()  # a second answer for an object is a wrong one
    return {
        'recall': found / (test['label'] >= 0).sum(),
        'precision': found / max((scores > 0.5).sum(), 1),
    }


@functools.lru_cache
def load(recipe, split):
    """{'image': [N, H, W, 3], 'box': [N, O, 4] in 0 to 1, 'label': [N, O], -1 for none}"""
    drawn = data.load('shapes', split, **dict(recipe.options))
    seen = drawn['mask'].any((2, 3))
    label = np.where(seen, drawn['label'], -1).astype(np.int32)
    box = (drawn['box'] / drawn['image'].shape[1]).astype(np.float32)
    return {'image': drawn['image'], 'box': box, 'label': label}
