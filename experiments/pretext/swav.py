"""SwAV: predict from one view the cluster that another view was given, all clusters equally full.

Paper: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (Caron et al.,
2020).

    s = C' z, z = g(f(x)) / |g(f(x))|, columns of C of unit length, p = softmax(s / tau)
    Q = argmax Tr(Q' S) + eps H(Q), Q 1 = 1 / B, Q' 1 = 1 / K, by three rounds of Sinkhorn
    L = mean over full crops t and all other crops v of -sum_k q_tk log p_vk

Beside it, on the same crops: SimCLR, DeepCluster-v2 (k-means of the features of the last epoch in
place of Q), codes without the equal sizes, and small batches with and without a queue.

Claim: SwAV is no worse than SimCLR under the same crops, and far above a random network; small
crops beside the two full ones help at equal steps; without equal sizes the codes collapse; a queue
of features makes small batches work.
Differences from the paper:
  1. The cpu preset has MNIST-5000, three convolutions and AdamW; digits are neither mirrored nor
  blurred; eps 0.025 and SimCLR's temperature 0.2 were chosen on seeds 100 and 101. 2. Its small
  crops are large, since a small part of a digit says little. 3. DeepCluster-v2 clusters once an
  epoch, the authors' three times. 4. SimCLR takes NT-Xent over the pairs of crops that SwAV
  compares. 5. Rates warm up from 0. 6. Linear evaluation on the same set only. 7. Side arms have
  one seed.

    python -m experiments.pretext.swav --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jssl import algorithms, data, evaluate, experiment, losses, models, train
from jssl.experiment import Claim, Range, figures
from jssl.train import schedules

NEVER = np.iinfo(np.int32).max
# Arms of one seed.
ONCE = ('simclr, 2 crops', 'deepcluster', 'unequal', 'small batch', 'small batch, queue')


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 4
    size: int = 224  # side of the images that are evaluated
    crops: tuple[int, ...] = (224, 96)  # sides; the first kind gets codes; appendix A
    counts: tuple[int, ...] = (2, 6)  # of each kind, appendix A
    areas: tuple[float, ...] = (0.14, 0.05)  # least of a kind; the most is 1, then the one before
    strength: float = 1.0  # of colour jitter, as SimCLR's
    blur: float = 0.5  # probability, as SimCLR's
    flip: float = 0.5  # probability of mirroring, as SimCLR's; digits are not mirrored
    backbone: str = 'resnet50'  # or 'conv'
    widths: tuple[int, ...] = (64,)  # first stage of the ResNet; every layer of 'conv'
    patch: int = 1  # side of the patches that become channels before the first layer
    hidden: int = 2048  # of the projection head, appendix A
    width: int = 128  # D, appendix A
    prototypes: int = 3000  # K, appendix A
    temperature: float = 0.1  # tau, appendix A
    simclr_temperature: float = 0.1  # of NT-Xent, SimCLR's section 5.1
    epsilon: float = 0.05  # eps, appendix A
    iterations: int = 3  # of Sinkhorn, appendix A
    frozen: int = 313  # first steps that leave C alone, one epoch; official configuration
    batch: int = 4096  # appendix A
    steps: int = 250_000  # 800 epochs
    warmup: int = 3_130  # 10 epochs
    optimiser: str = 'lars'  # or 'adamw'
    learning_rate: float = 4.8  # appendix A
    final: float = 0.001  # last rate over the peak: 0.0048
    weight_decay: float = 1e-6  # appendix A
    small_batch: int = 256  # section 4.3
    small_steps: int = 1_000_000  # 200 epochs
    small_rate: float = 0.6  # official configuration, without warm-up
    small_frozen: int = 5005  # one epoch
    queue: int = 3840  # features that share the codes of a small batch, section 4.3
    queue_start: int = 75_000  # when it begins to fill, 15 epochs of small batches


PAPER = Config()
CPU = replace(
    PAPER, data='mnist5k', size=28, crops=(24, 16), counts=(2, 4), areas=(0.5, 0.3), strength=0.5,
    blur=0.0, flip=0.0, backbone='conv', widths=(32, 64, 128), patch=2, hidden=128, width=64,
    prototypes=60, simclr_temperature=0.2, epsilon=0.025, frozen=30, batch=96, steps=250, warmup=25,
    optimiser='adamw', learning_rate=1e-2, weight_decay=1e-4, small_batch=16, small_steps=400,
    small_rate=1e-3, small_frozen=30, queue=240, queue_start=185,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, widths=(4, 8), hidden=8, width=8, prototypes=12, batch=8, frozen=1, steps=2,
    warmup=0, small_batch=8, small_steps=2, small_rate=3e-3, small_frozen=1, queue=8, queue_start=0,
)  # fmt: skip


class Network(nn.Module):
    """Crops [B, n, H, W, C] of one kind or several -> h [B, V, F] and unit z [B, V, D]."""

    encoder: nn.Module
    patch: int
    head: tuple[int, ...]

    @nn.compact
    def __call__(self, *crops, train=False):
        # Crops of an image side by side: an array that is split over images stays so.
        flat = [models.space_to_depth(x.reshape(-1, *x.shape[2:]), self.patch) for x in crops]
        h = [self.encoder(x, train=train) for x in flat]
        h = [a.reshape(*x.shape[:2], -1) for a, x in zip(h, crops, strict=True)]
        h = jnp.concatenate(h, axis=1)
        z = models.ProjectionHead(self.head, name='head')(h.reshape(-1, h.shape[-1]), train=train)
        return h, losses.normalise(z).reshape(*h.shape[:2], -1)


@functools.lru_cache
def network(config):
    encoder = models.resnet50(width=config.widths[0])
    if config.backbone == 'conv':
        encoder = models.ConvNet(config.widths, norm='batch')
    return Network(encoder, config.patch, (config.hidden, config.width))


def codes(config, state, scores):
    """Codes [B, K] of one full crop; of its scores [N + B, K] the first N are the queue's."""
    own = jnp.arange(len(scores)) >= config.queue
    mass = (own | (state.step >= state.extra['queue_from'])).astype(jnp.float32)
    mass /= mass.sum()
    options = {'epsilon': config.epsilon, 'iterations': config.iterations}
    equal = algorithms.sinkhorn_plan(-scores, mass, **options) / mass[-1]
    unequal = jax.nn.softmax(scores / config.epsilon)
    return jnp.where(state.extra['equal'], equal, unequal)[config.queue :]


def swav(config, state, batch, z, scores):
    """Swapped prediction; a queue that is not filled yet has no mass in the transport."""
    queue, full = state.extra['queue'], config.counts[0]
    z, fixed = jax.lax.stop_gradient((z[:full], scores[:full]))
    among = jnp.concatenate([queue @ state.params['prototypes'], fixed], axis=1)
    q = jax.lax.map(functools.partial(codes, config, state), among)
    loss = losses.swapped_prediction(scores, q, temperature=config.temperature).mean()
    return loss, {**state.extra, 'queue': jax.vmap(losses.enqueue)(queue, z)}


def simclr(config, state, batch, z, scores):
    """NT-Xent over the pairs of crops that SwAV compares."""
    pairs = [(t, v) for t in range(config.counts[0]) for v in range(t + 1, sum(config.counts))]
    t, v = np.array(pairs).T
    loss = functools.partial(losses.nt_xent, temperature=config.simclr_temperature)
    return jax.vmap(loss)(z[t], z[v]).mean(), state.extra


def deepcluster(config, state, batch, z, scores):
    """Every crop predicts the k-means cluster that its image's feature in the memory fell into."""
    rows = batch['index']
    each = jax.vmap(losses.cross_entropy, in_axes=(0, None))
    loss = each(scores / config.temperature, state.extra['clusters'][rows]).mean()
    memory = state.extra['memory'].at[rows].set(jax.lax.stop_gradient(z[0]))
    return loss, {**state.extra, 'memory': memory}


def recluster(config, state, key):
    """The clusters of the memory, their centres in place of the prototypes."""
    memory, k = state.extra['memory'], config.prototypes
    found = algorithms.kmeans(key, memory, k, iterations=10)  # the official number
    params = {**state.params, 'prototypes': losses.normalise(found.centres).T}
    return state._replace(params=params, extra={**state.extra, 'clusters': found.labels})


METHODS = {'swav': swav, 'simclr': simclr, 'deepcluster': deepcluster}


@functools.lru_cache
def build(config, methods=('swav',)):
    """(init, step); one compiled step serves all methods, the state's `extra` says which."""
    net, images = network(config), data.SETS[config.data].sizes['train']
    rate, last = config.learning_rate, config.final * config.learning_rate
    schedule = schedules.warmup_cosine(rate, config.steps, warmup=config.warmup, final=last)
    make = train.lars if config.optimiser == 'lars' else train.adamw
    optimiser = make(schedule, weight_decay=config.weight_decay)
    scales = tuple(zip(config.areas, (1.0, *config.areas), strict=False))
    kinds = {'sizes': config.crops, 'counts': config.counts, 'scales': scales}
    view = functools.partial(
        data.augment.simclr, strength=config.strength, blur_probability=config.blur,
        flip_probability=config.flip,
    )  # fmt: skip

    def init(key):
        of_network, of_prototypes = jax.random.split(key)
        shape = data.spec(config.data, 2, size=config.size)['image'].shape
        variables = net.init(of_network, jnp.zeros((1, *shape)))
        c = jax.random.normal(of_prototypes, (config.width, config.prototypes))
        params = {'network': variables['params'], 'prototypes': losses.normalise(c, axis=0)}
        queue = jnp.zeros((config.counts[0], config.queue, config.width))
        extra = {'stats': variables['batch_stats'], 'queue': queue, 'queue_from': jnp.int32(NEVER),
                 'method': jnp.int32(0), 'equal': jnp.array(True),
                 'frozen': jnp.int32(config.frozen)}  # fmt: skip
        if 'deepcluster' in methods:
            extra['memory'] = jnp.zeros((images, config.width))
            extra['clusters'] = jnp.zeros(images, jnp.int32)
        return train.create(params, optimiser, extra=extra)

    def loss_fn(params, state, batch, key):
        images = data.augment.to_float(batch['image'])
        crops = data.augment.multi_crop(key, images, augment=view, **kinds)
        variables = {'params': params['network'], 'batch_stats': state.extra['stats']}
        (_, z), new = net.apply(variables, *crops, train=True, mutable=['batch_stats'])
        z = z.swapaxes(0, 1)
        held, c = state.step < state.extra['frozen'], params['prototypes']
        scores = z @ jnp.where(held, jax.lax.stop_gradient(c), c)
        branches = [functools.partial(METHODS[m], config, state, batch) for m in methods]
        loss, extra = jax.lax.switch(state.extra['method'], branches, z, scores)
        return loss, {}, {**extra, 'stats': new['batch_stats']}

    follow = train.gradient_step(loss_fn, optimiser)

    def step(state, batch, key):
        if 'deepcluster' in methods:
            due = state.step % -(-images // config.batch) == 0  # at the start of every epoch
            due &= state.extra['method'] == methods.index('deepcluster')
            cluster = functools.partial(recluster, config)
            state = jax.lax.cond(due, cluster, lambda state, key: state, state, key)
        new, metrics = follow(state, batch, key)
        held, c = state.step < state.extra['frozen'], new.params['prototypes']
        c = jnp.where(held, state.params['prototypes'], losses.normalise(c, axis=0))
        return new._replace(params={**new.params, 'prototypes': c}), metrics

    return init, step


def inputs(config):
    index = jax.ShapeDtypeStruct((config.batch,), jnp.int32)
    return {**data.spec(config.data, config.batch, size=config.size), 'index': index}


def arms(config):
    """{name: (config, method, what else is different in the state's `extra`)}"""
    full = {'crops': config.crops[:1], 'counts': config.counts[:1], 'areas': config.areas[:1]}
    two = replace(config, **full)
    rates = {'steps': config.small_steps, 'warmup': 0, 'learning_rate': config.small_rate}
    small = replace(config, batch=config.small_batch, **rates)
    held = {'frozen': config.small_frozen}
    filled = {'queue_from': config.queue_start + -(-config.queue // small.batch)}
    return {'random': (config, 'random', {}),
            'swav': (config, 'swav', {}), 'swav, 2 crops': (two, 'swav', {}),
            'simclr': (config, 'simclr', {}), 'simclr, 2 crops': (two, 'simclr', {}),
            'deepcluster': (config, 'deepcluster', {'frozen': NEVER}),
            'unequal': (config, 'swav', {'equal': False}),
            'small batch': (small, 'swav', held),
            'small batch, queue': (small, 'swav', held | filled)}  # fmt: skip


@functools.lru_cache
def forward(config):
    """(variables, images [B, H, W, C]) -> h [B, F] and z [B, D] of whole images."""
    net = network(config)
    return lambda variables, x: [a[:, 0] for a in net.apply(variables, x[:, None])]


def outputs(config, state, images):
    variables = {'params': state.params['network'], 'batch_stats': state.extra['stats']}
    return evaluate.features(jax.tree_util.Partial(forward(config), variables), images)


def start(config, state, method, other, images):
    """The state of an arm: what is different in `extra`, and DeepCluster's first memory."""
    extra = {**state.extra, 'method': list(METHODS).index(method), **other}
    if method == 'deepcluster':
        extra['memory'] = outputs(config, state, images)[1]
    typed = lambda new, old: jnp.asarray(new, old.dtype)
    return state._replace(extra=jax.tree.map(typed, extra, state.extra))


def of_codes(config, c, z, y):
    """How many prototypes are some image's nearest, and how well groups of them match classes."""
    nearest, k, classes = (z @ c).argmax(1), config.prototypes, data.SETS[config.data].classes
    groups = algorithms.kmeans(jax.random.key(0), c.T, classes, restarts=10).labels
    score = evaluate.clustering_accuracy(y, np.asarray(groups)[nearest])
    return {'used': evaluate.utilisation(nearest, k), 'perplexity': evaluate.perplexity(nearest, k),
            'clustering': score}  # fmt: skip


def run(config, ctx):
    # Sets on disk are scaled as they are read; the packaged ones have one size.
    scaled = {'size': config.size} if config.backbone == 'resnet50' else {}
    records, test = (data.load(config.data, split, **scaled) for split in ('train', 'test'))
    records = data.with_columns(records, index=np.arange(len(records['label']), dtype=np.int32))
    methods, table = tuple(METHODS), arms(config)
    init = jax.jit(build(config, methods)[0])
    for name, seed in ctx.grid(arm=table, seed=ctx.seeds):
        if name in ONCE and seed != ctx.seeds[0]:
            continue
        state, (changed, method, other) = init(ctx.key(seed)), table[name]
        if method != 'random':
            state = start(config, state, method, other, records['image'])
            stream = data.batches(records, changed.batch, seed=seed)
            state, _ = ctx.fit(build(changed, methods)[1], state, stream, steps=changed.steps,
                               seed=seed, name=f'{name}-{seed}')  # fmt: skip
        (h, _), (test_h, z) = (outputs(config, state, x['image']) for x in (records, test))
        split, c = (h, records['label'], test_h, test['label']), state.params['prototypes']
        row = {'linear': evaluate.linear_probe(*split), 'knn': evaluate.knn(*split)}
        if method in ('swav', 'deepcluster'):
            row |= of_codes(config, c, z, test['label'])
        if name == 'swav':
            nearest = np.argsort(-(z @ c), axis=0)[:10].T
        ctx.add(method=name, seed=seed, **row)
    rows = {f'prototype {k}': test['image'][nearest[k]] for k in range(min(10, config.prototypes))}
    ctx.save_figure('prototypes', figures.images(rows))
    return ctx.report(
        Claim('linear', 'swav', 'simclr', -0.01, paper='74.1 % against 70.6 %'),
        Claim('linear', 'swav', 'random', 0.1),
        Claim('linear', 'swav', 'swav, 2 crops', 0.01, paper='74.1 % against 70.1 %'),
        Range('used', high=0.2, where={'method': 'unequal'}),
        Claim('linear', 'small batch, queue', 'small batch'),
    )


if __name__ == '__main__':
    experiment.main()
