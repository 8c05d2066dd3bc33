"""Laplacian K-prototypes: prototypes, a graph and a few labels in one energy, and its optimiser.

    R(Y, M) = sum_p y_p . a_p + sum_p y_p . log y_p + weight sum_pq w_pq (1 - y_p . y_q)

with y_p in the simplex and fixed where a label is known, and a_pk the cost of point p at prototype
k. At the corners of the simplices the entropy vanishes, and what is left is the discrete energy
sum_p y_p . a_p + weight / 2 sum_pq w_pq |y_p - y_q|^2.

Each update minimises the energy with the graph's term made linear at the last Y and `damping`
times KL(y, y_old) added: a softmax, independent for every point. It gains at least

    sum_p (1 + 2 damping_p) |y_p - y_p_old|^2,    because KL(y, y') >= |y - y'|^2,

and the linear term hides at most weight sum_p d_p |y_p - y_p_old|^2, d = W 1, because W + diag(d)
is positive semi-definite. So with 1 + 2 damping_p >= weight d_p no update raises the energy, for
any affinities; without damping that needs a positive semi-definite W, which a neighbour graph is
not.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32
from jssl.algorithms.kmeans import kmeans, pairwise_squared_distances
from jssl.algorithms.neighbours import knn_edges

Edges = tuple[jax.Array, jax.Array]  # indices [N, k] and weights [N, k] of `knn_edges`

PROTOTYPES = ('means', 'modes', 'points')


class LaplacianKModes(NamedTuple):
    """A clustering of N points in D dimensions around K prototypes and along a graph."""

    assignments: jax.Array  # [N, K], rows in the simplex
    prototypes: jax.Array  # [K, D]
    energies: jax.Array  # [rounds + 1] per point, at the start and after every round
    rise: jax.Array  # the largest in any single update, as a share of max(1, |energy|)
    rounds: jax.Array  # until convergence


def laplacian_energy(
    assignments: jax.Array, costs: jax.Array, affinity: jax.Array | Edges, *, weight: float
) -> jax.Array:
    """The relaxed energy of soft assignments, per point.

        1/N [sum_p y_p . (a_p + log y_p) + weight sum_pq w_pq (1 - y_p . y_q)]

    Args:
        assignments: Y [N, K], rows in the simplex.
        costs: A [N, K], of every point at every prototype.
        affinity: symmetric non-negative weights W [N, N]; or the pair of `knn_edges`, indices and
            weights [N, k], read as the symmetric (W + W^T) / 2.
        weight: of the graph, at least 0.

    Returns:
        Scalar, float32 or wider.

    Reference: Transductive Few-Shot Learning: Clustering is All You Need? (Ziko et al., 2021).
    """
    chex.assert_rank([assignments, costs], 2)
    chex.assert_equal_shape([assignments, costs])
    y = at_least_float32(assignments)
    agreement = (y * graph_product(affinity, y)).sum(axis=1)
    # The gradient of y log y at zero is infinite; a labelled point does not move, so it is dropped.
    logs = jnp.where(y > 0, jnp.log(jnp.where(y > 0, y, 1)), 0)
    unary = (y * (costs + logs)).sum(axis=1)
    return (unary + weight * (_degrees(affinity) - agreement)).mean()


def graph_product(affinity: jax.Array | Edges, y: jax.Array) -> jax.Array:
    """Sum over a point's neighbours, from a full or a sparse graph.

        (W y)_p = sum_q w_pq y_q

    Args:
        affinity: as in `laplacian_energy`.
        y: values [N, K].

    Returns:
        Sums [N, K]; of ones, the degrees.

    Reference: Spectral Graph Theory (Chung, 1997).
    """
    if not isinstance(affinity, tuple):
        return jnp.matmul(at_least_float32(affinity), y, precision='highest')
    indices, weights = affinity
    chex.assert_equal_shape([indices, weights])
    out = (weights[:, :, None] * y[indices]).sum(axis=1)
    back = jnp.zeros_like(y).at[indices].add(weights[:, :, None] * y[:, None, :])
    return (out + back) / 2


def safe_damping(affinity: jax.Array | Edges, *, weight: float) -> jax.Array:
    """The smallest damping of every point for which the energy provably never rises.

        max(0, (weight d_p - 1) / 2)

    Args:
        affinity: as in `laplacian_energy`.
        weight: of the graph.

    Returns:
        Damping [N]; all zero while weight times the largest degree is at most one.

    Reference: Scalable Laplacian K-modes (Ziko et al., 2018), whose bound is the case of a
    positive semi-definite affinity.
    """
    return jnp.maximum(0, (weight * _degrees(affinity) - 1) / 2)


def laplacian_assignments(
    costs: jax.Array,
    affinity: jax.Array | Edges,
    *,
    weight: float,
    labels: jax.Array | None = None,
    damping: float | jax.Array | None = None,
    iterations: int = 20,
) -> tuple[jax.Array, jax.Array]:
    """Assignments to fixed prototypes, all points in parallel: LaplacianShot's inference.

        y_p <- softmax((-a_p + 2 weight sum_q w_pq y_q + damping_p log y_p) / (1 + damping_p))

    Args:
        costs: A [N, K].
        affinity: as in `laplacian_energy`.
        weight: of the graph; 0 gives softmax(-a_p).
        labels: class of every point [N], -1 where unknown; None leaves all free.
        damping: [N] or a number; None is `safe_damping`, 0 the published update.
        iterations: number of updates.

    Returns:
        Assignments [N, K] and the energies per point [iterations + 1], the first at softmax(-a_p).

    Reference: Laplacian Regularized Few-Shot Learning (Ziko et al., 2020).
    """
    chex.assert_rank(costs, 2)
    costs = at_least_float32(costs)
    problem = _problem(affinity, weight, labels, damping, costs)
    logits, energies = _descend(-costs, costs, problem, iterations)
    return _soft(logits, problem), energies


def gradient_assignments(
    costs: jax.Array,
    affinity: jax.Array | Edges,
    *,
    weight: float,
    labels: jax.Array | None = None,
    rate: float | jax.Array = 1.0,
    iterations: int = 20,
) -> tuple[jax.Array, jax.Array]:
    """The same energy by gradient descent on the logits: the yardstick of the parallel updates.

        y = softmax(x),   x <- x - rate N dR/dx,   from x = -a

    Args:
        costs, affinity, weight, labels: as in `laplacian_assignments`.
        rate: step length.
        iterations: number of steps.

    Returns:
        Assignments [N, K] and the energies per point [iterations + 1].

    Reference: Scalable Laplacian K-modes (Ziko et al., 2018).
    """
    chex.assert_rank(costs, 2)
    costs = at_least_float32(costs)
    problem = _problem(affinity, weight, labels, 0.0, costs)
    energy = lambda logits: _energy(logits, costs, problem)

    def step(logits, _):
        value, slope = jax.value_and_grad(energy)(logits)
        return logits - rate * len(costs) * slope, value

    logits, energies = jax.lax.scan(step, -costs, length=iterations)
    return _soft(logits, problem), jnp.append(energies, energy(logits))


@functools.partial(jax.jit, static_argnames=('prototypes', 'iterations', 'rounds'))
def laplacian_kmodes(
    z: jax.Array,
    centres: jax.Array,
    affinity: jax.Array | Edges,
    *,
    weight: float,
    labels: jax.Array | None = None,
    prototypes: str = 'means',
    scale: float = 1.0,
    bandwidth: float | jax.Array = 1.0,
    damping: float | jax.Array | None = None,
    iterations: int = 20,
    rounds: int = 100,
    tolerance: float = 1e-5,
) -> LaplacianKModes:
    """Alternates parallel updates of the assignments with one update of the prototypes.

        means:  a_pk = scale |z_p - m_k|^2,      m_k = sum_p y_pk z_p / sum_p y_pk
        modes:  a_pk = scale (1 - g(z_p, m_k)),  m_k = sum_p y_pk g z_p / sum_p y_pk g (mean shift)
        points: as modes, m_k the free point of largest y_pk wherever that lowers the energy
        g(z, m) = exp(-|z - m|^2 / (2 bandwidth^2))

    With weight 0 and 'means' this is soft k-means, and k-means as `scale` grows; with scale 0 only
    the graph and the labels speak. Every update starts from the last assignments, so that nothing
    in it raises the energy. Under vmap all problems run until the last has converged.

    Args:
        z: points [N, D].
        centres: prototypes to start from [K, D].
        affinity: as in `laplacian_energy`.
        weight: of the graph, at least 0.
        labels: class of every point [N], -1 where unknown; a labelled point never moves.
        prototypes: 'means', 'modes' or 'points'.
        scale: of the costs against the entropy: an inverse temperature.
        bandwidth: of the kernel; unused by 'means'.
        damping: [N] or a number; None is `safe_damping`, 0 the published update.
        iterations: updates of the assignments in a round.
        rounds: largest number of alternations.
        tolerance: stops when a round lowers the energy by at most this share of it.

    Returns:
        `LaplacianKModes`; after convergence `energies` repeats its last value.

    Reference: Transductive Few-Shot Learning: Clustering is All You Need? (Ziko et al., 2021).
    """
    chex.assert_rank([z, centres], 2)
    chex.assert_equal(z.shape[1], centres.shape[1])
    if prototypes not in PROTOTYPES:
        raise ValueError(f'prototypes must be one of {PROTOTYPES}, got {prototypes!r}')
    z, centres = at_least_float32(z), at_least_float32(centres)
    kernel = lambda m: jnp.exp(-pairwise_squared_distances(z, m) / (2 * bandwidth**2))
    distance = pairwise_squared_distances if prototypes == 'means' else lambda z, m: 1 - kernel(m)
    costs_at = lambda m: scale * distance(z, m)
    start = costs_at(centres)
    problem = _problem(affinity, weight, labels, damping, start)

    def moved(y, m):
        if prototypes == 'points':
            candidates = z[(problem.free * y).argmax(axis=0)]  # labelled points are all at one
            lower = (y * costs_at(candidates)).sum(axis=0) < (y * costs_at(m)).sum(axis=0)
            return jnp.where(lower[:, None], candidates, m)
        members = y if prototypes == 'means' else y * kernel(m)
        mass = members.sum(axis=0)[:, None]
        means = jnp.matmul(members.T, z, precision='highest') / jnp.where(mass > 0, mass, 1)
        return jnp.where(mass > 0, means, m)

    def unfinished(carry):
        _, _, energies, _, done = carry
        change = energies[done - 1] - energies[done]
        return (done == 0) | ((done < rounds) & (change > tolerance * jnp.abs(energies[done])))

    def alternate(carry):
        logits, m, energies, rise, done = carry
        logits, trace = _descend(logits, costs_at(m), problem, iterations)
        m = moved(_soft(logits, problem), m)
        trace = jnp.append(trace, _energy(logits, costs_at(m), problem))
        energies = jnp.where(jnp.arange(rounds + 1) > done, trace[-1], energies)
        rises = jnp.diff(trace) / jnp.maximum(1, jnp.abs(trace[1:]))  # float32 has seven digits
        return logits, m, energies, jnp.maximum(rise, rises.max()), done + 1

    energies = jnp.full(rounds + 1, _energy(-start, start, problem))
    lowest = jnp.full((), -jnp.inf, energies.dtype)
    carry = (-start, centres, energies, lowest, jnp.asarray(0))
    logits, m, energies, rise, done = jax.lax.while_loop(unfinished, alternate, carry)
    return LaplacianKModes(_soft(logits, problem), m, energies, rise, done)


def laplacian_clustering(
    key: chex.PRNGKey,
    x: jax.Array,
    k: int,
    *,
    neighbours: int = 5,
    weight: float = 1.0,
    prototypes: str = 'means',
    scale: float = 10.0,
    restarts: int = 5,
    iterations: int = 20,
    rounds: int = 100,
    tolerance: float = 1e-5,
) -> LaplacianKModes:
    """Clusters without labels: Laplacian K-prototypes from k-means on, on a sparse graph.

        a_pk = scale |x_p - m_k|^2 / u  or  scale (1 - exp(-|x_p - m_k|^2 / (2 u))),
        u the mean squared distance to k-means' centres: the unit of x does not matter

    Args:
        key: random key of k-means' seeds.
        x: points [N, D].
        k: number of clusters.
        neighbours: of every point in the graph.
        weight: of the graph.
        prototypes: as in `laplacian_kmodes`.
        scale: of the costs against the entropy.
        restarts: seedings of k-means.
        iterations, rounds, tolerance: as in `laplacian_kmodes`.

    Returns:
        `LaplacianKModes`.

    Reference: Scalable Laplacian K-modes (Ziko et al., 2018).
    """
    start = kmeans(key, x, k, restarts=restarts)
    mean = start.inertia / x.shape[0]
    unit = jnp.where(mean > 0, mean, 1)
    return laplacian_kmodes(
        x,
        start.centres,
        knn_edges(x, neighbours),
        weight=weight,
        prototypes=prototypes,
        scale=scale / unit if prototypes == 'means' else scale,
        bandwidth=jnp.sqrt(unit),
        iterations=iterations,
        rounds=rounds,
        tolerance=tolerance,
    )


def _degrees(affinity):
    n = len(affinity[0] if isinstance(affinity, tuple) else affinity)
    return graph_product(affinity, jnp.ones((n, 1)))[:, 0]


class _Problem(NamedTuple):
    affinity: jax.Array | Edges
    weight: jax.Array
    damping: jax.Array  # [N, 1]
    free: jax.Array  # [N, 1], 0 where a label is known
    fixed: jax.Array  # [N, K], assignments where it is, zero elsewhere


def _problem(affinity, weight, labels, damping, costs):
    n, k = costs.shape
    damping = safe_damping(affinity, weight=weight) if damping is None else damping
    labels = jnp.full(n, -1) if labels is None else labels
    chex.assert_shape(labels, (n,))
    fixed = jax.nn.one_hot(labels, k, dtype=costs.dtype)  # -1 gives a row of zeros
    free = 1 - fixed.sum(axis=1, keepdims=True)
    return _Problem(affinity, weight, jnp.broadcast_to(damping, n)[:, None], free, fixed)


def _soft(logits, problem):
    return problem.fixed + problem.free * jax.nn.softmax(logits)


def _energy(logits, costs, problem):
    y = _soft(logits, problem)
    return laplacian_energy(y, costs, problem.affinity, weight=problem.weight)


def _descend(logits, costs, problem, iterations):
    """The log-assignments after all updates, and the energies [iterations + 1] on the way."""
    _, weight, damping, *_ = problem

    def update(logits, _):
        pull = 2 * weight * graph_product(problem.affinity, _soft(logits, problem)) - costs
        new = (pull + damping * jax.nn.log_softmax(logits)) / (1 + damping)
        return new, _energy(logits, costs, problem)

    logits, energies = jax.lax.scan(update, logits, length=iterations)
    return logits, jnp.append(energies, _energy(logits, costs, problem))
