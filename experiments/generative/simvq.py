"""SimVQ: a codebook that is a frozen random matrix times one learned linear map stays in use.

Paper: Addressing Representation Collapse in Vector Quantized Models with One Linear Layer (Zhu et
al., 2024).

    q(z) = (C W)_k, k = argmin_k |z - (C W)_k|^2, C ~ N(0, 1 / d) frozen, W learned with a bias
    L = |x - D(z + sg(q - z))|^2 + |sg z - q|^2 + 0.25 |z - sg q|^2

A vanilla codebook gets a gradient in the rows that a batch chose; here dW = C' dQ moves them all.
Beside it: vanilla VQ from a Gaussian and a uniform start, moving averages with restarts (ema), unit
codes of few dimensions (factorised), a frozen basis of patch features (VQGAN-LC: lc), FSQ and LFQ;
and SimVQ with C learned as well (both), and with a W for every slice of a token (heads).

Claim: nearly all codes stay in use, whatever their number, where vanilla VQ leaves most of them
dead, and the reconstruction is no worse; so it is with sound.
Differences from the paper:
  1. The cpu preset has 8 x 8 digits, MLPs, 16 tokens an image and squared error alone; the paper
  preset adds LPIPS and a PatchGAN (with group normalisation). 2. LPIPS, 'lc' and the Frechet
  distance see features of VGG: of published weights if `weights` names their file, or else of a
  network that is drawn and never trained. 3. 'lc' has VGG where VQGAN-LC has CLIP. 4. Sounds are
  synthetic tones of 8 kHz; their loss is an STFT distance, with neither mel bands nor adversary.

    python -m experiments.generative.simvq --preset=cpu
"""

import dataclasses
import functools
import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jssl import data, evaluate, experiment, train
from jssl.data import tones
from jssl.evaluate.frechet import frechet_distance
from jssl.experiment import Bound, Claim, Range, figures
from jssl.losses.adversarial import adversaries
from jssl.losses.spectral import multi_resolution_stft as stft
from jssl.models import audio, autoencoder, discriminator, perceptual, vq
from jssl.models.autoencoder import codebook_motion

METHODS = ('simvq', 'vanilla', 'uniform', 'ema', 'factorised', 'lc', 'fsq', 'lfq', 'both', 'heads')
SCALED = ('simvq', 'vanilla')  # measured at every number of codes, and on sound


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 4.1
    size: int = 128  # side of the images; samples of a sound
    backbone: str = 'conv'  # or 'mlp', or 'sound'
    widths: tuple[int, ...] = (128, 256, 256, 512)  # ch 128, mult 1, 2, 2, 4; MLP: hidden layers
    grid: int = 16  # tokens along a side: f = 8
    width: int = 128  # d, table 1
    codes: tuple[int, ...] = (65_536, 262_144)  # K, table 1; the first for every method
    batch: int = 64  # per device, official configuration
    steps: int = 1_000_000  # 50 epochs
    learning_rate: float = 1e-4  # Adam, official configuration
    average: float = 0.9999  # of the parameters that are evaluated, official `use_ema`
    perceptual: float = 1.0  # weight of LPIPS, official code
    adversarial: float = 0.1  # weight of the adversary, official configuration
    vgg: tuple[int, ...] = (64, 128, 256, 512, 512)  # widths of VGG-16
    weights: str = ''  # npz file of VGG's and LPIPS's weights, see `perceptual.pretrained`
    heads: int = 4  # of 'heads'
    threshold: float = 0.1  # tokens per batch below which 'ema' restarts a code
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)  # of 'fsq', table 1: 64 000 codes
    tested: int = 5000  # images and sounds that are measured
    toy_steps: int = 200  # per part of three
    sound: int = 24_000  # samples, official configuration
    sound_width: int = 512  # d, official configuration
    sound_steps: int = 277_000  # 50 epochs of the training set of LibriTTS
    strides: tuple[int, ...] = (2, 4, 5, 8)  # of SEANet, official code
    codec: tuple[int, ...] = (32, 2, 768, 12)  # SEANet's width, LSTM layers; Vocos's width, depth
    windows: tuple[int, ...] = (512, 1024, 2048)  # of the STFT distance


PAPER = Config()
CPU = replace(
    PAPER, data='digits', size=8, backbone='mlp', widths=(128, 128), grid=4, width=16,
    codes=(1024, 4096), batch=32, steps=400, learning_rate=1e-3, average=0.99, perceptual=0.0,
    adversarial=0.0, vgg=(16, 16), levels=(8, 5, 5, 5), toy_steps=100, sound=512, sound_width=16,
    sound_steps=100, strides=(4, 8), codec=(8, 0, 64, 2), windows=(64, 256),
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, widths=(8,), codes=(16, 32), batch=8, steps=2, tested=24, toy_steps=2, sound=128,
    sound_steps=2, strides=(16,), codec=(2, 0, 8, 1), windows=(64,),
)  # fmt: skip


def inputs(config):
    if config.backbone == 'sound':
        return tones.spec(config.batch, length=config.size)
    return data.spec(config.data, config.batch, size=config.size)


def load(config, split):
    if config.backbone == 'sound':
        return tones.dataset(split, length=config.size)
    # Sets on disk are scaled as they are read; the small packaged ones have one size.
    size = {'size': config.size} if config.backbone == 'conv' else {}
    return data.load(config.data, split, **size)


def read(batch):
    return batch['sound'] if 'sound' in batch else batch['image'].astype(np.float32) / 255


def first(config, split):
    return np.asarray(read(next(data.epoch(load(config, split), config.tested))))


def quantiser(config, method, codes, width):
    match method:
        case 'simvq' | 'both':
            return vq.SimVQ(codes, width, learn_basis=method == 'both')
        case 'heads':
            return vq.SimVQ(codes, width, heads=config.heads)
        case 'lc':
            look = perceptual.extractor(config.weights, widths=config.vgg, side=config.grid)
            h = evaluate.features(look, first(config, 'train'))
            h = h.reshape(-1, h.shape[-1])[: 4 * codes]
            basis = vq.clustered(jax.random.key(0), h, codes)
            start = lambda key, shape: basis
            return vq.SimVQ(codes, width, codebook_init=start, basis_width=basis.shape[1])
        case 'vanilla' | 'uniform':
            start = vq.gaussian if method == 'vanilla' else vq.uniform
            return vq.VectorQuantiser(codes, width, codebook_init=start)
        case 'ema':
            return vq.EMAQuantiser(codes, width, threshold=config.threshold)
        case 'factorised':
            return vq.FactorisedQuantiser(codes, width)
        case 'fsq':
            return vq.FSQ(width, levels=config.levels)
        case 'lfq':
            return vq.LFQ(width, bits=codes.bit_length() - 1)


@functools.lru_cache
def network(config, method, codes):
    shape, width = jax.eval_shape(read, inputs(config)).shape, config.width
    if config.backbone == 'mlp':
        encoder = autoencoder.ShapedMLP(config.widths, (config.grid, config.grid, width))
        decoder = autoencoder.ShapedMLP(config.widths, shape[1:])
    elif config.backbone == 'conv':
        encoder = autoencoder.ConvEncoder(config.widths, width)
        decoder = autoencoder.ConvDecoder(config.widths, shape[-1])
    else:
        (narrow, layers, wide, depth), strides = config.codec, config.strides
        encoder = audio.SEANetEncoder(width, strides=strides, width=narrow, layers=layers)
        decoder = audio.VocosDecoder(math.prod(strides), width=wide, depth=depth)
    return autoencoder.Tokeniser(encoder, quantiser(config, method, codes, width), decoder)


@functools.lru_cache
def build(config, method='simvq', codes=None):
    """(init, step) of a tokeniser; what no gradient moves is the state's `extra`."""
    model = network(config, method, codes or config.codes[0])
    x = jnp.zeros(jax.eval_shape(read, inputs(config)).shape)
    adam = train.adamw(config.learning_rate, weight_decay=0.0)
    lpips, lpips_params = perceptual.pretrained(config.weights, widths=config.vgg)
    critic = discriminator.PatchDiscriminator(norm='group')

    def init(key):
        extra = dict(model.init(key, x))
        params = {'tokeniser': extra.pop('params')}
        if config.adversarial:
            params['critic'] = critic.init(key, x)['params']
        if config.perceptual:
            extra['lpips'] = lpips_params
        return train.create(params, adam, average=True, extra=extra)

    def loss_fn(params, state, batch, key):
        x, variables = read(batch), {'params': params['tokeniser'], **state.extra}
        options = {'mutable': ['constants', 'ema'], 'rngs': {'restart': key}}
        (made, found), moved = model.apply(variables, x, train=True, **options)
        sound = config.backbone == 'sound'
        error = (stft(made, x, windows=config.windows) if sound else jnp.square(x - made)).mean()
        loss = error + found.loss.mean()
        if config.perceptual:
            seen = lpips.apply({'params': state.extra['lpips']}, x, made)
            loss += config.perceptual * seen.mean()
        if config.adversarial:
            judge = lambda params, x: critic.apply({'params': params}, x)
            fooling, telling = adversaries(judge, params['critic'], x, made)
            loss += config.adversarial * fooling.mean() + telling.mean()
        return loss, {'error': error}, {**state.extra, **moved}

    return init, train.gradient_step(loss_fn, adam, ema=config.average)


def plane(config, ctx, method, seed):
    """Codes in the plane that chase four clusters: disjoint rows, or one map for all of them."""
    inner, adam = quantiser(config, method, 32, 2), train.adamw(0.01, weight_decay=0.0)
    corners = jnp.array([[2.0, 2.0], [2.0, 3.0], [3.0, 2.0], [3.0, 3.0]])
    codes = lambda s: inner.apply({'params': s.params, **s.extra}, method='codebook')
    sample = lambda key, each: 0.3 * jax.random.normal(key, (each, 4, 2)) + corners

    def loss_fn(params, state, batch, key):
        return inner.apply({'params': params, **state.extra}, sample(key, 16)).loss.mean()

    extra = dict(inner.init(ctx.key(seed), corners))
    state = train.create(extra.pop('params'), adam, extra=extra)
    step = train.gradient_step(loss_fn, adam)
    layers = [sample(ctx.key(seed), 250).reshape(-1, 2), codes(state)]
    for part in range(3):
        name = f'plane-{method}-{part}-{seed}'
        state, _ = ctx.fit(step, state, steps=config.toy_steps, seed=seed + part, name=name)
        layers.append(codes(state))
    used = evaluate.utilisation(vq.nearest(layers[0], layers[-1]), 32)
    ctx.add(study='plane', method=method, seed=seed, plane_utilisation=used)
    return np.concatenate(layers), np.repeat(np.arange(5), [len(a) for a in layers])


def compare(config, ctx, study, arms, score):
    """Trains and measures every arm; returns {method: some reconstructions}."""
    records, x = load(config, 'train'), first(config, 'test')
    kept = {'test': x[:12]}
    for (method, codes), seed in ctx.grid(arm=arms, seed=ctx.seeds):
        model, (init, step) = network(config, method, codes), build(config, method, codes)
        stream = data.batches(records, config.batch, seed=seed)
        name = f'{study}-{method}-{codes}-{seed}'
        state, _ = ctx.fit(step, init, stream, steps=config.steps, seed=seed, name=name)
        variables = {'params': state.average['tokeniser'], **state.extra}
        apply = jax.tree_util.Partial(model.apply, variables)
        made, (_, indices, _) = evaluate.features(apply, x)
        count = model.quantiser.count
        # A test pass cannot use more codes than it has tokens.
        row = {'utilisation': evaluate.utilisation(indices, count),
               'perplexity': evaluate.perplexity(indices, count),
               'ceiling': min(1.0, indices.size / count), **score(made, x)}  # fmt: skip
        if method in SCALED and codes == config.codes[0]:
            params, batch = state.params['tokeniser'], read(stream[0])
            codebook, motion, chosen = codebook_motion(model, params, state.extra, batch)
            row |= {'touched': (motion != 0).any(1).mean(),
                    'chosen': evaluate.utilisation(chosen, count),
                    'gradient_rank': evaluate.effective_rank(motion),
                    'codebook_rank': evaluate.effective_rank(codebook)}  # fmt: skip
        ctx.add(study=study, method=method, codes=codes, seed=seed, **row)
        kept.setdefault(method, made[:12])
    return kept


def run(config, ctx):
    few, many = config.codes
    arms = [(m, k) for m in METHODS for k in (config.codes if m in SCALED else (few,))]
    look = perceptual.extractor(config.weights, widths=config.vgg)
    seen = lambda made, x: {
        'mse': np.square(x - made).mean(), 'psnr': evaluate.psnr(made, x).mean(),
        'ssim': evaluate.ssim(made, x, window=min(11, config.size - 1)).mean(),
        'frechet': frechet_distance(*(evaluate.features(look, a) for a in (made, x))),
    }  # fmt: skip
    pictures = compare(config, ctx, 'image', arms, seen)
    used = {(r['method'], r['codes'], r['seed']): r['utilisation'] for r in ctx.rows}
    for method, seed in itertools.product(SCALED, ctx.seeds):
        kept = used[method, many, seed] / used[method, few, seed]
        ctx.add(study='scaling', method=method, seed=seed, kept=kept)
    sound = replace(
        config, backbone='sound', size=config.sound, width=config.sound_width, codes=(few,),
        steps=config.sound_steps, perceptual=0.0, adversarial=0.0,
    )  # fmt: skip
    heard = lambda made, x: {'stft': stft(made, x, windows=config.windows).mean()}
    compare(sound, ctx, 'sound', [(m, few) for m in SCALED], heard)
    planes = {m: plane(config, ctx, m, ctx.seeds[0]) for m in SCALED}
    ctx.save_figure('plane', figures.points(planes))
    ctx.save_figure('reconstructions', figures.images(pictures, columns=12))
    where, paper = {'study': 'image', 'codes': few}, '100 % of 65,536 codes against 1.4-4.5 %'
    sound = {'where': {'study': 'sound'}, 'paper': 'the same in audio'}
    return ctx.report(
        Claim('utilisation', 'simvq', 'vanilla', 0.2, where=where, paper=paper),
        Claim('utilisation', 'simvq', 'uniform', ratio=3.0, where=where, paper=paper),
        Claim('perplexity', 'simvq', 'vanilla', ratio=1.25, where=where),
        Claim('mse', 'simvq', 'vanilla', ratio=1.05, lower=True, where=where, paper='lower rFID'),
        Claim('kept', 'simvq', 'vanilla', paper='100 % at 262,144 codes'),
        Range('touched', low=1.0, where={'method': 'simvq'}, paper='every code'),
        Bound('touched', 'chosen', where={'method': 'vanilla'}, paper='the chosen codes'),
        Claim('utilisation', 'simvq', 'vanilla', **sound),
    )


if __name__ == '__main__':
    experiment.main()
