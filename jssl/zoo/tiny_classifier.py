"""A classifier of small images: a convolutional network or a ViT, some classes left out if asked.

    logits = W mean_ij m_ij + b,   m = maps(x)

`network.apply(variables, images)` gives logits [B, K] of images in [0, 1]; its methods 'features'
[B, D], 'maps' [B, h, w, D] and 'activation_maps' [B, h, w, K] give what lies before the logits.
Output k is the label `known(recipe)[k]`: labels in `left_out` are never seen, and `measure` then
says how well the largest probability tells them from the others.

Good for features and distances of images, for class activation maps, for what is out of its
distribution. Bad at images of any other set.

Learning Deep Features for Discriminative Localization (Zhou et al., 2016).

    jssl zoo tiny_classifier
"""

import dataclasses
import functools

import jax
import numpy as np
import optax

from jssl import data, evaluate, models, train
from jssl.errors import Refusal


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'shapes'  # a set of labelled images
    options: tuple = ()  # of `data.load`: (('classes', 20), ('background', 'texture'))
    left_out: tuple[int, ...] = ()  # labels that training never sees
    network: str = 'convnet'  # or 'vit'
    width: int = 128  # of the features
    depth: int = 3  # convolutions, two of them at stride 2, or blocks
    patch: int = 4  # of the ViT
    steps: int = 1200
    batch: int = 64
    learning_rate: float = 2e-3  # peak
    weight_decay: float = 0.05
    shift: float = 0.125  # largest shift of an image in training, as a share of its side
    seed: int = 0


NEEDS = {'accuracy': 0.85}


def network(recipe):
    if recipe.network == 'convnet':
        places = range(recipe.depth)
        widths = [recipe.width >> (recipe.depth - 1 - i) for i in places]
        backbone = models.ConvNet(widths, strides=[2 if i < 2 else 1 for i in places])
    elif recipe.network == 'vit':
        sizes = recipe.width, recipe.depth, recipe.width // 32
        backbone = models.ViT(recipe.patch, *sizes, class_token=False, pooling=None)
    else:
        raise Refusal(f"network {recipe.network!r} is unknown: 'convnet' or 'vit'")
    return models.ImageClassifier(backbone, len(known(recipe)))


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=recipe.weight_decay, clip=1.0)
    shape = load(recipe, 'test')['image'].shape[1:]
    padding = round(recipe.shift * shape[0])

    def init(key):
        return train.create(model.init(key, np.zeros((1, *shape), 'f'))['params'], optimiser)

    def loss_fn(params, state, batch, key):
        images = data.augment.to_float(batch['image'])
        images = data.augment.random_crop(key, images, padding=padding, mode='edge')
        logits = model.apply({'params': params}, images, train=True)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch['label']).mean()
        return loss, {'accuracy': (logits.argmax(1) == batch['label']).mean()}

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    columns, names = load(recipe, 'train'), known(recipe)
    seen = np.isin(columns['label'], names)
    label = np.searchsorted(names, columns['label'][seen]).astype(np.int32)
    rows = {'image': columns['image'][seen], 'label': label}
    return data.batches(rows, recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.params}


def measure(recipe, variables):
    """Accuracy on the labels that were seen, and how surely it is where they are known."""
    test, names = load(recipe, 'test'), known(recipe)
    apply = jax.tree_util.Partial(network(recipe).apply, variables)
    logits, seen = evaluate.features(apply, test['image']), np.isin(test['label'], names)
    right = np.array(names)[logits[seen].argmax(1)] == test['label'][seen]
    found = {'accuracy': right.mean()}
    if recipe.left_out:
        found['auroc'] = evaluate.auroc(jax.nn.softmax(logits).max(1), seen)
    return found


def known(recipe):
    """The labels that training sees, in the order of the network's outputs."""
    labels = np.unique(load(recipe, 'train')['label']).tolist()
    return tuple(label for label in labels if label not in recipe.left_out)


@functools.lru_cache
def load(recipe, split):
    """Columns of a split."""
    return data.load(recipe.data, split, **dict(recipe.options))
