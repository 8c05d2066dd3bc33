"""HPM: a masked autoencoder that predicts where it will fail, and masks more of those patches.

Paper: Bootstrap Masked Visual Modeling via Hard Patches Mining (Wang et al., 2023).

    L = mean_{i in M} L_i + L_pred,   L_i = |D(f(x_visible))_i - y_i|^2 / d,   P = R(f(x_visible))
    L_pred = -mean_{i != j in M} t_ij log s(P_i - P_j) + (1 - t_ij) log(1 - s(P_i - P_j))
    t_ij = 1[L_i > L_j];   M at step t: the alpha_t gamma N highest of P^ema(x whole), the rest of
    gamma N at random;   alpha_t = alpha_0 + t / T (alpha_T - alpha_0), 0 to 1/2;   gamma = 3/4

Targets y are normalised pixels, or features of the EMA teacher or of a frozen network.

Claim: the teacher orders patches as their true losses do; its masks cover objects; the features
beat those of MAE in the same time; to predict losses does no harm by itself, and their order
teaches no less than their values.
Differences from the paper:
  1. The cpu preset has white shapes on photographs, tiny ViTs, a faster teacher, and raw pixels as
  targets, as the official command: scaled to unit variance, a quiet patch is as hard as an edge.
  2. A linear probe of the mean token; no fine-tuning, detection or segmentation. 3. The frozen
  network is the MAE of the first seed, not DINO or CLIP. 4. Clips are pans over still images,
  masked by tubes; positions count their rows on through time. 5. The share of hard patches grows
  with every step, not every epoch. 6. In the cpu preset decoders decay faster than the encoder.

    python -m experiments.masked.hpm --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, evaluate, experiment, losses, models, train
from jssl.data import augment, clips
from jssl.experiment import Claim, Range, figures
from jssl.train import schedules

# What tells the arms apart is numbers in the state: one compiled step serves them all.
ARMS = {
    'mae': {'last': 0.0, 'weight': 0.0},
    'mae_longer': {'last': 0.0, 'weight': 0.0},  # in the time that 'hpm' takes
    'hpm': {},
    'prediction': {'last': 0.0},  # random masks
    'absolute': {'relative': 0.0},  # the values of the losses
    'hard_start': {'first': 1.0, 'last': 1.0},
    'mining': {'shared': 0.0},  # no gradient of L_pred in the encoder
    'easy': {'sign': -1.0},  # easy patches are masked
    'ema_features': {'features': 1.0},
    'frozen_features': {'features': 2.0},
}
CLAIMED = ('mae', 'mae_longer', 'hpm', 'prediction', 'absolute')  # the others have one seed
TARGETS = ('pixels', 'ema', 'frozen')
# Small white objects, alone on their backdrop, and no patch that is hard for its noise alone.
SCENES = {'scale': (0.4, 0.55), 'shift': 0.5, 'rotation': 10, 'colours': (7,), 'clutter': 0,
          'noise': 0.0}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'imagenet2012'  # section 4.1
    images: int = 1_281_167  # of the training split; of shapes as many are drawn
    size: int = 224  # side of the images
    patch: int = 16  # ViT-B/16
    width: int = 768  # of the encoder
    depth: int = 12  # of the encoder
    heads: int = 12  # of the encoder
    decoder_width: int = 512  # of the reconstructor, and of the loss predictor
    decoder_depth: int = 8  # of each
    decoder_heads: int = 16  # of each
    frames: int = 1  # of a clip, two in a tubelet; 16 for video, with decoders of 384 x 4
    ratio: float = 0.75  # gamma; 0.9 for video
    alpha: tuple[float, float] = (0.0, 0.5)  # share of hard patches, first and last
    target: str = 'pixels'  # or 'ema', 'frozen': features
    normalise: bool = True  # pixels of each patch, as MAE does
    batch: int = 4096  # over all devices
    steps: int = 62_500  # 200 epochs
    mae_steps: int = 62_500  # of 'mae_longer'; the paper compares equal epochs
    warmup: int = 12_500  # 40 epochs
    learning_rate: float = 2.4e-3  # 1.5e-4 for each 256 images
    weight_decay: float = 0.05  # of the encoder; AdamW, betas 0.9 and 0.95
    decoder_decay: float = 0.05  # of the decoders, the same in the paper
    mae_decay: float = 0.05  # of the decoder of MAE alone
    decay: tuple[float, float] = (0.999, 0.9999)  # of the teacher, first and last; official code
    decay_steps: int = 31_250  # from the one to the other: 100 epochs
    crop: float = 0.2  # least area of a crop
    parts: int = 4  # of the training, each followed by a look at the masks

    @property
    def tubelets(self):
        return max(1, self.frames // 2)


PAPER = Config()
# Weight decay takes from the decoders' embedding of visible patches, whose predictions no loss
# corrects, what it began with: rate x decay x steps are the paper's. MAE is better off without.
CPU = replace(
    PAPER, data='shapes', images=4000, size=20, patch=4, width=48, depth=2, heads=3,
    decoder_width=32, decoder_depth=2, decoder_heads=2, batch=32, steps=600, mae_steps=1200,
    warmup=50, normalise=False, learning_rate=3e-3, decoder_decay=4.2, decay=(0.9, 0.99),
    decay_steps=300, crop=0.6,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, images=250, width=12, depth=1, decoder_width=8, decoder_depth=1, batch=8, steps=2,
    mae_steps=2, mae_decay=4.2, warmup=1, parts=2,
)  # fmt: skip


@functools.lru_cache
def module(config, name):
    """The encoder; or the reconstructor and the predictor, on one embedding and mask token."""
    large = config.depth > 6  # one compilation for all blocks, of which little is kept
    options = {'scan': large, 'remat': large}
    size, side = (config.width, config.depth, config.heads), config.size // config.patch
    if name == 'encoder':
        return models.ViT(config.patch, *size, pooling=None, **options)
    size = config.decoder_width, config.decoder_depth, config.decoder_heads
    out = max(config.patch**2 * 3 * min(2, config.frames), config.width)  # pixels or features
    grid = config.tubelets * side, side  # a clip's tubelets lie one below the other
    return models.MaskedDecoder(*size, grid, (out, out), **options)


def apply(config, params, name, *args, **options):
    return module(config, name).apply({'params': params[name]}, *args, **options)


def reconstruct(config, params, x, keep):
    h = apply(config, params, 'encoder', x, keep=keep)
    return h, apply(config, params, 'decoder', h, keep)[0]


def predict(config, params, h, keep):
    """P [B, N]: a mean of many outputs starts near zero, as the official head does."""
    return apply(config, params, 'decoder', h, keep)[1].mean(-1)


def standardise(x):
    return augment.normalise(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def clip(config, key, x):
    """Images as they are; or, of several frames, the tubelets of a pan over each."""
    return x if config.frames == 1 else clips.tubelets(clips.pan(key, x, frames=config.frames))


def hard_share(config, state):
    first, last = state.extra['first'], state.extra['last']
    return first + (last - first) * state.step / config.steps


def draw_mask(config, key, difficulty, share):
    """(mask [B, N], visible patches), of which `share` are the most difficult; tubes in clips."""
    places = difficulty.reshape(len(difficulty), config.tubelets, -1).mean(1)
    mask, keep = data.hard_patch_mask(key, places, ratio=config.ratio, hard_share=share)
    return clips.tube_mask(mask, keep, times=config.tubelets)


def teach(config, state, x):
    """(feature targets, difficulty of each patch [B, N]) from whole images."""
    h = apply(config, state.average, 'encoder', x)
    everything = jnp.broadcast_to(jnp.arange(h.shape[1] - 1), (len(x), h.shape[1] - 1))
    predicted = predict(config, state.average, h, everything)
    frozen = lambda: apply(config, {'encoder': state.extra['frozen']}, 'encoder', x)
    h = jax.lax.cond(state.extra['features'] > 1, frozen, lambda: h)
    return h[:, 1:], state.extra['sign'] * predicted


def patch_losses(config, made, x, features, by_features):
    """L_i [B, N]: squared error of pixels, or of unit features."""
    y = models.patchify(x, config.patch)
    pixels = losses.normalise_patches(y) if config.normalise else y
    pair = losses.normalise(made[..., : config.width]), losses.normalise(features)
    of_features = config.width * losses.patch_errors(*pair)
    of_pixels = losses.patch_errors(made[..., : y.shape[-1]], pixels)
    return jnp.where(by_features > 0, of_features, of_pixels)


def masked_mean(values, mask):
    return (values * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)


def prediction_loss(predicted, actual, mask, relative):
    """L_pred: of the order of the losses, or squared error to their standardised values."""
    actual = jax.lax.stop_gradient(actual)
    centred = actual - masked_mean(actual, mask)
    values = centred / jnp.sqrt(masked_mean(jnp.square(centred), mask) + 1e-6)
    absolute = masked_mean(jnp.square(predicted - values), mask)[:, 0]
    ranking = losses.pairwise_ranking(predicted, actual, mask)
    return jnp.where(relative > 0, ranking, absolute).mean()


@functools.lru_cache
def build(config):
    """(init, step) of every arm, by the numbers in `extra`; what an arm lacks costs it no time."""
    shape = inputs(replace(config, batch=2))['image'].shape
    schedule = schedules.warmup_cosine(config.learning_rate, config.steps, warmup=config.warmup)
    decays = {'encoder': config.weight_decay, 'decoder': config.decoder_decay}
    parts = {k: train.adamw(schedule, weight_decay=v, b2=0.95) for k, v in decays.items()}
    optimiser = optax.partition(parts, {k: k for k in parts})

    def init(key):
        x = clip(config, key, jnp.zeros(shape))
        keep = jnp.zeros((2, 1), jnp.int32)
        given = {'encoder': (x,), 'decoder': (jnp.zeros((2, 2, config.width)), keep)}
        keys = dict(zip(given, jax.random.split(key), strict=True))
        params = {k: module(config, k).init(keys[k], *given[k])['params'] for k in given}
        extra = dict.fromkeys(('weight', 'relative', 'shared', 'sign'), 1.0)
        extra |= {'first': config.alpha[0], 'last': config.alpha[1]}
        extra = jax.tree.map(jnp.float32, extra | {'features': TARGETS.index(config.target)})
        extra['frozen'] = jax.tree.map(jnp.copy, params['encoder'])
        return train.create(params, optimiser, average=True, extra=extra)

    def loss_fn(params, state, batch, key):
        k_crop, k_flip, k_pan, k_mask = jax.random.split(key, 4)
        x = augment.to_float(batch['image'])
        x = augment.random_resized_crop(k_crop, x, size=config.size, scale=(config.crop, 1.0))
        x = clip(config, k_pan, standardise(augment.flip(k_flip, x)))
        flags, teacher = state.extra, functools.partial(teach, config, state, x)
        idle = lambda: jax.tree.map(lambda s: jnp.zeros(s.shape), jax.eval_shape(teacher))
        taught = flags['first'] + flags['last'] + flags['features'] > 0
        features, difficulty = jax.lax.cond(taught, teacher, idle)
        mask, keep = draw_mask(config, k_mask, difficulty, hard_share(config, state))
        h, made = reconstruct(config, params, x, keep)
        errors = patch_losses(config, made, x, features, flags['features'])
        reconstruction = masked_mean(errors, mask).mean()

        @jax.checkpoint  # else a branch not taken fills arrays for its gradient with zeros
        def ranked():
            seen = jnp.where(flags['shared'] > 0, h, jax.lax.stop_gradient(h))
            predicted = predict(config, params, seen, keep)
            return prediction_loss(predicted, errors, mask, flags['relative'])

        prediction = jax.lax.cond(flags['weight'] > 0, ranked, lambda: 0.0)
        metrics = {'reconstruction': reconstruction, 'prediction': prediction}
        return reconstruction + flags['weight'] * prediction, metrics, state.extra

    def decay(step):
        first, last = config.decay
        return first + (last - first) * jnp.minimum(step / config.decay_steps, 1)

    return init, train.gradient_step(loss_fn, optimiser, ema=decay)


def inputs(config):
    return data.spec(config.data, config.batch, size=config.size)


@functools.lru_cache
def embed(config):
    """Mean token of whole images."""
    pan = functools.partial(clip, config, jax.random.key(0))
    run = functools.partial(apply, config)
    return lambda params, x: run(params, 'encoder', pan(standardise(x)))[:, 1:].mean(1)


@functools.lru_cache
def examine(config):
    """The masks, and their worth, of images whose fourth channel is the mask of the object."""

    def examined(state, x):
        pan, draw = jax.random.split(jax.random.key(0))
        objects = models.patchify(clip(config, pan, x[..., 3:]), config.patch).max(-1)
        x = clip(config, pan, standardise(x[..., :3]))
        features, difficulty = teach(config, state, x)
        hard, _ = draw_mask(config, draw, difficulty, hard_share(config, state))
        random, keep = draw_mask(config, draw, difficulty, 0.0)
        made = reconstruct(config, state.params, x, keep)[1]
        actual = patch_losses(config, made, x, features, state.extra['features'])
        hidden = jnp.argsort(-random)[:, : random.shape[1] - keep.shape[1]]
        pair = state.extra['sign'] * difficulty, actual
        rho = evaluate.spearman(*(jnp.take_along_axis(a, hidden, axis=1) for a in pair))
        return {'spearman': rho, 'object_masked': masked_mean(hard, objects)[:, 0],
                'by_chance': masked_mean(random, objects)[:, 0], 'mask': hard}  # fmt: skip

    return examined


def shade(config, images, mask):
    """Images [n, H, W, 3] in [0, 1], dark where the first of the masks [.., N] are."""
    patches = mask[: len(images), : (config.size // config.patch) ** 2, None]
    dark = np.repeat(patches, config.patch**2, axis=-1)
    return images * (1 - 0.85 * models.unpatchify(dark, config.patch, (*images.shape[1:3], 1)))


def run(config, ctx):
    drawn = {**SCENES, 'count': config.images} if config.data == 'shapes' else {}
    load = functools.partial(data.load, config.data, size=config.size, **drawn)
    records, test = load('train'), load('test')
    some = data.columns(data.rows(test, slice(256)))
    objects = some['mask'] if drawn else np.ones(some['image'].shape[:3])  # all, where unknown
    scenes = np.concatenate([some['image'], 255 * objects[..., None].astype(np.uint8)], -1)
    shown, curves, first, frozen = some['image'][:10] / 255, {}, ctx.seeds[0], None
    pictures = {'image': shown}
    arms = [(m, s) for m in ARMS for s in ctx.seeds if m in CLAIMED or s == first]
    for method, seed in ctx.grid(arm=arms):
        steps = config.mae_steps if method == 'mae_longer' else config.steps
        decay = config.mae_decay if method.startswith('mae') else config.decoder_decay
        init, step = build(replace(config, steps=steps, decoder_decay=decay))
        state, _ = ctx.fit(step, init, steps=0, seed=seed, name=f'{method}-{seed}')
        extra = state.extra | jax.tree.map(jnp.float32, ARMS[method])
        state, row = state._replace(extra=extra | {'frozen': frozen or extra['frozen']}), {}
        for part in range(config.parts):
            place, name = seed * config.parts + part, f'{method}-{seed}-{part}'
            stream = data.batches(records, config.batch, seed=place, fields=('image',))
            state, _ = ctx.fit(
                step, state, stream, steps=steps // config.parts, seed=place, name=name
            )
            if 'weight' in ARMS[method]:
                continue
            teacher = jax.tree_util.Partial(examine(config), state._replace(opt_state=None))
            seen = evaluate.features(teacher, scenes)
            mask = seen.pop('mask')
            row = {name: values.mean() for name, values in seen.items()}
            chance = row.pop('by_chance')
            if seed == first:
                curves.setdefault(method, []).append((int(state.step), row['spearman']))
            if (method, seed) == ('hpm', first):
                pictures[f'masks, step {int(state.step)}'] = shade(config, shown, mask)
        if (method, seed) == ('mae', first):
            frozen = state.params['encoder']
        if method == 'hpm':
            ctx.add(method='random', seed=seed, object_masked=chance)
        encoder = jax.tree_util.Partial(embed(config), {'encoder': state.params['encoder']})
        h, h_test = (evaluate.features(encoder, split['image']) for split in (records, test))
        linear = evaluate.linear_probe(h, records['label'], h_test, test['label'])
        ctx.add(method=method, seed=seed, **row, linear=linear)
    lines = {method: np.transpose(points) for method, points in curves.items()}
    ctx.save_figure('spearman', figures.curves(lines, y='predicted against true loss'))
    ctx.save_figure('masks', figures.images(pictures, columns=10))
    return ctx.report(
        Range('spearman', low=0.5, where={'method': 'hpm'}),
        Claim('object_masked', 'hpm', 'random', 0.05),
        Claim('linear', 'hpm', 'mae_longer', 0.01, paper='fine-tuned 83.0 against 82.2 %'),
        Claim('linear', 'prediction', 'mae', -0.01),
        Claim('linear', 'hpm', 'absolute', -0.003),
    )


if __name__ == '__main__':
    experiment.main()
