"""Losses against learned rows of classes: cases, and slow float64 loops written from the papers."""

import functools
import math

import numpy as np

from jssl import losses

from .case import Case, labelled
from .pairs import cosine

partial = functools.partial


def cross_entropy(logits, y):
    return math.log(sum(math.exp(l - logits[y]) for l in logits))


def normalized_softmax(live, _):
    z, y, w = live
    return [cross_entropy([cosine(z[i], c) / 0.3 for c in w], y[i]) for i in range(len(z))]


def angular(z, y, rows, change):
    """Cross-entropy of 4 cosines, that of the own class changed."""
    out = []
    for i in range(len(z)):
        cosines = [max(cosine(z[i], row) for row in of_class) for of_class in rows]
        cosines[y[i]] = change(math.acos(cosines[y[i]]))
        out.append(cross_entropy([4 * s for s in cosines], y[i]))
    return out


def turned(margin):
    def change(angle):
        if angle + margin < math.pi:
            return math.cos(angle + margin)
        return math.cos(angle) - margin * math.sin(margin)

    return change


def arcface(live, _):
    z, y, w = live
    return angular(z, y, [[row] for row in w], turned(1.5))


def sub_center_arcface(live, _):
    return angular(*live, turned(0.5))


def cosface(live, _):
    z, y, w = live
    return angular(z, y, [[row] for row in w], lambda angle: math.cos(angle) - 0.35)


def sphereface(live, _):
    z, y, w = live
    out = []
    for i in range(len(z)):
        logits = [cosine(z[i], c) for c in w]
        angle = math.acos(logits[y[i]])
        k = next(k for k in range(4) if k * math.pi / 4 <= angle <= (k + 1) * math.pi / 4)
        logits[y[i]] = (-1) ** k * math.cos(4 * angle) - 2 * k
        out.append(cross_entropy([math.sqrt(z[i] @ z[i]) * s for s in logits], y[i]))
    return out


def large_margin_softmax(live, _):
    z, y, w = live
    out = []
    for i in range(len(z)):
        scale = [math.sqrt(z[i] @ z[i]) * math.sqrt(c @ c) for c in w]
        logits = [z[i] @ c for c in w]
        angle = math.acos(cosine(z[i], w[y[i]]))
        k = math.floor(3 * angle / math.pi)
        logits[y[i]] = scale[y[i]] * ((-1) ** k * math.cos(3 * angle) - 2 * k)
        out.append(cross_entropy(logits, y[i]))
    return out


def instance_loss(live, _):
    image, text, y, w = live
    logits = [([h @ c for c in w] for h in side) for side in (image, text)]
    both = zip(*logits, y, strict=True)
    return [cross_entropy(of_image, c) + cross_entropy(of_text, c) for of_image, of_text, c in both]


def p2s_grad(live, _):
    z, y, w = live
    target = np.eye(len(w))
    return [
        sum((cosine(z[i], c) - t) ** 2 for c, t in zip(w, target[y[i]], strict=True))
        for i in range(len(z))
    ]


def proxy_nca(live, _):
    z, y, p = live
    out = []
    for i in range(len(z)):
        weight = [math.exp(-2 * (2 - 2 * cosine(z[i], c))) for c in p]
        others = sum(weight[c] for c in range(len(p)) if c != y[i])
        out.append(-math.log(weight[y[i]] / others))
    return out


def proxy_anchor(live, _):
    z, y, p = live
    near, far = [], []
    for c in range(len(p)):
        own = [math.exp(-4 * (cosine(z[i], p[c]) - 0.1)) for i in range(len(z)) if y[i] == c]
        others = [math.exp(4 * (cosine(z[i], p[c]) + 0.1)) for i in range(len(z)) if y[i] != c]
        near += [math.log(1 + sum(own))] if own else []
        far.append(math.log(1 + sum(others)))
    return sum(near) / len(near) + sum(far) / len(p)


def soft_triple(live, _):
    z, y, w = live
    classes, count = w.shape[:2]
    spread = 0
    for c in range(classes):
        for k in range(count):
            for l in range(k):
                spread += math.sqrt(2 - 2 * cosine(w[c, k], w[c, l]))
    out = []
    for i in range(len(z)):
        similar = []
        for c in range(classes):
            s = [cosine(z[i], w[c, k]) for k in range(count)]
            share = [math.exp(x / 0.1) for x in s]
            similar.append(sum(a * b for a, b in zip(share, s, strict=True)) / sum(share))
        similar[y[i]] -= 0.01
        loss = cross_entropy([4 * s for s in similar], y[i])
        out.append(loss + 0.2 * spread / (classes * count * (count - 1)))
    return out


def with_rows(*shape):
    def draw(random, batch):
        return *labelled(random, batch), random.normal(size=shape).astype(np.float32)

    return draw


def both_sides(random, batch):
    image, labels, weights = ONE(random, batch)
    return image, labelled(random, batch)[0], labels, weights


ONE, SEVERAL, AXES = with_rows(4, 5), with_rows(4, 3, 5), (0, 0, None)
BY_ANGLE = {'cosine': (0, 2)}
CASES = {
    'normalized_softmax': Case(
        partial(losses.normalized_softmax, temperature=0.3), ONE, AXES, **BY_ANGLE
    ),
    'arcface': Case(partial(losses.arcface, margin=1.5, scale=4.0), ONE, AXES, **BY_ANGLE),
    'sub_center_arcface': Case(partial(losses.sub_center_arcface, scale=4.0), SEVERAL, AXES),
    'cosface': Case(partial(losses.cosface, scale=4.0), ONE, AXES, **BY_ANGLE),
    'sphereface': Case(losses.sphereface, ONE, AXES),
    'large_margin_softmax': Case(partial(losses.large_margin_softmax, margin=3), ONE, AXES),
    'instance_loss': Case(losses.instance_loss, both_sides, (0, 0, 0, None)),
    'p2s_grad': Case(losses.p2s_grad, ONE, AXES, **BY_ANGLE),
    'proxy_nca': Case(partial(losses.proxy_nca, scale=2.0), ONE, AXES, **BY_ANGLE),
    'proxy_anchor': Case(partial(losses.proxy_anchor, alpha=4.0), ONE, AXES, rows=0, **BY_ANGLE),
    'soft_triple': Case(partial(losses.soft_triple, scale=4.0), SEVERAL, AXES),
}
ORACLES = {
    f.__name__: f
    for f in (
        normalized_softmax, arcface, sub_center_arcface, cosface, sphereface, large_margin_softmax,
        instance_loss, p2s_grad, proxy_nca, proxy_anchor, soft_triple,
    )
}  # fmt: skip
