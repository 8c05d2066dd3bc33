"""Latent label shift: domains that mix the same classes differently say what the classes are.

Paper: Unsupervised Learning under Latent Label Shift (Roberts et al., 2022).

    p(d | x) by a network; cells c by k-means of it; Q[c, d] = share of d's images in c
    Q = W H,  W = p(c | y), H = p(y | d), by non-negative factors whose columns sum to one
    p(y | x) = simplex(M^+ p(d | x)),  M = p(d | y);  p_d(y | x) ~ p(y | x) p(y | d) / p(y)

What is alike need not be of one class; what grows frequent in the same domains is. The network
starts from SCAN's (ddfa), which starts from SimCLR's, or from nothing. Beside it: k-means and
Gaussians on SimCLR's features, SCAN, the true p(d | x) (oracle), predictions that ignore the domain
or know the cell alone, and topics whose words are known exactly.

Claim: where neighbours in space are of different classes, only the domains tell; on digits, where
the shift is strong, they add to SCAN what it lacks, and p(y | d) comes out right; the weaker the
shift, the less is told.
Differences from the paper:
  1. The cpu preset has five of MNIST-5000's digits, seven domains, small networks and eight cells:
  the 110 to 210 rows of a domain are too few for thirty. 2. SCAN is without self-labelling, and its
  neighbours are those of SimCLR's features. 3. The misleading set, plane blobs, has no
  augmentation: there SCAN's neighbours are those in the plane. 4. The network is kept that has the
  least validation loss among a few stops. 5. Factors start from anchors, as what fits few rows best
  is not the truth; the best of ten random starts (official code has one) has rows of its own.

    python -m experiments.clustering.latent_label_shift --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special
from sklearn import cluster, mixture

from jssl import algorithms, data, evaluate, experiment, losses, models, train
from jssl.data import augment, domains
from jssl.data.generated import mixtures
from jssl.experiment import Claim, Ordering, Range, figures


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'cifar10'  # section 6; or 'blobs', the misleading set
    size: int = 32  # side of the images
    classes: int = 10  # k
    domains: int = 15  # r, section 6: 10 to 25
    alphas: tuple[float, ...] = (0.5, 3.0, 10.0)  # sum over the classes of a domain, section 6
    conditions: tuple[float, ...] = (4.0, 4.0, 8.0)  # largest of p(y | d) at an alpha, section 6
    cells: int = 30  # m, official code
    restarts: int = 10  # of the factorisation, where it starts at random
    backbone: str = 'resnet18'  # section 6; or 'conv'
    widths: tuple[int, ...] = (64,)  # of the backbone
    patch: int = 1  # side of the patches that become channels before the first layer
    projection: int = 128  # of SimCLR
    temperature: float = 0.5  # of SimCLR
    strength: float = 0.5  # of colour jitter
    crop: float = 0.2  # least area of a view
    flip: float = 0.5  # probability of mirroring a view; digits are not mirrored
    batch: int = 512  # of all three trainings
    learning_rate: float = 1e-3  # AdamW, of SimCLR and SCAN
    domain_rates: tuple[float, float] = (1e-5, 1e-3)  # from SCAN's network, from nothing; official
    simclr_steps: int = 50_000  # 500 epochs, SCAN's
    scan_steps: int = 10_000  # 100 epochs, SCAN's
    neighbours: int = 20  # SCAN's
    entropy: float = 5.0  # SCAN's lambda
    domain_steps: int = 2000  # between stops
    stops: int = 10  # at which validation looks
    held: float = 0.2  # share of a domain for validation
    blobs: int = 2000  # points of the misleading set
    separation: float = 5.0  # of its neighbouring blobs, in standard deviations
    hidden: int = 100  # width of its networks
    frequency: float = 3.0  # of their first layer, over ten standard deviations
    blob_steps: int = 200  # between stops, of its networks
    blob_rate: float = 3e-3  # AdamW, of its networks from either start


PAPER = Config()
CPU = replace(
    PAPER, data='mnist5k', size=28, classes=5, domains=7, cells=8, backbone='conv',
    widths=(16, 32, 64), patch=2, projection=32, strength=0.0, crop=0.4, flip=0.0, batch=128,
    learning_rate=3e-3, domain_rates=(3e-4, 3e-3), simclr_steps=250, scan_steps=150,
    neighbours=10, domain_steps=40, stops=5,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, data='digits', size=8, classes=3, domains=4, alphas=(0.5, 3.0),
    conditions=(30.0, 30.0), cells=5, restarts=1, widths=(4,), projection=4, batch=8,
    simclr_steps=2, scan_steps=2, neighbours=2, domain_steps=2, stops=2, blobs=60, hidden=4,
    blob_steps=2,
)  # fmt: skip


class Network(nn.Module):
    """x -> h, z, and logits of clusters and of domains."""

    config: Config

    @nn.compact
    def __call__(self, x, *, train=False):
        config = self.config
        if config.data == 'blobs':
            # Pairs lie far apart beside what parts their halves, which short waves can see.
            inits = {'kernel_init': nn.initializers.normal(config.frequency),
                     'bias_init': nn.initializers.uniform(2 * np.pi)}  # fmt: skip
            h = jnp.cos(nn.Dense(config.hidden, name='waves', **inits)(x))
            h = nn.relu(nn.Dense(config.hidden, name='encoder')(h))
        else:
            options = {'norm': 'group', 'stem': 'cifar', 'name': 'encoder'}
            encoder = models.backbone(config.backbone, config.widths, **options)
            h = encoder(models.space_to_depth(x, config.patch))
        z = models.ProjectionHead((config.projection,) * 2, norm=None, name='projection')(h)
        logits = lambda name, count: nn.Dense(count, name=name)(h)
        cluster, domain = logits('cluster', config.classes), logits('domain', config.domains)
        return {'h': h, 'z': z, 'cluster': cluster, 'domain': domain}


@functools.lru_cache
def build(config, objective='domain'):
    """(init, step) of 'simclr', of 'scan' or of the 'domain' network."""
    network, rule = Network(config), lambda rate: train.adamw(rate, weight_decay=1e-4)
    optimiser = optax.inject_hyperparams(rule)(rate=config.learning_rate)
    view = functools.partial(
        augment.simclr, size=config.size, strength=config.strength, scale=(config.crop, 1.0),
        blur_probability=0.0, flip_probability=config.flip,
    )  # fmt: skip
    see = lambda key, x: x if config.data == 'blobs' else view(key, augment.to_float(x))

    def init(key):
        shape = inputs(config)['x'].shape
        return train.create(network.init(key, jnp.zeros((1, *shape[1:]))), optimiser)

    def loss_fn(params, state, batch, key):
        first, second = jax.random.split(key)
        one = network.apply(params, see(first, batch['x']))
        if objective == 'domain':
            return losses.cross_entropy(one['domain'], batch['domain']).mean()
        two = network.apply(params, see(second, batch['near' if objective == 'scan' else 'x']))
        if objective == 'scan':
            return losses.scan(one['cluster'], two['cluster'], entropy_weight=config.entropy)
        return losses.nt_xent(one['z'], two['z'], temperature=config.temperature).mean()

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    if config.data == 'blobs':
        x = jax.ShapeDtypeStruct((config.batch, 2), jnp.float32)
    else:
        x = data.spec(config.data, config.batch, size=config.size)['image']
    return {'x': x, 'domain': jax.ShapeDtypeStruct((config.batch,), jnp.int32)}


@functools.lru_cache
def forward(config):
    return Network(config).apply


def outputs(config, params, x, name):
    # Sets have many sizes: batches of one size need one program.
    apply = jax.tree_util.Partial(forward(config), params)
    return evaluate.features(apply, x, batch=config.batch)[name]


def images(config, split):
    """x uint8 [N, H, W, C] and labels of the classes that are used."""
    columns = data.columns(data.load(config.data, split))
    used = columns['label'] < config.classes
    return columns['image'][used], columns['label'][used]


def strengths(config):
    """Of every shift, the parameter of the classes' Dirichlet distribution and the condition."""
    pairs = zip(config.alphas, config.conditions, strict=True)
    return [{'alpha': alpha / config.classes, 'condition': most} for alpha, most in pairs]


def mixed(config, sets, strength, seed):
    """Of every set (x, y) the rows that domains have: (x, y, domain); and p(y | d) [K, R]."""
    shares, found = domains.mixes(config.domains, config.classes, **strength, seed=seed), []
    for x, y in sets:
        parts = domains.shifted(y, shares, seed=seed)
        rows, sizes = np.concatenate(parts), [len(part) for part in parts]
        found.append((x[rows], y[rows], np.repeat(np.arange(len(parts)), sizes).astype(np.int32)))
    return *found, shares.T


def blobs(config, seed):
    """As `mixed`, of blobs in the plane: a class is two far ones, next to those of others."""
    world = {'arrangement': 'pairs', 'components': 2 * config.classes, 'seed': seed,
             'separation': config.separation, 'domains': config.domains,
             **strengths(config)[0]}  # fmt: skip
    found = []
    for split in ('train', 'test'):
        made = mixtures.dataset(split, count=config.blobs, **world)
        found.append((made['feature'] / 10, made['label'], made['domain']))
    weight, label = (getattr(mixtures.world(**world), name) for name in ('weight', 'label'))
    return *found, np.stack([weight[:, label == y].sum(1) for y in range(config.classes)])


def neighbour_pairs(config, x, h, seed):
    """Rows and one of the nearest of each, drawn when it is asked for."""
    near = np.asarray(algorithms.nearest(h, h, config.neighbours + 1).indices)[:, 1:]

    def pick(example, generator):
        i = int(example['row'])
        return {'x': x[i], 'near': x[generator.choice(near[i])]}

    return data.batches({'row': np.arange(len(x))}, config.batch, seed=seed, transform=pick)


def self_trained(config, ctx, x, seed):
    """Parameters after SimCLR, where there are views, and then after SCAN."""
    state, h = jax.jit(build(config)[0])(ctx.key(seed)), x
    if config.data != 'blobs':
        stream, step = data.batches({'x': x}, config.batch, seed=seed), build(config, 'simclr')[1]
        options = {'steps': config.simclr_steps, 'seed': seed, 'name': f'simclr-{seed}'}
        state, _ = ctx.fit(step, state, stream, **options)
        h = outputs(config, state.params, x, 'h')
    simclr, step = state.params, build(config, 'scan')[1]
    options = {'steps': config.scan_steps, 'seed': seed, 'name': f'scan-{config.data}-{seed}'}
    stream = neighbour_pairs(config, x, losses.normalise(jnp.asarray(h)), seed)
    state, _ = ctx.fit(step, state, stream, **options)
    return simclr, state.params


def tell_domains(config, ctx, name, params, x, d, seed, *, rate):
    """Parameters of p(d | x), stopped where validation is best."""
    held = np.random.default_rng(seed).random(len(x)) < config.held
    init, step = build(config)
    # The clusters' logits give the domains' nothing: the optimiser begins anew with them.
    state = jax.jit(init)(ctx.key(seed))
    rate = {'rate': jnp.float32(rate)}  # in the state, so that both starts share one step
    state = state._replace(opt_state=state.opt_state._replace(hyperparams=rate))
    state = state if params is None else state._replace(params=params)
    known, best = {'x': x[~held], 'domain': d[~held]}, (np.inf, None)
    for stop in range(config.stops):
        stream = data.batches(known, config.batch, seed=1000 * seed + stop)
        options = {'steps': config.domain_steps, 'seed': seed, 'name': f'{name}-{stop}-{seed}'}
        state, _ = ctx.fit(step, state, stream, **options)
        told = tell(config, state.params, x[held])
        likely = float(evaluate.negative_log_likelihood(told, d[held]))
        best = min(best, (likely, state.params), key=lambda pair: pair[0])
    return best[1]


def tell(config, params, x):
    """p(d | x), [N, R]."""
    return special.softmax(outputs(config, params, x, 'domain'), axis=1)


def discover(config, seed, p, test_p, d, test_set, mixes, *, restarts=0):
    """Accuracy with and without the domain, and by cell; error of p(y | d); and the classes."""
    _, y, test_d = test_set
    shares = np.bincount(d, minlength=config.domains) / len(d)
    kmeans = cluster.KMeans(config.cells, n_init=5, random_state=seed).fit(p)
    q = np.zeros((config.cells, config.domains))
    np.add.at(q, (kmeans.labels_, d), 1)
    w, h = algorithms.factor_domains(q / q.sum(0), config.classes, restarts=restarts)
    posteriors = jax.jit(algorithms.class_posteriors)(test_p, h, shares)
    here = jax.jit(algorithms.in_domain)(posteriors, h, shares, test_d)
    posteriors, here = (np.asarray(a).argmax(1) for a in (posteriors, here))
    by_cell = (w * (h @ shares)).argmax(1)[kmeans.predict(test_p)]
    counts = np.zeros((config.classes, config.classes))
    np.add.at(counts, (here, y), 1)
    error = np.abs(h - mixes[algorithms.match_labels(counts)]).mean()
    right = functools.partial(evaluate.clustering_accuracy, y)
    row = {'accuracy': right(here), 'agnostic': right(posteriors),
           'cells': right(by_cell), 'mix_error': error}  # fmt: skip
    return row, here


def study(config, ctx, name, made, pretrained, seed):
    """All methods on one set of domains; returns {method: classes of the test set}."""
    train_set, test_set, mixes = made
    (x, _, d), (test_x, y, _), (simclr, scan) = train_set, test_set, pretrained
    h, test_h = x, test_x
    if config.data != 'blobs':
        h, test_h = (outputs(config, simclr, a, 'h') for a in (x, test_x))
    options = {'n_init': 5, 'random_state': seed}
    shape = {'covariance_type': 'diag', 'reg_covar': 1e-3}
    gaussians = mixture.GaussianMixture(config.classes, **shape, **options)
    found = {
        'k-means': cluster.KMeans(config.classes, **options).fit(h).predict(test_h),
        'gaussians': gaussians.fit(h).predict(test_h),
        'scan': outputs(config, scan, test_x, 'cluster').argmax(1),
    }
    rows = {m: {'accuracy': evaluate.clustering_accuracy(y, f)} for m, f in found.items()}
    starts = zip(('ddfa', 'ddfa, random start'), (scan, None), config.domain_rates, strict=True)
    for method, start, rate in starts:
        label = f'{name}-{method}'.replace(',', '').replace(' ', '-')
        params = tell_domains(config, ctx, label, start, x, d, seed, rate=rate)
        both = tell(config, params, x), tell(config, params, test_x)
        given = config, seed, *both, d, test_set, mixes
        rows[method], found[method] = discover(*given)
        rows[f'{method}, random factors'], _ = discover(*given, restarts=config.restarts)
    by_class = mixes * np.bincount(d, minlength=config.domains)
    both = ((by_class / by_class.sum(1, keepdims=True))[part[1]] for part in (train_set, test_set))
    exact = replace(config, cells=config.classes), seed, *both, d, test_set, mixes
    rows['oracle'], found['oracle'] = discover(*exact)
    for method, row in rows.items():
        ctx.add(study=name, method=method, seed=seed, **row)
    return found


def topics(ctx, seed):
    """Six words, three topics, exact shares: how far the factors are from the truth."""
    random = np.random.default_rng(seed)
    words = np.concatenate([np.diag(random.uniform(0.2, 0.6, 3)), random.random((3, 3))])
    words[3:] *= (1 - words[:3].sum(0)) / words[3:].sum(0)
    mixes = random.dirichlet(np.full(3, 0.5), 6).T
    found, shares = algorithms.factor_domains(words @ mixes, 3, iterations=2000)
    order = algorithms.match_labels(words.T @ found)
    gap = max(np.abs(found[:, order] - words).max(), np.abs(shares[order] - mixes).max())
    ctx.add(study='topics', method='factors', seed=seed, topic_error=gap)


def run(config, ctx):
    sets = [images(config, split) for split in ('train', 'test')]
    other = {'domain_steps': config.blob_steps, 'domain_rates': (config.blob_rate,) * 2}
    plane = replace(config, data='blobs', **other)
    for seed in ctx.grid(seed=ctx.seeds):
        topics(ctx, seed)
        made = blobs(plane, seed)
        pretrained = self_trained(plane, ctx, made[0][0], seed)
        found = study(plane, ctx, 'blobs', made, pretrained, seed)
        pretrained = self_trained(config, ctx, sets[0][0], seed)
        for alpha, strength in zip(config.alphas, strengths(config), strict=True):
            made = mixed(config, sets, strength, seed)
            study(config, ctx, f'alpha {alpha:g}', made, pretrained, seed)
    x, y, _ = blobs(plane, seed)[1]
    shown = {'classes': y} | {method: found[method] for method in ('k-means', 'scan', 'ddfa')}
    ctx.save_figure('blobs', figures.points({name: (x, c) for name, c in shown.items()}))
    shifts = [f'alpha {alpha:g}' for alpha in reversed(config.alphas)]
    where = {'study': shifts[-1]}
    return ctx.report(
        Range('accuracy', low=0.9, where={'study': 'blobs', 'method': 'ddfa'}),
        Range('accuracy', high=0.65, where={'study': 'blobs', 'method': 'k-means'}),
        Range('accuracy', high=0.65, where={'study': 'blobs', 'method': 'scan'}),
        Claim('accuracy', 'ddfa', 'scan', 0.03, where=where, paper='table 1'),
        Range('mix_error', high=0.15, where={'method': 'ddfa', **where}),
        Ordering('accuracy', tuple(shifts), where={'method': 'ddfa'}, by='study'),
        Range('topic_error', high=1e-3, where={'study': 'topics'}),
    )


if __name__ == '__main__':
    experiment.main()
