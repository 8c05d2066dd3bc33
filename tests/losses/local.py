"""Losses on the parts of an image: cases, and slow float64 loops written from the papers."""

import functools
import math

import numpy as np

from jssl import losses

from .case import Case, normal
from .pairs import average, cosine, distance

partial = functools.partial


def log_softmax(logits):
    return [l - math.log(sum(math.exp(m) for m in logits)) for l in logits]


def cross_entropy(target, logits):
    return -sum(t * l for t, l in zip(target, log_softmax(logits), strict=True))


def ibot(live, still):
    out = []
    for s, t, mask in zip(live[0], still[1], still[3], strict=True):
        kinds = [], []
        for n in range(len(s)):
            target = np.exp(log_softmax((t[n] - still[2]) / 0.04))
            kinds[int(mask[n])].append(cross_entropy(target, s[n] / 0.1))
        out.append(average(kinds[1]) + 0.5 * average(kinds[0]))
    return out


def detcon(live, _):
    *arrays, regions1, regions2 = live
    out = np.zeros(len(regions1))
    directions = [(arrays[0], regions1, arrays[3], regions2, arrays[2]),
                  (arrays[1], regions2, arrays[2], regions1, arrays[3])]  # fmt: skip
    for p, of_p, other, of_other, same in directions:
        images, count, _ = p.shape
        everything = [(j, n) for j in range(images) for n in range(count)]
        for i in range(images):
            for m in range(count):
                like = [n for n in range(count) if of_other[i, n] == of_p[i, m]]
                total = sum(math.exp(cosine(p[i, m], other[j, n]) / 0.5) for j, n in everything)
                drawn = 0
                for j, n in everything:
                    if j == i and of_p[i, n] == of_p[i, m]:
                        drawn += 1
                    else:
                        total += math.exp(cosine(p[i, m], same[j, n]) / 0.5)
                costs = [math.log(total) - cosine(p[i, m], other[i, n]) / 0.5 for n in like]
                out[i] += average(costs) / drawn / count
    return out


def vicreg(z1, z2):
    loss = 25 * ((z1 - z2) ** 2).mean()
    for z in (z1, z2):
        c = np.cov(z.T)
        loss += 25 * np.maximum(0, 1 - np.sqrt(np.diag(c) + 1e-4)).mean()
        loss += (c**2 - np.diag(np.diag(c)) ** 2).sum() / len(c)
    return loss


def matched(z, other, d):
    """Of each image, the two patches nearest to one of the other view, and those."""
    here, there = [], []
    for i in range(len(z)):
        best = sorted(range(len(d[i])), key=lambda n: min(d[i][n]))[:2]
        here.append([z[i][n] for n in best])
        there.append([other[i][int(np.argmin(d[i][n]))] for n in best])
    return np.array(here), np.array(there)


def vicregl(live, still):
    h1, h2, z1, z2 = live[:4]
    loss = 0.6 * vicreg(h1, h2)
    for a, b in (still[2:4], still[4:]):
        d = np.array([[[distance(p, q) for q in b[i]] for p in a[i]] for i in range(len(a))])
        for pair in (matched(z1, z2, d), matched(z2, z1, d.swapaxes(1, 2))):
            ranks = [vicreg(pair[0][:, r], pair[1][:, r]) for r in (0, 1)]
            loss += 0.4 * average(ranks) / 2
    return loss


def paka(live, still):
    out = []
    for s, t in zip(live[0], still[1], strict=True):
        n = len(s)
        c = np.eye(n) - 1 / n
        k, l = c @ s @ s.T @ c, c @ t @ t.T @ c
        out.append(1 - (k * l).sum() / math.sqrt((k * k).sum() * (l * l).sum()))
    return out


def masked(random, batch):
    student, teacher, center = normal(('B', 4, 5), ('B', 4, 5), (5,))(random, batch)
    return student, teacher, center, random.random((batch, 4)) < 0.5


def regions(random, batch):
    arrays = normal(*[('B', 3, 5)] * 4)(random, batch)
    return *arrays, *random.integers(0, 4, (2, batch, 3)).astype(np.int32)


PLACED = normal(('B', 4), ('B', 4), ('B', 5, 3), ('B', 4, 3), ('B', 5, 2), ('B', 4, 2))
CASES = {
    'ibot': Case(partial(losses.ibot, visible=0.5), masked, (0, 0, None, 0)),
    'detcon': Case(partial(losses.detcon, temperature=0.5), regions, (0,) * 6),
    'vicregl': Case(partial(losses.vicregl, alpha=0.6, matches=(2, 2)), PLACED, (0,) * 6, rows=0),
    'paka': Case(losses.paka, normal(('B', 4, 5), ('B', 4, 3)), (0, 0)),
}
ORACLES = {f.__name__: f for f in (ibot, detcon, vicregl, paka)}
