"""Semi-supervised and adaptation losses: cases, and slow float64 loops written from the papers."""

import functools
import math

import jax.numpy as jnp
import numpy as np

from jssl import losses

from .case import PAIR, Case, normal
from .noisy import softmax
from .pairs import distance

partial = functools.partial


def pi_model(live, _):
    pairs = [(softmax(a), softmax(b)) for a, b in zip(*live, strict=True)]
    return [sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) / len(p) for p, q in pairs]


def mean_teacher(live, still):
    return pi_model([live[0], still[1]], None)


def pseudo(live, still):
    """(sureness, class, cross-entropy) of each row."""
    for strong, weak in zip(live[0], still[1], strict=True):
        q = softmax(weak)
        y = q.index(max(q))
        yield max(q), y, -math.log(softmax(strong)[y])


def fixmatch(live, still, *, thresholds=(0.5,) * 5):
    return [loss if sure >= thresholds[y] else 0 for sure, y, loss in pseudo(live, still)]


def fixmatch_by_class(live, still):
    return fixmatch(live, still, thresholds=still[2])


def flexmatch_thresholds(live, _):
    n, unused = live
    shares = [c / max(max(n), unused) for c in n]
    return [b / (2 - b) * 0.95 for b in shares]


def freematch_thresholds(_, still):
    tau, q, weak = still
    p = [softmax(row) for row in weak]
    tau = 0.9 * tau + 0.1 * sum(max(row) for row in p) / len(p)
    q = [0.9 * a + 0.1 * sum(row[k] for row in p) / len(p) for k, a in enumerate(q)]
    return [tau, *q, *(a / max(q) * tau for a in q)]


def softmatch(live, still):
    mean, variance = still[2:]
    weight = lambda sure: math.exp(-(4 * min(0, sure - mean) ** 2) / (2 * variance))
    return [weight(sure) * loss for sure, _, loss in pseudo(live[:2], still)]


def uda(live, still):
    out = []
    for strong, weak in zip(live[0], still[1], strict=True):
        p, q = softmax(strong), softmax(weak / 0.4)
        divergence = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        out.append(divergence if max(softmax(weak)) > 0.4 else 0)
    return out


def sharpen(live, _):
    powers = [[x**2 for x in row] for row in live[0]]
    return [[x / sum(row) for x in row] for row in powers]


def pseudo_label(live, still):
    return fixmatch([live[0]], [None, still[0]], thresholds=(0.4,) * 5)


def guess_labels(_, still):
    views = still[0]
    means = [np.mean([softmax(view[i]) for view in views], axis=0) for i in range(views.shape[1])]
    return [mean**2 / sum(mean**2) for mean in means]


def mixup(live, _):
    return [max(l, 1 - l) * a + min(l, 1 - l) * b for a, b, l in zip(*live, strict=True)]


def mixmatch(live, still):
    named = [
        -sum(t * math.log(p) for t, p in zip(target, softmax(row), strict=True))
        for row, target in zip(live[0], still[1], strict=True)
    ]
    guessed = [
        (g - q) ** 2
        for row, guess in zip(live[2], still[3], strict=True)
        for g, q in zip(guess, softmax(row), strict=True)
    ]
    return sum(named) / len(named) + 75 * sum(guessed) / len(guessed)


def mmd(live, still):
    n = len(live[0])
    both, fixed = np.concatenate(live), np.concatenate(still)
    unit = np.mean([[distance(a, b) ** 2 for b in fixed] for a in fixed])
    widths = (0.25, 0.5, 1, 2, 4)
    kernel = lambda a, b: sum(math.exp(-(distance(a, b) ** 2) / (w * unit)) for w in widths) / 5
    k = np.array([[kernel(a, b) for b in both] for a in both])
    return k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()


def coral(live, _):
    difference = np.cov(live[0].T) - np.cov(live[1].T)
    return (difference**2).sum() / (4 * len(difference) ** 2)


def entropy(p):
    return -sum(x * math.log(x) for x in p)


def class_confusion(live, still):
    p, fixed = ([softmax(row / 2.5) for row in side[0]] for side in (live, still))
    weights = [1 + math.exp(-entropy(row)) for row in fixed]
    k = len(p[0])
    c = np.zeros((k, k))
    for row, w in zip(p, weights, strict=True):
        c += w / sum(weights) * len(p) * np.outer(row, row)
    c /= c.sum(1, keepdims=True)
    return sum(c[a, b] for a in range(k) for b in range(k) if a != b) / k


def batch_nuclear_norm(live, _):
    p = np.array([softmax(row) for row in live[0]])
    return -sum(math.sqrt(max(0, v)) for v in np.linalg.eigvalsh(p.T @ p)) / len(p)


def mutual_information(live, _):
    p = np.array([softmax(row) for row in live[0]])
    return sum(entropy(row) for row in p) / len(p) - entropy(p.mean(0))


def scan(live, _):
    p, q = ([softmax(row) for row in side] for side in live)
    agreement = [sum(a * b for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)]
    return -np.mean(np.log(agreement)) - 5 * entropy(np.mean(p, axis=0))


def cafa(live, still):
    others = [sum(row) - row[y] for row, y in zip(live[0], still[1], strict=True)]
    return [math.log(row[y] / o) for row, y, o in zip(live[0], still[1], others, strict=True)]


def gradient_reversal(live, still):
    """Equal to its argument, with the slope -0.5."""
    return 1.5 * still[0] - 0.5 * live[0]


def conditional_features(live, still):
    p = [softmax(row) for row in still[1]]
    return [[a * b for a in h for b in q] for h, q in zip(live[0], p, strict=True)]


def fixmatch_with(strong, weak, threshold):
    return losses.fixmatch(strong, weak, threshold=threshold)


def half_reversed(h):
    return losses.gradient_reversal(h, weight=0.5)


def adaptive(confidence, shares, weak):
    tau, q, thresholds = losses.freematch_thresholds(confidence, shares, weak, decay=0.9)
    return jnp.concatenate([tau[None], q, thresholds])


def with_thresholds(random, batch):
    return *PAIR(random, batch), random.uniform(0.2, 0.6, 5).astype(np.float32)


def counted(random, batch):
    return random.integers(1, 40, 5).astype(np.float32), np.array(30, np.float32)


def running(random, batch):
    shares = random.dirichlet(np.ones(5)).astype(np.float32)
    return np.array(0.3, np.float32), shares, normal(('B', 5))(random, batch)[0]


def with_statistics(random, batch):
    return *PAIR(random, batch), np.array(0.6, np.float32), np.array(0.05, np.float32)


def distributions(random, batch):
    return (random.dirichlet(np.ones(5), batch).astype(np.float32),)


def mixed(random, batch):
    a, b = normal(('B', 2, 3), ('B', 2, 3))(random, batch)
    return a, b, random.random(batch).astype(np.float32)


def half_labelled(random, batch):
    logits, unlabelled = PAIR(random, batch)
    targets, guesses = random.dirichlet(np.ones(5), (2, batch)).astype(np.float32)
    return logits, targets, unlabelled, guesses


def distances(random, batch):
    d = random.gamma(2.0, size=(batch, 5)).astype(np.float32)
    return d, random.integers(0, 5, batch).astype(np.int32)


ONE, BOTH = normal(('B', 5)), (0, 0)
CASES = {
    'pi_model': Case(losses.pi_model, PAIR, BOTH),
    'mean_teacher': Case(losses.mean_teacher, PAIR, BOTH),
    'fixmatch': Case(partial(losses.fixmatch, threshold=0.5), PAIR, BOTH),
    'fixmatch-by-class': Case(fixmatch_with, with_thresholds, (0, 0, None)),
    'flexmatch_thresholds': Case(losses.flexmatch_thresholds, counted, (None, None), rows=None),
    'freematch_thresholds': Case(adaptive, running, (None, None, 0), rows=0),
    'softmatch': Case(losses.softmatch, with_statistics, (0, 0, None, None)),
    'uda': Case(partial(losses.uda, threshold=0.4), PAIR, BOTH),
    'sharpen': Case(losses.sharpen, distributions, (0,)),
    'pseudo_label': Case(partial(losses.pseudo_label, threshold=0.4), ONE, (0,)),
    'guess_labels': Case(losses.guess_labels, normal((2, 'B', 5)), (1,)),
    'mixup': Case(losses.mixup, mixed, (0, 0, 0)),
    'mixmatch': Case(losses.mixmatch, half_labelled, (0, 0, 0, 0), rows=0),
    'mmd': Case(losses.mmd, PAIR, BOTH, rows=0),
    'coral': Case(losses.coral, PAIR, BOTH, rows=0),
    'class_confusion': Case(losses.class_confusion, ONE, (0,), rows=0),
    'batch_nuclear_norm': Case(losses.batch_nuclear_norm, ONE, (0,), rows=0),
    'mutual_information': Case(losses.mutual_information, ONE, (0,), rows=0),
    'scan': Case(losses.scan, PAIR, BOTH, rows=0),
    'cafa': Case(losses.cafa, distances, BOTH),
    'gradient_reversal': Case(half_reversed, ONE, (0,)),
    'conditional_features': Case(losses.conditional_features, PAIR, BOTH),
}
ORACLES = {
    'fixmatch-by-class': fixmatch_by_class,
    **{
        f.__name__: f
        for f in (
            pi_model, mean_teacher, fixmatch, flexmatch_thresholds, freematch_thresholds,
            softmatch, uda, sharpen, pseudo_label, guess_labels, mixup, mixmatch, mmd, coral,
            class_confusion, batch_nuclear_norm, mutual_information, scan, cafa,
            gradient_reversal, conditional_features,
        )
    },
}  # fmt: skip
