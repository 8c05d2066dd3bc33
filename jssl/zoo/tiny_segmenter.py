"""A U-Net that names every pixel of a picture with several drawn objects.

    L = mean_ij -log softmax(logits_ij)[y_ij]

`network.apply(variables, images)` gives logits [B, H, W, K] of images in [0, 1], of any size that
four patches divide; method='features' the map [B, H / patch, W / patch, D] before them. Of shapes,
class 0 is the backdrop and 1 + k the label k; of scenes, the first are the kinds of object and the
rest what they stand on and before, as `semantic` counts them.

Good for pixels of known kinds, overlapping or not. Bad at telling two objects of a kind apart.

U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015).

    jssl zoo tiny_segmenter
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, evaluate, models, train
from jssl.data.generated import scenes


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'shapes'  # or 'scenes'
    options: tuple = (('objects', (1, 3)), ('classes', 6))  # of `data.load`
    widths: tuple[int, ...] = (32, 64)  # of the U-Net's levels
    patch: int = 2
    steps: int = 700
    batch: int = 32
    learning_rate: float = 2e-3  # peak
    weight_decay: float = 0.05
    seed: int = 0


NEEDS = {'mean_iou': 0.6}


def network(recipe):
    return models.Segmenter(classes(recipe), widths=recipe.widths, patch=recipe.patch)


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=recipe.weight_decay, clip=1.0)
    shape = load(recipe, 'test')['image'].shape[1:]

    def init(key):
        return train.create(model.init(key, jnp.zeros((1, *shape)))['params'], optimiser)

    def loss_fn(params, state, batch, key):
        images = data.augment.to_float(batch['image'])
        both = jnp.concatenate([images, batch['label'][..., None].astype(images.dtype)], axis=-1)
        both = data.augment.flip(key, both)
        logits = model.apply({'params': params}, both[..., :-1], train=True)
        label = both[..., -1].astype(jnp.int32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    return data.batches(load(recipe, 'train'), recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.params}


def measure(recipe, variables):
    """Intersection over union of each class over all pixels held out, and the mean over classes."""
    test = load(recipe, 'test')
    apply = jax.tree_util.Partial(network(recipe).apply, variables)
    found = evaluate.features(apply, test['image']).argmax(-1)
    pixels = test['label'].ravel(), found.ravel()
    counts = np.asarray(evaluate.confusion(*pixels, classes=classes(recipe)))
    shared = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - shared
    return {
        'mean_iou': (shared[union > 0] / union[union > 0]).mean(),
        'accuracy': shared.sum() / counts.sum(),
    }


def classes(recipe):
    """How many things a pixel may be."""
    options = dict(recipe.options)
    if recipe.data == 'scenes':
        return len(options.get('classes', scenes.SHAPES)) + len(scenes.STUFF)
    return 1 + options.get('classes', 10)


@functools.lru_cache
def load(recipe, split):
    """{'image': uint8 [N, H, W, 3], 'label': int32 [N, H, W]} of a split."""
    options = dict(recipe.options)
    if recipe.data == 'scenes':
        drawn = data.load('scenes', split, truth=('semantic',), **options)
        return {'image': drawn['image'], 'label': drawn['semantic']}
    drawn = data.load(recipe.data, split, **options)
    ids = np.where(drawn['present'], 1 + drawn['label'], 0)
    label = (drawn['mask'] * ids[..., None, None]).max(1)  # what is seen of two never overlaps
    return {'image': drawn['image'], 'label': label.astype(np.int32)}
