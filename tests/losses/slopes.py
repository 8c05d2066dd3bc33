"""Losses on slopes of a function that is given: cases, and slow float64 calculations by hand.

The function is a sum, or a vector, of tanh(x W); its parameters W are an argument like any other.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import losses

from .case import Case, normal
from .noisy import softmax

KEY = 0


def slope(row, w):
    """d sum tanh(x W) / dx."""
    return sum((1 - np.tanh(row @ column) ** 2) * column for column in w.T)


def length(x):
    return np.sqrt(sum(x**2))


def gradient_penalty(live, _):
    w, real, fake = live
    share = np.asarray(jax.random.uniform(jax.random.key(KEY), (len(real),)), np.float64)
    rows = zip(share, real, fake, strict=True)
    return [10 * (length(slope(a * x + (1 - a) * y, w)) - 1) ** 2 for a, x, y in rows]


def r1(live, _):
    w, real = live
    return [5 * length(slope(x, w)) ** 2 for x in real]


def wasserstein_critic(live, _):
    return [np.mean(fake - real) for real, fake in zip(*live, strict=True)]


def jacobian(row, w):
    """d tanh(x W)_a / dx_b."""
    return np.array([(1 - np.tanh(row @ column) ** 2) * column for column in w.T])


def vat(live, still):
    w, x = live
    fixed = still[0]
    start = np.asarray(jax.random.normal(jax.random.key(KEY), x.shape), np.float64)
    out = []
    for row, old, d in zip(x, still[1], start, strict=True):
        p, j = np.array(softmax(np.tanh(old @ fixed))), jacobian(old, fixed)
        curvature = j.T @ (np.diag(p) - np.outer(p, p)) @ j
        d = curvature @ d
        q = softmax(np.tanh((row + 0.5 * d / length(d)) @ w))
        out.append(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))
    return out


def score_matching(live, _):
    w, x = live
    return [np.trace(jacobian(row, w)) + sum(np.tanh(row @ w) ** 2) / 2 for row in x]


def sliced_score_matching(live, _):
    w, x = live
    directions = np.asarray(jax.random.rademacher(jax.random.key(KEY), x.shape), np.float64)
    rows = zip(x, directions, strict=True)
    return [v @ jacobian(row, w) @ v + sum(np.tanh(row @ w) ** 2) / 2 for row, v in rows]


def curve(w):
    return lambda x: jnp.tanh(x @ w)


def total(w):
    return lambda x: jnp.tanh(x @ w).sum(1)


def penalty(w, real, fake):
    return losses.gradient_penalty(jax.random.key(KEY), total(w), real, fake)


def flat(w, real):
    return losses.r1(total(w), real)


def moved(w, x):
    return losses.vat(jax.random.key(KEY), curve(w), x, epsilon=0.5)


def traced(w, x):
    return losses.score_matching(curve(w), x)


def sliced(w, x):
    return losses.sliced_score_matching(jax.random.key(KEY), curve(w), x)


MAPS = normal(('B', 2, 3), ('B', 2, 3))
CASES = {
    'gradient_penalty': Case(penalty, normal((4, 3), ('B', 4), ('B', 4)), (None, 0, 0), rows=None),
    'r1': Case(flat, normal((4, 3), ('B', 4)), (None, 0)),
    'wasserstein_critic': Case(losses.wasserstein_critic, MAPS, (0, 0)),
    'vat': Case(moved, normal((4, 3), ('B', 4)), (None, 0), rows=None),
    'score_matching': Case(traced, normal((3, 3), ('B', 3)), (None, 0)),
    'sliced_score_matching': Case(sliced, normal((3, 3), ('B', 3)), (None, 0), rows=None),
}
ORACLES = {
    f.__name__: f
    for f in (
        gradient_penalty, r1, wasserstein_critic, vat, score_matching, sliced_score_matching,
    )
}  # fmt: skip
