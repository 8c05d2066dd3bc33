"""Losses on masked frames of speech: cases, and slow float64 loops written from the papers."""

import math

import jax
import numpy as np

from jssl import losses

from .case import Case
from .pairs import cosine


def masked(random, batch):
    c, q = random.normal(size=(2, batch, 5, 4)).astype(np.float32)
    mask = (random.random((batch, 5)) < 0.7).astype(np.int32)
    mask[0] = 0, 0, 1, 0, 0  # which has no others
    return c, q, mask, random.integers(0, 2, (batch, 5, 2)).astype(np.int32)


def shares(random, batch):
    p = random.dirichlet(np.ones(3), (batch, 5, 2)).astype(np.float32)
    return p, (random.random((batch, 5)) < 0.7).astype(np.int32)


def wav2vec2(live, still):
    c, q, mask, codes = *live[:2], *still[2:]
    most = np.maximum(mask.sum(1) - 1, 1)[:, None, None].astype(np.int32)
    drawn = np.asarray(jax.random.randint(jax.random.key(0), (*mask.shape, 6), 0, most))
    out = np.zeros(mask.shape)
    for b, t in zip(*np.nonzero(mask), strict=True):
        others = [k for k in np.flatnonzero(mask[b]) if k != t]
        wrong = [others[n] for n in drawn[b, t]] if others else []
        wrong = [k for k in wrong if tuple(codes[b, k]) != tuple(codes[b, t])]
        total = sum(math.exp(cosine(c[b, t], q[b, k]) / 0.5) for k in [t, *wrong])
        out[b, t] = math.log(total) - cosine(c[b, t], q[b, t]) / 0.5
    return out


def code_diversity(live, still):
    rows = live[0][still[1] > 0]
    perplexity = 0
    for g in range(2):
        means = [sum(row[g][v] for row in rows) / len(rows) for v in range(3)]
        perplexity += math.exp(-sum(m * math.log(m) for m in means))
    return 1 - perplexity / 6


def drawn(c, q, mask, codes):
    return losses.wav2vec2(jax.random.key(0), c, q, mask, codes, distractors=6, temperature=0.5)


CASES = {
    'wav2vec2': Case(drawn, masked, (0, 0, 0, 0), rows=None),
    'code_diversity': Case(losses.code_diversity, shares, (0, 0), rows=0),
}
ORACLES = {f.__name__: f for f in (wav2vec2, code_diversity)}
