"""Losses for noisy labels: cases, and slow float64 loops written from the papers."""

import functools
import math

import jax
import numpy as np

from jssl import losses

from .case import Case, normal

partial = functools.partial


def softmax(logits):
    weights = [math.exp(l - max(logits)) for l in logits]
    return [w / sum(weights) for w in weights]


def each(live):
    logits, labels, *rest = live
    for i in range(len(logits)):
        yield softmax(logits[i]), labels[i], *(r[i] for r in rest)


def generalized_cross_entropy(live, _):
    return [(1 - p[y] ** 0.7) / 0.7 for p, y in each(live)]


def symmetric_cross_entropy(live, _):
    return [
        -0.1 * math.log(p[y]) + 4 * sum(p[c] for c in range(3) if c != y) for p, y in each(live)
    ]


def forward_correction(live, _):
    *rows, t = live
    return [-math.log(sum(p[a] * t[a, y] for a in range(3))) for p, y in each(rows)]


def backward_correction(live, _):
    *rows, t = live
    inverse = np.linalg.inv(t)
    return [-sum(inverse[y, b] * math.log(p[b]) for b in range(3)) for p, y in each(rows)]


def peer_loss(live, _):
    own = [-math.log(p[y]) for p, y in each(live[:2])]
    peers = [-math.log(p[y]) for p, y in each(live[2:])]
    return [a - 0.5 * b for a, b in zip(own, peers, strict=True)]


def early_learning(live, still):
    out = []
    for p, y, t in each([*live[:2], still[2]]):
        out.append(
            -math.log(p[y]) + 3 * math.log(1 - sum(a * b for a, b in zip(p, t, strict=True)))
        )
    return out


def early_targets(live, still):
    p = [softmax(row) for row in still[1]]
    return [
        [0.7 * a + 0.3 * b for a, b in zip(t, q, strict=True)]
        for t, q in zip(still[0], p, strict=True)
    ]


def z_loss(live, _):
    out = []
    for o, y in zip(*live, strict=True):
        z = (o[y] - np.mean(o)) / np.std(o)
        out.append(math.log(1 + math.exp(0.5 * (2 - z))) / 0.5)
    return out


def ens_loss(live, still):
    """Deals the steepest slope to the smallest margin, and so on."""
    margins, fixed = live[0], still[0]
    x = np.asarray(jax.random.normal(jax.random.key(0), margins.shape), np.float64)
    slopes = sorted(max(-1, -(max(0, 1 + 0.5 * v) ** 2)) for v in x)
    out = np.zeros(len(margins))
    for g, i in zip(slopes, np.argsort(fixed), strict=True):
        out[i] = ((g / fixed[i] if fixed[i] > 1 else g) - 1e-6) * margins[i]
    return out


def drawn(margins):
    return losses.ens_loss(jax.random.key(0), margins, lambda_=0.5)


def labelled(random, batch):
    labels = random.integers(0, 3, batch).astype(np.int32)
    return random.normal(size=(batch, 3)).astype(np.float32), labels


def with_transition(random, batch):
    transition = 0.7 * np.eye(3) + 0.3 * random.dirichlet(np.ones(3), 3)
    return *labelled(random, batch), transition.astype(np.float32)


def with_peers(random, batch):
    return *labelled(random, batch), *labelled(random, batch)


def with_targets(random, batch):
    return *labelled(random, batch), random.dirichlet(np.ones(3), batch).astype(np.float32)


def averaged(random, batch):
    return random.dirichlet(np.ones(3), batch).astype(np.float32), labelled(random, batch)[0]


CASES = {
    'generalized_cross_entropy': Case(losses.generalized_cross_entropy, labelled, (0, 0)),
    'symmetric_cross_entropy': Case(losses.symmetric_cross_entropy, labelled, (0, 0)),
    'forward_correction': Case(losses.forward_correction, with_transition, (0, 0, None)),
    'backward_correction': Case(losses.backward_correction, with_transition, (0, 0, None)),
    'peer_loss': Case(partial(losses.peer_loss, alpha=0.5), with_peers, (0, 0, 0, 0)),
    'early_learning': Case(losses.early_learning, with_targets, (0, 0, 0)),
    'early_targets': Case(losses.early_targets, averaged, (0, 0)),
    'ens_loss': Case(drawn, normal(('B',)), (0,)),
    'z_loss': Case(partial(losses.z_loss, a=0.5, b=2.0), labelled, (0, 0)),
}
ORACLES = {
    f.__name__: f
    for f in (
        generalized_cross_entropy, symmetric_cross_entropy, forward_correction,
        backward_correction, peer_loss, early_learning, early_targets, z_loss, ens_loss,
    )
}  # fmt: skip
