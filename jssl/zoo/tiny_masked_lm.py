"""A masked language model of byte pairs: BERT on drawn sentences, English or Python, small.

    L = -mean_{t in M} log p(x_t | x with M hidden),   M 30 % of the tokens

`network` is a `MaskedLM`; every text begins with the token 'start'. `encode(recipe, texts)` gives
rows of tokens, `features` what the blocks make of them, `embed` one vector for each text: the mean
over its tokens. `corrupt` hides tokens, and what is hidden is told by network.apply.

Good as a start for classifiers and encoders of sentences. Bad as one before it is tuned, as masked
models are; on real English it has little more than spelling after so few steps.

BERT: Pre-training of Deep Bidirectional Transformers (Devlin et al., 2019); for the share: Should
You Mask 15% in Masked Language Modeling? (Wettig et al., 2023).

    jssl zoo tiny_masked_lm
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, models, train
from jssl.data import tokens as codes

SPECIAL = ('end', 'start', 'mask', 'pad')


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'languages'  # a set of texts: stdlib_prose, stdlib_code, docstrings
    options: tuple = ()  # of `data.load`: (('sentences', 3),)
    vocabulary: int = 768  # byte pairs and `SPECIAL`; of drawn English most words
    length: int = 32  # tokens of a row in training; texts may be twice as long
    width: int = 64
    depth: int = 2
    heads: int = 2
    dropout: float = 0.0  # in training; papers that need it tune with it
    share: float = 0.3  # of the tokens, hidden in training
    steps: int = 600
    batch: int = 64
    learning_rate: float = 4e-3  # peak
    weight_decay: float = 0.1
    seed: int = 0


# Of drawn English the commonest token is 0.1 of all, and counts of what stands between the same
# two tokens to either side tell 0.45: most words might as well be others.
NEEDS = {'accuracy': 0.3}


def network(recipe):
    sizes = recipe.width, recipe.depth, recipe.heads
    transformer = models.Transformer(*sizes, dropout=recipe.dropout)
    # a table of positions has to be learned row by row, and was not within 500 steps
    return models.MaskedLM(recipe.vocabulary, transformer, length=0)


@functools.lru_cache
def build(recipe):
    model, words = network(recipe), vocabulary(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=recipe.weight_decay, b2=0.98, clip=1.0)

    def init(key):
        return train.create(model.init(key, jnp.zeros((1, 2), int))['params'], optimiser)

    def loss_fn(params, state, batch, key):
        hide, drop = jax.random.split(key)
        seen, hidden = corrupt(hide, batch['tokens'], words, share=recipe.share)
        logits = model.apply({'params': params}, seen, train=True, rngs={'dropout': drop})
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch['tokens'])
        return (loss * hidden).sum() / hidden.sum()

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    return data.batches({'tokens': rows(recipe, 'train')}, recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.params}


def measure(recipe, variables):
    """Share of hidden tokens that are told, 15 % of them, all replaced by the mask."""
    tokens, words = rows(recipe, 'validation')[:512], vocabulary(recipe)
    hidden = np.random.default_rng(0).random(tokens.shape) < 0.15
    hidden &= tokens < len(words.pieces)
    seen = np.where(hidden, words.token('mask'), tokens)
    logits = jax.jit(network(recipe).apply)(variables, seen)
    return {'accuracy': float((np.asarray(logits.argmax(-1)) == tokens)[hidden].mean())}


def corrupt(key, tokens, words, *, share=0.15):
    """BERT's noise: (tokens int [B, T] as seen, hidden bool [B, T], those to be told).

    Of the hidden, 80 % are replaced by the mask, 10 % by any token, 10 % by nothing. Special tokens
    are never hidden; a row has at least one that is.
    """
    choice, fate, other = jax.random.split(key, 3)
    plain = tokens < len(words.pieces)
    score = jnp.where(plain, jax.random.uniform(choice, tokens.shape), 1.0)
    hidden = plain & ((score < share) | (score == score.min(1, keepdims=True)))
    u = jax.random.uniform(fate, tokens.shape)
    random = jax.random.randint(other, tokens.shape, 0, len(words.pieces))
    seen = jnp.where(u < 0.8, words.token('mask'), jnp.where(u < 0.9, random, tokens))
    return jnp.where(hidden, seen, tokens), hidden


def features(recipe, variables, tokens, **options):
    """What the blocks make of rows of `encode`, [B, T, D]; options of `MaskedLM.features`."""
    mask = (tokens != vocabulary(recipe).token('pad'))[:, None, None]
    return network(recipe).apply(variables, tokens, mask=mask, method='features', **options)


def embed(recipe, variables, tokens, **options):
    """The mean of the features over a text's tokens: rows of `encode` -> [B, D]."""
    valid = (tokens != vocabulary(recipe).token('pad'))[..., None]
    h = features(recipe, variables, tokens, **options)
    return (h * valid).sum(1) / valid.sum(1)


def encode(recipe, texts, *, length=None):
    """Texts as rows int32 [N, length]: 'start', the text, 'end', and 'pad' to `length`.

    Longer texts are cut; None is the longest that the network takes.
    """
    words, length = vocabulary(recipe), length or 2 * recipe.length
    found = np.full((len(texts), length), words.token('pad'), np.int32)
    for row, text in zip(found, codes.encode_all(words, texts), strict=True):
        whole = [words.token('start'), *text[: length - 2], words.token('end')]
        row[: len(whole)] = whole
    return found


def rows(recipe, split):
    """The packed texts of a split, [N, length]: 'start' in front of every row."""
    words = vocabulary(recipe)
    packed = codes.packed(words, _texts(recipe, split), recipe.length - 1)['tokens']
    return np.pad(packed, ((0, 0), (1, 0)), constant_values=words.token('start'))


@functools.lru_cache
def vocabulary(recipe):
    """The byte pairs of the training texts, and `SPECIAL`."""
    return codes.train(_texts(recipe, 'train'), recipe.vocabulary, special=SPECIAL)


def _texts(recipe, split):
    return data.load(recipe.data, split, **dict(recipe.options))['text']
