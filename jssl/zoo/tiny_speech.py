"""A reader of speech, taught by hidden units: frames of log-mel to features of what is said.

    L = -sum_t w_t log softmax(cos(A h_t, e_u) / 0.1)[u_t] / sum_t w_t,   h = encoder(frames, mask)

w is 1 where a frame is masked, and less where it is seen. The units u are k-means clusters: of
log-mel in the first round, and then of a middle layer of the model of the round before, which is
asked of `zoo.get` in its turn.

`frames(waves)` makes frames of 8 kHz waves [B, T]; `network.apply(variables, frames,
method='encode', taps=True)` reads them; `features` takes the middle layer, `units` its clusters,
[B, N] in [0, K).

Good for units to resynthesise or count. Its features name phones no better than log-mel does. Bad
at any voice that is not drawn, and at pitch, which nothing asks of it.

HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units (Hsu et
al., 2021).

    jssl zoo tiny_speech
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import algorithms, data, evaluate, models, signal, train
from jssl.data.generated import utterances
from jssl.zoo import recipes


@dataclasses.dataclass(frozen=True)
class Recipe:
    round: int = 2  # 1: units of log-mel; 2: units of the model of round 1, and so on
    count: int = 600  # utterances of a second and a half
    speakers: int = 12
    snr: tuple[float, float] = (10.0, 40.0)  # decibels of white noise
    units: int = 64  # K
    width: int = 96
    depth: int = 3
    layer: int = 2  # whose output is clustered, from 1
    masked: float = 0.5  # share of the frames
    visible: float = 0.5  # weight of the others in the loss
    span: int = 6  # frames of a mask, of twenty milliseconds
    steps: int = 300  # of a round
    batch: int = 32
    learning_rate: float = 3e-3  # peak
    seed: int = 0


BANDS = 40  # of log-mel
NEEDS = {'phone': 0.7, 'phone_gain': 0.1}


@functools.lru_cache
def network(recipe):
    encoder = models.SpeechEncoder(
        recipe.width, recipe.depth, recipe.width // 24, kernel=15, groups=4
    )
    return models.HuBERT(encoder, models.UnitHead(recipe.units, 32))


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
        unit, lengths = batch['unit'], batch['length']
        options = {'ratio': recipe.masked, 'span': recipe.span, 'lengths': lengths}
        mask = data.span_mask(key, *unit.shape, **options)
        spoken = jnp.arange(unit.shape[1])[None] < lengths[:, None]
        weight = jnp.where(spoken, mask + recipe.visible * (1 - mask), 0)
        logits = model.apply({'params': params}, batch['frames'], mask=mask)
        cost = optax.softmax_cross_entropy_with_integer_labels(logits, unit)
        right = logits.argmax(-1) == unit
        loss = (cost * weight).sum() / weight.sum()
        return loss, {'accuracy': (right * mask).sum() / mask.sum()}

    return init, train.gradient_step(loss_fn, optimiser)


def batches(recipe):
    spoken = load(recipe, 'train')
    x = spoken['frames']
    if recipe.round == 1:
        h, centres = x, _clustered(recipe, x)
    else:
        fields = dataclasses.asdict(recipe) | {'round': recipe.round - 1}
        first = recipes.get('tiny_speech', **fields)
        h, centres = _features(first.recipe, first.variables, x), first.variables['units']
    unit = np.asarray(_assigned(h, centres))
    columns = {'frames': x, 'unit': unit, 'length': spoken['length']}
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
    """Of frames [B, N, F], what the middle layer gives [B, N, width]."""
    params = {'params': variables['params']}
    return network(recipe).apply(params, x, method='encode', taps=True)[1][recipe.layer - 1]


def units(recipe, variables, x):
    """Of frames [B, N, F], the clusters of their features, int32 [B, N]."""
    return _assigned(features(recipe, variables, x), variables['units'])


def load(recipe, split):
    """Drawn utterances by frame [N, 75, ...], their lengths in frames, and who speaks them."""
    return _load(split, recipe.count, recipe.speakers, recipe.snr)


@functools.lru_cache
def _load(split, count, speakers, snr):
    count = count if split == 'train' else 100
    drawn = utterances.dataset(
        split, count=count, vocabulary=utterances.SPELT, speakers=tuple(range(speakers)), snr=snr
    )
    return {
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


def _clustered(recipe, h):
    """Centres [K, D] of h [B, N, D]."""
    rows = h.reshape(-1, h.shape[-1])
    rows = rows[:: max(1, len(rows) // 20_000)]
    return algorithms.kmeans(jax.random.key(recipe.seed), rows, recipe.units, iterations=20).centres


def _assigned(h, centres):
    return algorithms.assign(h.reshape(-1, h.shape[-1]), centres).reshape(h.shape[:-1])
