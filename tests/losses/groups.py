"""Losses on a batch as a whole: cases, and slow float64 loops written from the papers."""

import functools
import math

import numpy as np

from jssl import losses

from .case import PAIR, Case, labelled, normal
from .pairs import average, cosine, distance, negatives, positives, unit

partial = functools.partial


def centroid_triplet(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        own = positives(y, i)
        others = [[j for j in range(len(z)) if y[j] == c] for c in set(y) - {y[i]}]
        near = distance(z[i], average([z[j] for j in own])) ** 2 if own else 0
        far = [distance(z[i], average([z[j] for j in rows])) ** 2 for rows in others]
        out.append(average([max(0, near - f + 3) for f in far]) if own else 0)
    return out


def cross_batch_memory(live, still):
    z, y, past = live[0], live[1], still[3]
    out = []
    for i in range(len(z)):
        cost = 0
        for j in range(len(past)):
            s = cosine(z[i], still[2][j])
            if past[j] >= 0:
                cost += 1 - s if past[j] == y[i] else max(0, s - 0.1)
        out.append(cost)
    return out


def gaps(a, p):
    a, p = unit(a), unit(p)
    out = []
    for i in range(len(a)):
        far = [min(distance(a[i], p[j]), distance(a[j], p[i])) for j in range(len(a)) if j != i]
        out.append(distance(a[i], p[i]) - min(far))
    return out


def next_histogram(live, still):
    h, values = still[2], gaps(*still[:2])
    counts = 0 * h
    for d in values:
        place = (d + 2) / 4 * (len(h) - 1)
        left = math.floor(place)
        counts[left] += left + 1 - place
        counts[left + 1] += place - left
    return 0.9 * h + 0.1 * counts / len(values)


def dynamic_soft_margin(live, still):
    h = next_histogram(live, still)
    nodes, easier = np.linspace(-2, 2, len(h)), np.cumsum(h)
    weights = np.interp(gaps(*still[:2]), nodes, easier)
    return weights * np.array(gaps(*live[:2]))


def manifold(live, _):
    z, y, proxies = live
    n, rows = len(z), [*z, *proxies]
    size = len(rows)
    s = np.array([[math.exp(max(0, cosine(a, b)) / 0.5) for b in rows] for a in rows])
    s -= np.diag(np.diag(s))
    degree = s.sum(1)
    walk = np.array([[s[k, l] / math.sqrt(degree[k] * degree[l]) for l in range(size)]
                     for k in range(size)])  # fmt: skip
    ends = 0.2 * np.linalg.solve(np.eye(size) - 0.8 * walk, np.eye(size))
    out = []
    for i in range(n):
        direct = ends[i, n:]
        context = [cosine(ends[i], ends[n + c]) for c in range(len(proxies))]
        cost = 0
        for scores in (direct, context):
            excess = [scores[c] - scores[y[i]] + 5e-4 for c in range(len(scores)) if c != y[i]]
            cost += math.log(1 + sum(math.exp(v) for v in excess if v > 0))
        out.append(cost)
    return out


def pnp(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        s = [cosine(z[i], row) for row in z]
        first = lambda p: sum(1 / (1 + math.exp((s[p] - s[n]) / 0.1)) for n in negatives(y, i))
        out.append(average([1 - (1 + first(p)) ** -4 for p in positives(y, i)]))
    return out


def lp_distance_matrix(live, _):
    return [[sum(abs(x - y) ** 3 for x, y in zip(a, b, strict=True)) ** (1 / 3) for b in live[1]]
            for a in live[0]]  # fmt: skip


def signal_to_noise_matrix(live, _):
    return [[np.var(b - a) / np.var(a) for b in live[1]] for a in live[0]]


def remembered(random, batch):
    z, labels = labelled(random, batch)
    memory, past = labelled(random, 7)
    past[0] = -1
    return z, labels, memory, past


def counted(random, batch):
    return *PAIR(random, batch), random.dirichlet(np.ones(9)).astype(np.float32)


def near_proxies(random, batch):
    z, labels = labelled(random, batch)
    return z, labels, normal((3, 5))(random, batch)[0]


def soft_margin(anchor, positive, histogram, chunk=None):
    arguments = anchor, positive, histogram
    return losses.dynamic_soft_margin(*arguments, momentum=0.1, chunk=chunk)[0]


def soft_margin_histogram(anchor, positive, histogram, chunk=None):
    arguments = anchor, positive, histogram
    return losses.dynamic_soft_margin(*arguments, momentum=0.1, chunk=chunk)[1]


COUNTED = (0, 0, None)
ROWS = normal(('B', 5), (7, 5))
CASES = {
    'centroid_triplet': Case(partial(losses.centroid_triplet, margin=3.0), labelled, (0, 0)),
    'cross_batch_memory': Case(
        partial(losses.cross_batch_memory, margin=0.1),
        remembered,
        (0, 0, None, None),
        cosine=(0, 2),
    ),
    'dynamic_soft_margin': Case(soft_margin, counted, COUNTED, cosine=(0, 1), least=2),
    'dynamic_soft_margin-histogram': Case(
        soft_margin_histogram, counted, COUNTED, rows=0, cosine=(0, 1), least=2
    ),
    'manifold': Case(losses.manifold, near_proxies, (0, 0, None), cosine=(0, 2)),
    'lp_distance_matrix': Case(partial(losses.lp_distance_matrix, p=3.0), ROWS, (0, None)),
    'signal_to_noise_matrix': Case(losses.signal_to_noise_matrix, ROWS, (0, None)),
    'pnp': Case(partial(losses.pnp, temperature=0.1), labelled, (0, 0), cosine=(0,)),
}
ORACLES = {
    'dynamic_soft_margin-histogram': next_histogram,
    **{
        f.__name__: f
        for f in (
            centroid_triplet, cross_batch_memory, dynamic_soft_margin, manifold, pnp,
            lp_distance_matrix, signal_to_noise_matrix,
        )
    },
}  # fmt: skip
