"""A two-tower model of drawn shapes and sentences about them.

    L = CLIP's symmetric cross-entropy of s cos(z_image, z_text) over a batch

`network.apply(variables, images, method='encode_image')` takes images in [0, 1]; 'encode_patches'
gives z of every patch, taps=True every block. Sentences are `captions.encode`d; 'encode_text' takes
words=... in place of their vectors, so that a prompt can be learned (`models.prompted`).
`models.zero_shot` classifies by `encode_texts` of `captions.sentences`.

It never saw the pairs of shape and colour in `HELD_OUT`. Good at shape, colour and texture; less so
at size and place; bad at other styles (`data.domains`), at digits, of which it has but the words.

Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).

    jssl zoo tiny_clip
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jssl import data, evaluate, losses, models, train
from jssl.data import captions, shapes


@dataclasses.dataclass(frozen=True)
class Recipe:
    size: int = 32  # of an image, in pixels
    count: int = 12000  # images
    background: str = 'photo'  # or 'texture', 'plain'
    sentences: int = 4  # about each image
    texture: float = 0.95  # share of them that says the texture, which is the hardest to see
    widths: tuple[int, ...] = (32, 64, 128)  # of the image tower's convolutions
    strides: tuple[int, ...] = (2, 2, 1)
    heads: int = 4  # of the attention that pools
    text_width: int = 64
    text_depth: int = 2
    joint: int = 64  # of the space that they share
    steps: int = 1000
    batch: int = 128
    learning_rate: float = 2e-3  # peak
    seed: int = 0


NEEDS = {'zero_shot': 0.6, 'held_out': 0.25, 'texture': 0.8, 'ensemble': 0.98}
# Of 12 shapes in 8 colours, every shape is once, every colour once or twice, left out.
HELD_OUT = tuple((shape, (3 * shape + shape // 8) % 8) for shape in range(len(captions.SHAPES)))
PROMPT = 8  # places of a sentence beyond those in training, for learned prompts


def network(recipe):
    trunk = models.ConvNet(recipe.widths, strides=recipe.strides)
    image = models.AttentionPooled(trunk, recipe.heads)
    sizes = recipe.text_width, recipe.text_depth, recipe.text_width // 32
    text = models.Transformer(*sizes, causal=True)
    text = models.TextEncoder(len(captions.WORDS), captions.LENGTH + PROMPT, text)
    return models.CLIP(image, text, recipe.joint)


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=0.1, b2=0.98, clip=1.0)

    def init(key):
        images = np.zeros((1, recipe.size, recipe.size, 3), 'f')
        params = model.init(key, images, np.zeros((1, captions.LENGTH), np.int32))['params']
        return train.create(params, optimiser, average=True)

    def loss_fn(params, state, batch, key):
        of_crop, of_text = jax.random.split(key)
        images = data.augment.to_float(batch['image'])
        images = data.augment.random_crop(of_crop, images, padding=2, mode='edge')
        chosen = jax.random.randint(of_text, (len(images), 1, 1), 0, recipe.sentences)
        tokens = jnp.take_along_axis(batch['tokens'], chosen, axis=1)[:, 0]
        image, text, scale = model.apply({'params': params}, images, tokens)
        return losses.clip(image, text, logit_scale=scale).mean(), {'scale': scale}

    follow = train.gradient_step(loss_fn, optimiser, ema=0.99)

    def step(state, batch, key):
        state, metrics = follow(state, batch, key)
        scale = jnp.minimum(state.params['log_scale'], models.clip.LARGEST)
        return state._replace(params={**state.params, 'log_scale': scale}), metrics

    return init, step


def batches(recipe):
    drawn = draw(recipe, 'train', recipe.count)
    known = captions.factors(drawn)
    seen = ~held_out(known)
    known = {name: column[seen] for name, column in known.items()}
    tokens = [
        captions.encode(
            captions.describe(
                known, seed=recipe.sentences * recipe.seed + i, texture=recipe.texture
            )
        )
        for i in range(recipe.sentences)
    ]
    rows = {'image': drawn['image'][seen], 'tokens': np.stack(tokens, 1)}
    return data.batches(rows, recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.average}


def measure(recipe, variables):
    """Zero-shot accuracies on drawn shapes, and what an ensemble of sentences brings."""
    drawn = draw(recipe, 'test', 1000)
    known = captions.factors(drawn)
    known['pair'] = known['shape'] * len(captions.COLOURS) + known['colour']
    asked = {
        'pair': {'shape': range(12), 'colour': range(8)},
        'texture': {'texture': range(3)},
        'size': {'size': range(2)},
    }
    texts = [captions.sentences(**values) for values in asked.values()]
    together = [list(itertools.chain(*each)) for each in zip(*texts, strict=True)]
    ends = np.cumsum([len(each[0]) for each in texts])
    text = np.split(encode_texts(recipe, variables, together), ends[:-1], axis=1)
    z = evaluate.features(image_encoder(recipe, variables), drawn['image'])

    right = lambda name, text: models.zero_shot(z, text).argmax(1) == known[name]
    found = {name: right(name, each) for name, each in zip(asked, text, strict=True)}
    one, unseen = np.mean([right('pair', each) for each in text[0]]), held_out(known)
    return {
        'zero_shot': found['pair'][~unseen].mean(),
        'held_out': found['pair'][unseen].mean(),
        'texture': found['texture'].mean(),
        'size': found['size'].mean(),
        'ensemble': found['pair'].mean() / one,
    }


def draw(recipe, split, count, **options):
    """Columns of `shapes.dataset` that `captions` can describe."""
    knobs = {'size': recipe.size, 'background': recipe.background, 'clutter': 0}
    return shapes.dataset(split, count=count, **captions.KNOBS | knobs | options)


def held_out(known):
    """Whether each of some shapes, known by `captions.factors`, has a pair in `HELD_OUT`: [N]."""
    pair = known['shape'] * len(captions.COLOURS) + known['colour']
    return np.isin(pair, [s * len(captions.COLOURS) + c for s, c in HELD_OUT])


def image_encoder(recipe, variables):
    """images [B, H, W, 3] in [0, 1] -> z [B, joint], as `evaluate.features` takes it."""
    return jax.tree_util.Partial(_encoder(recipe, 'encode_image'), variables)


def encode_texts(recipe, variables, texts):
    """z [P, K, joint] of P lists of K sentences, each of words in `captions.WORDS`."""
    tokens = captions.encode([text for part in texts for text in part])
    z = evaluate.features(jax.tree_util.Partial(_encoder(recipe, 'encode_text'), variables), tokens)
    return z.reshape(len(texts), -1, recipe.joint)


@functools.lru_cache
def _encoder(recipe, method):
    return functools.partial(network(recipe).apply, method=method)
