"""Miners against slow loops over the pairs and triplets of a batch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.losses import miners

from .case import labelled
from .pairs import distance, negatives, positives, unit

BATCH, ANGLE = 12, 40.0
STRATEGIES = [
    ('easy', 'semihard'), ('semihard', 'hard'), ('semihard', 'easy'), ('hard', 'hard'),
    ('easy', 'all'), ('all', 'easy'),
]  # fmt: skip


def everything(z, labels, d):
    found = {
        'triplets': miners.triplets(labels),
        'violated': miners.triplet_margin(d, labels),
        'semihard': miners.triplet_margin(d, labels, above=0.0),
        'angular': miners.angular(z, labels, angle=ANGLE),
        'batch_hard': miners.batch_hard(d, labels),
        'multi_similarity': miners.multi_similarity(d, labels),
        'pair_margin': miners.pair_margin(d, labels, positive=1.5, negative=1.2),
        'hardest_share': miners.hardest_share(d, labels, share=0.3),
        'maximum_loss': miners.maximum_loss(d[0], count=4),
        'distance_weighted': miners.distance_weighted(z, labels),
        'uniform': miners.uniform_histogram(jax.random.key(0), d, labels, bins=5, count=3),
    }
    for pair in STRATEGIES:
        found['-'.join(pair)] = miners.batch_easy_hard(
            d, labels, positive=pair[0], negative=pair[1]
        )
    return found


@pytest.fixture(scope='module')
def batch():
    z, labels = labelled(np.random.default_rng(1), BATCH)
    labels[-1] = 7  # a class of one row
    u = unit(z)
    d = np.array([[distance(a, b) for b in u] for a in u], np.float32)
    found = jax.tree.map(np.asarray, jax.jit(everything)(z, labels, d))
    return z, labels, d, found


def pairs_of(masks):
    return [set(zip(*np.nonzero(mask), strict=True)) for mask in masks]


def all_triplets(y):
    return {(a, p, n) for a in range(BATCH) for p in positives(y, a) for n in negatives(y, a)}


def test_triplets(batch):
    z, y, d, found = batch
    assert pairs_of([found['triplets']]) == [all_triplets(y)]
    gap = {t: d[t[0], t[2]] - d[t[0], t[1]] for t in all_triplets(y)}
    assert pairs_of([found['violated']]) == [{t for t in gap if gap[t] <= 0.2}]
    assert pairs_of([found['semihard']]) == [{t for t in gap if 0 < gap[t] <= 0.2}]

    u, seen = unit(z), set()
    for a, p, n in all_triplets(y):
        half, height = distance(u[a], u[p]) / 2, distance(u[n], (u[a] + u[p]) / 2)
        if math.atan2(half, height) > math.radians(ANGLE):
            seen.add((a, p, n))
    assert pairs_of([found['angular']]) == [seen]
    assert 0 < len(seen) < len(all_triplets(y))


@pytest.mark.parametrize('strategy', STRATEGIES, ids='-'.join)
def test_one_pair_a_row(batch, strategy):
    _, y, d, found = batch
    expected = set(), set()
    for i in range(BATCH):
        near, far = positives(y, i), negatives(y, i)
        by_distance = lambda j, i=i: d[i, j]
        if strategy[0] in ('easy', 'hard') and near:
            near = [(min if strategy[0] == 'easy' else max)(near, key=by_distance)]
        if strategy[1] == 'semihard':
            far = [n for n in far if near and d[i, n] > d[i, near[0]]]
        if strategy[1] != 'all' and far:
            far = [(max if strategy[1] == 'easy' else min)(far, key=by_distance)]
        if strategy[0] == 'semihard':
            near = [p for p in near if far and d[i, p] < d[i, far[0]]]
            near = [max(near, key=by_distance)] if near else []
        if 'all' in strategy or (near and far):
            expected[0].update((i, p) for p in near)
            expected[1].update((i, n) for n in far)
    assert pairs_of(found['-'.join(strategy)]) == list(expected)
    if strategy == ('hard', 'hard'):
        assert pairs_of(found['batch_hard']) == list(expected)


def test_pairs(batch):
    _, y, d, found = batch
    near = {(i, j) for i in range(BATCH) for j in positives(y, i)}
    far = {(i, j) for i in range(BATCH) for j in negatives(y, i)}
    at = lambda pair: d[pair]
    assert pairs_of(found['pair_margin']) == [
        {p for p in near if d[p] > 1.5}, {p for p in far if d[p] < 1.2}
    ]  # fmt: skip
    least = {i: min(d[i, n] for n in negatives(y, i)) for i in range(BATCH)}
    most = {i: max([d[i, p] for p in positives(y, i)], default=-math.inf) for i in range(BATCH)}
    assert pairs_of(found['multi_similarity']) == [
        {p for p in near if d[p] > least[p[0]] - 0.1}, {p for p in far if d[p] < most[p[0]] + 0.1}
    ]  # fmt: skip
    for mask, expected, sign in zip(found['hardest_share'], (near, far), (-1, 1), strict=True):
        count = math.ceil(0.3 * len(expected))
        best = sorted(expected, key=lambda p, sign=sign: sign * d[p])[:count]
        (chosen,) = pairs_of([mask])  # a pair has two orders, and either may be the last of them
        assert len(chosen) == count
        assert sorted(map(at, chosen)) == sorted(map(at, best))


def test_costliest_rows(batch):
    _, _, d, found = batch
    assert set(np.flatnonzero(found['maximum_loss'])) == set(np.argsort(-d[0])[:4])


def test_distances_come_up_alike(batch):
    z, y, d, found = batch
    for i in range(BATCH):
        weight = np.zeros(BATCH)
        for j in negatives(y, i):
            r = max(d[i, j], 0.5)
            if d[i, j] < 1.4:
                weight[j] = 1 / (r ** (z.shape[1] - 2) * (1 - r * r / 4) ** ((z.shape[1] - 3) / 2))
        expected = weight / max(weight.sum(), 1e-12)
        np.testing.assert_allclose(found['distance_weighted'][i], expected, rtol=1e-4)


def test_all_bins_have_pairs(batch):
    _, y, d, found = batch
    for mask, partners in zip(found['uniform'], (positives, negatives), strict=True):
        values = np.array([d[i, j] for i in range(BATCH) for j in partners(y, i)])
        allowed = {(i, j) for i in range(BATCH) for j in partners(y, i)}
        assert pairs_of([mask])[0] <= allowed
        edges = np.linspace(values.min(), values.max(), 6)
        held, _ = np.histogram(values, edges)
        drawn, _ = np.histogram(d[mask], edges)
        assert (drawn == np.minimum(held, 3)).all()


def test_wrong_arguments():
    d, labels = jnp.zeros((4, 4)), jnp.zeros(4, int)
    with pytest.raises(ValueError, match='positive and negative must be of'):
        miners.batch_easy_hard(d, labels, positive='simple')
    with pytest.raises(ValueError, match="'semihard' needs 'easy' or 'hard' beside it"):
        miners.batch_easy_hard(d, labels, positive='all')
    with pytest.raises(ValueError, match=r'^d must have shape \[B, B\]'):
        miners.pair_margin(d[:3], labels)
