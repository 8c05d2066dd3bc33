import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.kmeans import kmeans
from jssl.algorithms.laplacian_kmodes import (
    PROTOTYPES,
    gradient_assignments,
    graph_product,
    laplacian_assignments,
    laplacian_clustering,
    laplacian_energy,
    laplacian_kmodes,
    safe_damping,
)
from jssl.algorithms.neighbours import knn_edges, knn_graph

N, K, D = 24, 3, 4
LABELS = np.asarray([0, 1, 2] + (N - 3) * [-1])
solve_assignments, solve_gradient = (
    jax.jit(f, static_argnames='iterations') for f in (laplacian_assignments, gradient_assignments)
)
FEW = {'rounds': 5, 'iterations': 3}  # the same for most tests: one program for each kind


def problem(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, D)).astype(np.float32)
    z[:, 0] += 3 * (np.arange(N) % K)
    weights = rng.random((N, N)).astype(np.float32) * (rng.random((N, N)) < 0.2)
    affinity = np.triu(weights, 1) + np.triu(weights, 1).T
    return z, z[:K].copy(), affinity


def energy_by_loops(y, costs, w, weight):
    y, costs, w = (np.asarray(a, np.float64) for a in (y, costs, w))
    total = 0.0
    for p in range(len(y)):
        for k in range(y.shape[1]):
            total += y[p, k] * costs[p, k]
            if y[p, k] > 0:
                total += y[p, k] * np.log(y[p, k])
        for q in range(len(y)):
            total += weight * w[p, q] * (1 - y[p] @ y[q])
    return total / len(y)


def discrete_energy_by_loops(y, costs, w, weight):
    total = sum(y[p] @ costs[p] for p in range(len(y)))
    for p in range(len(y)):
        for q in range(len(y)):
            total += weight / 2 * w[p, q] * np.square(y[p] - y[q]).sum()
    return total / len(y)


def softmax(x):
    x = np.exp(x - x.max())
    return x / x.sum()


def updates_by_loops(costs, w, weight, labels, damping, iterations):
    """Every assignment [iterations + 1] in float64; the damping as the paper's bound needs it."""
    costs, w = np.asarray(costs, np.float64), np.asarray(w, np.float64)
    n, k = costs.shape

    def pinned(y):
        return np.stack([np.eye(k)[labels[p]] if labels[p] >= 0 else y[p] for p in range(n)])

    logs = np.stack([np.log(softmax(-costs[p])) for p in range(n)])
    path = [pinned(np.exp(logs))]
    for _ in range(iterations):
        new = []
        for p in range(n):
            pull = -costs[p] + 2 * weight * sum(w[p, q] * path[-1][q] for q in range(n))
            new.append(np.log(softmax((pull + damping[p] * logs[p]) / (1 + damping[p]))))
        logs = np.stack(new)
        path.append(pinned(np.exp(logs)))
    return path


def costs_by_loops(z, m, kind, scale, bandwidth):
    squares = np.asarray([[np.sum((p - c) ** 2) for c in m] for p in np.asarray(z, np.float64)])
    kernel = np.exp(-squares / (2 * bandwidth**2))
    return scale * (squares if kind == 'means' else 1 - kernel), kernel


def alternation_by_loops(z, m, w, weight, kind, scale, bandwidth, labels, rounds, iterations):
    """Assignments, prototypes and every energy on the way."""
    z, m = np.asarray(z, np.float64), np.asarray(m, np.float64)
    damping = [max(0.0, (weight * sum(row) - 1) / 2) for row in w]
    costs, _ = costs_by_loops(z, m, kind, scale, bandwidth)
    logs = np.stack([np.log(softmax(-row)) for row in costs])
    energies = []
    for _ in range(rounds):
        costs, kernel = costs_by_loops(z, m, kind, scale, bandwidth)
        for _ in range(iterations):
            y = np.where((labels >= 0)[:, None], np.eye(len(m))[labels], np.exp(logs))
            energies.append(energy_by_loops(y, costs, w, weight))
            pull = -costs + 2 * weight * np.asarray(w, np.float64) @ y
            logs = np.stack([
                np.log(softmax((pull[p] + damping[p] * logs[p]) / (1 + damping[p])))
                for p in range(len(z))
            ])  # fmt: skip
        y = np.where((labels >= 0)[:, None], np.eye(len(m))[labels], np.exp(logs))
        energies.append(energy_by_loops(y, costs, w, weight))
        for k in range(len(m)):
            if kind == 'points':
                best = max((p for p in range(len(z)) if labels[p] < 0), key=lambda p: y[p, k])
                other = costs_by_loops(z, z[[best]], kind, scale, bandwidth)[0][:, 0]
                if y[:, k] @ other < y[:, k] @ costs[:, k]:
                    m[k] = z[best]
            else:
                share = y[:, k] * (1 if kind == 'means' else kernel[:, k])
                m[k] = share @ z / share.sum()
        costs, _ = costs_by_loops(z, m, kind, scale, bandwidth)
        energies.append(energy_by_loops(y, costs, w, weight))
    return y, m, energies


@pytest.mark.parametrize('weight', [0.0, 0.3, 2.0])
def test_energy_matches_loops(weight):
    z, centres, w = problem()
    costs = np.square(z[:, None] - centres).sum(-1)
    y = np.random.default_rng(1).dirichlet(np.ones(K), N).astype(np.float32)
    value = jax.jit(functools.partial(laplacian_energy, weight=weight))
    ours = value(y, costs, w)
    np.testing.assert_allclose(ours, energy_by_loops(y, costs, w, weight), rtol=1e-5)
    corners = np.eye(K, dtype=np.float32)[np.arange(N) % K]
    ours = value(corners, costs, w)
    np.testing.assert_allclose(ours, discrete_energy_by_loops(corners, costs, w, weight), rtol=1e-5)


@pytest.mark.parametrize('weight', [0.0, 0.4, 2.0])
@pytest.mark.parametrize('labels', [None, LABELS], ids=['free', 'labelled'])
def test_assignments_match_loops_and_never_raise_the_energy(weight, labels):
    z, centres, w = problem()
    costs = np.square(z[:, None] - centres).sum(-1)
    damping = np.asarray([max(0.0, (weight * row.sum() - 1) / 2) for row in w])
    np.testing.assert_allclose(safe_damping(w, weight=weight), damping, rtol=1e-5, atol=1e-6)
    y, energies = solve_assignments(costs, w, weight=weight, labels=labels, iterations=9)
    known = np.full(N, -1) if labels is None else labels
    path = updates_by_loops(costs, w, weight, known, damping, 9)
    np.testing.assert_allclose(y, path[-1], atol=2e-5)
    expected = [energy_by_loops(y, costs, w, weight) for y in path]
    np.testing.assert_allclose(energies, expected, rtol=1e-5, atol=1e-5)
    assert np.diff(expected).max() <= 1e-12


def test_gradient_descent_takes_the_slope_of_the_same_energy_and_ours_is_lower():
    z, centres, w = problem()
    costs = np.square(z[:, None] - centres).sum(-1).astype(np.float64)
    fixed = np.eye(K)[LABELS]

    def energy(x):
        y = np.stack([fixed[p] if LABELS[p] >= 0 else softmax(x[p]) for p in range(N)])
        return energy_by_loops(y, costs, w, 0.4)

    slope = np.zeros_like(costs)
    for p in range(N):
        for k in range(K):
            step = np.zeros_like(costs)
            step[p, k] = 1e-4
            slope[p, k] = (energy(-costs + step) - energy(-costs - step)) / 2e-4
    y, energies = solve_gradient(
        costs.astype(np.float32), w, weight=0.4, labels=LABELS, rate=2.0, iterations=1
    )
    expected = np.stack([softmax(x) for x in -costs - 2.0 * N * slope])
    np.testing.assert_allclose(y[3:], expected[3:], atol=1e-4)
    np.testing.assert_array_equal(y[:3], fixed[:3])
    np.testing.assert_allclose(energies[0], energy(-costs), rtol=1e-5)
    _, ours = solve_assignments(costs.astype(np.float32), w, weight=0.4, labels=LABELS)
    _, theirs = solve_gradient(costs.astype(np.float32), w, weight=0.4, labels=LABELS)
    assert ours[-1] <= theirs[-1] + 1e-6


def test_published_update_may_raise_the_energy_where_ours_does_not():
    # Two points that attract one another swap labels for ever when each moves to the other's.
    w = np.asarray([[0, 1], [1, 0]], np.float32)
    costs = np.asarray([[0, 0.5], [0.5, 0]], np.float32)
    _, plain = solve_assignments(costs, w, weight=3.0, damping=0.0)
    _, ours = solve_assignments(costs, w, weight=3.0)
    assert np.diff(ours).max() <= 1e-6
    path = updates_by_loops(costs, w, 3.0, [-1, -1], [0.0, 0.0], 20)
    np.testing.assert_allclose(plain[-1], energy_by_loops(path[-1], costs, w, 3.0), rtol=1e-4)
    worst = -np.inf
    for seed in range(50):
        rng = np.random.default_rng(seed)
        costs, w = rng.random((6, 2), np.float32), np.triu(rng.random((6, 6), np.float32), 1)
        _, plain = solve_assignments(10 * costs, w + w.T, weight=3.0, damping=0.0)
        _, ours = solve_assignments(10 * costs, w + w.T, weight=3.0)
        worst = max(worst, np.diff(plain).max())
        assert np.diff(ours).max() <= 1e-6 * np.abs(ours).max()
    assert worst > 1e-2


@pytest.mark.parametrize('kind', PROTOTYPES)
@pytest.mark.parametrize('weight', [0.0, 0.7])
def test_alternation_matches_loops_and_never_raises_the_energy(kind, weight):
    z, centres, w = problem()
    options = {'scale': 2.0, 'bandwidth': 1.5, **FEW}
    ours = laplacian_kmodes(
        z, centres, w, weight=weight, labels=LABELS, prototypes=kind, tolerance=-1.0, **options
    )
    y, m, energies = alternation_by_loops(
        z, centres, w, weight=weight, kind=kind, labels=LABELS, **options
    )
    np.testing.assert_allclose(ours.assignments, y, atol=1e-4)
    np.testing.assert_allclose(ours.prototypes, m, atol=1e-4)
    np.testing.assert_allclose(ours.energies[1:], energies[4::5], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.energies[0], energies[0], rtol=1e-5)
    assert np.diff(energies).max() <= 1e-12
    assert ours.rise <= 1e-6
    assert ours.rounds == 5


def test_labelled_points_never_move_and_outvote_their_neighbours():
    z, centres, _ = problem()
    w = np.ones((N, N), np.float32) - np.eye(N, dtype=np.float32)
    labels = np.where(np.arange(N) < 6, (np.arange(N) + 1) % K, -1)  # against the prototypes
    found = laplacian_kmodes(z, centres, w, weight=5.0, labels=labels)
    np.testing.assert_array_equal(found.assignments[:6], np.eye(K)[labels[:6]])
    np.testing.assert_allclose(found.assignments.sum(1), 1, rtol=1e-5)


def test_without_graph_it_is_soft_kmeans_and_kmeans_when_cold():
    z, centres, w = problem()
    found = laplacian_kmodes(z, centres, w, weight=0.0, scale=0.5, tolerance=0.0)
    costs = 0.5 * np.square(z[:, None] - found.prototypes).sum(-1)
    y = np.asarray(jax.nn.softmax(-costs))
    np.testing.assert_allclose(found.assignments, y, atol=1e-3)
    np.testing.assert_allclose(found.prototypes, (y.T @ z) / y.sum(0)[:, None], atol=1e-2)
    cold = laplacian_kmodes(z, centres, w, weight=0.0, scale=1e4, iterations=1)
    lloyd = kmeans(jax.random.key(0), z, K, init=centres, tolerance=0.0)
    np.testing.assert_array_equal(cold.assignments.argmax(1), lloyd.labels)
    np.testing.assert_allclose(cold.prototypes, lloyd.centres, atol=1e-5)


def test_graph_alone_carries_labels_along_components():
    w = np.zeros((6, 6), np.float32)
    for p, q in [(0, 2), (2, 4), (1, 3), (3, 5)]:
        w[p, q] = w[q, p] = 1
    labels = np.asarray([0, 1, -1, -1, -1, -1])
    z = np.zeros((6, 2), np.float32)
    found = laplacian_kmodes(z, z[:2], w, weight=2.0, labels=labels, scale=0.0)
    np.testing.assert_array_equal(found.assignments.argmax(1), [0, 1, 0, 1, 0, 1])


def test_edges_are_the_symmetric_matrix():
    z, centres, _ = problem()
    edges = knn_edges(z, 3)
    directed = knn_graph(z, 3, symmetric=False)
    dense = (directed + directed.T) / 2
    np.testing.assert_allclose(graph_product(edges, z), dense @ z, rtol=1e-5, atol=1e-5)
    costs = np.square(z[:, None] - centres).sum(-1)
    sparse, energies = solve_assignments(costs, edges, weight=0.5, iterations=3)
    expected, _ = solve_assignments(costs, dense, weight=0.5, iterations=3)
    np.testing.assert_allclose(sparse, expected, atol=1e-5)
    assert np.isfinite(energies).all()


@pytest.mark.parametrize('kind', PROTOTYPES)
def test_vmap_is_a_loop_and_order_does_not_matter(kind):
    problems = [problem(seed) for seed in range(3)]
    options = {'weight': 0.5, 'scale': 1.0, 'bandwidth': 1.0, 'tolerance': 1e-3}

    def solve(z, centres, w, labels=LABELS):
        return laplacian_kmodes(z, centres, w, labels=labels, prototypes=kind, **options, **FEW)

    together = jax.vmap(solve)(*(jnp.stack(a) for a in zip(*problems, strict=True)))
    for i, (z, centres, w) in enumerate(problems):
        alone = solve(z, centres, w)
        np.testing.assert_allclose(together.assignments[i], alone.assignments, atol=1e-5)
        assert together.rounds[i] == alone.rounds
        np.testing.assert_array_equal(alone.energies[alone.rounds :], alone.energies[-1])
    order = np.random.default_rng(2).permutation(N)
    turned = solve(z[order], centres, w[order][:, order], LABELS[order])
    np.testing.assert_allclose(turned.assignments, alone.assignments[order], atol=1e-4)


@pytest.mark.parametrize('kind', PROTOTYPES)
@pytest.mark.parametrize('spread', [0.0, 1e3])
def test_duplicates_zeros_and_far_points_stay_finite(kind, spread):
    z = np.zeros((N, D), np.float32)
    z[N // 2 :] = spread
    none, where = np.zeros((N, N), np.float32), np.zeros((K, D), np.float32)
    options = {'weight': 1.0, 'scale': 1.0, 'bandwidth': 1.0, 'tolerance': 1e-3}
    found = laplacian_kmodes(z, where, none, labels=LABELS, prototypes=kind, **options, **FEW)
    for leaf in jax.tree.leaves(found):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize('kind', PROTOTYPES)
def test_clustering_finds_groups_and_is_blind_to_the_unit(kind):
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat(np.arange(K), 10))
    x = (5 * np.eye(K, D)[truth] + rng.normal(size=(len(truth), D))).astype(np.float32)
    options = {'neighbours': 3, 'prototypes': kind, **FEW}
    solve = jax.jit(lambda x: laplacian_clustering(jax.random.key(0), x, K, **options))
    found = solve(x)
    labels = np.asarray(found.assignments.argmax(1))
    pairs = set(zip(truth.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == K, 'every group is a cluster'
    larger = solve(64 * x)
    np.testing.assert_allclose(larger.assignments, found.assignments, atol=1e-4)
    np.testing.assert_allclose(larger.energies[-1], found.energies[-1], rtol=1e-4)
    same = solve(np.ones_like(x))
    assert np.isfinite(same.assignments).all()


def test_half_precision_is_computed_in_single():
    z, centres, w = problem()
    half = [jnp.asarray(a, jnp.bfloat16) for a in (z, centres, w)]
    found = laplacian_kmodes(*half, weight=0.5, labels=LABELS, **FEW)
    single = (a.astype(jnp.float32) for a in half)
    wide = laplacian_kmodes(*single, weight=0.5, labels=LABELS, **FEW)
    assert found.assignments.dtype == found.prototypes.dtype == jnp.float32
    np.testing.assert_allclose(found.assignments, wide.assignments, atol=1e-5)


def test_refuses_unknown_prototypes():
    z, centres, w = problem()
    with pytest.raises(ValueError, match='prototypes'):
        laplacian_kmodes(z, centres, w, weight=0.5, prototypes='medians')
