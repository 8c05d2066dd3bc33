"""GroCo: sort an anchor's similarities; only positives that stand behind a negative cost something.

Paper: Learning by Sorting: Self-supervised Learning with Group Ordering Constraints (Shvetsova et
al., 2023).

    s = [the 10 nearest negatives, ascending; the positives, ascending]   cosines of an anchor
    P = soft permutation of an odd-even sorting network with Cauchy gates on s
    L = mean_j BCE(sum_{r > 10} P_rj, [j is a positive])   averaged over anchors and views

The order within a group is free, and what an anchor is compared with gets no gradient. Beside it
NT-Xent over all pairs of views, on all negatives or on the 10 nearest without gradient, a triplet
of the hardest, and a random network; two views, four, and two with small crops that are anchors
but never positives.

Claim: nearest neighbours are of the same class more often than with NT-Xent, a linear probe is no
worse, and four views are no worse than two.
Differences from the paper: 1. the cpu preset has MNIST-5000, folded 2 x 2 into channels, and a
small convolutional network; digits are not mirrored, and their crops are large. 2. It trains with
AdamW, each loss at a rate of its own; rates, and the temperature of NT-Xent, were chosen on seeds
100 to 102. 3. All arms have DINO's views, NT-Xent too. 4. Crops of one size share the statistics of
their batch norm. 5. The digits of UCI stand for the sets to which features are transferred; no
detection. 6. Side arms have one seed.

    python -m experiments.contrastive.groco --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import algorithms, data, evaluate, experiment, losses, models, train
from jssl.data import augment
from jssl.experiment import Claim, figures
from jssl.train import schedules

# Arms of one seed.
ONCE = ('nearest', 'triplet', 'nt-xent, 4 views', 'groco, multi-crop')


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 4.1
    transfer: str = 'cifar10'  # of table 4
    images: int | None = None  # of a split; None is all
    size: int = 224  # side of the images that are evaluated
    crops: tuple[int, ...] = (224, 96)  # sides of full views and of small crops, as DINO's
    counts: tuple[int, ...] = (2, 6)  # of each kind
    views: tuple[int, int] = (2, 4)  # full views of the arms that have no small crops
    areas: tuple[float, ...] = (0.14, 0.05)  # least of a kind; the most is 1, then the one before
    blur: float = 2.0  # largest standard deviation in pixels, as DINO's
    flip: float = 0.5  # probability of mirroring; digits are not mirrored
    backbone: str = 'resnet50'  # or 'conv'
    widths: tuple[int, ...] = (64,)  # first stage of the ResNet; every layer of 'conv'
    patch: int = 1  # side of the patches that become channels before the first layer
    projection: tuple[int, ...] = (2048, 2048, 2048)  # section 4.1
    negatives: int = 10  # k, section 4.1
    steepness: float = 1.0  # beta of the gates, section 4.1
    temperature: float = 0.5  # of NT-Xent, official configuration
    nearest_temperature: float = 0.5  # of NT-Xent on the nearest negatives, official configuration
    batch: int = 1024  # section 4.1
    steps: int = 125_000  # 100 epochs
    warmup: int = 12_500  # 10 epochs with small crops, official configuration
    optimiser: str = 'sgd'  # or 'adamw'
    learning_rate: float = 3.0  # of GroCo: 0.75 batch / 256, section 4.1
    nt_xent_rate: float = 2.4  # 0.075 sqrt(batch), official configuration
    weight_decay: float = 1e-6  # section 4.1
    neighbours: tuple[int, ...] = (1, 10, 20, 50)  # official configuration


PAPER = Config()
CPU = replace(
    PAPER, data='mnist5k', transfer='digits', size=28, crops=(24, 16), counts=(2, 4),
    areas=(0.4, 0.2), blur=0.5, flip=0.0, backbone='conv', widths=(24, 48, 96), patch=2,
    projection=(96, 96, 96), temperature=0.1, nearest_temperature=0.2, batch=64, steps=250,
    warmup=25, optimiser='adamw', learning_rate=1e-2, nt_xent_rate=2e-2, weight_decay=1e-4,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, images=60, crops=(24,), counts=(2,), views=(2, 2), areas=(0.4,), widths=(4, 8),
    projection=(8, 8, 8), negatives=4, batch=8, steps=2, warmup=0, neighbours=(1, 20),
)  # fmt: skip


class Network(nn.Module):
    """x [B, H, W, C] -> h [B, F] of the encoder and z [B, D] of the head."""

    config: Config

    @nn.compact
    def __call__(self, x, *, train=False):
        config = self.config
        encoder = models.backbone(config.backbone, config.widths, name='encoder')
        h = encoder(models.space_to_depth(x, config.patch), train=train)
        head = models.ProjectionHead(config.projection, final_norm=True, name='head')
        return h, head(h, train=train)


def view(config, key, images, *, size, scale):
    """Full views that DINO blurs, or blurs seldom and solarises, in turn; or small crops."""
    of_crop, of_flip, of_colour, of_grey, of_blur, of_sun = jax.random.split(key, 6)
    second = jnp.arange(len(images)) % config.counts[0] % 2 == 1
    blurred, inverted = jnp.where(second, 0.1, 1.0), jnp.where(second, 0.2, 0.0)
    if size != config.crops[0]:
        blurred, inverted = 0.5, 0.0
    x = augment.random_resized_crop(of_crop, images, size=size, scale=scale)
    x = augment.flip(of_flip, x, probability=config.flip)
    jitter = {'brightness': 0.4, 'contrast': 0.4, 'saturation': 0.2, 'hue': 0.1}
    x = augment.grayscale(of_grey, augment.colour_jitter(of_colour, x, **jitter))
    x = augment.blur(of_blur, x, sigma=(0.1, config.blur), probability=blurred)
    return augment.solarize(of_sun, x, probability=inverted)


def groco(config, z):
    """Every view [V, B, D] is an anchor; the other full views are its positives."""
    full, options = config.counts[0], {'negatives': config.negatives, 'steepness': config.steepness}
    others = np.array([[v for v in range(full) if v != anchor] for anchor in range(full)])
    loss = functools.partial(losses.groco, **options)
    each = [jax.vmap(loss)(z[:full], z[others])]
    if len(z) > full:
        each.append(jax.vmap(loss, in_axes=(0, None))(z[full:], z[:full]))
    return jnp.concatenate(each).mean()


def nt_xent(config, z, nearest=None):
    """NT-Xent over all pairs of views [V, B, D] of which one is full.

    The negatives are all views of other images, or the `nearest` of them, without gradient.
    """
    views, full = len(z), config.counts[0]
    u = losses.normalise(z)
    keys = jax.lax.stop_gradient(u) if nearest else u
    s = jnp.einsum('vbd,wcd->vbcw', u, keys, precision='highest')
    s /= config.nearest_temperature if nearest else config.temperature
    own = jnp.eye(z.shape[1], dtype=bool)
    near = jnp.where(own[None, :, :, None], s, 0.0).sum(2)
    far = jnp.where(own[None, :, :, None], -jnp.inf, s).reshape(*s.shape[:2], -1)
    if nearest:
        far, _ = jax.lax.top_k(far, nearest)
    each = jnp.logaddexp(near, jax.nn.logsumexp(far, axis=2, keepdims=True)) - near
    one, other = np.mgrid[:views, :views]
    pairs = (one != other) & ((one < full) | (other < full))
    return (each.mean(1) * pairs).sum() / pairs.sum()


def nearest(config, z):
    return nt_xent(config, z, config.negatives)


def triplet(config, z):
    """The farthest view of an image and the nearest of another, with a soft margin."""
    image = jnp.tile(jnp.arange(z.shape[1]), len(z))
    return losses.batch_hard_triplet(losses.normalise(z).reshape(-1, z.shape[2]), image).mean()


METHODS = {'groco': groco, 'nt-xent': nt_xent, 'nearest': nearest, 'triplet': triplet}


@functools.lru_cache
def build(config):
    """(init, step); one compiled step serves all methods, the state's `extra` says which."""
    net, areas = Network(config), tuple(zip(config.areas, (1.0, *config.areas), strict=False))
    kinds = {'sizes': config.crops, 'counts': config.counts, 'scales': areas}
    schedule = schedules.warmup_cosine(1.0, config.steps, warmup=config.warmup)
    make = train.adamw if config.optimiser == 'adamw' else train.sgd
    # A rate of the loss's own, a number in the optimiser's state.
    rate = optax.inject_hyperparams(optax.scale)(step_size=config.learning_rate)
    optimiser = optax.chain(make(schedule, weight_decay=config.weight_decay), rate)

    def init(key):
        _, *shape = data.spec(config.data, 1, size=config.size)['image'].shape
        variables = net.init(key, jnp.zeros((1, *shape)))
        extra = {'stats': variables['batch_stats'], 'method': jnp.int32(0)}
        return train.create(variables['params'], optimiser, extra=extra)

    def loss_fn(params, state, batch, key):
        images, z = augment.to_float(batch['image']), []
        stats, look = state.extra['stats'], functools.partial(view, config)
        for x in augment.multi_crop(key, images, augment=look, **kinds):
            variables = {'params': params, 'batch_stats': stats}
            flat = x.reshape(-1, *x.shape[2:])
            (_, out), new = net.apply(variables, flat, train=True, mutable=['batch_stats'])
            stats, z = new['batch_stats'], [*z, out.reshape(*x.shape[:2], -1)]
        z = jnp.concatenate(z, axis=1).swapaxes(0, 1)
        branches = [functools.partial(method, config) for method in METHODS.values()]
        loss = jax.lax.switch(state.extra['method'], branches, z)
        return loss, {}, {**state.extra, 'stats': stats}

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


def arms(config):
    """{name: (config, method, rate)}; a random network is not trained."""
    full = {'crops': config.crops[:1], 'areas': config.areas[:1]}
    two, four = (replace(config, counts=(views,), **full) for views in config.views)
    rate, other = config.learning_rate, config.nt_xent_rate
    return {'random': (two, None, 0.0), 'groco': (two, 'groco', rate),
            'nt-xent': (two, 'nt-xent', other), 'nearest': (two, 'nearest', other),
            'triplet': (two, 'triplet', other), 'groco, 4 views': (four, 'groco', rate),
            'nt-xent, 4 views': (four, 'nt-xent', other),
            'groco, multi-crop': (config, 'groco', rate)}  # fmt: skip


def load(config, name, split):
    """A set at the size of the images: those on disk are scaled as they are read."""
    if config.backbone == 'resnet50':
        return data.load(name, split, size=config.size)
    records = data.rows(data.load(name, split), slice(config.images))
    return data.resized(records, (config.size, config.size, 1))


@functools.lru_cache
def forward(config):
    net = Network(config)
    return lambda variables, x: net.apply(variables, x)[0]


def measure(config, state, sets):
    """Accuracy by k neighbours and of a probe; the share of the k nearest that have the class."""
    variables = {'params': state.params, 'batch_stats': state.extra['stats']}
    apply = jax.tree_util.Partial(forward(config), variables)
    h, test_h = (evaluate.features(apply, s['image']) for s in sets)
    y, test_y = (s['label'] for s in sets)
    near = algorithms.nearest(test_h, h, max(config.neighbours), metric='cosine').indices
    same = y[np.asarray(near)] == test_y[:, None]
    found = {'linear': evaluate.linear_probe(h, y, test_h, test_y)}
    for k in config.neighbours:
        found[f'knn_{k}'] = evaluate.knn(h, y, test_h, test_y, k=k)
        found[f'precision_{k}'] = same[:, :k].mean()
    return found, np.asarray(near)


def run(config, ctx):
    names = {'own': config.data, 'transfer': config.transfer}
    sets = {study: [load(config, name, split) for split in ('train', 'test')]
            for study, name in names.items()}  # fmt: skip
    records, test = sets['own']
    few, curves = np.arange(10) * (len(test['label']) // 10), {}
    pictures = {'query': test['image'][few]}
    for name, seed in ctx.grid(arm=arms(config), seed=ctx.seeds):
        if name in ONCE and seed != ctx.seeds[0]:
            continue
        changed, method, rate = arms(config)[name]
        init, step = build(changed)
        state = jax.jit(init)(ctx.key(seed))
        if method:
            place = jnp.int32(list(METHODS).index(method))
            opt_state = optax.tree.set(state.opt_state, step_size=jnp.float32(rate))
            state = state._replace(opt_state=opt_state, extra={**state.extra, 'method': place})
            stream = data.batches(records, config.batch, seed=seed, fields=('image', 'label'))
            label = f'{name}-{seed}'.replace(', ', '-').replace(' ', '-')
            state, _ = ctx.fit(step, state, stream, steps=config.steps, seed=seed, name=label)
        for study, pair in sets.items():
            found, near = measure(changed, state, pair)
            ctx.add(study=study, method=name, seed=seed, **found)
            if study == 'own' and seed == ctx.seeds[0]:
                curves[name] = (
                    config.neighbours,
                    [found[f'precision_{k}'] for k in config.neighbours],
                )
                pictures[name] = records['image'][near[few, 0]]
    ctx.save_figure('precision', figures.curves(curves, x='neighbours', y='of the same class'))
    ctx.save_figure('nearest', figures.images(pictures))
    own = {'study': 'own'}
    return ctx.report(
        Claim(
            'knn_20', 'groco', 'nt-xent', 0.01, where=own, paper='60.5 % at 100 epochs (table 2)'
        ),
        Claim('knn_1', 'groco', 'nt-xent', 0.01, where=own),
        Claim('linear', 'groco', 'nt-xent', -0.005, where=own, paper='69.2 % (table 2)'),
        Claim('knn_20', 'groco, 4 views', 'groco', where=own),
    )


if __name__ == '__main__':
    experiment.main()
