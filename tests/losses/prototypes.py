"""Losses on learned prototypes: cases, and slow float64 loops written from the papers."""

import functools
import math

import numpy as np

from jssl import losses

from .case import Case, normal
from .local import average, cross_entropy, log_softmax, masked
from .pairs import cosine

partial = functools.partial


def balanced(q):
    for _ in range(3):
        for k in range(q.shape[1]):
            q[:, k] /= sum(q[:, k])
        for i in range(len(q)):
            q[i] /= sum(q[i])
    return q


def shared(live, still, iterations):
    """Mean cross-entropy of each image's views, and the mean prediction."""
    anchors, prototypes = live[0], live[2]
    logits = [[[cosine(a, c) / 0.1 for c in prototypes] for a in view] for view in anchors]
    sharp = [[cosine(t, c) / 0.025 for c in still[2]] for t in still[1]]
    q = np.array([np.exp(log_softmax(row)) for row in sharp])
    q = balanced(q) if iterations else q
    cost = [average([cross_entropy(q[i], view[i]) for view in logits]) for i in range(len(q))]
    p = np.array([[np.exp(log_softmax(row)) for row in view] for view in logits])
    return np.array(cost), p.mean((0, 1))


def msn(live, still):
    cost, p = shared(live, still, iterations=0)
    return cost + 0.5 * (math.log(len(p)) + sum(p * np.log(p)))


def pmsn(live, still):
    cost, p = shared(live, still, iterations=3)
    return cost + sum(p * np.log(p / live[3]))


def power_law(live, _):
    """The shares at work, since they have no gradient of their own."""
    shares = [k**-0.5 for k in range(1, 5)]
    return live[0] * np.array(shares) / sum(shares)


def weighted(z):
    return z * losses.power_law(4, exponent=0.5)[None]


def capi(live, still):
    student, teacher, mask = live[0], still[1], still[2]
    codes = [balanced(np.exp(teacher[:, n] / 0.06)) for n in range(teacher.shape[1])]
    out = []
    for i, row in enumerate(student):
        hidden = [n for n in range(len(row)) if mask[i, n]]
        out.append(average([cross_entropy(codes[n][i], row[n] / 0.12) for n in hidden]))
    return out


def with_prior(random, batch):
    arrays = normal((2, 'B', 5), ('B', 5), (4, 5))(random, batch)
    return *arrays, random.dirichlet(np.ones(4)).astype(np.float32)


def left_out(random, batch):
    student, teacher, _, mask = masked(random, batch)
    return student, teacher, mask


CASES = {
    'msn': Case(
        partial(losses.msn, iterations=0, weight=0.5),
        normal((2, 'B', 5), ('B', 5), (4, 5)),
        (1, 0, None),
    ),
    'pmsn': Case(losses.pmsn, with_prior, (1, 0, None, None)),
    'power_law': Case(weighted, normal(('B', 4)), (0,)),
    'capi': Case(losses.capi, left_out, (0, 0, 0)),
}
ORACLES = {f.__name__: f for f in (msn, pmsn, power_law, capi)}
