"""Preference and unlearning losses: cases, and slow float64 loops written from the papers."""

import functools
import math

import numpy as np

from jssl import losses

from .case import Case, normal
from .pairs import cosine

partial = functools.partial


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


def gains(live, still):
    """Log-ratios to the reference of both answers, pair by pair."""
    for w, l, rw, rl in zip(live[0], live[1], still[2], still[3], strict=True):
        yield w - rw, l - rl


def dpo(live, still, *, smoothing=0.0):
    out = []
    for w, l in gains(live, still):
        h = 0.5 * (w - l)
        out.append(-(1 - smoothing) * log_sigmoid(h) - smoothing * log_sigmoid(-h))
    return out


def robust_dpo(live, still):
    out = []
    for w, l in gains(live, still):
        h = 0.5 * (w - l)
        out.append((-0.8 * log_sigmoid(h) + 0.2 * log_sigmoid(-h)) / 0.6)
    return out


def ipo(live, still):
    return [(w - l - 1 / (2 * 0.5)) ** 2 for w, l in gains(live, still)]


def d2o(live, still):
    out = []
    for l, y, rl, ry in zip(live[0], live[1], still[2], still[3], strict=True):
        own = sum(a - b for a, b in zip(y, ry, strict=True)) / len(y)
        out.append(-log_sigmoid(0.5 * own - 0.25 * (l - rl)))
    return out


def kto(live, still):
    out = []
    for i, good in enumerate(live[2]):
        r, z = live[0][i] - still[1][i], still[3]
        value = 1 / (1 + math.exp(-0.5 * (r - z if good else z - r)))
        out.append((2.0 if good else 3.0) * (1 - value))
    return out


def simpo(live, _):
    w, l, m, n = live
    return [-log_sigmoid(2 * a / i - 2 * b / j - 1) for a, b, i, j in zip(w, l, m, n, strict=True)]


def orpo(live, _):
    out = []
    for w, l, m, n in zip(*live, strict=True):
        p, q = math.exp(w / m), math.exp(l / n)
        ratio = math.log(p / (1 - p)) - math.log(q / (1 - q))
        out.append(-w / m - 0.1 * log_sigmoid(ratio))
    return out


def cpo(live, _):
    return [-log_sigmoid(0.5 * (w - l)) - 2 * w for w, l in zip(*live, strict=True)]


def slic(live, _):
    return [max(0, 1 - w + l) - 0.3 * t for w, l, t in zip(*live, strict=True)]


def rrhf(live, _):
    answers, lengths, rewards = live
    out = []
    for a, n, r in zip(answers, lengths, rewards, strict=True):
        p = a / n
        cost = -a[list(r).index(max(r))]
        for j in range(len(a)):
            cost += sum(max(0, p[j] - p[k]) for k in range(len(a)) if r[j] < r[k])
        out.append(cost)
    return out


def gradient_ascent(live, _):
    return live[0]


def gradient_difference(live, _):
    return [f - 0.5 * r for f, r in zip(*live, strict=True)]


def npo(live, still):
    ratios = [math.exp(f - r) for f, r in zip(live[0], still[1], strict=True)]
    return [2 / 0.5 * math.log(1 + ratio**0.5) for ratio in ratios]


def simnpo(live, _):
    return [-2 / 2.5 * log_sigmoid(-2.5 * f / n - 0.5) for f, n in zip(*live, strict=True)]


def rmu(live, still):
    forget, retain, (_, _, frozen, u) = live[0], live[1], still
    out = []
    for i in range(len(forget)):
        turned = [sum((h - 6.5 * u) ** 2) for h in forget[i]]
        held = [sum((h - g) ** 2) for h, g in zip(retain[i], frozen[i], strict=True)]
        out.append(sum(turned) / len(turned) + 3 * sum(held) / len(held))
    return out


def squashed_error(live, _):
    return [math.exp(m / (m + 1)) for m in live[0]]


def representation_alignment(live, _):
    kept, forgotten = ([1 - cosine(a, b) for a, b in zip(*live[i : i + 2], strict=True)]
                       for i in (0, 2))  # fmt: skip
    leaves = sum(math.exp(c / 20) for c in forgotten)
    return [math.log(math.exp(c) / leaves) for c in kept]


def log_probabilities(random, shape):
    return -random.uniform(1, 5, shape).astype(np.float32)


def answers(count, lengths=0):
    def draw(random, batch):
        tokens = [random.integers(1, 9, batch).astype(np.int32) for _ in range(lengths)]
        return *(log_probabilities(random, batch) for _ in range(count)), *tokens

    return draw


def judged(random, batch):
    answer, reference = answers(2)(random, batch)
    return answer, reference, random.random(batch) < 0.5, np.array(0.3, np.float32)


def anchored(random, batch):
    return tuple(log_probabilities(random, s) for s in ((batch,), (batch, 3), (batch,), (batch, 3)))


def several(random, batch):
    shape = (batch, 4)
    lengths = random.integers(1, 9, shape).astype(np.int32)
    return log_probabilities(random, shape), lengths, random.normal(size=shape).astype(np.float32)


def represented(random, batch):
    shapes = (batch, 3, 4), (batch, 2, 4), (batch, 2, 4), (4,)
    return tuple(random.normal(size=shape).astype(np.float32) for shape in shapes)


def errors(random, batch):
    return (-log_probabilities(random, batch),)


MOVED = normal(('B', 5), ('B', 5), (6, 5), (6, 5))
FOUR, TWO = (0, 0, 0, 0), (0, 0)
CASES = {
    'dpo': Case(partial(losses.dpo, beta=0.5), answers(4), FOUR),
    'dpo-conservative': Case(partial(losses.dpo, beta=0.5, smoothing=0.2), answers(4), FOUR),
    'robust_dpo': Case(partial(losses.robust_dpo, beta=0.5, smoothing=0.2), answers(4), FOUR),
    'd2o': Case(partial(losses.d2o, alpha=0.25, beta=0.5), anchored, FOUR),
    'ipo': Case(partial(losses.ipo, beta=0.5), answers(4), FOUR),
    'kto': Case(partial(losses.kto, beta=0.5, gain=2.0, loss=3.0), judged, (0, 0, 0, None)),
    'simpo': Case(losses.simpo, answers(2, 2), FOUR),
    'orpo': Case(losses.orpo, answers(2, 2), FOUR),
    'cpo': Case(partial(losses.cpo, beta=0.5, weight=2.0), answers(2), TWO),
    'slic': Case(partial(losses.slic, weight=0.3), answers(3), (0, 0, 0)),
    'rrhf': Case(losses.rrhf, several, (0, 0, 0)),
    'gradient_ascent': Case(losses.gradient_ascent, answers(1), (0,)),
    'gradient_difference': Case(partial(losses.gradient_difference, weight=0.5), answers(2), TWO),
    'npo': Case(partial(losses.npo, beta=0.5), answers(2), TWO),
    'simnpo': Case(partial(losses.simnpo, gamma=0.5), answers(1, 1), TWO),
    'rmu': Case(partial(losses.rmu, weight=3.0), represented, (0, 0, 0, None)),
    'squashed_error': Case(losses.squashed_error, errors, (0,)),
    'representation_alignment': Case(losses.representation_alignment, MOVED, (0, 0, None, None)),
}
ORACLES = {
    'dpo-conservative': partial(dpo, smoothing=0.2),
    **{
        f.__name__: f
        for f in (
            dpo, robust_dpo, d2o, ipo, kto, simpo, orpo, cpo, slic, rrhf, gradient_ascent,
            gradient_difference, npo,
            simnpo, rmu, squashed_error, representation_alignment,
        )
    },
}  # fmt: skip
