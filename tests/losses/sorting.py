"""Soft ranks and orders: cases, and slow float64 calculations from the papers."""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np

from jssl import losses

from .case import Case, normal
from .pairs import cosine

partial = functools.partial


def nearest_in_hull(z, w):
    """Isotonic regression by pooling neighbours that are out of order."""
    order = np.argsort(z)
    blocks = []
    for value in np.asarray(z)[order] - np.sort(w):
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(n * a + m * b) / (n + m), n + m]]
    fit = [mean for mean, count in blocks for _ in range(count)]
    out = np.zeros(len(z))
    for place, i in enumerate(order):
        out[i] = z[i] - fit[place]
    return out


def soft_rank(live, _):
    return [nearest_in_hull(row / 0.5, 1.0 + np.arange(len(row))) for row in live[0]]


def soft_sort(live, _):
    return [nearest_in_hull((1.0 + np.arange(len(row))) / 2, row) for row in live[0]]


def swap(x, p, low, high, gate):
    """One gate: the smaller value goes to `low`, in part."""
    d = x[high] - x[low]
    f = gate(d / max(abs(d), 1e-6) ** 0.25)
    x[low], x[high] = f * x[low] + (1 - f) * x[high], (1 - f) * x[low] + f * x[high]
    p[[low, high]] = np.array([[f, 1 - f], [1 - f, f]]) @ p[[low, high]]


def odd_even(count):
    for layer in range(count):
        yield from ((i, i + 1) for i in range(layer % 2, count - 1, 2))


def bitonic(start, count, rising):
    """Batcher's recursion: sort halves to opposite orders, then merge."""
    if count > 1:
        half = count // 2
        yield from bitonic(start, half, True)
        yield from bitonic(start + half, half, False)
        yield from merge(start, count, rising)


def merge(start, count, rising):
    if count > 1:
        half = count // 2
        for i in range(start, start + half):
            yield (i, i + half) if rising else (i + half, i)
        yield from merge(start, half, rising)
        yield from merge(start + half, half, rising)


LOGISTIC = lambda v: 1 / (1 + math.exp(-2 * v))
CAUCHY = lambda v: 0.5 + math.atan(2 * v) / math.pi


def network(row, gates, gate):
    x, p = np.array(row), np.eye(len(row))
    for low, high in gates:
        swap(x, p, low, high, gate)
    return x, p


def sorting_network(live, _, *, gates=odd_even, gate=LOGISTIC):
    rows = [network(row, gates(len(row)), gate) for row in live[0]]
    return [np.concatenate([x[None], p]) for x, p in rows]


def order_cross_entropy(live, _):
    out = []
    for p, ranks in zip(*live, strict=True):
        cells = itertools.product(range(len(p)), repeat=2)
        out.append(
            np.mean([-math.log(p[r, i] if ranks[i] == r + 1 else 1 - p[r, i]) for r, i in cells])
        )
    return out


def groco(live, still):
    out = []
    for i, anchor in enumerate(live[0]):
        far = sorted(cosine(anchor, other) for j, other in enumerate(still[0]) if j != i)[-3:]
        near = sorted(cosine(anchor, view[i]) for view in still[1])
        k, n = len(far), len(far) + len(near)
        _, p = network([*far, *near], odd_even(n), lambda v: 0.5 + math.atan(v) / math.pi)
        terms = [
            -math.log(sum(p[r, j] for r in range(n) if (r >= k) == (j >= k))) for j in range(n)
        ]
        out.append(sum(terms) / n)
    return out


def stacked(result):
    x, p = result
    return jnp.concatenate([x[:, None], p], axis=1)


def both(values):
    return stacked(losses.sorting_network(values, steepness=2.0))


def permuted(random, batch):
    p = random.dirichlet(np.ones(4), (batch, 4)).astype(np.float32)
    return p, np.stack([random.permutation(4) + 1 for _ in range(batch)]).astype(np.int32)


ROWS = normal(('B', 4))
CASES = {
    'soft_rank': Case(partial(losses.soft_rank, strength=0.5), ROWS, (0,)),
    'soft_sort': Case(partial(losses.soft_sort, strength=2.0), ROWS, (0,)),
    'sorting_network': Case(both, ROWS, (0,)),
    'order_cross_entropy': Case(losses.order_cross_entropy, permuted, (0, 0)),
    'groco': Case(partial(losses.groco, negatives=3), normal(('B', 5), (2, 'B', 5)), (0, 1),
                  least=2),
}  # fmt: skip
ORACLES = {
    f.__name__: f for f in (soft_rank, soft_sort, sorting_network, order_cross_entropy, groco)
}
