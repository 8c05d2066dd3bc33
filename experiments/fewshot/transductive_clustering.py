"""Clustering the queries of a few-shot task, with labels as constraints, rivals meta-learning.

Paper: Transductive Few-Shot Learning: Clustering is All You Need? (Ziko et al., 2021).

    R(Y, M) = sum_p y_p . (a_p + log y_p) + lambda sum_pq w_pq (1 - y_p . y_q),  y fixed at supports
    y_p <- softmax(-a_p + 2 lambda sum_q w_pq y_q),  all points in parallel;  m_k <- mean or mode
    a_pk = s |z_p - m_k|^2 (means) or s (1 - g(z_p, m_k)) (modes, points);  w: nearest neighbours

z are a network's features, trained by cross-entropy on base classes, centred and of length one; a
task starts from rectified prototypes. Updates are damped where lambda d_p > 1: R never rises.

Claim: k-means on the queries is far above inductive prototypes; the whole energy is no worse (half
a point) and above label propagation; its optimiser never goes uphill, beats gradient descent at
equal iterations, and clusters 5,000 points in seconds.
Differences from the paper:
  1. The cpu preset has drawn shapes, a small ConvNet, and MNIST for the domain shift and, beside a
  mixture, for clustering. 2. Every method's hyper-parameters are chosen alike, once per seed, on
  validation classes' 1-shot tasks; clustering's are fixed in units of the data's scale. 3. The
  costs' scale s. 4. The damping; Y goes on from the last round, where the authors' code starts
  afresh. 5. Uneven queries too: rectification and TIM lean on even ones, the energy does not.

    python -m experiments.fewshot.transductive_clustering --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn import cluster, datasets, neighbors

from jssl import algorithms, data, evaluate, experiment, models, train
from jssl.algorithms.laplacian_kmodes import PROTOTYPES
from jssl.data import augment
from jssl.evaluate.timing import timed
from jssl.experiment import Bound, Claim, Range, figures
from jssl.losses import cross_entropy, normalise

distances = algorithms.pairwise_squared_distances
RATES = (0.3, 1.0, 3.0, 10.0, 30.0)  # of gradient descent, of which a task takes its best


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'mini_imagenet'  # section 4.2; also tieredImageNet, CUB, iNat
    shifted: str = 'caltech_birds2011'  # domain shift: mini-ImageNet to CUB
    size: int = 84  # side of the images
    classes: tuple[int, ...] = (64, 16, 20)  # base, validation, novel
    per_class: int = 120  # images, where they are drawn
    widths: tuple[int, ...] | None = None  # of a ConvNet; None is ResNet-18
    batch: int = 256  # official configuration
    steps: int = 13_500  # 90 epochs of 38,400 images, official configuration
    optimiser: str = 'sgd'  # divided by ten at half and three quarters; or 'adamw' with a cosine
    learning_rate: float = 0.1  # official configuration
    episode: tuple[int, ...] = (20, 1, 15)  # ways, shots, queries of ProtoNet's training
    tasks: int = 10_000  # per setting
    validation_tasks: int = 500  # for the choice of hyper-parameters
    ways: tuple[int, ...] = (5, 10)  # usual and larger
    shots: tuple[int, ...] = (1, 5)  # of the tables
    queries: tuple[int, ...] = (15, 40)  # of a class, usual and more
    neighbours: int = 3  # of the graph; five in the paper's clustering
    iterations: int = 20  # updates of the assignments in a round
    rounds: int = 100  # largest number, official code
    tolerance: float = 1e-5  # share of the energy, official code
    scales: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)  # s, by validation
    weights: tuple[float, ...] = (0.05, 0.15, 0.25, 0.35, 0.5, 0.75)  # half the paper's lambda
    alphas: tuple[float, ...] = (0.5, 0.8, 0.9, 0.99)  # of label propagation, by validation
    entropies: tuple[float, ...] = (0.1, 0.3, 1.0)  # weight of TIM's conditional one, likewise
    tim_steps: int = 1000  # of Adam
    tim_rate: float = 1e-4  # of Adam
    points: int = 70_000  # to cluster
    cluster_scale: float = 10.0  # in units of the mean squared distance to k-means' centres
    cluster_weight: float = 1.0  # lambda of the clustering


PAPER = Config()
CPU = replace(
    PAPER, data='shapes', shifted='mnist5k', size=32, classes=(24, 8, 12), batch=96, steps=300,
    widths=(32, 64, 128, 128), optimiser='adamw', learning_rate=3e-3, episode=(12, 1, 7), tasks=600,
    validation_tasks=200, iterations=10, tolerance=1e-4, tim_steps=50, tim_rate=0.01, points=5000,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, classes=(5, 4, 4), per_class=8, widths=(8,), batch=8, steps=2, episode=(3, 1, 2),
    tasks=4, validation_tasks=4, ways=(3, 3), shots=(1, 1), queries=(2, 2), neighbours=2,
    iterations=2, rounds=2, scales=(1.0, 10.0), weights=(0.1, 0.5), tim_steps=2, points=100,
)  # fmt: skip


class Encoder(nn.Module):
    """x [B, H, W, 3] -> logits of the base classes, and features."""

    config: Config

    @nn.compact
    def __call__(self, x, *, train=False):
        widths, classes = self.config.widths, self.config.classes
        h = (models.ConvNet(widths) if widths else models.resnet18(stem='cifar'))(x, train=train)
        return models.Classifier(classes[0], name='head')(h), h


@functools.lru_cache
def build(config, method='classes'):
    """(init, step): cross-entropy over base 'classes'; or ProtoNet's, over 'episodes' of them."""
    model, (ways, shots, _) = Encoder(config), config.episode
    peak, steps = config.learning_rate, config.steps
    if config.optimiser == 'adamw':
        optimiser = train.adamw(train.schedules.warmup_cosine(peak, steps), weight_decay=1e-3)
    else:
        rate = train.schedules.step_decay(peak, (steps // 2, steps * 3 // 4))
        optimiser = train.sgd(rate, weight_decay=1e-4, nesterov=True)

    def init(key):
        extra = dict(model.init(key, jnp.zeros((1, config.size, config.size, 3))))
        return train.create(extra.pop('params'), optimiser, extra=extra)

    def loss_fn(params, state, batch, key):
        x, labels = batch['image'].astype(jnp.float32) / 255, batch['label']
        x = augment.random_crop(key, x, padding=config.size // 16)
        variables = {'params': params, **state.extra}
        (logits, h), extra = model.apply(variables, x, train=True, mutable=list(state.extra))
        if method == 'episodes':  # supports first
            n = ways * shots
            prototypes = algorithms.class_means(h[:n], labels[:n], classes=ways)
            logits, labels = -distances(h[n:], prototypes), labels[n:]
        loss = cross_entropy(logits, labels).mean()
        return loss, {'accuracy': evaluate.accuracy(logits, labels)}, dict(extra)

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


@functools.lru_cache
def images(config, name):
    """The images of a data set, with three channels, at the encoder's size."""
    options = {} if name == 'mnist5k' else {'size': config.size}
    if name == 'shapes':
        options |= {'classes': (k := sum(config.classes)), 'count': k * config.per_class}
    splits = ('train', 'validation', 'test') if name == 'mnist5k' else ('train',)
    records = [data.load(name, split, **options) for split in splits]
    parts = [part for each in records for part in data.epoch(each, 250, fields=('image', 'label'))]
    x, label = (np.concatenate([part[k] for part in parts]) for k in ('image', 'label'))
    border = ((config.size - x.shape[1]) // 2,) * 2
    x = np.pad(x, ((0, 0), border, border, (0, 0)))
    return {'image': np.broadcast_to(x, (*x.shape[:3], 3)), 'label': label}


def split(config):
    """Images of base, validation and novel classes, which are disjoint, and of another data set."""
    columns = images(config, config.data)
    part = np.searchsorted(np.cumsum(config.classes), columns['label'], side='right')
    names = ('base', 'validation', 'novel')
    pools = {name: {k: v[part == i] for k, v in columns.items()} for i, name in enumerate(names)}
    return pools | {'shift': images(config, config.shifted)}


def encode(config, state, pools):
    apply = jax.tree_util.Partial(Encoder(config).apply, {'params': state.params, **state.extra})
    return {name: evaluate.features(apply, pool['image'])[1] for name, pool in pools.items()}


def settings(config):
    """Of the tasks: (pool, ways, shots, queries of a class, whether these are uneven)."""
    (ways, larger), (few, more), (queries, many) = config.ways, config.shots, config.queries
    return {
        '1-shot': ('novel', ways, few, queries, False),
        '5-shot': ('novel', ways, more, queries, False),
        'larger way': ('novel', larger, few, queries, False),
        'more queries': ('novel', ways, few, many, False),
        'domain shift': ('shift', ways, few, queries, False),
        'uneven': ('novel', ways, few, queries, True),
    }


def episodes(seed, label, setting, count):
    """Rows [E, N] of tasks, true classes and classes given, -1 for queries, which come last."""
    _, ways, shots, queries, uneven = setting
    total, generator = ways * queries, np.random.default_rng(seed)
    most = total if uneven else queries
    table = data.class_table(label, at_least=shots + most)
    support, query, _ = jax.device_get(data.episodes(
        jax.random.key(seed), table, ways=ways, shots=shots, queries=most, episodes=count
    ))  # fmt: skip
    truth = np.broadcast_to(np.repeat(np.arange(ways), queries), (count, total))
    if uneven:  # shares from a Dirichlet, as in Realistic Evaluation (Veilleux et al., 2021)
        shares = generator.dirichlet(np.full(ways, 2.0), count).cumsum(1)
        truth = (generator.random((count, total, 1)) > shares[:, None, :-1]).sum(2)
        query = query[np.arange(count)[:, None], truth, np.arange(total)]
    given = np.broadcast_to(np.repeat(np.arange(ways), shots), (count, ways * shots))
    rows = np.concatenate([support.reshape(count, -1), query.reshape(count, -1)], 1)
    return rows, np.hstack([given, truth]), np.hstack([given, np.full_like(truth, -1)])


def arms(config):
    """Methods: (solver, scales, weights); the last five in two settings; cold, k-means is hard."""
    scales, weights, no = config.scales, config.weights, (0.0,)
    return {
        'nearest': ('nearest', no, no), 'protonet': ('nearest', no, no),
        'rectified': ('rectified', no, no), 'k-means': ('means', (1e4,), no),
        'laplacian': ('means', scales, weights), 'laplacian shot': ('shot', scales, weights),
        'label propagation': ('propagation', scales, config.alphas),
        'tim': ('tim', scales, config.entropies),
        'gradient': ('gradient', no, no), 'soft k-means': ('means', scales, no),
        'graph only': ('means', no, weights), 'laplacian modes': ('modes', scales, weights),
        'laplacian points': ('points', scales, weights),
    }  # fmt: skip


def assign(config, ways, solver, z, given, scale, weight):
    """Scores [N, K] of one task's points, the energy's largest rise, and energies on the way."""
    nothing = 0.0, jnp.zeros(config.iterations + 1)
    if solver == 'nearest':
        return -distances(z, algorithms.class_means(z, given, classes=ways)), *nothing
    z, start = algorithms.rectified_prototypes(z, given, classes=ways)
    costs, graph = distances(z, start), algorithms.knn_graph(z, config.neighbours)
    problem = scale * costs, graph
    options = {'weight': weight, 'labels': given, 'iterations': config.iterations}
    match solver:
        case 'rectified':
            return -costs, *nothing
        case 'propagation':
            w = jnp.exp(-scale * distances(z, z)) * (1 - jnp.eye(len(z)))
            return algorithms.label_propagation(w, given, classes=ways, alpha=weight), *nothing
        case 'tim':
            options = {'scale': scale, 'conditional': weight, 'supervised': 1.0}
            options |= {'learning_rate': config.tim_rate, 'steps': config.tim_steps}
            return algorithms.information_maximisation(z, given, start, **options)[0], *nothing
        case 'gradient':
            down = lambda rate: algorithms.gradient_assignments(*problem, rate=rate, **options)
            y, energies = jax.vmap(down)(jnp.asarray(RATES))
            best = energies[:, -1].argmin()
            return y[best], 0.0, energies[best]
        case 'shot':
            y, energies = algorithms.laplacian_assignments(*problem, **options)
            return y, (jnp.diff(energies) / jnp.maximum(1, jnp.abs(energies[1:]))).max(), energies
    options |= {'prototypes': solver, 'scale': scale, 'bandwidth': jnp.sqrt(costs.min(1).mean())}
    options |= {'rounds': config.rounds, 'tolerance': config.tolerance}
    found = algorithms.laplacian_kmodes(z, start, graph, **options)
    return found.assignments, found.rise, nothing[1]


@functools.partial(jax.jit, static_argnames=('config', 'ways', 'solver'))
def solve(config, ways, solver, z, truth, given, scale, weight):
    """Of many tasks: mean accuracy, largest rise and mean energies."""

    def task(args):
        z, truth, given = args
        scores, *energies = assign(config, ways, solver, z, given, scale, weight)
        return jnp.mean(scores.argmax(1) == truth, where=given < 0), *energies

    right, rise, energies = jax.lax.map(task, (z, truth, given), batch_size=100)
    return right.mean(), rise.max(), energies.mean(0)


def choose(config, arm, z, truth, given):
    """The scale at the smallest weight, then the weight, that serve these tasks best."""
    solver, scales, weights = arm
    value = lambda s, w: solve(config, config.ways[0], solver, z, truth, given, s, w)[0]
    scale = max(scales, key=lambda s: value(s, weights[0])) if scales[1:] else scales[0]
    return scale, max(weights, key=lambda w: value(scale, w)) if weights[1:] else weights[0]


def few_shot(config, ctx, pools, seed):
    """Both encoders, and every method in every setting; energies on the way down, for a picture."""
    fit = functools.partial(ctx.fit, steps=config.steps, seed=seed)
    stream = data.batches(pools['base'], config.batch, seed=seed)
    state, _ = fit(*build(config)[::-1], stream, name=f'classes-{seed}')
    h = encode(config, state, pools)
    features = {name: np.asarray(normalise(x - h['base'].mean(0))) for name, x in h.items()}
    image, label = pools['base'].values()
    drawn = episodes(seed, label, ('base', *config.episode, False), config.steps)
    stream = ({'image': image[rows], 'label': y} for rows, y, _ in zip(*drawn, strict=True))
    state, _ = fit(*build(config, 'episodes')[::-1], stream, name=f'episodes-{seed}')
    protonet = encode(config, state, pools)
    methods, named, chosen, lines = arms(config), settings(config), {}, {}
    label, few = pools['validation']['label'], config.validation_tasks
    rows, *rest = episodes(seed, label, named['1-shot'], few)
    for method, arm in methods.items():
        chosen[method] = choose(config, arm, features['validation'][rows], *rest)
    chosen['gradient'] = chosen['laplacian shot']
    for name, setting in named.items():
        pool, ways, *_ = setting
        rows, *rest = episodes(seed, pools[pool]['label'], setting, config.tasks)
        for method in tuple(methods)[: None if name.endswith('shot') else -5]:
            z = (protonet if method == 'protonet' else features)[pool][rows]
            solver, (scale, weight) = methods[method][0], chosen[method]
            found, rise, energies = solve(config, ways, solver, z, *rest, scale, weight)
            row = {'rise': rise, 'allowed': 1e-6, 'scale': float(scale), 'weight': float(weight)}
            if energies.any():
                row['objective'] = energies[-1]
                lines.setdefault(method, (range(len(energies)), np.asarray(energies)))
            ctx.add(study='tasks', setting=name, method=method, seed=seed, accuracy=found, **row)
    return lines


def points(config, name, seed):
    """Principal components of MNIST; or ten Gaussians that overlap; and their labels."""
    if name == 'mixture':
        x, y = datasets.make_blobs(config.points, 32, centers=10, cluster_std=9, random_state=seed)
        return jnp.asarray(x, jnp.float32), y
    image, label = (column[: config.points] for column in images(config, name).values())
    x = jnp.asarray(image[..., 0].reshape(len(image), -1) / 255, jnp.float32)
    return algorithms.project(algorithms.pca(x, 32), x), label


def clustering(config, ctx, name, seed):
    """Ten clusters of all points, without labels: the energy from k-means on, and two baselines."""
    x, label = points(config, name, seed)
    lloyd = lambda: algorithms.kmeans(ctx.key(seed), x, 10, restarts=5)

    def laplacian(kind):
        start, edges = lloyd(), algorithms.knn_edges(x, config.neighbours)
        unit = start.inertia / len(x)
        return algorithms.laplacian_kmodes(
            x, start.centres, edges, weight=config.cluster_weight, prototypes=kind,
            scale=config.cluster_scale / (unit if kind == 'means' else 1), bandwidth=unit**0.5,
            iterations=config.iterations, tolerance=config.tolerance,
        ).assignments.argmax(1)  # fmt: skip

    def spectral():
        w = neighbors.kneighbors_graph(np.asarray(x), config.neighbours)
        return cluster.spectral_clustering((w + w.T) / 2, n_clusters=10, random_state=seed)

    solvers = {'k-means': lambda: lloyd().labels, 'spectral': spectral}
    solvers |= {kind: functools.partial(laplacian, kind) for kind in PROTOTYPES}
    for method, solver in solvers.items():
        labels, seconds = timed(solver)
        found = evaluate.clustering_accuracy(label, labels)
        row = {'data': name, 'method': method, 'seed': seed, 'seconds': seconds}
        ctx.add(study='clustering', clustering_accuracy=found, **row)


def run(config, ctx):
    pools = split(config)
    for seed in ctx.grid(seed=ctx.seeds):
        lines = few_shot(config, ctx, pools, seed)
        for name in ('mnist5k', 'mixture'):
            clustering(config, ctx, name, seed)
    ctx.save_figure('energy', figures.curves(lines, x='update', y='energy per point'))
    one = {'setting': '1-shot'}
    return ctx.report(
        Claim('accuracy', 'k-means', 'nearest', 0.03, where=one),
        Claim('accuracy', 'k-means', 'protonet', where=one),
        Claim('accuracy', 'laplacian', 'k-means', where=one),
        Claim('accuracy', 'laplacian', 'label propagation', where=one),
        Bound('rise', 'allowed', paper='never increases'),
        Claim('objective', 'laplacian shot', 'gradient', lower=True, where=one),
        Range('seconds', high=10.0, where={'data': 'mnist5k', 'method': 'means'}),
        Claim('clustering_accuracy', 'means', 'k-means', where={'data': 'mnist5k'}),
    )


if __name__ == '__main__':
    experiment.main()
