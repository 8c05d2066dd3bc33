"""w2v-BERT: one network learns speech tokens by contrast, and to predict them where it is masked.

Paper: W2v-BERT: Combining Contrastive Learning and Masked Language Modeling for Self-Supervised
Speech Pre-Training (Chung et al., 2021).

    f = encoder(x);  c = lower(f masked);  h = upper(c);  q_t, y_t = quantiser(f_t), not masked
    L_w = -log exp(s(c_t, q_t) / 0.1) / sum_{q in {q_t} + distractors} exp(s(c_t, q) / 0.1)
    L_m = -log softmax(W h_t)[y_t];  L = beta (L_w + 0.1 L_d) + gamma L_m over masked t

s is the cosine, distractors are other masked frames of the utterance, and L_d the share of the
codes that a batch leaves unused; q_t is drawn by Gumbel softmax, whose temperature falls. Beside
it, of equal depth: the contrast of h alone (wav2vec 2.0), the prediction of y_t alone, that of
k-means clusters of log-mel (HuBERT's first round), and no pre-training.

Claim: after fine-tuning on few labels it makes fewer errors than contrast alone; prediction alone
collapses, for nothing teaches its codes; pre-training is far better than none.
Differences from the paper:
  1. The cpu preset has drawn utterances of one or two digits and a network of 1 + 1 blocks. These
  see nine frames by convolution and not five, and two frames are hidden at once and not ten: in one
  block nothing tells a hidden frame its place but what its convolution reaches. 2. CTC with its
  best path stands for the RNN transducer, phones for word pieces; no language model. 3. Layer norm
  for batch norm in the convolutions. 4. In fine-tuning nothing is masked.

    python -m experiments.audio.w2v_bert --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import algorithms, data, evaluate, experiment, losses, models, signal, train
from jssl.data.generated import utterances
from jssl.experiment import Claim, Range, figures

# Numbers in the state: beta, gamma, whether contrast reads h, and whether clusters are predicted.
ARMS = {
    'w2v-bert': (1.0, 1.0, 0.0, 0.0),
    'contrastive': (1.0, 0.0, 1.0, 0.0),
    'masked': (0.0, 1.0, 0.0, 0.0),
    'k-means': (0.0, 1.0, 0.0, 1.0),
}
SILENT = -1  # behind the last phone


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'audio:libri-light'  # section 4.1
    rate: int = 16_000  # samples per second
    hop: int = 160  # samples of a frame, ten milliseconds
    bands: int = 80  # of log-mel, section 4.2
    seconds: float = 16.0  # of an utterance
    unlabelled: int = 18_000_000  # utterances; 60 000 hours
    labelled: int = 281_241  # LibriSpeech's 960 hours
    tested: int = 5559  # test-clean and test-other
    speakers: int = 6  # of drawn utterances
    snr: tuple[float, float] = (5.0, 30.0)  # decibels of noise in drawn utterances
    channels: tuple[int, ...] = (128, 32)  # of the convolutions, Conformer's code
    width: int = 1024  # XL, table 1
    depths: tuple[int, int] = (12, 12)  # lower and upper, table 1
    heads: int = 8  # table 1
    kernel: int = 5  # table 1
    codes: int = 1024  # V, table 1
    code_width: int = 1024  # table 1
    masked: float = 0.49  # share of the frames: starts of 0.065, section 4.2
    span: int = 10  # frames of 40 ms, section 4.2
    distractors: int = 100  # wav2vec 2.0
    diversity: float = 0.1  # section 3.4
    temperature: tuple[float, float] = (2.0, 0.5)  # of the draw, first and last; wav2vec 2.0
    batch: int = 2048  # section 4.2
    steps: int = 400_000  # section 4.2
    warmup: int = 25_000  # section 4.2
    learning_rate: float = 2e-3  # section 4.2
    tune_batch: int = 256  # section 4.2
    tune_steps: int = 100_000
    tune_rate: float = 3e-4  # section 4.2
    scratch_rate: float = 1e-3  # without pre-training


PAPER = Config()
CPU = replace(
    PAPER, data='utterances', rate=8000, hop=80, bands=40, seconds=1.0, unlabelled=600, labelled=80,
    tested=200, channels=(8, 8), width=64, depths=(1, 1), heads=4, kernel=9, codes=64,
    code_width=64, span=2, distractors=10, batch=32, steps=240, warmup=24, tune_batch=16,
    tune_steps=150, tune_rate=2e-3, scratch_rate=2e-3,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, unlabelled=16, labelled=8, tested=8, channels=(2, 2), width=8, codes=8,
    code_width=8, batch=8, steps=2, warmup=1, tune_batch=8, tune_steps=2,
)  # fmt: skip


class Network(nn.Module):
    """Log-mel to features f, contexts c and h, and what the heads make of them."""

    config: Config

    def setup(self):
        config = self.config
        conformer = functools.partial(
            models.Conformer, heads=config.heads, kernel=config.kernel, scan=max(config.depths) > 6
        )
        self.encoder = models.Subsampling(config.width, channels=config.channels)
        self.lower, self.upper = (conformer(depth) for depth in config.depths)
        self.token = self.param('mask_token', nn.initializers.normal(0.02), (config.width,))
        self.embed = nn.Dense(config.width)
        self.quantiser = models.GumbelQuantiser(1, config.codes, config.code_width)
        self.project = nn.Dense(config.code_width)
        self.predict = nn.Dense(config.codes)
        self.phones = nn.Dense(len(utterances.NAMES))  # the first is silence, which is no label

    def __call__(self, x, valid, mask, *, temperature=1.0, deep=0.0, train=False):
        """(codes, what should find them, logits of codes, logits of phones, h)."""
        f = self.encoder(x)
        coded = self.quantiser(f, temperature=temperature, train=train)
        z = jnp.where(mask[..., None] > 0, self.token[None, None], self.embed(f))
        c = self.lower(z, valid=valid)
        h = self.upper(c, valid=valid)
        found = self.project(deep * h + (1 - deep) * c)
        return coded, found, self.predict(h), self.phones(h), h


def heard(config, batch):
    """Log-mel of waves, and which of the frames after subsampling are no padding."""
    options = {'rate': config.rate, 'hop': config.hop, 'window': 3 * config.hop}
    x = signal.log_mel(batch['wave'], bands=config.bands, **options) / 5 + 1
    frames = -(-batch['length'] // (4 * config.hop))
    return x, jnp.arange(-(-x.shape[1] // 4))[None] < frames[:, None]


@functools.lru_cache
def build(config):
    """(init, step) of pre-training; the arm is the state's `extra`, four numbers of `ARMS`."""
    network, cut = Network(config), {'ratio': config.masked, 'span': config.span}
    rate = train.schedules.warmup_cosine(config.learning_rate, config.steps, warmup=config.warmup)
    optimiser = train.adamw(rate, weight_decay=0.01, clip=1.0)
    first, last = config.temperature

    def init(key):
        x, valid = heard(
            config, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), inputs(config))
        )
        params = network.init(key, x, valid, valid)['params']
        return train.create(params, optimiser, extra=jnp.array(ARMS['w2v-bert']))

    def loss_fn(params, state, batch, key):
        beta, gamma, deep, given = state.extra
        (x, valid), keys = heard(config, batch), jax.random.split(key, 3)
        mask = data.span_mask(keys[0], *valid.shape, lengths=valid.sum(1), **cut)
        coded, found, logits, *_ = network.apply(
            {'params': params}, x, valid, mask, deep=deep, train=True, rngs={'gumbel': keys[1]},
            temperature=first * (last / first) ** (state.step / config.steps),
        )  # fmt: skip
        mean = lambda loss: (loss * mask).sum() / jnp.maximum(mask.sum(), 1)
        contrast = losses.wav2vec2(
            keys[2], found, coded.q, mask, coded.indices, distractors=config.distractors
        )
        unused = losses.code_diversity(coded.probabilities, mask)
        target = jnp.where(given > 0, batch['unit'], coded.indices[..., 0])
        predicted = optax.softmax_cross_entropy_with_integer_labels(logits, target)
        contrast, predicted = mean(contrast), mean(predicted)
        loss = beta * (contrast + config.diversity * unused) + gamma * predicted
        return loss, {'contrast': contrast, 'unused': unused, 'predicted': predicted}

    return init, train.gradient_step(loss_fn, optimiser)


@functools.lru_cache
def build_recogniser(config, rate):
    """(init of parameters, step) of fine-tuning by CTC, and the forward pass."""
    network = Network(config)
    rate = train.schedules.warmup_cosine(rate, config.tune_steps, warmup=config.tune_steps // 10)
    optimiser = train.adamw(rate, weight_decay=0.01, clip=1.0)

    def forward(params, batch):
        x, valid = heard(config, batch)
        coded, *_, phones, h = network.apply({'params': params}, x, valid, jnp.zeros(valid.shape))
        return phones, valid, coded.indices, h

    def loss_fn(params, state, batch, key):
        phones, valid, *_ = forward(params, batch)
        said = batch['phones']
        cost = optax.ctc_loss(phones, 1.0 - valid, jnp.maximum(said, 0), 1.0 * (said == SILENT))
        return (cost / (said != SILENT).sum(1)).mean()

    init = lambda params: train.create(params, optimiser)
    return init, train.gradient_step(loss_fn, optimiser), jax.jit(forward)


def inputs(config):
    wave, count = round(config.seconds * config.rate), config.batch
    shapes = {
        'wave': (count, wave),
        'length': (count,),
        'unit': (count, -(-wave // config.hop // 4)),
    }
    types = {'wave': jnp.float32, 'length': jnp.int32, 'unit': jnp.int32}
    return {name: jax.ShapeDtypeStruct(shape, types[name]) for name, shape in shapes.items()}


def load(config):
    """Columns of utterances without labels, with them, and for tests."""
    options = {'seconds': config.seconds, 'words': (1, 2), 'vocabulary': utterances.SPELT[:10]}
    options |= {'speakers': tuple(range(config.speakers)), 'snr': config.snr}
    counts = {'train': config.unlabelled, 'validation': config.labelled, 'test': config.tested}
    parts = []
    for split, count in counts.items():
        drawn = data.columns(data.load(config.data, split, count=count, **options))
        said = drawn['sequence']
        order = np.argsort(said <= 0, axis=1, kind='stable')  # silence is no phone, nor is padding
        phones = np.take_along_axis(np.where(said > 0, said, SILENT), order, 1)
        middle = drawn['phone'][:, 2::4]  # of four frames
        parts.append({**drawn, 'phones': phones[:, :12], 'middle': middle})
    return parts


def clusters(config, pool):
    """HuBERT's first targets: k-means of log-mel, four frames at once."""
    x = np.asarray(heard(config, pool)[0])
    x = x.reshape(len(x), -1, 4 * config.bands)
    rows = x.reshape(-1, x.shape[-1])
    centres = algorithms.kmeans(jax.random.key(0), rows, config.codes, iterations=20).centres
    return np.asarray(algorithms.assign(rows, centres)).reshape(x.shape[:2])


@functools.lru_cache
def start(config, seed):
    """The state that all arms of a seed begin with."""
    return jax.jit(build(config)[0])(jax.random.key(seed))


def pretrained(config, ctx, method, pool, seed):
    """Parameters of an arm, and how its losses fell."""
    state, (_, step) = start(config, seed), build(config)
    if method == 'scratch':
        return state.params, None
    stream = data.batches(pool, config.batch, seed=seed, fields=('wave', 'length', 'unit'))
    options = {'steps': config.steps, 'seed': seed, 'name': f'{method}-{seed}'}
    state = state._replace(extra=jnp.array(ARMS[method]))
    state, history = ctx.fit(step, state, stream, **options)
    return state.params, history


def run(config, ctx):
    pool, few, test = load(config)
    pool['unit'] = clusters(config, pool)
    told, lines = ('wave', 'length', 'phones'), {}
    for seed, method in ctx.grid(seed=ctx.seeds, method=(*ARMS, 'scratch')):
        params, history = pretrained(config, ctx, method, pool, seed)
        rate = config.scratch_rate if method == 'scratch' else config.tune_rate
        init, step, forward = build_recogniser(config, rate)
        read = lambda params, rows: jax.device_get(forward(params, {k: rows[k] for k in told}))
        (_, some, _, few_h), (_, valid, codes, h) = (read(params, rows) for rows in (few, test))
        usage = evaluate.perplexity(codes[valid], config.codes) / config.codes
        probe = evaluate.linear_probe(
            few_h[some], few['middle'][some], h[valid], test['middle'][valid]
        )
        stream = data.batches(few, config.tune_batch, seed=seed, fields=told)
        options = {'steps': config.tune_steps, 'seed': seed, 'name': f'tuned-{method}-{seed}'}
        state, _ = ctx.fit(step, init(params), stream, **options)
        logits = read(state.params, test)[0]
        error = evaluate.error_rate(evaluate.ctc_greedy(logits, valid), test['phones'])
        ctx.add(method=method, seed=seed, error=error, probe=probe, usage=usage)
        if history and seed == ctx.seeds[0]:
            lines[method] = history['step'], 1 - history['unused']
    found = {(row['method'], row['seed']): row for row in ctx.rows}
    for seed in ctx.seeds:
        masked, ours = found['masked', seed], found['w2v-bert', seed]
        failure = max(0.1 / masked['usage'], masked['error'] / ours['error'])
        ctx.add(study='collapse', method='masked', seed=seed, failure=failure)
    ctx.save_figure('codes', figures.curves(lines, y='share of the codes in use'))
    paper = '5 to 10 % fewer word errors'
    return ctx.report(
        Claim('error', 'w2v-bert', 'contrastive', ratio=0.95, lower=True, paper=paper),
        Range('failure', low=1.0, paper='collapses, section 5.1'),
        *(Claim('error', arm, 'scratch', ratio=0.8, lower=True)
          for arm in ('w2v-bert', 'contrastive', 'k-means')),
    )  # fmt: skip


if __name__ == '__main__':
    experiment.main()
