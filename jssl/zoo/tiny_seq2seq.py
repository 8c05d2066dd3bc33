"""A translator between two drawn languages: an encoder and a decoder of sentences.

    p(y | x) = prod_t p(y_t | y_<t, x),   network.apply(variables, source, target) -> logits

The languages are those of `jssl.data.generated.languages`: English, and an invented one of other
words in another order, so every sentence has one right translation. `network` is an
`EncoderDecoder` on the words of both; `pairs(recipe, split)` has sources and targets, which begin
and end with END; `translate` decodes greedily or by beams.

Good at what it was made for. Bad at sentences of another grammar.

Attention Is All You Need (Vaswani et al., 2017).

    jssl zoo tiny_seq2seq
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, models, train
from jssl.algorithms import beam_search
from jssl.data.generated import languages


@dataclasses.dataclass(frozen=True)
class Recipe:
    language: int = 0  # seed of the invented language
    order: str = 'SOV'  # of its subject, verb and object
    count: int = 16000  # pairs in training
    width: int = 64
    depth: int = 2  # blocks of either part
    heads: int = 2
    steps: int = 1200
    batch: int = 64
    learning_rate: float = 3e-3  # peak
    weight_decay: float = 0.05
    seed: int = 0


NEEDS = {'exact': 0.8}


def network(recipe):
    options = {'mlp_ratio': 8 / 3, 'gated': True, 'use_bias': False, 'activation': nn.silu}
    make = functools.partial(
        models.Transformer, recipe.width, recipe.depth, recipe.heads, norm=nn.RMSNorm, **options
    )
    return models.EncoderDecoder(len(words(recipe)), make(), make(causal=True, cross=True))


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=recipe.weight_decay, clip=1.0)
    blank = jnp.zeros((1, 2), int)

    def init(key):
        return train.create(model.init(key, blank, blank)['params'], optimiser)

    def loss_fn(params, state, batch, key):
        source, target = batch['source'], batch['target']
        logits = model.apply({'params': params}, source, target[:, :-1], mask=seen(source))
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, target[:, 1:])
        told = target[:, 1:] != languages.PAD
        return (loss * told).sum() / told.sum()

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    return data.batches(pairs(recipe, 'train'), recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    return {'params': state.params}


def measure(recipe, variables):
    """Share of sentences whose greedy translation is right to the last word."""
    found = pairs(recipe, 'validation')
    wanted = found['target'][:, 1:]
    steps = wanted.shape[1]
    run = jax.jit(functools.partial(translate, network(recipe), steps=steps, beams=1))
    told = np.asarray(run(variables, found['source'])[0])[:, 0]
    told = np.where(wanted == languages.PAD, languages.PAD, told)
    return {'exact': float((told == wanted).all(1).mean())}


def translate(network, variables, source, *, steps, beams=4):
    """The likeliest targets of sources int [B, S]: tokens [B, beams, steps], scores [B, beams].

    The best is first; each ends in END, again and again to `steps`.
    """
    mask = seen(source)
    context = network.apply(variables, source, mask=mask, method='encode')

    def step(state, tokens, start):
        context, mask, cache = state
        given = {'mask': mask, 'cache': cache, 'start': start, 'method': 'decode'}
        logits, cache = network.apply(variables, tokens, context, **given)
        return logits, (context, mask, cache)

    state = context, mask, network.decoder.empty_cache(len(source), steps + 1)
    prompt = jnp.full((len(source), 1), languages.END)
    return beam_search(step, state, prompt, steps=steps, beams=beams, end=languages.END)


def seen(source):
    """Which tokens of a source are words: [B, 1, 1, S]."""
    return (source != languages.PAD)[:, None, None]


@functools.lru_cache
def pairs(recipe, split):
    """Sentences of both languages: source int32 [N, S], target int32 [N, T], padded with PAD."""
    known, count = words(recipe), recipe.count if split == 'train' else None
    english, other = (
        languages.dataset(split, count=count, seed=recipe.seed, language=each, words=known)
        for each in (languages.ENGLISH, _invented(recipe))
    )
    target = np.pad(other['tokens'], ((0, 0), (1, 0)), constant_values=languages.END)
    return {'source': english['tokens'], 'target': target}


def words(recipe):
    """What tokens stand for: the words of both languages."""
    return languages.vocabulary(languages.ENGLISH, _invented(recipe))


def _invented(recipe):
    return languages.language(recipe.language, order=recipe.order)
