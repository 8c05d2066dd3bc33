"""A reader of speech, taught by hidden units: frames of log-mel to features of what is said.

    L = -mean_t log softmax(W h_t)[u_t],   h = encoder(frames of wave + noise, mask)

over all frames that are spoken, masked or not. The units u_t are clusters of the wave without that
noise: of log-mel, in windows of five frames, in the first round; in a later one of a layer of the
model of the round before, which is asked of `zoo.get` in its turn. Of 150 steps each, a second
round gained nothing over the first, so one is the rule.

`frames(waves)` makes frames of 8 kHz waves [B, T]; `network.apply(variables, frames,
method='encode', taps=True)` reads them; `features` takes one layer, `units` its clusters, [B, N] in
[0, K).

Good for phones in noise, also of drawn voices that it never heard: what is around a frame tells
what the frame alone does not. Bad at any voice that is not drawn, and at pitch, which nothing asks
of it.

HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units (Hsu et
al., 2021); noise that the targets do not have: WavLM: Large-Scale Self-Supervised Pre-Training for
Full Stack Speech Processing (Chen et al., 2022).

    jssl zoo tiny_speech
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import algorithms, data, evaluate, models, signal, train
from jssl.data.generated import utterances
from jssl.zoo import recipes


@dataclasses.dataclass(frozen=True)
class Recipe:
    round: int = 1  # 1: units of log-mel; 2: units of the model of round 1, and so on
    count: int = 600  # utterances of a second and a half
    speakers: int = 12
    snr: tuple[float, float] = (5.0, 30.0)  # decibels of white noise in what is read
    units: int = 128  # K
    width: int = 128
    depth: int = 2
    layer: int = 2  # whose output is clustered, from 1
    masked: float = 0.4  # share of the frames
    span: int = 5  # frames of a mask, of twenty milliseconds
    steps: int = 400  # of a round
    batch: int = 32
    learning_rate: float = 3e-3  # peak
    seed: int = 0


BANDS = 40  # of log-mel
QUIET = (25.0, 40.0)  # decibels of the noise in what is clustered: no silence is without any
NEEDS = {'phone': 0.7, 'phone_gain': 0.1}


@functools.lru_cache
def network(recipe):
    options = {'mlp_ratio': 2.0, 'kernel': 15, 'groups': 4, 'pre_norm': True}
    encoder = models.SpeechEncoder(recipe.width, recipe.depth, recipe.width // 32, **options)
    # The published head's embeddings begin at small angles, and so many steps are lost.
    return models.HuBERT(encoder, nn.Dense(recipe.units))


@functools.lru_cache
def build(recipe):
    model = network(recipe)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, weight_decay=0.01, clip=1.0)

    def init(key):
        frames = jnp.zeros((1, 75, 2 * BANDS))
        return train.create(model.init(key, frames)['params'], optimiser)

    def loss_fn(params, state, batch, key):
        unit, lengths, keys = batch['unit'], batch['length'], jax.random.split(key)
        options = {'ratio': recipe.masked, 'span': recipe.span, 'lengths': lengths}
        mask = data.span_mask(keys[0], *unit.shape, **options)
        spoken = jnp.arange(unit.shape[1])[None] < lengths[:, None]
        x = frames(_noisy(keys[1], batch['wave'], recipe.snr))
        logits = model.apply({'params': params}, x, mask=mask)
        cost = optax.softmax_cross_entropy_with_integer_labels(logits, unit)
        right = logits.argmax(-1) == unit
        return cost.mean(where=spoken), {'accuracy': (right * mask).sum() / mask.sum()}

    return init, train.gradient_step(loss_fn, optimiser)


def _noisy(key, wave, snr):
    """Waves [B, T] in white noise of as many decibels as are drawn for each."""
    keys = jax.random.split(key)
    decibels = jax.random.uniform(keys[0], (len(wave), 1), minval=snr[0], maxval=snr[1])
    level = jnp.sqrt(jnp.square(wave).mean(1, keepdims=True)) * 10 ** (-decibels / 20)
    return jnp.clip(wave + level * jax.random.normal(keys[1], wave.shape), -1, 1)


def batches(recipe):
    spoken = load(recipe, 'train')
    x = spoken['frames']
    if recipe.round == 1:
        h = _windows(x)
        centres = _clustered(recipe, h)
    else:
        fields = dataclasses.asdict(recipe) | {'round': recipe.round - 1}
        first = recipes.get('tiny_speech', **fields)
        h, centres = _features(first.recipe, first.variables, x), first.variables['units']
    unit = np.asarray(_assigned(h, centres))
    columns = {'wave': spoken['wave'], 'unit': unit, 'length': spoken['length']}
    return data.batches(columns, recipe.batch, seed=recipe.seed)


def variables(recipe, state):
    params = {'params': state.params}
    h = _features(recipe, params, load(recipe, 'train')['frames'])
    return params | {'units': _clustered(recipe, h)}


def measure(recipe, variables):
    """Linear probes: phones by frame, beside those of log-mel, and voices by utterance."""
    seen, new = load(recipe, 'validation'), load(recipe, 'test')
    spoken = [np.arange(x['phone'].shape[1]) < x['length'][:, None] for x in (seen, new)]
    phones = [x['phone'][s] for x, s in zip((seen, new), spoken, strict=True)]
    h = [_features(recipe, variables, x['frames']) for x in (seen, new)]

    def phone(a, b):
        return evaluate.linear_probe(a[spoken[0]], phones[0], b[spoken[1]], phones[1])

    found = {'phone': phone(*h)}
    found['phone_gain'] = found['phone'] - phone(seen['frames'], new['frames'])
    means = [x.mean(1) for x in h]
    speakers = seen['speaker'], new['speaker']
    voice = evaluate.linear_probe(means[0], speakers[0], means[1], speakers[1])
    return found | {'speaker': voice}


def frames(waves):
    """Log-mel of 8 kHz waves [B, T], two hops of ten milliseconds a frame: [B, N, 2 BANDS]."""
    hop = utterances.HOP
    mel = signal.log_mel(waves, rate=utterances.RATE, hop=hop, window=3 * hop, bands=BANDS)
    mel = mel[:, : mel.shape[1] // 2 * 2]
    return (mel.reshape(len(mel), -1, 2 * BANDS) + 5) / 5  # between -2 and 3, as a rule


def features(recipe, variables, x):
    """Of frames [B, N, F], what `layer` gives [B, N, width]."""
    params = {'params': variables['params']}
    return network(recipe).apply(params, x, method='encode', taps=True)[1][recipe.layer - 1]


def units(recipe, variables, x):
    """Of frames [B, N, F], the clusters of their features, int32 [B, N]."""
    return _assigned(features(recipe, variables, x), variables['units'])


def load(recipe, split):
    """Drawn waves [N, T], by frame [N, 75, ...], their lengths in frames, and who speaks them.

    Those of 'train' are quiet, for noise is added to them; the others are in noise of `snr`.
    """
    return _load(split, recipe.count, recipe.speakers, recipe.snr)


@functools.lru_cache
def _load(split, count, speakers, snr):
    count, snr = (count, QUIET) if split == 'train' else (100, snr)
    drawn = utterances.dataset(
        split, count=count, vocabulary=utterances.SPELT, speakers=tuple(range(speakers)), snr=snr
    )
    return {
        'wave': drawn['wave'],
        'frames': evaluate.features(frames, drawn['wave']),
        'phone': drawn['phone'][:, 1::2],
        'length': drawn['length'] // (2 * utterances.HOP),
        'speaker': drawn['speaker'],
    }


@functools.lru_cache
def _reader(recipe):
    return lambda variables, x: features(recipe, variables, x)


def _features(recipe, variables, x):
    """`features` of a whole set, in NumPy."""
    return evaluate.features(jax.tree_util.Partial(_reader(recipe), variables), x)


def _windows(x):
    """Each frame of [B, N, F] between its two neighbours on either side: [B, N, 5 F]."""
    x = np.pad(x, ((0, 0), (2, 2), (0, 0)), mode='edge')
    return np.concatenate([x[:, i : x.shape[1] - 4 + i] for i in range(5)], -1)


def _clustered(recipe, h):
    """Centres [K, D] of h [B, N, D]."""
    rows = h.reshape(-1, h.shape[-1])
    rows = rows[:: max(1, len(rows) // 20_000)]
    return algorithms.kmeans(jax.random.key(recipe.seed), rows, recipe.units, iterations=20).centres


def _assigned(h, centres):
    return algorithms.assign(h.reshape(-1, h.shape[-1]), centres).reshape(h.shape[:-1])
