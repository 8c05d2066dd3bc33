"""k-means, nearest neighbours, Gaussian mixtures and Sinkhorn against scikit-learn and NumPy.

    python -m tools.bench.algorithms --rounds 7 --only kmeans sinkhorn

Same float32 data, same start, same number of iterations. The two sides of a task take turns, so
that a busy machine slows both. Printed are the least wall time of the rounds, the median, and the
processor time of the whole process in the quickest round by that measure, which a busy machine
hardly touches; `agrees` is the relative difference of the two results. For one core:

    NPROC=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 python -m tools.bench.algorithms
"""

import argparse
import statistics
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from jssl import algorithms
from jssl.train import runtime

KEY = jax.random.key(0)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def kmeans(n=20_000, d=64, k=100, iterations=15):
    x = draw(n, d)
    points, init = jnp.asarray(x), jnp.asarray(x[:k])

    def ours():
        return algorithms.kmeans(KEY, points, k, iterations=iterations, tolerance=0.0, init=init)

    def reference():
        return KMeans(k, init=x[:k], n_init=1, max_iter=iterations, tol=0, algorithm='lloyd').fit(x)

    return {
        f'k-means {n} x {d}, k={k}, {iterations} it.': (
            (ours, lambda fit: fit.inertia),
            (reference, lambda fit: fit.inertia_),
        )
    }


def neighbours(queries=2_000, n=20_000, d=128, k=20):
    q, x = draw(queries, d), draw(n, d, seed=1)
    on_device = jnp.asarray(q), jnp.asarray(x)
    reference = NearestNeighbors(n_neighbors=k, algorithm='brute').fit(x)
    return {
        f'kNN {queries} x {n}, d={d}, k={k}': (
            (lambda: algorithms.nearest(*on_device, k), lambda found: found.distances),
            (lambda: reference.kneighbors(q), lambda found: found[0]),
        )
    }


def mixture(n=20_000, d=64, k=10, iterations=20):
    x = draw(n, d)
    points = jnp.asarray(x)
    tasks = {}
    for kind, identity in (('diag', np.ones((k, d))), ('full', np.stack([np.eye(d)] * k))):
        identity = identity.astype(np.float32)
        init = algorithms.GMM(
            jnp.ones(k) / k, points[:k], jnp.asarray(identity), jnp.zeros(()), jnp.zeros((), int)
        )
        options = {'covariance': kind, 'iterations': iterations, 'tolerance': -1.0, 'init': init}
        ours = lambda options=options: algorithms.gmm(KEY, points, k, **options)
        reference = GaussianMixture(
            k,
            covariance_type=kind,
            max_iter=iterations,
            tol=0,
            init_params='random_from_data',  # not used, but the default would run k-means first
            weights_init=np.full(k, 1 / k),
            means_init=x[:k],
            precisions_init=identity,
        )
        tasks[f'GMM {kind} {n} x {d}, K={k}, {iterations} it.'] = (
            (ours, lambda fit: fit.log_likelihood),
            (lambda reference=reference: reference.fit(x), lambda fit: fit.score(x)),
        )
    return tasks


def scaling(cost, epsilon, iterations):
    kernel = np.exp(-cost / np.float32(epsilon))
    rows = np.full(len(cost), 1 / len(cost), np.float32)
    u = rows
    for _ in range(iterations):
        v = rows / (u @ kernel)
        u = rows / (kernel @ v)
    return u[:, None] * kernel * v[None, :]


def transport(n=2_000, iterations=100):
    """NumPy's scaling form underflows below 0.01; its time at 0.05 is the reference for all."""
    cost = np.random.default_rng(0).random((n, n), np.float32)
    costs = jnp.asarray(cost)
    reference = (lambda: scaling(cost, 0.05, iterations)), np.asarray
    tasks = {}
    for epsilon in (0.05, 0.01, 0.001):
        ours = lambda epsilon=epsilon: algorithms.sinkhorn_plan(
            costs, epsilon=epsilon, iterations=iterations
        )
        name = f'Sinkhorn {n} x {n}, {iterations} it., epsilon {epsilon}'
        tasks[name] = (ours, np.asarray if epsilon == 0.05 else None), reference
    return tasks


TASKS = {'kmeans': kmeans, 'neighbours': neighbours, 'gmm': mixture, 'sinkhorn': transport}


def measure(function):
    wall, processor = time.perf_counter(), time.process_time()
    jax.block_until_ready(function())
    return time.perf_counter() - wall, time.process_time() - processor


def difference(ours, reference):
    if ours[1] is None:
        return '-'
    one, other = (
        np.asarray(result(function()), np.float64) for function, result in (ours, reference)
    )
    return f'{np.abs(one - other).max() / np.abs(other).max():.0e}'


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--only', nargs='+', choices=TASKS, default=[*TASKS])
    options = parser.parse_args()
    warnings.simplefilter('ignore', ConvergenceWarning)
    runtime.keep_heap()

    header = f'{"least / median / processor ms":52}{"jssl":>24}{"reference":>24}'
    print(f'{header}{"ratios":>14}  agrees')
    for task in options.only:
        for name, (ours, reference) in TASKS[task]().items():
            agrees = difference(ours, reference)  # and compiles
            rounds = [(measure(ours[0]), measure(reference[0])) for _ in range(options.rounds)]
            columns, figures = '', []
            for side in zip(*rounds, strict=True):
                walls, processors = zip(*side, strict=True)
                figures.append((min(walls), min(processors)))
                times = min(walls), statistics.median(walls), min(processors)
                columns += f'{" / ".join(f"{1e3 * seconds:.1f}" for seconds in times):>24}'
            ratios = ' / '.join(f'{a / b:.2f}' for a, b in zip(*figures, strict=True))
            print(f'{name:52}{columns}{ratios:>14}  {agrees}', flush=True)


if __name__ == '__main__':
    main()
