"""Losses on masks and boxes: cases, and slow float64 loops written from the papers."""

import functools
import itertools
import math

import numpy as np

from jssl import losses

from .case import Case
from .noisy import softmax

partial = functools.partial


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def pixels(live):
    for logits, mask in zip(*live, strict=True):
        yield [sigmoid(x) for x in np.ravel(logits)], list(np.ravel(mask))


def tversky(live, _, *, alpha=0.3, beta=0.7, smooth=1.0):
    out = []
    for p, m in pixels(live):
        hit = sum(a * b for a, b in zip(p, m, strict=True))
        alarm = sum(a * (1 - b) for a, b in zip(p, m, strict=True))
        miss = sum((1 - a) * b for a, b in zip(p, m, strict=True))
        out.append(1 - (hit + smooth) / (hit + alpha * alarm + beta * miss + smooth))
    return out


def dice(live, _):
    out = []
    for p, m in pixels(live):
        overlap = sum(a * b for a, b in zip(p, m, strict=True))
        out.append(1 - (2 * overlap + 1) / (sum(p) + sum(m) + 1))
    return out


def focal(live, _):
    out = []
    for p, m in pixels(live):
        cost = 0
        for a, b in zip(p, m, strict=True):
            q, weight = (a, 0.25) if b else (1 - a, 0.75)
            cost -= weight * (1 - q) ** 2 * math.log(q)
        out.append(cost / len(p))
    return out


def jaccard_loss(wrong, mask):
    """Of the prediction in which these pixels are wrong."""
    predicted = [bool(m) != (j in wrong) for j, m in enumerate(mask)]
    shared = sum(a and m for a, m in zip(predicted, mask, strict=True))
    return 1 - shared / sum(a or m for a, m in zip(predicted, mask, strict=True))


def lovasz_hinge(live, _):
    out = []
    for logits, mask in zip(*live, strict=True):
        mask = [bool(m) for m in np.ravel(mask)]
        errors = [1 - x * (1 if m else -1) for x, m in zip(np.ravel(logits), mask, strict=True)]
        order = sorted(range(len(errors)), key=lambda j: -errors[j])
        cost, before = 0, 0 if any(mask) else None
        for count in range(1, len(order) + 1):
            now = jaccard_loss(set(order[:count]), mask)
            cost += max(0, errors[order[count - 1]]) * (now - (before or 0))
            before = now
        out.append(cost)
    return out


def boundary(live, _):
    out = []
    for logits, distance in zip(*live, strict=True):
        pairs = list(zip(np.ravel(logits), np.ravel(distance), strict=True))
        out.append(sum(sigmoid(x) * d for x, d in pairs) / len(pairs))
    return out


def area(low_x, low_y, high_x, high_y):
    return max(0, high_x - low_x) * max(0, high_y - low_y)


def overlap(a, b):
    shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    union = area(*a) + area(*b) - shared
    hull = min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
    return shared / union, union, hull


def giou_of(a, b):
    iou, union, hull = overlap(a, b)
    return 1 - iou + (area(*hull) - union) / area(*hull)


def diou_of(a, b):
    iou, _, hull = overlap(a, b)
    centres = sum(((a[i] + a[i + 2] - b[i] - b[i + 2]) / 2) ** 2 for i in (0, 1))
    return 1 - iou + centres / ((hull[2] - hull[0]) ** 2 + (hull[3] - hull[1]) ** 2)


def giou(live, _):
    return [giou_of(a, b) for a, b in zip(*live, strict=True)]


def diou(live, _):
    return [diou_of(a, b) for a, b in zip(*live, strict=True)]


def ciou(live, still):
    angle = lambda b: math.atan((b[2] - b[0]) / (b[3] - b[1]))
    v_of = lambda a, b: 4 / math.pi**2 * (angle(a) - angle(b)) ** 2
    out = []
    for a, b, c, d in zip(*live, *still, strict=True):
        fixed = v_of(c, d) / (1 - overlap(c, d)[0] + v_of(c, d))
        out.append(diou_of(a, b) + fixed * v_of(a, b))
    return out


def set_matching(live, still):
    """All matchings tried."""
    out = []
    for logits, boxes, labels, target, fixed, fixed_boxes in zip(*live, *still[:2], strict=True):
        objects = [m for m, y in enumerate(labels) if y >= 0]

        def cost(n, m, p=fixed, b=fixed_boxes, labels=labels, target=target):
            far = sum(abs(b[n] - target[m]))
            return -softmax(p[n])[labels[m]] + 5 * far + 2 * (giou_of(b[n], target[m]) - 1)

        ways = itertools.permutations(range(len(logits)), len(objects))
        best = min(ways, key=lambda way: sum(map(cost, way, objects)))
        matched = dict(zip(best, objects, strict=True))
        named = weight = 0
        for n in range(len(logits)):
            k = 1 if n in matched else 0.1
            y = labels[matched[n]] if n in matched else logits.shape[1] - 1
            named -= k * math.log(softmax(logits[n])[y])
            weight += k
        far = sum(sum(abs(boxes[n] - target[m])) for n, m in matched.items())
        apart = sum(giou_of(boxes[n], target[m]) for n, m in matched.items())
        out.append(named / weight + (5 * far + 2 * apart) / max(1, len(objects)))
    return out


def maps(random, batch):
    mask = random.integers(0, 2, (batch, 2, 3)).astype(np.int32)
    return random.normal(size=(batch, 2, 3)).astype(np.float32), mask


def distances(random, batch):
    return tuple(random.normal(size=(2, batch, 2, 3)).astype(np.float32))


def box(random, *shape):
    start = random.uniform(0, 0.5, (*shape, 2))
    return np.concatenate([start, start + random.uniform(0.2, 0.5, (*shape, 2))], -1).astype(
        np.float32
    )


def two_boxes(random, batch):
    return box(random, batch), box(random, batch)


def detected(random, batch):
    logits = random.normal(size=(batch, 4, 4)).astype(np.float32)
    labels = random.integers(-1, 3, (batch, 3)).astype(np.int32)
    return logits, box(random, batch, 4), labels, box(random, batch, 3)


BOTH = (0, 0)
CASES = {
    'dice': Case(losses.dice, maps, BOTH),
    'tversky': Case(losses.tversky, maps, BOTH),
    'focal': Case(losses.focal, maps, BOTH),
    'lovasz_hinge': Case(losses.lovasz_hinge, maps, BOTH),
    'boundary': Case(losses.boundary, distances, BOTH),
    'giou': Case(losses.giou, two_boxes, BOTH),
    'diou': Case(losses.diou, two_boxes, BOTH),
    'ciou': Case(losses.ciou, two_boxes, BOTH),
    'set_matching': Case(losses.set_matching, detected, (0, 0, 0, 0)),
}
ORACLES = {
    f.__name__: f
    for f in (dice, tversky, focal, lovasz_hinge, boundary, giou, diou, ciou, set_matching)
}
