"""iLA-SDP: a convex program finds clusters of unequal shapes, wherever one starts.

Paper: Likelihood Adjusted Semidefinite Programs for Clustering Heterogeneous Data (Zhuang et al.,
2023).

    max sum_k <A_k, Z_k>  s.t.  Z_k >= 0, Z_k psd, tr Z_k = 1, sum_k Z_k 1 = 1
    A_k[i, j] = -(x_i - x_j)' S_k^-1 (x_i - x_j) / 2 - log |S_k|
    S_k = sum_ij Z_k[i, j] (x_i - x_j) (x_i - x_j)' / (2 1' Z_k 1)

Z_k relaxes 1_G 1_G' / |G|, whose value is the likelihood at the best means: there are no centroids
to lose. Program and covariances alternate until no label changes. Beside it: the program with known
covariances (LA-SDP), Peng and Wei's of k-means (one Z of trace K), EM, its steps with hard labels,
k-means and spectral clustering; on points too many for a program, one of a sample of them.

Claim: fewer errors than the k-means program and no more than EM where shapes differ, the same as
the k-means program where they do not; a bad start that ruins EM does not matter; exact recovery
begins near the separation that theory gives.
Differences from the paper:
  1. ADMM of our own for SDPNAL+: a round goes on from the last one's prices. It has 50 steps in the
  cpu preset, which where shapes differ leave a duality gap of 0.1 to 0.9 of the bound (a column of
  its own) and memberships that still move. 2. The cpu preset has 60 points in place of hundreds. 3.
  A bad start merges two clusters and halves the third. 4. More coordinates than points get a ridge
  as large as the noise. 5. The k-means program has as many steps of ADMM as its gap needs, and its
  labels are those of k-means on the rows of Z. 6. Clusters of equal shape are 1.3 times as far
  apart as theory asks for exact recovery.

    python -m experiments.clustering.ila_sdp --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import cluster

from jssl import algorithms, data, evaluate, experiment
from jssl.algorithms.sdp import ClusterSDP
from jssl.data.generated import mixtures
from jssl.experiment import Claim, Equality, Range, figures

STARTS = {  # the usual one first; the others where shapes are unequal
    'ila-sdp': ('hierarchical', 'random', 'adversarial'),
    'hard em': ('hierarchical', 'random', 'adversarial'),
    'em': ('k-means', 'random', 'adversarial'),
    'la-sdp': ('hierarchical',), 'sdp': ('hierarchical',), 'k-means': ('k-means',),
    'spectral': ('spectral',),
}  # fmt: skip
EM = {'hard em': (50, 0), 'em': (0, 100)}  # steps with hard labels, and with soft ones
PROGRAMS = {'ila-sdp': 'likelihood', 'la-sdp': 'likelihood', 'sdp': 'shared'}


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    points: int = 150  # n, section 4
    clusters: int = 3  # K, section 4
    dimension: int = 4  # p
    wide: int = 200  # p where it is larger than n
    large: int = 2000  # points of which a sample is clustered
    repetitions: int = 256  # of every setting, side by side; section 4 has 100
    restarts: int = 10  # of k-means
    rounds: int = 10  # of program and covariances, section 4
    plain_rounds: int = 10  # of the k-means program, whose affinities stay
    iterations: int = 500  # of ADMM in a round
    tolerance: float = 1e-2  # of the relative duality gap, before rounds may end
    separation: float = 3.0  # of the two nearest means, in standard deviations
    apart: float = 1.3  # of clusters of equal shape, in the separation theory asks for
    anisotropy: float = 20.0  # longest axis to shortest
    spread: float = 3.0  # widest cluster to narrowest
    shares: tuple[float, ...] = (0.5, 0.3, 0.2)  # of the points, where unequal
    ridge: float = 1e-3  # of the covariances
    wide_ridge: float = 1.0  # where there are more coordinates than points
    tables: tuple[str, ...] = ('iris', 'wine')  # the paper's real data
    factors: tuple[float, ...] = (0.5, 0.7, 0.9, 1.1, 1.3)  # of the separation theory asks for
    recoveries: int = 256  # repetitions at every one


PAPER = Config()
CPU = replace(PAPER, points=60, wide=80, large=1000, repetitions=8, plain_rounds=8, iterations=50,
              recoveries=8)  # fmt: skip
SMOKE = replace(CPU, seeds=1, points=12, dimension=13, wide=13, large=12, restarts=1, rounds=2,
                plain_rounds=2, iterations=3, tables=('wine',), factors=(0.5, 1.3))  # fmt: skip


class State(NamedTuple):
    """Of every repetition: labels, memberships, covariances and what ADMM goes on from."""

    labels: jax.Array  # [R, N]
    parts: jax.Array  # [R, J, N, N]
    covariances: jax.Array  # [R, K, D, D]
    copies: jax.Array  # [R, 2, J, N, N]
    prices: jax.Array  # [R, 2, J, N, N]
    done: jax.Array  # bool [R], no label changed
    known: jax.Array  # bool, the covariances are given
    ridge: jax.Array


@functools.partial(jax.jit, static_argnums=(0, 3))
def begin(config, x, labels, kind, *, covariances=None, ridge=None):
    """The state that starts from labels [R, N]."""
    parts = jax.vmap(lambda y: algorithms.membership_matrices(y, config.clusters))(labels)
    parts = parts.sum(1, keepdims=True) if kind == 'shared' else parts
    copies = jnp.stack([parts, parts], 1)
    known, (count, _, width) = covariances is not None, x.shape
    if not known:
        covariances = jnp.zeros((count, config.clusters, width, width))
    done, ridge = jnp.zeros(count, bool), config.ridge if ridge is None else ridge
    return State(labels, parts, covariances, copies, 0 * copies, done, jnp.array(known),
                 jnp.float32(ridge))  # fmt: skip


@functools.lru_cache
def build(config, kind='likelihood'):
    """(init, step): a round of all repetitions, of iLA-SDP or of the program of k-means."""
    k = config.clusters

    def init(key):
        shape = inputs(config)['x'].shape
        labels = jax.random.randint(key, shape[:2], 0, k)
        return begin(config, jnp.zeros(shape), labels, kind)

    def advance(x, known, ridge, own):
        labels, parts, covariances, *warm, done = own
        if kind == 'shared':
            affinities = algorithms.profile_affinity(x, jnp.eye(x.shape[1])[None])
            traces = jnp.array([k], jnp.float32)
        else:
            found = algorithms.membership_covariances(x, parts, ridge=ridge)
            covariances = jnp.where(known, covariances, found)
            affinities, traces = algorithms.profile_affinity(x, covariances), jnp.ones(k)
        start = ClusterSDP(*[None] * 4, *warm)
        options = {'start': start, 'iterations': config.iterations}
        found = algorithms.cluster_sdp(affinities, traces, **options)
        parts = jnp.maximum(found.parts, 0)
        moved = labels if kind == 'shared' else parts.sum(2).argmax(0)
        new = moved, parts, covariances, found.copies, found.prices
        new = jax.tree.map(functools.partial(jnp.where, done), own[:-1], new)
        gap = jnp.abs(found.bound - found.objective) / jnp.abs(found.bound)
        # Labels that stay while ADMM has not converged say nothing.
        stop = done | ((moved == labels).all() & (gap < config.tolerance))
        return (*new, stop), {'residual': found.residual, 'gap': gap, 'moving': 1.0 - stop}

    def step(state, batch, key):
        *own, known, ridge = state
        each = lambda x, own: advance(x, known, ridge, own)
        own, metrics = jax.vmap(each)(batch['x'], tuple(own))
        return State(*own, known, ridge), {name: m.mean() for name, m in metrics.items()}

    return init, step


def inputs(config):
    shape = config.repetitions, config.points, config.dimension
    return {'x': jax.ShapeDtypeStruct(shape, jnp.float32)}


def threshold(config):
    """The separation beyond which theory says that the k-means program errs nowhere."""
    n, k, p = config.points, config.clusters, config.dimension
    return 2 * np.sqrt((1 + np.sqrt(1 + k * p / (n * np.log(n)))) * np.log(n))


def shape(config, setting):
    """What the mixtures of a setting are like, and the shares of their clusters."""
    unequal = {'anisotropy': config.anisotropy, 'spread': config.spread, 'shares': config.shares}
    equal = {'arrangement': 'ring', 'shares': (1,) * config.clusters,
             'separation': config.apart * threshold(config)}  # fmt: skip
    return {'components': config.clusters, 'separation': config.separation,
            'dimension': config.wide if setting == 'wide' else config.dimension,
            **(equal if setting == 'isotropic' else unequal)}  # fmt: skip


def draw(seed, count, points, *, shares, **shape):
    """x [R, N, D], labels [R, N] and covariances [R, K, D, D] of Gaussian clusters."""
    ends = np.round(np.cumsum((0, *shares)) / sum(shares) * points).astype(int)
    y, xs, covariances = np.repeat(np.arange(len(shares)), np.diff(ends)), [], []
    for r in range(count):
        world = mixtures.world(seed=1000 * seed + r, **shape)
        xs.append(world.draw(y, np.random.default_rng([seed, r]).random((points, world.width))))
        covariances.append(world.factor @ world.factor.transpose(0, 2, 1))
    return np.float32(xs), np.tile(y, (count, 1)), np.float32(covariances)


def sample(config, name, seed):
    """As `draw`, of rows of a table with standardised columns."""
    parts = [data.load(name, split) for split in ('train', 'validation', 'test')]
    x, y = (np.concatenate([part[k] for part in parts]) for k in ('feature', 'label'))
    x, random = (x - x.mean(0)) / x.std(0), np.random.default_rng(seed)
    draws = [random.permutation(len(x))[: config.points] for _ in range(config.repetitions)]
    return np.float32(x[np.stack(draws)]), y[np.stack(draws)], None


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0, None, None, None))
def mixtures_of(k, x, labels, others, ridge, hard, soft):
    """Labels of other points by Gaussians of labelled ones, after so many steps of EM of a kind."""

    def mixture(labels):
        parts = algorithms.membership_matrices(labels, k)
        covariances = algorithms.membership_covariances(x, parts, ridge=ridge)
        member = jax.nn.one_hot(labels, k)
        means = member.T @ x / jnp.maximum(member.sum(0), 1)[:, None]
        return algorithms.GMM(jnp.full(k, 1 / k), means, covariances, 0.0, 0)

    best = lambda found, x: algorithms.gmm_responsibilities(found, x).argmax(1)
    labels = jax.lax.fori_loop(0, hard, lambda _, labels: best(mixture(labels), x), labels)
    options = {'regularisation': ridge, 'tolerance': 1e-6, 'iterations': soft}
    return best(algorithms.gmm(jax.random.key(0), x, k, init=mixture(labels), **options), others)


def first_labels(config, start, seed, x, y):
    """[R, N] of one way to start."""
    k = config.clusters
    match start:
        case 'random':
            return np.random.default_rng(seed).integers(0, k, y.shape)
        case 'adversarial':  # the last cluster in halves, the others together
            middle = np.stack([np.median(a[b == k - 1, 0]) for a, b in zip(x, y, strict=True)])
            return np.where(y == k - 1, 1 + (x[..., 0] > middle[:, None]), 0)
        case 'hierarchical':
            method = lambda one: cluster.AgglomerativeClustering(k)
        case 'k-means':
            method = lambda one: cluster.KMeans(k, n_init=config.restarts, random_state=seed)
        case 'spectral':
            width = lambda one: np.median(np.square(one[:, None] - one).sum(2))
            method = lambda one: cluster.SpectralClustering(
                k, gamma=1 / width(one), random_state=seed
            )
    return np.stack([method(one).fit_predict(one) for one in x])


def solve(config, ctx, kind, name, x, labels, seed, **options):
    """Labels [R, N] after the rounds, and how well the last program was solved."""
    state, step = begin(config, x, jnp.asarray(labels), kind, **options), build(config, kind)[1]
    rounds = config.plain_rounds if kind == 'shared' else config.rounds
    options = {'steps': rounds, 'seed': seed, 'every': 1}
    name = f'{name}-{seed}'.replace(', ', '-').replace(' ', '-')
    state, history = ctx.fit(step, state, {'x': x}, name=name, **options)
    labels = np.asarray(state.labels)
    if kind == 'shared':  # the rows of Z are alike within a cluster
        labels = first_labels(config, 'k-means', seed, np.asarray(state.parts[:, 0]), None)
    return labels, {name: column[-1] for name, column in history.items() if name != 'step'}


def wrong(labels, found):
    """Share of misclustered points, [R]."""
    pairs = zip(labels, np.asarray(found), strict=True)
    return np.array([1 - evaluate.clustering_accuracy(*pair) for pair in pairs])


def compare(config, ctx, setting, made, seed):
    """Every method, from every start where shapes are unequal."""
    x, y, covariances = made
    every = setting == 'unequal'
    ridge = config.wide_ridge if x.shape[2] > x.shape[1] else config.ridge
    for method, starts in STARTS.items():
        for start in starts if every else starts[: method != 'la-sdp']:
            name = method if start == starts[0] else f'{method}, {start}'
            labels, quality = first_labels(config, start, seed, x, y), {}
            if method in PROGRAMS:
                known = covariances if method == 'la-sdp' else None
                solving = config, ctx, PROGRAMS[method], f'{setting}-{name}', x, labels, seed
                labels, quality = solve(*solving, ridge=ridge, covariances=known)
            if method in EM:
                labels = mixtures_of(config.clusters, x, labels, x, ridge, *EM[method])
            share = wrong(y, labels)
            ctx.add(setting=setting, method=name, seed=seed, mean_error=share.mean(),
                    median_error=np.median(share), **quality)  # fmt: skip


def by_sample(config, ctx, seed):
    """Many points: a program of a sample of them, and the others by its clusters' likelihood."""
    made = draw(seed, config.repetitions, config.large, **shape(config, 'unequal'))
    (x, y, _), k = made, config.clusters
    rows = np.random.default_rng(seed).permutation(config.large)[: config.points]
    few, start = x[:, rows], first_labels(config, 'hierarchical', seed, x[:, rows], y[:, rows])
    labels, _ = solve(config, ctx, 'likelihood', 'sample', few, start, seed)
    means = first_labels(config, 'k-means', seed, x, y)
    found = {'ila-sdp': mixtures_of(k, few, labels, x, config.ridge, 0, 0), 'k-means': means}
    found['em'] = mixtures_of(k, x, means, x, config.ridge, *EM['em'])
    for method, labels in found.items():
        share = wrong(y, labels)
        ctx.add(setting='large', method=method, seed=seed, mean_error=share.mean(),
                median_error=np.median(share))  # fmt: skip


def recovery(config, ctx, seed):
    """How often the k-means program errs nowhere, by separation; and where that is even."""
    exact = []
    for factor in config.factors:
        world = shape(replace(config, apart=factor), 'isotropic')
        x, y, _ = draw(seed, config.recoveries, config.points, **world)
        labels = np.zeros_like(y)
        labels, _ = solve(config, ctx, 'shared', f'recovery-{factor}', x, labels, seed)
        exact.append((wrong(y, labels) == 0).mean())
        ctx.add(setting='recovery', factor=str(factor), seed=seed, exact=exact[-1])
    ctx.add(setting='crossing', seed=seed, crossing=crossing(config.factors, exact))
    return exact


def crossing(factors, exact):
    """Where shares pass one half for the last time, by the line between neighbours."""
    below = max((i for i, share in enumerate(exact) if share < 0.5), default=-1)
    ends = min(max(below, 0), len(exact) - 2)
    low, high = exact[ends], exact[ends + 1]
    slope = np.clip((0.5 - low) / max(high - low, 1e-9), 0, 1)
    return factors[ends] + slope * (factors[ends + 1] - factors[ends])


def run(config, ctx):
    curves = {}
    for seed in ctx.grid(seed=ctx.seeds):
        for setting in ('unequal', 'isotropic', 'wide'):
            world = shape(config, setting)
            made = draw(seed, config.repetitions, config.points, **world)
            compare(config, ctx, setting, made, seed)
        for name in config.tables:
            compare(config, ctx, name, sample(config, name, seed), seed)
        by_sample(config, ctx, seed)
        curves[f'seed {seed}'] = config.factors, recovery(config, ctx, seed)
    labels = {'x': 'separation / theory', 'y': 'exact recovery'}
    ctx.save_figure('recovery', figures.curves(curves, **labels))
    unequal, equal = {'setting': 'unequal'}, {'setting': 'isotropic'}
    return ctx.report(
        Claim('median_error', 'ila-sdp', 'em', lower=True, where=unequal, paper='figure 2'),
        Claim('median_error', 'ila-sdp', 'sdp', 0.05, lower=True, where=unequal, paper='figure 2'),
        Claim('mean_error', 'ila-sdp, adversarial', 'em, adversarial', 0.1, lower=True,
              where=unequal, paper='insensitive to starts'),
        Equality('mean_error', 'ila-sdp', 'sdp', 0.01, where=equal),
        Range('crossing', 0.75, 1.25, paper='the threshold of exact recovery'),
    )  # fmt: skip


if __name__ == '__main__':
    experiment.main()
