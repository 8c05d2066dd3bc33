"""Losses on the pairs of a batch: cases, and slow float64 loops written from the papers."""

import functools
import math

import jax.numpy as jnp
import numpy as np

from jssl import losses

from .case import PAIR, TRIPLET, Case, labelled, normal

partial = functools.partial


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def cosine(a, b):
    return sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b))


def unit(z):
    return [row / math.sqrt(sum(row * row)) for row in z]


def positives(labels, i):
    return [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]


def negatives(labels, i):
    return [j for j in range(len(labels)) if labels[j] != labels[i]]


def average(values):
    return sum(values) / len(values) if values else 0.0


def pair_masks(live, _):
    z, y = live
    partners = [(positives(y, i), negatives(y, i)) for i in range(len(z))]
    return [[sum((z[j] for j in rows), 0 * z[0]) for rows in both] for both in partners]


def masked_sums(z, labels):
    """The masks at work, since they have no gradient of their own."""
    masks = jnp.stack(losses.pair_masks(labels), axis=1).astype(jnp.float32)
    return masks @ z.astype(jnp.float32)


def cosine_matrix(live, _):
    return [[cosine(a, b) for b in live[1]] for a in live[0]]


def squared_distance_matrix(live, _):
    return [[sum((x - y) ** 2) for y in live[1]] for x in live[0]]


def distance_matrix(live, _):
    return [[distance(a, b) for b in live[1]] for a in live[0]]


def pair_contrastive(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        near = [distance(z[i], z[j]) ** 2 / 2 for j in positives(y, i)]
        far = [max(0, 2 - distance(z[i], z[j])) ** 2 / 2 for j in negatives(y, i)]
        out.append(average(near + far))
    return out


def triplet_margin(live, _, *, swap=False):
    out = []
    for a, p, n in zip(*live, strict=True):
        far = min(distance(a, n), distance(p, n)) if swap else distance(a, n)
        out.append(max(0, distance(a, p) - far + 1))
    return out


def batch_hard_triplet(live, _, *, margin=None):
    z, y = live
    out = []
    for i in range(len(z)):
        near = [distance(z[i], z[j]) for j in positives(y, i)]
        far = [distance(z[i], z[j]) for j in negatives(y, i)]
        if not near or not far:
            out.append(0)
        elif margin is None:
            out.append(math.log(1 + math.exp(max(near) - min(far))))
        else:
            out.append(max(0, margin + max(near) - min(far)))
    return out


def multi_similarity(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        near = sum(math.exp(-2 * (cosine(z[i], z[j]) - 0.5)) for j in positives(y, i))
        far = sum(math.exp(10 * (cosine(z[i], z[j]) - 0.5)) for j in negatives(y, i))
        out.append(math.log(1 + near) / 2 + math.log(1 + far) / 10)
    return out


def circle(live, still):
    z, y = live
    m, g, out = 0.25, 8.0, []
    for i in range(len(z)):
        near = far = 0
        for j in positives(y, i):
            weight = max(0, 1 + m - cosine(still[0][i], still[0][j]))
            near += math.exp(-g * weight * (cosine(z[i], z[j]) - (1 - m)))
        for j in negatives(y, i):
            weight = max(0, cosine(still[0][i], still[0][j]) + m)
            far += math.exp(g * weight * (cosine(z[i], z[j]) - m))
        out.append(math.log(1 + near * far))
    return out


def lifted_structure(live, _):
    z, y = live
    n = len(z)
    pairs = [(i, j) for i in range(n) for j in positives(y, i)]
    out = [0.0] * n
    for i, j in pairs:
        far = sum(math.exp(1 - distance(z[e], z[k])) for e in (i, j) for k in negatives(y, e))
        if far:
            cost = max(0, distance(z[i], z[j]) + math.log(far)) ** 2
            out[i] += n * cost / (2 * len(pairs))
    return out


def generalized_lifted_structure(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        near = sum(math.exp(distance(z[i], z[j])) for j in positives(y, i))
        far = sum(math.exp(1 - distance(z[i], z[j])) for j in negatives(y, i))
        out.append(max(0, math.log(near) + math.log(far)) if near and far else 0)
    return out


def n_pairs(live, _):
    a, p = live
    out = []
    for i in range(len(a)):
        others = sum(math.exp(a[i] @ p[j] - a[i] @ p[i]) for j in range(len(a)) if j != i)
        out.append(math.log(1 + others))
    return out


def angular(live, _):
    a, p = live
    t, out = math.tan(math.pi / 6) ** 2, []
    for i in range(len(a)):
        own = 2 * (1 + t) * (a[i] @ p[i])
        far = [4 * t * ((a[i] + p[i]) @ p[j]) - own for j in range(len(a)) if j != i]
        out.append(math.log(1 + sum(math.exp(f) for f in far)))
    return out


def tuplet_margin(live, _):
    a, p = live
    out = []
    for i in range(len(a)):
        angle = math.acos(cosine(a[i], p[i])) - math.radians(20)
        far = [cosine(a[i], p[j]) - math.cos(angle) for j in range(len(a)) if j != i]
        out.append(math.log(1 + sum(math.exp(4 * f) for f in far)))
    return out


def margin(live, _):
    z, y, beta = live
    n, beta = len(z), np.broadcast_to(beta, len(z))
    cost = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            sign = 1 if y[i] == y[j] else -1
            if i != j:
                cost[i, j] = max(0, 0.2 + sign * (distance(z[i], z[j]) - beta[i]))
    return n * cost.sum(1) / max(1, (cost > 0).sum())


def nca(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        weight = {j: math.exp(-0.5 * distance(z[i], z[j]) ** 2) for j in range(len(z)) if j != i}
        near = sum(weight[j] for j in positives(y, i))
        out.append(-math.log(near / sum(weight.values())) if near else 0)
    return out


def signal_to_noise(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        ratio = lambda j: np.var(z[j] - z[i]) / np.var(z[i])
        near = average([max(0, ratio(j) - 0.01) for j in positives(y, i)])
        far = average([max(0, 2 - ratio(j)) for j in negatives(y, i)])
        out.append(near + far + 0.1 * abs(sum(z[i])))
    return out


def intra_pair_variance(live, _):
    z, y = live
    n = len(z)
    near = [cosine(z[i], z[j]) for i in range(n) for j in positives(y, i)]
    far = [cosine(z[i], z[j]) for i in range(n) for j in negatives(y, i)]
    low, high = 0.99 * average(near), 1.01 * average(far)
    near = average([max(0, low - s) ** 2 for s in near])
    return near + average([max(0, s - high) ** 2 for s in far])


def ranked_list(live, still):
    z, y, fixed = unit(live[0]), live[1], unit(still[0])
    out = []
    for i in range(len(z)):
        out_of = [distance(z[i], z[j]) - 0.8 for j in positives(y, i)]
        near = average([d for d in out_of if d > 0])
        inside = [j for j in negatives(y, i) if distance(z[i], z[j]) < 1.2]
        weights = [math.exp(10 * (1.2 - distance(fixed[i], fixed[j]))) for j in inside]
        far = sum(
            w * (1.2 - distance(z[i], z[j])) / sum(weights)
            for w, j in zip(weights, inside, strict=True)
        )
        out.append((near + far) / 2)
    return out


def threshold_consistent_margin(live, _):
    z, y = live
    n = len(z)
    near = [0.9 - cosine(z[i], z[j]) for i in range(n) for j in positives(y, i)]
    far = [cosine(z[i], z[j]) - 0.5 for i in range(n) for j in negatives(y, i)]
    return sum(average([x for x in part if x >= 0]) for part in (near, far))


def shares(value, low, width, nodes):
    """By linear interpolation between the two nodes around a value."""
    share = [0.0] * nodes
    place = min(max((value - low) / width, 0.0), nodes - 1.0)
    left = min(int(place), nodes - 2)
    share[left], share[left + 1] = left + 1 - place, place - left
    return np.array(share)


def histogram(live, _):
    z, y = live
    n, kinds = len(z), []
    for partners in (positives, negatives):
        found = [shares(cosine(z[i], z[j]), -1, 0.1, 21) for i in range(n) for j in partners(y, i)]
        kinds.append(average(found) + np.zeros(21))
    near, far = kinds
    return sum(far[r] * near[q] for r in range(21) for q in range(r + 1))


def fast_ap(live, _):
    z, y = unit(live[0]), live[1]
    out = []
    for i in range(len(z)):
        square = lambda j: distance(z[i], z[j]) ** 2
        near = sum((shares(square(j), 0, 0.4, 11) for j in positives(y, i)), np.zeros(11))
        far = sum((shares(square(j), 0, 0.4, 11) for j in negatives(y, i)), np.zeros(11))
        total = precision = together = 0
        for b in range(11):
            together += near[b]
            total += near[b] + far[b]
            precision += near[b] * together / total if total else 0
        count = len(positives(y, i))
        out.append(1 - precision / count if count else 0)
    return out


def smooth_ap(live, _):
    z, y = live
    out = []
    for i in range(len(z)):
        s = [cosine(z[i], row) for row in z]
        near, everyone = positives(y, i), positives(y, i) + negatives(y, i)
        ratios = []
        for p in near:
            ahead = {q: 1 / (1 + math.exp((s[p] - s[q]) / 0.1)) for q in everyone if q != p}
            among = 1 + sum(ahead[q] for q in near if q != p)
            ratios.append(among / (1 + sum(ahead.values())))
        out.append(1 - average(ratios) if near else 0)
    return out


def bounded(random, batch):
    z, labels = labelled(random, batch)
    return z, labels, np.array(random.uniform(1, 3), np.float32)


LABELLED = (0, 0)
CASES = {
    'pair_masks': Case(masked_sums, labelled, LABELLED),
    'cosine_matrix': Case(losses.cosine_matrix, normal(('B', 5), (7, 5)), (0, None), cosine=(0, 1)),
    'distance_matrix': Case(losses.distance_matrix, normal(('B', 5), (7, 5)), (0, None)),
    'squared_distance_matrix': Case(
        losses.squared_distance_matrix, normal(('B', 21), (7, 21)), (0, None)
    ),
    'pair_contrastive': Case(partial(losses.pair_contrastive, margin=2.0), labelled, LABELLED),
    'triplet_margin': Case(losses.triplet_margin, TRIPLET, (0, 0, 0)),
    'triplet_margin-swap': Case(partial(losses.triplet_margin, swap=True), TRIPLET, (0, 0, 0)),
    'batch_hard_triplet': Case(losses.batch_hard_triplet, labelled, LABELLED),
    'batch_hard_triplet-margin': Case(
        partial(losses.batch_hard_triplet, margin=0.5), labelled, LABELLED
    ),
    'multi_similarity': Case(
        partial(losses.multi_similarity, beta=10.0, base=0.5), labelled, LABELLED, cosine=(0,)
    ),
    'circle': Case(partial(losses.circle, scale=8.0), labelled, LABELLED, cosine=(0,)),
    'lifted_structure': Case(losses.lifted_structure, labelled, LABELLED),
    'generalized_lifted_structure': Case(losses.generalized_lifted_structure, labelled, LABELLED),
    'n_pairs': Case(losses.n_pairs, PAIR, (0, 0)),
    'angular': Case(partial(losses.angular, angle=30.0), PAIR, (0, 0)),
    'tuplet_margin': Case(
        partial(losses.tuplet_margin, margin=20.0, scale=4.0), PAIR, (0, 0), cosine=(0, 1)
    ),
    'margin': Case(losses.margin, bounded, (0, 0, None)),
    'nca': Case(partial(losses.nca, scale=0.5), labelled, LABELLED),
    'signal_to_noise': Case(
        partial(losses.signal_to_noise, negative_margin=2.0, zero_mean=0.1), labelled, LABELLED
    ),
    'intra_pair_variance': Case(
        losses.intra_pair_variance, labelled, LABELLED, rows=0, cosine=(0,)
    ),
    'ranked_list': Case(losses.ranked_list, labelled, LABELLED, cosine=(0,)),
    'threshold_consistent_margin': Case(
        losses.threshold_consistent_margin, labelled, LABELLED, rows=0, cosine=(0,)
    ),
    'histogram': Case(partial(losses.histogram, bins=20), labelled, LABELLED, rows=0, cosine=(0,)),
    'fast_ap': Case(losses.fast_ap, labelled, LABELLED, cosine=(0,)),
    'smooth_ap': Case(partial(losses.smooth_ap, temperature=0.1), labelled, LABELLED, cosine=(0,)),
}
ORACLES = {
    'batch_hard_triplet-margin': partial(batch_hard_triplet, margin=0.5),
    'triplet_margin-swap': partial(triplet_margin, swap=True),
    **{
        f.__name__: f
        for f in (
            pair_masks, cosine_matrix, distance_matrix, squared_distance_matrix,
            pair_contrastive, triplet_margin,
            batch_hard_triplet, multi_similarity, circle, lifted_structure,
            generalized_lifted_structure, n_pairs, angular, tuplet_margin, margin, nca,
            signal_to_noise, intra_pair_variance, ranked_list, threshold_consistent_margin,
            histogram, fast_ap, smooth_ap,
        )
    },
}  # fmt: skip
