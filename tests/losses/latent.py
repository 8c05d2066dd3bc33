"""Losses on latent codes: cases, and slow float64 loops written from the papers."""

import functools
import math

import jax
import numpy as np

from jssl import losses

from .case import Case, normal
from .noisy import softmax

partial = functools.partial


def gaussian_kl(live, _):
    out = []
    for mean, log_variance in zip(*live, strict=True):
        total = 0
        for m, l in zip(mean, log_variance, strict=True):
            total += (m**2 + math.exp(l) - 1 - l) / 2
        out.append(total)
    return out


def surprises(live, surprise):
    x, y, *code = live
    rows = zip(x, y, gaussian_kl(code, None), strict=True)
    return [
        sum(surprise(a, b) for a, b in zip(p.ravel(), q.ravel(), strict=True)) + 3 * kl
        for p, q, kl in rows
    ]


def gaussian_elbo(live, _):
    density = lambda a, b: math.exp(-((a - b) ** 2) / 4) / math.sqrt(4 * math.pi)
    return surprises(live, lambda a, b: -math.log(density(a, b)))


def bernoulli_elbo(live, _):
    p = lambda l: 1 / (1 + math.exp(-l))
    return surprises(live, lambda a, l: -a * math.log(p(l)) - (1 - a) * math.log(1 - p(l)))


def categorical_kl(live, _):
    rows = [softmax(row) for row in live[0]]
    return [sum(p * math.log(p * len(row)) for p in row) for row in rows]


def gumbel_softmax(live, _):
    noise = np.asarray(jax.random.gumbel(jax.random.key(0), live[0].shape), np.float64)
    return [softmax((row + g) / 0.5) for row, g in zip(live[0], noise, strict=True)]


def hardened(live, still):
    soft, fixed = gumbel_softmax(live, None), gumbel_softmax(still, None)
    one_hot = [[float(p == max(row)) for p in row] for row in fixed]
    return np.array(one_hot) + np.array(soft) - np.array(fixed)


def commitment(live, still):
    return ((live[0] - still[1]) ** 2).sum(-1) / live[0].shape[-1] / 4


def vq_loss(live, still):
    codebook = ((still[0] - live[1]) ** 2).sum(-1) / live[0].shape[-1]
    return codebook + commitment(live, still)


def drawn(logits, hard=False):
    return losses.gumbel_softmax(jax.random.key(0), logits, temperature=0.5, hard=hard)


def shades(random, batch):
    _, logits, *code = BOTH(random, batch)
    return random.random((batch, 2, 3)).astype(np.float32), logits, *code


BOTH = normal(('B', 2, 3), ('B', 2, 3), ('B', 4), ('B', 4))
TOKENS, FOUR = normal(('B', 2, 3), ('B', 2, 3)), (0, 0, 0, 0)
CASES = {
    'gaussian_kl': Case(losses.gaussian_kl, normal(('B', 5), ('B', 5)), (0, 0)),
    'gaussian_elbo': Case(partial(losses.gaussian_elbo, variance=2.0, beta=3.0), BOTH, FOUR),
    'bernoulli_elbo': Case(partial(losses.bernoulli_elbo, beta=3.0), shades, FOUR),
    'categorical_kl': Case(losses.categorical_kl, normal(('B', 5)), (0,)),
    'gumbel_softmax': Case(drawn, normal(('B', 5)), (0,), rows=None),
    'gumbel_softmax-hard': Case(partial(drawn, hard=True), normal(('B', 5)), (0,), rows=None),
    'commitment': Case(losses.commitment, TOKENS, (0, 0)),
    'vq_loss': Case(losses.vq_loss, TOKENS, (0, 0)),
}
ORACLES = {
    'gumbel_softmax-hard': hardened,
    **{
        f.__name__: f
        for f in (
            gaussian_kl, gaussian_elbo, bernoulli_elbo, categorical_kl, gumbel_softmax,
            commitment, vq_loss,
        )
    },
}  # fmt: skip
