"""SimVQ: a codebook that is a frozen random matrix times one learned linear map stays in use.

Paper: Addressing Representation Collapse in Vector Quantized Models with One Linear Layer (Zhu et
al., 2024).

    q(z) = (C W)_k, k = argmin_k |z - (C W)_k|^2, C ~ N(0, 1 / d) frozen, W learned with a bias
    L = |x - D(z + sg(q - z))|^2 + |sg z - q|^2 + 0.25 |z - sg q|^2

A vanilla codebook gets a gradient in the rows that a batch chose; here dW = C' dQ moves them all.
Beside it: vanilla VQ from a Gaussian and a uniform start, moving averages with restarts (ema), unit
codes of few dimensions (factorised), a frozen basis of patches (VQGAN-LC's idea: lc), FSQ and LFQ.

Claim: nearly all codes stay in use, whatever their number, where vanilla VQ leaves most of them
dead, and the reconstruction is no worse.
Differences from the paper:
  1. The cpu preset has 8 x 8 digits, MLPs and 16 tokens an image. 2. Squared error alone: no LPIPS,
  no adversary, so no rFID. 3. The paper preset has plain convolutions of the paper's widths, no
  residual blocks. 4. No audio codec. 5. 'lc' has patches of training images, not CLIP features.

    python -m experiments.generative.simvq --preset=cpu
"""

import dataclasses
import functools
import itertools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jssl import data, evaluate, experiment, models, train
from jssl.experiment import Bound, Claim, Range, figures
from jssl.models import vq

METHODS = ('simvq', 'vanilla', 'uniform', 'ema', 'factorised', 'lc', 'fsq', 'lfq')
SCALED = ('simvq', 'vanilla')  # measured at every number of codes


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 4.1
    size: int = 128  # side of the images
    backbone: str = 'conv'  # or 'mlp'
    widths: tuple[int, ...] = (128, 256, 256, 512)  # ch 128, mult 1, 2, 2, 4; MLP: hidden layers
    grid: int = 16  # tokens along a side: f = 8
    width: int = 128  # d, table 1
    codes: tuple[int, ...] = (65_536, 262_144)  # K, table 1; the first for every method
    batch: int = 64  # per device, official configuration
    steps: int = 1_000_000  # 50 epochs
    learning_rate: float = 1e-4  # Adam, official configuration
    average: float = 0.9999  # of the parameters that are evaluated, official `use_ema`
    beta: float = 0.25  # commitment, section 3
    code_width: int = 8  # of 'factorised', table 1
    threshold: float = 0.1  # tokens per batch below which 'ema' restarts a code
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)  # of 'fsq', table 1: 64 000 codes
    toy_codes: int = 32  # of the demonstration in the plane, section 3
    toy_steps: int = 200  # per part of three


PAPER = Config()
CPU = replace(
    PAPER, data='digits', size=8, backbone='mlp', widths=(128, 128), grid=4, width=16,
    codes=(1024, 4096), batch=32, steps=400, learning_rate=1e-3, average=0.99,
    levels=(8, 5, 5, 5), toy_steps=100,
)  # fmt: skip
SMOKE = replace(CPU, seeds=1, widths=(8,), codes=(16, 32), batch=8, steps=2, toy_steps=2)


class Tokeniser(nn.Module):
    """x [B, H, W, C] -> the reconstruction and `vq.Quantised` of its grid of tokens."""

    quantiser: nn.Module
    backbone: str
    widths: tuple[int, ...]
    grid: int
    width: int

    @nn.compact
    def __call__(self, x, *, train=False):
        if self.backbone == 'mlp':
            encoder = models.MLP((*self.widths, self.grid**2 * self.width), name='encoder')
            z = encoder(x.reshape(len(x), -1)).reshape(len(x), -1, self.width)
            found = self.quantiser(z, train=train)
            decoder = models.MLP((*self.widths, x[0].size), name='decoder')
            return decoder(found.q.reshape(len(x), -1)).reshape(x.shape), found
        strides = (1,) + (2,) * (len(self.widths) - 1)
        _, maps = models.ConvNet(self.widths, strides=strides, name='encoder')(x, taps=True)
        found = self.quantiser(nn.Dense(self.width, name='tokens')(maps[-1]), train=train)
        decoder = models.Decoder(self.widths[-2::-1], channels=x.shape[-1], name='decoder')
        return decoder(found.q), found


def patches(config):
    """Initialiser of the basis of 'lc': patches of training images, whitened, and scaled as C."""

    def init(key, shape, dtype=jnp.float32):
        x = data.load(config.data, 'train')['image'].astype(np.float32) / 255
        side = int(np.sqrt(shape[1]))
        rows = np.unique(np.asarray(models.patchify(x, side)).reshape(-1, side**2), axis=0)
        rows = jnp.asarray((rows - rows.mean(0)) / (rows.std(0) + 1e-3), dtype)
        replace = len(rows) < shape[0]
        return jax.random.choice(key, rows, shape[:1], replace) * shape[1] ** -0.5

    return init


def quantiser(config, method, codes, width):
    options = {'count': codes, 'width': width, 'beta': config.beta}
    match method:
        case 'vanilla' | 'uniform':
            init = vq.gaussian if method == 'vanilla' else vq.uniform
            return vq.VectorQuantiser(**options, codebook_init=init)
        case 'ema':
            return vq.EMAQuantiser(**options, threshold=config.threshold)
        case 'factorised':
            return vq.FactorisedQuantiser(**options, code_width=config.code_width)
        case 'fsq':
            return vq.FSQ(width, levels=config.levels)
        case 'lfq':
            return vq.LFQ(width, bits=codes.bit_length() - 1, beta=config.beta)
    init = patches(config) if method == 'lc' else vq.gaussian
    return vq.SimVQ(**options, codebook_init=init)


@functools.lru_cache
def network(config, method, codes):
    inner = quantiser(config, method, codes, config.width)
    return Tokeniser(inner, config.backbone, config.widths, config.grid, config.width)


@functools.lru_cache
def build(config, method='simvq', codes=None):
    """(init, step) of a tokeniser; frozen bases and moving averages are the state's `extra`."""
    model = network(config, method, codes or config.codes[0])
    shape = data.spec(config.data, 1, size=config.size)['image'].shape
    optimiser = train.adamw(config.learning_rate, weight_decay=0.0)

    def init(key):
        extra = dict(model.init(key, jnp.zeros(shape)))
        return train.create(extra.pop('params'), optimiser, average=True, extra=extra)

    def loss_fn(params, state, batch, key):
        x = batch['image'].astype(jnp.float32) / 255
        variables, moves = {'params': params, **state.extra}, ['constants', 'ema']
        (made, found), extra = model.apply(
            variables, x, train=True, mutable=moves, rngs={'restart': key}
        )
        mse = jnp.square(x - made).mean()
        return mse + found.loss.mean(), {'mse': mse}, dict(extra)

    return init, train.gradient_step(loss_fn, optimiser, ema=config.average)


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


@functools.lru_cache
def forward(config, method, codes):
    model = network(config, method, codes)
    return lambda params, extra, x: model.apply({'params': params, **extra}, x)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def touched(config, method, codes, state, images):
    """(codebook, its first-order motion under one batch's gradient, the batch's indices)."""
    inner = network(config, method, codes).quantiser
    fixed = {name: tree['quantiser'] for name, tree in state.extra.items()}
    x = images.astype(jnp.float32) / 255

    def loss(params):
        made, found = forward(config, method, codes)(params, state.extra, x)
        return jnp.square(x - made).mean() + found.loss.mean(), found.indices

    codebook = lambda params: inner.apply({'params': params, **fixed}, method='codebook')
    gradient, indices = jax.grad(loss, has_aux=True)(state.params)
    return *jax.jvp(codebook, (state.params['quantiser'],), (gradient['quantiser'],)), indices


def toy(config, ctx, method, seed):
    """Codes in the plane that chase four clusters: disjoint rows, or one map for all of them."""
    inner = quantiser(config, method, config.toy_codes, 2)
    optimiser = train.adamw(0.01, weight_decay=0.0)
    centres = 2 + jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

    def sample(key, count=64):
        which, noise = jax.random.split(key)
        z = centres[jax.random.randint(which, (count,), 0, 4)]
        return z + 0.3 * jax.random.normal(noise, z.shape)

    def loss_fn(params, state, batch, key):
        return inner.apply({'params': params, **state.extra}, sample(key)).loss.mean()

    codes = lambda s: inner.apply({'params': s.params, **s.extra}, method='codebook')
    extra = dict(inner.init(ctx.key(seed), centres))
    state = train.create(extra.pop('params'), optimiser, extra=extra)
    step = train.gradient_step(loss_fn, optimiser)
    z = sample(ctx.key(seed), 1000)
    layers = [z, codes(state)]
    for part in range(3):
        name = f'plane-{method}-{part}-{seed}'
        state, _ = ctx.fit(step, state, steps=config.toy_steps, seed=seed + part, name=name)
        layers.append(codes(state))
    used = evaluate.utilisation(vq.nearest(z, layers[-1]), config.toy_codes)
    ctx.add(study='plane', method=method, seed=seed, plane_utilisation=float(used))
    colours = np.concatenate([np.full(len(a), i) for i, a in enumerate(layers)])
    return np.concatenate(layers), colours


def run(config, ctx):
    records, test = (data.load(config.data, split) for split in ('train', 'test'))
    x = np.asarray(test['image'], np.float32) / 255
    ceiling = len(x) * config.grid**2  # a test pass cannot use more codes than it has tokens
    arms = [(m, k) for m in METHODS for k in (config.codes if m in SCALED else config.codes[:1])]
    pictures, kept = {'test': x[:12]}, {}
    for (method, codes), seed in ctx.grid(arm=arms, seed=ctx.seeds):
        init, step = build(config, method, codes)
        stream = data.batches(records, config.batch, seed=seed)
        state, _ = ctx.fit(step, init, stream, steps=config.steps, seed=seed,
                           name=f'{method}-{codes}-{seed}')  # fmt: skip
        apply = jax.tree_util.Partial(forward(config, method, codes), state.average, state.extra)
        made, (_, indices, _) = evaluate.features(apply, x)
        count = network(config, method, codes).quantiser.count
        row = {'utilisation': evaluate.utilisation(indices, count),
               'perplexity': evaluate.perplexity(indices, count),
               'mse': np.square(made - x).mean(), 'psnr': evaluate.psnr(made, x).mean(),
               'ceiling': min(1.0, ceiling / count)}  # fmt: skip
        kept[method, codes, seed] = float(row['utilisation'])
        if method in SCALED and codes == config.codes[0]:
            batch = records['image'][: config.batch]
            codebook, motion, chosen = touched(config, method, codes, state, batch)
            row |= {'touched': (motion != 0).any(1).mean(),
                    'chosen': evaluate.utilisation(chosen, count),
                    'motion_rank': evaluate.effective_rank(motion),
                    'codebook_rank': evaluate.effective_rank(codebook)}  # fmt: skip
        ctx.add(study='tokens', method=method, codes=codes, seed=seed, **row)
        pictures.setdefault(method, made[:12])
    few, many = config.codes
    for method, seed in itertools.product(SCALED, ctx.seeds):
        share = kept[method, many, seed] / kept[method, few, seed]
        ctx.add(study='scaling', method=method, seed=seed, kept=share)
    planes = {m: toy(config, ctx, m, ctx.seeds[0]) for m in SCALED}
    ctx.save_figure('plane', figures.points(planes))
    ctx.save_figure('reconstructions', figures.images(pictures, columns=12))
    where, use = {'codes': few}, '100 % of 65,536 codes against 1.4-4.5 %'
    return ctx.report(
        Claim('utilisation', 'simvq', 'vanilla', 0.2, where=where, paper=use),
        Claim('utilisation', 'simvq', 'uniform', ratio=3.0, where=where, paper=use),
        Claim('perplexity', 'simvq', 'vanilla', ratio=1.25, where=where),
        Claim('mse', 'simvq', 'vanilla', ratio=1.05, lower=True, where=where, paper='lower rFID'),
        Claim('kept', 'simvq', 'vanilla', paper='100 % at 262,144 codes'),
        Range('touched', low=1.0, where={'method': 'simvq'}, paper='every code'),
        Bound('touched', 'chosen', where={'method': 'vanilla'}, paper='the chosen codes'),
    )


if __name__ == '__main__':
    experiment.main()
