"""Sparse autoencoders whose tokens and features choose each other, instead of k features a token.

Paper: Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse Autoencoders
(Ayonrinde, 2024).

    z = relu((x - c) E + b),  x^ = (S * z) U + c,  S in {0, 1}^(N x F),  sum S <= M = N k
    TopK            the k largest of every row
    Mutual Choice   the M largest of the whole matrix
    Feature Choice  the m_i largest of column i, sum_i m_i = M; m_i = M / F, or by a Zipf law
    L = |x - x^|^2 / |x - mean x|^2 + a |e - TopK_aux(w * z) U|^2 / |e|^2,  e = sg(x - x^)

With aux_k, w_i is 1 for features that have not fired for a while, else 0; with aux_zipf it is what
feature i lacks, max(0, 1 - d_i / f(rank_i)), of the frequency that a Zipf law f, fitted to all
running frequencies d, expects. Feature Choice begins as Mutual Choice; tests keep its thresholds.

Claim: at equal sparsity, Mutual Choice reconstructs better than TopK and than a penalised SAE;
Feature Choice leaves no feature dead; both give more features to tokens that are harder, TopK the
same to all; thresholds kept from training do nearly as well as those of a batch.
Differences from the paper:
  1. The cpu preset has the middle of a small language model for GPT-2, and sums of 256 known
  directions in 64 dimensions, of Zipf frequencies, more in some tokens than in others. 2. How a
  shortage weighs and when Feature Choice begins, half-way, is our choice. 3. 'batch-topk', Mutual
  Choice with aux_k, is BatchTopK: a batch is compared with a sort. 4. The penalty of 'relu-l1' is
  steered to k features a token; its rate is its own. 5. How hard a token of the language model is,
  is the error that TopK leaves of it; its own loss is a column beside. 6. As with TopK, features
  have a bias, and the language model's activations unit length. 7. The first tokens of a row are
  left out, not patched.

    python -m experiments.language.choice_saes --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jssl import algorithms, data, evaluate, experiment, losses, models, train, zoo
from jssl.data import tokens as codes
from jssl.data.generated import superposition
from jssl.experiment import Claim, Range, figures
from jssl.zoo import tiny_lm

RULES = ('none', 'token', 'mutual', 'feature')


class Arm(NamedTuple):
    """What tells one arm from another, as numbers."""

    rule: int  # in RULES
    zipf: float = 0.0  # whether the m_i follow the law
    aux_k: float = 0.0  # shares of the auxiliary weight
    aux_zipf: float = 0.0


ARMS = {
    'topk': Arm(1, aux_k=1.0), 'topk-no-aux': Arm(1), 'relu-l1': Arm(0),
    'batch-topk': Arm(2, aux_k=1.0), 'mutual': Arm(2, aux_zipf=1.0),
    'feature-uniform': Arm(3, aux_zipf=1.0), 'feature': Arm(3, zipf=1.0, aux_zipf=1.0),
}  # fmt: skip
ONCE = ('topk-no-aux', 'batch-topk', 'feature-uniform')  # with the first seed


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    data: str = 'text:openwebtext'  # text that GPT-2 reads
    model: str = 'gpt2'  # small; or 'tiny_lm'
    weights: str = 'gpt2.safetensors'  # of GPT-2
    recipe: tuple[tuple[str, int], ...] = ()  # what is changed in the small model's
    block: int = 7  # after which activations are taken; not stated
    length: int = 1024  # tokens of a row
    skipped: int = 1  # first tokens of a row, left out
    rows: tuple[int, int] = (200_000, 1000)  # of text, for training and for testing
    width: int = 768  # of activations
    features: int = 24_576  # F; swept in the paper
    sparsity: int = 32  # k; swept in the paper
    batch: int = 8192  # tokens; not stated
    steps: int = 20_000  # not stated
    learning_rate: float = 4e-4  # Adam; not stated
    penalised_rate: float = 4e-4  # of 'relu-l1'
    aux: float = 1 / 32  # a, as with TopK (Gao et al., 2024)
    aux_features: int = 256  # that model the error; not stated
    silence: int = 1000  # steps after which a feature counts as dead; not stated
    decay: float = 0.99  # of running frequencies and thresholds; not stated
    turn: float = 0.5  # share of training after which Feature Choice begins; not stated
    directions: int = 24_576  # of the synthetic data, not in the paper
    drawn: tuple[int, int] = (1_000_000, 100_000)  # synthetic tokens, not in the paper


PAPER = Config()
CPU = replace(
    PAPER, data='', model='tiny_lm', block=1, length=128, skipped=8, rows=(420, 64), width=64,
    features=256, sparsity=8, batch=512, steps=800, learning_rate=1.5e-2, penalised_rate=0.1,
    aux_features=32, silence=20, decay=0.95, directions=256, drawn=(40_960, 7680),
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, recipe=(('steps', 3), ('width', 48), ('depth', 2), ('length', 32), ('batch', 2)),
    rows=(8, 2), width=48, features=32, sparsity=4, batch=48, steps=4, aux_features=2, silence=1,
    directions=32, drawn=(96, 96), penalised_rate=1.5e-2,
)  # fmt: skip


class Tracked(NamedTuple):
    """What is known of each feature [F], and the weight of the penalty."""

    arm: Arm
    frequency: jax.Array  # d, running
    silent: jax.Array  # steps since it last fired
    threshold: jax.Array  # running
    counts: jax.Array  # m
    log_penalty: jax.Array


def network(config):
    return models.SparseAutoencoder(config.width, config.features)


def chosen(config, rule, z, counts):
    """(S * z, thresholds of features [F]) of z [N, F] by a rule."""
    zero = jnp.zeros
    n, f = z.shape
    rows, columns = jax.lax.switch(rule, [
        lambda: (zero(n), zero(f)),
        lambda: (algorithms.kth_largest(z, config.sparsity, axis=1), zero(f)),
        lambda: (zero(n), zero(f) + algorithms.kth_largest(z, n * config.sparsity)),
        lambda: (zero(n), algorithms.kth_largest(z, counts, axis=0)),
    ])  # fmt: skip
    return jnp.where(z >= jnp.maximum(rows[:, None], columns[None]), z, 0.0), columns


def squares(x):
    return jnp.square(x).sum(-1).mean()


@functools.lru_cache
def build(config):
    """(init, step); every arm is this step, from its own numbers in the state."""
    model, total = network(config), config.batch * config.sparsity
    options = {'steps': config.steps, 'warmup': config.steps // 20}
    rate = train.schedules.warmup_cosine(config.learning_rate, **options)
    optimiser = train.adamw(rate, weight_decay=0.0)
    rank = jnp.arange(1, config.features + 1)

    def init(key, arm=ARMS['feature']):
        params = model.init(key, jnp.zeros((1, config.width)))['params']
        full = functools.partial(jnp.full, config.features)
        numbers = Arm(jnp.int32(arm.rule), *map(jnp.float32, arm[1:]))
        often, count = config.sparsity / config.features, total // config.features
        start = Tracked(numbers, full(often), full(0), full(0.0), full(count), jnp.log(0.03))
        return train.create(params, optimiser, extra=start)

    def loss_fn(params, state, batch, key):
        apply = functools.partial(model.apply, {'params': params})
        x, seen = batch['activation'], state.extra
        arm, late = seen.arm, state.step >= int(config.turn * config.steps)
        rule = jnp.where((arm.rule == RULES.index('feature')) & ~late, 2, arm.rule)
        z = apply(x, method='encode')
        kept, threshold = chosen(config, rule, z, seen.counts)
        rest = x - apply(kept, method='decode')
        nmse = squares(rest) / squares(x - x.mean(0))

        # Of those that fire less than once within memory, an average knows no frequency.
        often = jnp.where(seen.frequency * config.batch > 1 - config.decay, seen.frequency, 0.0)
        law, order = algorithms.fit_zipf(often), jnp.argsort(-seen.frequency)
        expected = jnp.zeros(config.features).at[order].set(law(rank))
        shortage = jnp.maximum(0.0, 1 - seen.frequency / expected)
        dead = seen.silent >= config.silence
        weight = arm.aux_k * dead + arm.aux_zipf * shortage
        rest = jax.lax.stop_gradient(rest)

        def auxiliary():
            wanted = z * weight
            least = algorithms.kth_largest(wanted, config.aux_features, axis=1)[:, None]
            made = apply(jnp.where(wanted >= least, wanted, 0.0), method='combine')
            return squares(rest - made) / jnp.maximum(squares(rest), 1e-9)

        aux = jax.lax.cond((weight > 0).any(), auxiliary, lambda: jnp.float32(1.0))
        penalty = jnp.where(arm.rule == 0, jnp.exp(seen.log_penalty), 0.0)
        loss = nmse + config.aux * aux + penalty * kept.sum(1).mean() / config.sparsity

        fired = (kept > 0).mean(0)
        l0, moved = fired.sum(), functools.partial(train.ema_update, decay=config.decay)
        counts = algorithms.zipf_counts(law, config.features, total)[jnp.argsort(order)]
        extra = seen._replace(
            frequency=moved(seen.frequency, fired),
            silent=jnp.where(fired > 0, 0, seen.silent + 1),
            threshold=moved(seen.threshold, threshold),
            counts=jnp.where((arm.zipf > 0) & ~late, counts, seen.counts),
            log_penalty=seen.log_penalty + 0.03 * jnp.clip(jnp.log(l0 / config.sparsity), -1, 1),
        )
        return loss, {'nmse': nmse, 'l0': l0, 'dead': dead.mean()}, extra

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    return {'activation': jax.ShapeDtypeStruct((config.batch, config.width), jnp.float32)}


@functools.partial(jax.jit, static_argnums=0)
def encode(config, state, x, kept):
    """S * z of batches x [n, N, D], thresholds of each batch or, with `kept`, of training."""
    apply = functools.partial(network(config).apply, {'params': state.params})

    def each(x):
        z, seen = apply(x, method='encode'), state.extra
        own = chosen(config, seen.arm.rule, z, seen.counts)[0]
        z = jnp.where(kept, jnp.where(z >= seen.threshold[None], z, 0.0), own)
        return z, apply(z, method='decode')

    return jax.lax.map(each, x)


def superposed(config, seed):
    """Tokens [N, D] of training and test, how many directions each has, and these [J, D]."""
    g = superposition.directions(seed, count=config.directions, width=config.width)
    draw = functools.partial(superposition.sums, g=g, active=config.sparsity)
    (x, _), (test_x, difficulty) = (draw(2 * seed + i, count=config.drawn[i]) for i in (0, 1))
    return *scaled(x, test_x)[:2], difficulty, g


def scaled(*parts, axis=None):
    """Training and test [N, D] centred, with |x|^2 = D on average or each; mean, test's scale."""
    mean = parts[0].mean(0)
    scales = [np.sqrt(np.square(x - mean).mean(axis, keepdims=True)) for x in parts]
    return *((x - mean) / scale for x, scale in zip(parts, scales, strict=True)), mean, scales[1]


class Text(NamedTuple):
    """A language model, test rows, and how their activations were made those of an SAE."""

    network: nn.Module
    variables: dict
    rows: np.ndarray  # [R, T]
    loss: np.ndarray  # [R, T - 1]
    mean: np.ndarray
    scale: np.ndarray  # of each test token


def read(config, network, variables, tokens, h=None):
    """A block's activations [R, T - skipped, D] and every token's loss; h takes their place."""
    change = None if h is None else lambda y: y.at[:, config.skipped :].set(h)
    options = {'block': config.block, 'change': change}
    logits, seen = models.residual_stream(network, variables, tokens, **options)
    return seen[:, config.skipped :], jax.vmap(losses.cross_entropy)(logits[:, :-1], tokens[:, 1:])


def activations(config):
    """Activations [N, D] of training and test, and `Text`."""
    if config.model == 'gpt2':
        lm, variables = zoo.load(config.model, config.weights)
        vocabulary = codes.gpt2()
        encoded = lambda split: codes.encode_all(vocabulary, data.load(config.data, split)['text'])
    else:
        found = zoo.get(config.model, **dict(config.recipe))
        lm, variables, vocabulary = *found[2:4], tiny_lm.vocabulary(found.recipe)
        encoded = functools.partial(tiny_lm.documents, found.recipe)
    parts, end = zip(('train', 'validation'), config.rows, strict=True), vocabulary.token('end')
    packed = [codes.pack(encoded(s), config.length, end=end)['tokens'][:n] for s, n in parts]
    look = jax.tree_util.Partial(lambda v, tokens: read(config, lm, v, tokens), variables)
    (h, _), (test_h, loss) = (evaluate.features(look, r, batch=config.rows[1]) for r in packed)
    x, test_x, *units = scaled(*(a.reshape(-1, a.shape[-1]) for a in (h, test_h)), axis=1)
    return x, test_x, Text(lm, variables, packed[1], loss, *units)


def measure(config, row, state, test_x):
    """Numbers of a trained arm on test tokens, features of each token, x^, and frequencies."""
    # In another order: neighbours are alike, and would compete for their batch's budget.
    order = np.random.default_rng(0).permutation(len(test_x))
    x, back = test_x[order].reshape(-1, config.batch, test_x.shape[-1]), np.argsort(order)
    (z, made), (own, other) = (
        [np.asarray(a).reshape(len(order), -1)[back] for a in encode(config, state, x, kept)]
        for kept in (False, True)
    )
    l0, frequency = (z > 0).sum(1), (z > 0).mean(0)
    error, variance = squares(test_x - made), squares(test_x - test_x.mean(0))
    row |= {'nmse': error / variance, 'l0': l0.mean(),
            'off_budget': abs(l0.mean() / config.sparsity - 1), 'spread': l0.std(),
            'dead': (frequency == 0).mean(), 'rare': (frequency < 1e-3).mean()}  # fmt: skip
    if row['method'] in ('mutual', 'feature'):
        row |= {'gap': squares(test_x - other) / error, 'l0_kept': (own > 0).sum(1).mean()}
    return row, l0.astype(np.float32), made, np.sort(frequency)[::-1]


def unlike_a_sort(config, state, x):
    """Entries of one batch that BatchTopK, which sorts them all, chooses otherwise."""
    z, _ = encode(config, state, x[None], False)
    full = network(config).apply({'params': state.params}, x, method='encode')
    least = np.sort(np.asarray(full), axis=None)[-config.batch * config.sparsity]
    return float(((np.asarray(z[0]) > 0) != (np.asarray(full) >= least)).sum())


def compare(config, ctx, name, seed, sets, extra):
    """Trains every arm on activations; `extra(state, features of each token, x^)` adds numbers."""
    (x, test_x), curves = sets, {}
    own = replace(config, learning_rate=config.penalised_rate)
    for method in ARMS if seed == ctx.seeds[0] else [m for m in ARMS if m not in ONCE]:
        init, step = build(own if method == 'relu-l1' else config)
        stream = data.batches({'activation': x}, config.batch, seed=seed)
        options = {'steps': config.steps, 'seed': seed, 'name': f'{name}-{method}-{seed}'}
        state, _ = ctx.fit(step, jax.jit(init)(ctx.key(seed), ARMS[method]), stream, **options)
        row = {'set': name, 'method': method, 'seed': seed}
        row, l0, made, curve = measure(config, row, state, test_x)
        if method == 'batch-topk':
            row['unlike_a_sort'] = unlike_a_sort(config, state, test_x[: config.batch])
        ctx.add(**row, **extra(state, l0, made))
        curves[method] = np.arange(1, len(curve) + 1), np.maximum(curve, 1e-5)
    return curves


def known(difficulty, directions, state, l0, made):
    """How hard tokens are by construction, and the directions that made them."""
    best = evaluate.direction_recovery(directions, state.params['directions'])
    rho = evaluate.spearman(l0, difficulty)
    return {'rho': rho, 'true_features': (best > 0.9).mean(), 'cosine': best.mean()}


def patched(config, text, loss_of, test_x, hardness, state, l0, made):
    """Share of the loss that comes back against zeros in the block's place; what l0 goes with."""
    h = (made * text.scale + text.mean).reshape(len(text.rows), -1, made.shape[-1])
    zero, ours = (loss_of(text.variables, text.rows, each).mean() for each in (0 * h, h))
    hardness.setdefault('topk', np.square(test_x - made).sum(1))  # the first arm's
    of_next = l0.reshape(len(h), -1)[:, :-1], text.loss[:, config.skipped :]
    return {'rho': evaluate.spearman(l0, hardness['topk']),
            'rho_loss': evaluate.spearman(*(a.ravel() for a in of_next)),
            'recovered': (zero - ours) / (zero - text.loss.mean())}  # fmt: skip


def run(config, ctx):
    x, test_x, text = activations(config)
    loss_of = jax.jit(lambda v, tokens, h: read(config, text.network, v, tokens, h)[1])
    wide, panels, claims = replace(config, width=x.shape[-1]), {}, []
    for seed in ctx.grid(seed=ctx.seeds):
        *sets, difficulty, directions = superposed(config, seed)
        extra = functools.partial(known, difficulty, directions)
        panels['superposed'] = compare(config, ctx, 'superposed', seed, sets, extra)
        extra = functools.partial(patched, config, text, loss_of, test_x, {})
        panels['language'] = compare(wide, ctx, 'language', seed, (x, test_x), extra)
    ctx.save_figure('frequencies', figures.curves(panels, x='rank', log_x=True, log_y=True))
    for name in panels:
        where = {'set': name}
        topk, mutual, feature = ({**where, 'method': m} for m in ('topk', 'mutual', 'feature'))
        claims += [
            Claim('nmse', 'mutual', 'topk', ratio=0.97, lower=True, where=where, paper='better'),
            Claim('nmse', 'mutual', 'relu-l1', ratio=0.97, lower=True, where=where),
            Range('dead', high=0.0, where=feature, paper='zero'),
            Claim('dead', 'feature', 'topk', lower=True, where=where),
            *(Range('rho', low=0.3, where=of) for of in (mutual, feature)),
            Range('spread', high=0.5, where=topk),
            *(Range('gap', high=1.05, where=of) for of in (mutual, feature)),
        ]
    return ctx.report(*claims, Range('unlike_a_sort', high=0.0), Range('off_budget', high=0.03))


if __name__ == '__main__':
    experiment.main()
