"""MaM: a network that answers any marginal in one pass, because its answers add up.

Paper: Generative Marginalization Models (Liu et al., 2023).

    log p(x_s, x_d) = log p(x_s) + log p(x_d | x_s) for all sets s and elements d
    L_mar = E_{x, order, d} (log p(x_<d) + log p(x_d | x_<d) - log p(x_<=d))^2
    anchor = log p(nothing), to be 0
    energy: L = E_x [r log p(x)] + alpha (D L_mar + anchor^2), r = standardised sg(log p(x) - f(x))
    likelihood: L_cond = -E_order sum_d log p(x_d | x_<d), then, or at once, D L_mar + anchor^2

One network gives the marginal of what is known, another the conditionals of what is not. Energy is
matched on samples that are kept from step to step and redrawn a few elements at a time. Beside it:
any-order models trained on the energy by a likelihood estimated from one element (ARM), and by
trajectory balance (as GFlowNets are), without marginals; and all sums, where they are few.

Claim: marginals are right, and come as much faster as there are elements to tell; trained on an
energy, the model is nearer to it than an ARM; trained on data, one pass orders examples as the
average over orders does.
Differences from the paper:
  1. The cpu preset has lattices of 4 x 4 spins, 8 x 8 digits, short texts and SMILES, all by
  residual perceptrons; the paper has U-Nets and transformers for data. 2. Trajectory balance needs
  D passes a sample, and has fewer samples in a step for it. 3. A property of strings of six tokens
  stands for that of molecules. 4. log p(nothing) is 0, where the code has D log 2 for energies.

    python -m experiments.generative.mam --preset=cpu
"""

import dataclasses
import functools
import itertools
import math
import re
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import logsumexp

from jssl import data, evaluate, experiment, train
from jssl.algorithms import any_order
from jssl.data import tokens
from jssl.experiment import Claim, Range, figures

MASS = (12.0, 14.0, 16.0, 19.0, 32.0, 0.0)  # of the tokens of a string; the last is none


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    energy: str = 'ising'  # or 'mass': of a string, near a target
    elements: int = 900  # D: spins of 30 x 30, section 6.2
    values: int = 2  # K
    coupling: float = 0.1  # of each pair of neighbours, twice in the official code
    field: float = 0.2  # official configuration
    hard_coupling: float = 0.15  # of the first seed
    mass: float = 84.0  # target of 'mass'
    spread: float = 8.0  # of 'mass'
    width: int = 2048  # appendix, official configuration
    depth: int = 3  # hidden layers, official configuration
    batch: int = 512  # official configuration
    balance_batch: int = 128  # of trajectory balance
    steps: int = 40_000  # 200 epochs, official configuration
    gibbs: int = 4  # elements redrawn in a step, official configuration
    alpha: float = 4.0  # weight of L_mar, official configuration
    learning_rate: float = 5e-4  # Adam, official configuration
    clip: float = 1.0  # of the gradient's norm
    marginals: int = 400  # random ones that are compared with the sums
    tested: int = 2000  # samples that the divergence is of; data that are ordered
    sets: tuple[str, ...] = ('digits', 'text', 'molecules')  # the first for all seeds
    data_batch: int = 32  # official configuration of MNIST
    data_steps: int = 300_000  # 200 epochs of MNIST
    data_rate: float = 1e-4  # official configuration of MNIST
    averaged: int = 16  # orders in the average
    sizes: tuple[int, ...] = (16, 36, 64)  # D, of which marginals are timed


PAPER = Config()
CPU = replace(
    PAPER, elements=16, coupling=0.2, field=0.1, hard_coupling=0.4, width=256, batch=256,
    balance_batch=64, steps=1000, learning_rate=1e-3, data_batch=64, data_steps=800, data_rate=1e-3,
    tested=300,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, elements=4, width=8, depth=1, batch=8, balance_batch=8, steps=2, gibbs=2,
    marginals=8, tested=8, sets=('digits',), data_batch=8, data_steps=2, averaged=2, sizes=(4, 9),
)  # fmt: skip


class Perceptron(nn.Module):
    """Known and unknown elements to numbers, by residual layers."""

    config: Config
    out: int

    @nn.compact
    def __call__(self, x):
        x = jax.nn.one_hot(x + 1, self.config.values + 1).reshape(len(x), -1)
        h = nn.leaky_relu(nn.Dense(self.config.width, name='input')(x))
        for i in range(self.config.depth - 1):
            h = h + nn.leaky_relu(nn.Dense(self.config.width, name=f'hidden{i}')(h))
        return nn.Dense(self.out, name='output')(h)


def networks(config):
    return Perceptron(config, 1), Perceptron(config, config.elements * config.values)


def log_marginal(config, params, x):
    """log p of what is known of x; all values alike before training."""
    z = networks(config)[0].apply({'params': params['marginal']}, x)[:, 0]
    return z - (x >= 0).sum(1) * math.log(config.values)


def logits(config, params, x):
    z = networks(config)[1].apply({'params': params['conditional']}, x)
    return z.reshape(len(x), config.elements, config.values)


def log_target(config, x):
    """f, the logarithm of what the model is to be proportional to."""
    if config.energy == 'mass':
        mass = jnp.array(MASS)[x].sum(1)
        return -jnp.square((mass - config.mass) / config.spread) / 2
    side = math.isqrt(config.elements)
    spin = (2.0 * x - 1).reshape(-1, side, side)
    pairs = spin * jnp.roll(spin, 1, 1) + spin * jnp.roll(spin, 1, 2)
    return config.coupling * pairs.sum((1, 2)) + config.field * spin.sum((1, 2))


def unexplained(config, params, key, x):
    """D L_mar + anchor^2."""
    marginal, conditionals = (functools.partial(f, config, params) for f in (log_marginal, logits))
    gap = any_order.inconsistency(key, marginal, conditionals, x)
    empty = marginal(jnp.full((1, config.elements), any_order.UNKNOWN))[0]
    return config.elements * jnp.square(gap).mean() + jnp.square(empty)


@functools.lru_cache
def build(config, method='mam'):
    """(init, step) of a model of an energy; the samples that are kept are the state's `extra`."""
    adam = train.adamw(config.learning_rate, weight_decay=0.0, clip=config.clip)
    batch = config.balance_batch if method == 'balance' else config.batch

    def init(key):
        samples = jax.random.randint(key, (batch, config.elements), 0, config.values)
        marginal, conditional = (
            net.init(k, samples)['params']
            for net, k in zip(networks(config), jax.random.split(key), strict=True)
        )
        params = {'marginal': marginal, 'conditional': conditional, 'log_z': jnp.zeros(())}
        return train.create(params, adam, extra=samples)

    def loss_fn(params, state, _, key):
        conditionals, keys = functools.partial(logits, config, params), jax.random.split(key, 5)
        still = functools.partial(logits, config, jax.lax.stop_gradient(params))
        order = any_order.orders(keys[0], batch, config.elements)
        start = config.elements - config.gibbs if method == 'mam' else 0
        x = any_order.fill(keys[1], still, state.extra, order, start=start)
        f = log_target(config, x)
        standard = lambda r: (r - r.mean()) / (r.std() + 1e-6)
        if method == 'mam':
            log_p = log_marginal(config, params, x)
            reward = standard(jax.lax.stop_gradient(log_p) - f)
            gap = unexplained(config, params, keys[2], x)
            loss = (reward * log_p).mean() + config.alpha * gap
        elif method == 'arm':
            guess, log_p = (any_order.one_log_prob(k, conditionals, x) for k in keys[2:4])
            loss = (standard(jax.lax.stop_gradient(guess) - f) * log_p).mean()
        else:
            log_p = any_order.order_log_prob(conditionals, x, order)
            loss = jnp.square(params['log_z'] + log_p - f).mean()
        return loss, {'energy': f.mean()}, x

    return init, train.gradient_step(loss_fn, adam)


@functools.lru_cache
def build_likelihood(config):
    """(init, step) of a model of data; the state's `extra`: what is learned, and kept samples."""
    adam = train.adamw(config.data_rate, weight_decay=0.0, clip=config.clip)
    size = config.data_batch, config.elements

    def init(key):
        params = build(config)[0](key).params
        return train.create(params, adam, extra=(jnp.ones(2), jnp.zeros(size, jnp.int32)))

    def loss_fn(params, state, batch, key):
        (given, added), samples = state.extra
        x, keys = batch['x'], jax.random.split(key, 6)
        order = any_order.orders(keys[0], *size)
        count = jax.random.randint(keys[1], size[:1], 0, config.elements)
        seen = any_order.known(x, order, count)
        cost = optax.softmax_cross_entropy_with_integer_labels(logits(config, params, seen), x)
        hidden = seen < 0
        conditional = config.elements * ((cost * hidden).sum(1) / hidden.sum(1)).mean()
        # Marginals follow conditionals, and not the other way round.
        still = params | {'conditional': jax.lax.stop_gradient(params['conditional'])}
        order, start = any_order.orders(keys[2], *size), config.elements - config.gibbs
        conditionals = functools.partial(logits, config, jax.lax.stop_gradient(params))
        samples = any_order.fill(keys[3], conditionals, samples, order, start=start)
        gap = unexplained(config, still, keys[4], jnp.concatenate([x, samples]))
        metrics = {'conditional': conditional, 'gap': gap}
        loss = given * conditional + added * gap
        return loss, metrics, (state.extra[0], samples)

    return init, train.gradient_step(loss_fn, adam)


def discrete(config, name):
    """The config of a set of sequences, and its training and test rows int32 [N, D]."""
    parts = [data.load('docstrings' if name == 'text' else name, s) for s in ('train', 'test')]
    if name == 'digits':
        rows = [np.int32(part['image'] > 127).reshape(len(part['image']), -1) for part in parts]
        return replace(config, elements=rows[0].shape[1], values=2), *rows
    texts = [[str(text) for text in part['text']] for part in parts]
    if name == 'text':  # letters and spaces alone, in rows of 16
        texts = [[re.sub('[^a-z]+', ' ', ' '.join(part[:600]).lower())] for part in texts]
        texts = [[text[i : i + 16] for i in range(0, len(text) - 15, 16)] for (text,) in texts]
    length = max(map(len, texts[0]))
    vocabulary = tokens.characterwise(itertools.chain(' ', *texts), special=())
    rows = [
        np.array(
            [tokens.encode(vocabulary, text[:length].ljust(length)) for text in part], np.int32
        )
        for part in texts
    ]
    return replace(config, elements=length, values=vocabulary.size), *rows


@functools.lru_cache
def sums(config):
    """Every state there is [S, D], log p of each, and log Z; where they are too many, 0 for it."""
    if config.elements * math.log2(config.values) > 16:
        return None, None, 0.0
    states = np.array(list(itertools.product(range(config.values), repeat=config.elements)))
    f = np.asarray(log_target(config, states), np.float64)
    return states, f - logsumexp(f), logsumexp(f)


@functools.lru_cache
def readers(config):
    """Jitted: log p(x) in one pass; by an order, in D; samples and their own likelihood."""

    def marginal(params, x):
        empty = jnp.full((1, config.elements), any_order.UNKNOWN)
        return log_marginal(config, params, x) - log_marginal(config, params, empty)

    def ordered(params, x, order):
        conditionals = functools.partial(logits, config, params)
        return any_order.order_log_prob(conditionals, x, order)

    def sampled(params, key):
        k_order, k_fill = jax.random.split(key)
        order = any_order.orders(k_order, config.tested, config.elements)
        conditionals = functools.partial(logits, config, params)
        x = any_order.fill(k_fill, conditionals, jnp.zeros_like(order), order)
        return x, ordered(params, x, order)

    return jax.jit(marginal), jax.jit(ordered), jax.jit(sampled)


def match(config, ctx, study, method, seed):
    """Trains a model on an energy, and says how far its samples are from it."""
    init, step = build(config, method)
    options = {'steps': config.steps, 'seed': seed, 'name': f'{study}-{method}-{seed}'}
    params = ctx.fit(step, init, **options)[0].params
    x, log_q = readers(config)[2](params, ctx.key(seed))
    f, row = log_target(config, x), {'study': study, 'method': method, 'seed': seed}
    row['divergence'] = (log_q - f).mean() + sums(config)[2]
    ctx.add(**row, mean_energy=-f.mean(), mean_value=x.mean())
    return params


def marginals(config, ctx, study, params, seed):
    """Compares marginals of parts of likely states with all sums."""
    states, log_p, _ = sums(config)
    random = np.random.default_rng(seed)
    likely = states[random.choice(len(states), config.marginals, p=np.exp(log_p))]
    some = np.where(random.random(likely.shape) < random.random((len(likely), 1)), likely, -1)
    true = np.array([logsumexp(log_p[((states == e) | (e < 0)).all(1)]) for e in some])
    guess = np.asarray(readers(config)[0](params, some))
    row = {
        'study': study,
        'method': 'mam',
        'seed': seed,
        'marginal_error': abs(guess - true).mean(),
    }
    ctx.add(**row, correlation=evaluate.pearson(guess, true))
    return np.stack([true, guess], 1), None


def learn(config, ctx, name, seed):
    """Trains a model on data, in two stages and in one, and reads it in one pass and in D."""
    config, rows, test = discrete(config, name)
    init, step = build_likelihood(config)
    marginal, ordered, _ = readers(config)
    stream, test = data.batches({'x': rows}, config.data_batch, seed=seed), test[: config.tested]
    begun = jax.jit(init)(ctx.key(seed))
    begin = lambda params, *learned: begun._replace(
        params=params, extra=(jnp.array(learned), rows[: config.data_batch])
    )
    options = {'steps': config.data_steps, 'seed': seed}
    fit = lambda state, stage: ctx.fit(
        step, state, stream, name=f'{name}-{stage}-{seed}', **options
    )[0].params  # fmt: skip
    conditional = fit(begin(begun.params, 1.0, 0.0), 'conditional')
    arms = {'two stages': fit(begin(conditional, 0.0, 1.0), 'marginal')}
    arms['at once'] = fit(begin(begun.params, 1.0, 1.0), 'joint')
    for method, params in arms.items():
        keys = jax.random.split(ctx.key(seed), config.averaged)
        each = [ordered(params, test, any_order.orders(k, *test.shape)) for k in keys]
        averaged = logsumexp(np.stack(each), 0) - math.log(config.averaged)
        once = np.asarray(marginal(params, test))
        bits = lambda log_p: -log_p.mean() / config.elements / math.log(2)
        ctx.add(study=name, method=method, seed=seed, rank=evaluate.spearman(once, averaged),
                bits=bits(once), averaged_bits=bits(averaged))  # fmt: skip


def race(config, ctx, seed):
    """Seconds of 64 marginals in one pass and by an order, once compiled."""
    for elements in config.sizes:
        sized = replace(config, elements=elements)
        params, (marginal, ordered, _) = build(sized)[0](ctx.key(seed)).params, readers(sized)
        x, order = jnp.zeros((64, elements), jnp.int32), jnp.tile(jnp.arange(elements), (64, 1))
        for method, read, *more in (('mam', marginal), ('any order', ordered, order)):
            best = min(evaluate.timed(read, params, x, *more)[1] for _ in range(9))
            ctx.add(study='speed', elements=elements, method=method, seed=seed, seconds=best)


def run(config, ctx):
    studies, panels = {'ising': config}, {}
    studies['strong'] = replace(config, coupling=config.hard_coupling)
    studies['mass'] = replace(config, energy='mass', elements=min(6, config.elements), values=6)
    for seed in ctx.grid(seed=ctx.seeds):
        first = seed == ctx.seeds[0]
        for method in ('arm', 'balance'):
            match(config, ctx, 'ising', method, seed)
        for study, energy in studies.items() if first else [('ising', config)]:
            params = match(energy, ctx, study, 'mam', seed)
            if sums(energy)[0] is not None:
                found = marginals(energy, ctx, study, params, seed)
                panels.setdefault(study, found)
        for name in config.sets if first else config.sets[:1]:
            learn(config, ctx, name, seed)
        race(config, ctx, seed)
    ctx.save_figure('marginals', figures.points(panels, x='log p by sums', y='in one pass'))
    ising, digits = {'study': 'ising'}, {'study': 'digits', 'method': 'two stages'}
    speed = lambda size: {'study': 'speed', 'elements': size}
    return ctx.report(
        Range('marginal_error', high=0.1, where=ising | {'method': 'mam'}),
        Range('correlation', low=0.99, where=ising | {'method': 'mam'}),
        Claim('divergence', 'mam', 'arm', 0.0, lower=True, where=ising, paper='table 3'),
        Range('rank', low=0.9, where=digits),
        # ten times as fast at 64, and so on in proportion
        *(Claim('seconds', 'mam', 'any order', ratio=6.4 / size, lower=True, where=speed(size),
                paper='about 1000 times at D of hundreds') for size in config.sizes),
    )  # fmt: skip


if __name__ == '__main__':
    experiment.main()
