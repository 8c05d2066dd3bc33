"""A causal language model of byte pairs: Llama's blocks on English, Python, or invented facts.

    p(x) = prod_t p(x_t | x_<t),   network.apply(variables, tokens) -> logits of x_{t+1} in row t

`network` is a `CausalLM`, `vocabulary(recipe)` what its tokens stand for; `log_probs` has the
log-probability of every token of some rows, `generate` continues prompts. Of `facts` it reads
statements, and questions with their answers, in words: the columns of `jssl.data.generated.facts`
are its tokens already.

Good at spelling, indentation and stock phrases, and at recalling the facts it was told; its quality
is what `measure` says of text never seen. Bad at meaning: it has read a million characters.

LLaMA: Open and Efficient Foundation Language Models (Touvron et al., 2023).

    jssl zoo tiny_lm
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, models, train
from jssl.algorithms import sample_tokens
from jssl.data import tokens as codes
from jssl.data.generated import facts
from jssl.errors import Refusal


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'stdlib_prose'  # a set of texts: stdlib_code, docstrings, languages; or facts
    options: tuple = ()  # of `data.load`: (('people', 50), ('forget', 0.2))
    vocabulary: int = 512  # byte pairs and 'end'; of facts, room for their words
    length: int = 128  # tokens of a row in training
    width: int = 96
    depth: int = 3
    heads: int = 3
    mlp_ratio: float = 8 / 3  # gated, so that it weighs as much as 4 without
    steps: int = 600
    batch: int = 16
    learning_rate: float = 4e-3  # peak
    weight_decay: float = 0.1
    seed: int = 0


NEEDS = {'compression': 2.8}


def network(recipe):
    transformer = models.Transformer(
        recipe.width,
        recipe.depth,
        recipe.heads,
        mlp_ratio=recipe.mlp_ratio,
        causal=True,
        gated=True,
        use_bias=False,
        activation=nn.silu,
        norm=nn.RMSNorm,
    )
    return models.CausalLM(recipe.vocabulary, transformer)


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=recipe.weight_decay, b2=0.95, clip=1.0)

    def init(key):
        return train.create(model.init(key, jnp.zeros((1, 2), int))['params'], optimiser)

    def loss_fn(params, state, batch, key):
        return -log_probs(model, {'params': params}, batch['tokens']).mean()

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    end = facts.END if recipe.data == 'facts' else vocabulary(recipe).token('end')
    rows = codes.pack(documents(recipe, 'train'), recipe.length, end=end)
    return data.batches(rows, recipe.batch, seed=recipe.seed, fields=['tokens'])


def variables(recipe, state):
    return {'params': state.params}


def measure(recipe, variables):
    """How many times shorter than its bytes a text is coded; of facts, how many are recalled."""
    if recipe.data == 'facts':
        return {'recall': recall(recipe, variables)}
    pieces = vocabulary(recipe).pieces
    rows = codes.pack(documents(recipe, 'validation'), recipe.length, end=len(pieces))['tokens']
    rows = rows[:256]
    log_p = jax.jit(functools.partial(log_probs, network(recipe)))(variables, rows)
    length = np.array([len(piece) for piece in pieces] + [0])[rows[:, 1:]].sum()
    return {'compression': float(8 * np.log(2) * length / -log_p.sum())}


def log_probs(network, variables, tokens):
    """log p(x_t | x_<t), t = 2 ... T: tokens int [B, T] -> [B, T - 1]; train on their mean."""
    logits = network.apply(variables, tokens)[:, :-1]
    return -optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])


def generate(key, network, variables, prompt, *, steps, **options):
    """Tokens int [B, steps] behind a prompt int [B, T], and their log-probabilities [B, steps].

    Options are those of `sample_tokens`: lengths, end, temperature, top_k, top_p.
    """
    cache = network.transformer.empty_cache(len(prompt), prompt.shape[1] + steps)
    step = lambda cache, tokens, start: network.apply(variables, tokens, cache=cache, start=start)
    return sample_tokens(key, step, cache, prompt, steps=steps, **options)


def recall(recipe, variables, **options):
    """Share of the questions about people told of that are answered right; options of `facts`."""
    asked = facts.dataset(
        'validation', **{'members': facts.MEMBERS[:2], **dict(recipe.options), **options}
    )
    logits = jax.jit(network(recipe).apply)(variables, asked['prompt'])
    answers = np.asarray(logits.argmax(-1))[np.arange(len(logits)), asked['prompt_length'] - 1]
    return float((answers == asked['target']).mean())


@functools.lru_cache
def vocabulary(recipe):
    """The byte pairs of the training texts."""
    return codes.train(
        data.load(recipe.data, 'train', **dict(recipe.options))['text'], recipe.vocabulary
    )


@functools.lru_cache
def documents(recipe, split):
    """The tokens of all texts of a split; of facts also of questions with their answers."""
    columns = data.load(recipe.data, split, **dict(recipe.options))
    if recipe.data != 'facts':
        return codes.encode_all(vocabulary(recipe), columns['text'])
    told = [row[: n - 1] for row, n in zip(columns['tokens'], columns['length'], strict=True)]
    asked = zip(columns['prompt'], columns['prompt_length'], columns['target'], strict=True)
    if (most := columns['tokens'].max()) >= recipe.vocabulary:
        raise Refusal(f'vocabulary={recipe.vocabulary} has no room for word {most} of the facts')
    return [*told, *(np.append(row[:n], answer) for row, n, answer in asked)]
