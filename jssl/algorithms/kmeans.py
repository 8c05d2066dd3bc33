"""k-means: Lloyd's iterations, k-means++ seeding, the mini-batch form, and squared distances."""

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32


class KMeans(NamedTuple):
    """A clustering of N points in D dimensions."""

    centres: jax.Array  # [K, D]
    labels: jax.Array  # [N], the nearest centre of every point
    inertia: jax.Array  # sum of squared distances to it
    iterations: jax.Array


def pairwise_squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Squared Euclidean distances by one matrix product, never negative.

        d_nm = max(0, |x_n|^2 + |y_m|^2 - 2 <x_n, y_m>),  both taken from the mean of y

    The shift keeps the digits that an offset shared by all points would cost. What is left of the
    cancellation is a rounding error of about 1e-7 of the squared norms, not of the distance.

    Args:
        x: points [N, D].
        y: points [M, D].

    Returns:
        Squared distances [N, M], float32 or wider.

    Reference: Least Squares Quantization in PCM (Lloyd, 1982).
    """
    chex.assert_rank([x, y], 2)
    chex.assert_equal(x.shape[1], y.shape[1])
    x, y = at_least_float32(x), at_least_float32(y)
    shift = jax.lax.stop_gradient(y.mean(axis=0, keepdims=True))
    x, y = x - shift, y - shift
    products = jnp.matmul(x, y.T, precision='highest')
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :]
    return jnp.maximum(squares - 2 * products, 0)


def assign(x: jax.Array, centres: jax.Array) -> jax.Array:
    """The nearest centre of every point, the first one among equals.

        y_n = argmin_k |x_n - c_k|^2

    Args:
        x: points [N, D].
        centres: centres [K, D].

    Returns:
        Labels [N], int32.

    Reference: Least Squares Quantization in PCM (Lloyd, 1982).
    """
    chex.assert_rank([x, centres], 2)
    chex.assert_equal(x.shape[1], centres.shape[1])
    shift = at_least_float32(centres).mean(axis=0, keepdims=True)
    labels, _ = _nearest_centre(at_least_float32(x) - shift, at_least_float32(centres) - shift)
    return labels


@functools.partial(jax.jit, static_argnames=('k', 'trials'))
def kmeans_plus_plus(
    key: chex.PRNGKey, x: jax.Array, k: int, *, trials: int | None = None
) -> jax.Array:
    """Seeds for k-means, drawn far from one another, each the best of a few draws.

        c_{i+1} ~ p(x_n) = d_n / sum_m d_m,  d_n = min_{j <= i} |x_n - c_j|^2

    Args:
        key: random key.
        x: points [N, D].
        k: number of seeds, at most N.
        trials: candidates per seed, of which the one that lowers sum_n d_n most is taken; 1 is
            the plain rule, the default 2 + floor(ln k) is the authors' greedy one.

    Returns:
        Seeds [K, D], rows of `x`.

    Reference: k-means++: The Advantages of Careful Seeding (Arthur & Vassilvitskii, 2007).
    """
    _check(x, k)
    trials = 2 + int(math.log(k)) if trials is None else trials
    n = x.shape[0]
    key, first = jax.random.split(key)
    first = jax.random.randint(first, (), 0, n)

    def step(distances, key):
        # When every point is a seed already, any point is as good as another.
        weights = jnp.where(distances.max() > 0, distances, 1)
        cumulative = jnp.cumsum(weights)
        draws = jax.random.uniform(key, (trials,), cumulative.dtype) * cumulative[-1]
        candidates = jnp.minimum(jnp.searchsorted(cumulative, draws, side='right'), n - 1)
        nearer = pairwise_squared_distances(x, x[candidates])
        nearer = jnp.minimum(distances[:, None], nearer)
        best = nearer.sum(axis=0).argmin()
        return nearer[:, best], candidates[best]

    distances = pairwise_squared_distances(x, x[first][None, :])[:, 0]
    _, rest = jax.lax.scan(step, distances, jax.random.split(key, k - 1))
    return x[jnp.concatenate([first[None], rest])]


@functools.partial(jax.jit, static_argnames=('k', 'restarts'))
def kmeans(
    key: chex.PRNGKey,
    x: jax.Array,
    k: int,
    *,
    iterations: int = 100,
    tolerance: float = 1e-4,
    restarts: int = 1,
    init: jax.Array | None = None,
) -> KMeans:
    """Lloyd's k-means from k-means++ seeds; clusters that run empty restart at the farthest points.

        min_{c, y} sum_n |x_n - c_{y_n}|^2

    Args:
        key: random key of the seeds; unused when `init` is given.
        x: points [N, D].
        k: number of clusters, at most N.
        iterations: largest number of iterations.
        tolerance: stops when the centres move, in squared distance, by at most this share of the
            mean variance of the features.
        restarts: number of seedings, of which the one with the lowest inertia is returned.
        init: centres to start from [K, D].

    Returns:
        KMeans with centres [K, D], labels [N], inertia and the number of iterations.

    Reference: Least Squares Quantization in PCM (Lloyd, 1982).
    """
    _check(x, k)
    if init is not None:
        chex.assert_shape(init, (k, x.shape[1]))
        if restarts > 1:
            raise ValueError(f'restarts from given centres are all alike: {restarts=} with init')
    x = at_least_float32(x)
    shift = x.mean(axis=0, keepdims=True)  # as in pairwise_squared_distances
    x = x - shift
    smallest_move = tolerance * (x * x).mean()

    def run(init):
        def unfinished(carry):
            _, move, iteration = carry
            return (move > smallest_move) & (iteration < iterations)

        def update(carry):
            centres, _, iteration = carry
            new = _lloyd(x, centres)
            return new, ((new - centres) ** 2).sum(), iteration + 1

        start = init, jnp.full((), jnp.inf, x.dtype), 0
        centres, _, iteration = jax.lax.while_loop(unfinished, update, start)
        labels, _ = _nearest_centre(x, centres)
        inertia = ((x - centres[labels]) ** 2).sum()
        return KMeans(centres, labels, inertia, iteration)

    if init is not None:
        best = run(at_least_float32(init) - shift)
    else:
        keys = jax.random.split(key, restarts)
        runs = jax.lax.map(lambda key: run(kmeans_plus_plus(key, x, k)), keys)
        best = jax.tree.map(lambda leaf: leaf[runs.inertia.argmin()], runs)
    return best._replace(centres=best.centres + shift)


@functools.partial(jax.jit, static_argnames=('k', 'batch', 'steps'))
def minibatch_kmeans(
    key: chex.PRNGKey, x: jax.Array, k: int, *, batch: int = 1024, steps: int = 100
) -> KMeans:
    """k-means by stochastic steps, for more points than Lloyd's passes can afford.

        c_k <- c_k + (x - c_k) / n_k  for every x of a batch,  n_k the points that k has had so far

    Args:
        key: random key of the seeds and batches.
        x: points [N, D].
        k: number of clusters, at most N.
        batch: points per step, drawn with replacement.
        steps: number of steps.

    Returns:
        KMeans with centres [K, D], labels [N] and inertia of all points, and `steps`.

    Reference: Web-Scale K-Means Clustering (Sculley, 2010).
    """
    _check(x, k)
    n = x.shape[0]
    x = at_least_float32(x)
    shift = x.mean(axis=0, keepdims=True)
    x = x - shift
    sample_key, seed_key, key = jax.random.split(key, 3)
    sample = jax.random.choice(sample_key, n, (min(n, max(3 * batch, k)),), replace=False)

    def step(carry, key):
        centres, seen = carry
        points = x[jax.random.randint(key, (batch,), 0, n)]
        labels, _ = _nearest_centre(points, centres)
        sums, counts = _sums(points, labels, k)
        seen = seen + counts
        centres = centres + (sums - counts[:, None] * centres) / jnp.maximum(seen, 1)[:, None]
        return (centres, seen), None

    start = kmeans_plus_plus(seed_key, x[sample], k), jnp.zeros(k, x.dtype)
    (centres, _), _ = jax.lax.scan(step, start, jax.random.split(key, steps))
    labels, _ = _nearest_centre(x, centres)
    inertia = ((x - centres[labels]) ** 2).sum()
    return KMeans(centres + shift, labels, inertia, jnp.asarray(steps))


def _check(x, k):
    chex.assert_rank(x, 2)
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f'k must be between 1 and the number of points {x.shape[0]}, got {k}')


def _nearest_centre(x, centres):
    """Labels [N], and squared distances less |x|^2 [N].

    Value and index in one reduction: on CPU 3-5 times faster than argmin, whose comparison also
    carries NaN along.
    """

    def smaller(one, other):
        keep = (one[0] < other[0]) | ((one[0] == other[0]) & (one[1] < other[1]))
        return jax.tree.map(lambda a, b: jnp.where(keep, a, b), one, other)

    products = jnp.matmul(x, centres.T, precision='highest')
    scores = (centres * centres).sum(axis=1)[None, :] - 2 * products
    indices = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
    last = jnp.asarray(jnp.inf, scores.dtype), jnp.int32(centres.shape[0] - 1)
    smallest, labels = jax.lax.reduce((scores, indices), last, smaller, (1,))
    return labels, smallest


def _sums(x, labels, k):
    """Sum [K, D] and number [K] of the points of every cluster.

    On a CPU a scatter costs a fifth of the product; elsewhere it adds in no fixed order.
    """

    def scatter(x, labels):
        ones = jnp.ones(labels.shape, x.dtype)
        return jax.ops.segment_sum(x, labels, k), jax.ops.segment_sum(ones, labels, k)

    def product(x, labels):
        members = jax.nn.one_hot(labels, k, dtype=x.dtype)
        return jnp.matmul(members.T, x, precision='highest'), members.sum(axis=0)

    return jax.lax.platform_dependent(x, labels, cpu=scatter, default=product)


def _lloyd(x, centres):
    k = centres.shape[0]
    labels, distances = _nearest_centre(x, centres)
    sums, counts = _sums(x, labels, k)
    means = sums / jnp.maximum(counts, 1)[:, None]

    def reseed():
        empty = counts == 0
        _, farthest = jax.lax.top_k(distances + (x * x).sum(axis=1), k)
        seeds = x[farthest[jnp.cumsum(empty) - 1]]  # the i-th empty cluster: i-th farthest point
        return jnp.where(empty[:, None], seeds, means)

    return jax.lax.cond((counts == 0).any(), reseed, lambda: means)
