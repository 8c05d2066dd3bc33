"""Grokking as the passage from lazy to rich training.

Paper: Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).

    f(x) = (alpha / N) sum_i phi(w_i . x) - (same at the start),  phi(h) = h + (epsilon / 2) h^2
    y = (beta . x)^2 / 2,  L = mean (f - y)^2 / (2 alpha^2),  plain full-batch gradient descent

Claim: a network that starts lazy (large output scale alpha) first fits its points as a kernel
machine of misaligned features and generalises when the features turn to beta. The delay grows with
alpha and misalignment, needs a middling number of points and no weight decay, on MNIST and in
students of a teacher too; dynamical mean-field theory gives the curves.
Differences from the paper:
  1. The cpu preset has D = 32, N = 128 and digits of 14 x 14 pixels; its transformer adds modulo
  11, a table that is learned by heart whatever alpha: no claim. 2. Seeds share beta (inputs and
  weights are isotropic), and each is the mean of `draws`. 3. Delay is t_test / t_train, first steps
  with an error below `threshold` times that of f = 0; what never gets there counts with the last
  step, a lower bound, and is `censored`. 4. The other networks are not centred; Adam trains the
  transformer, which has no positions, so that pairs are unordered; the teacher is |beta . x|; one
  arm alone has weight decay. 5. The mean-field twin has N = 2.

    python -m experiments.theory.grokking --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, experiment, models, train
from jssl.algorithms import dmft
from jssl.algorithms.ntk import kernel_regression, ntk
from jssl.data import teachers
from jssl.evaluate.delay import generalisation_delay
from jssl.evaluate.kernel_alignment import kernel_alignment
from jssl.experiment import Claim, Equality, Ordering, Range, figures
from jssl.train.recorded import recorded

OTHERS = {  # threshold, and alpha and eta where rich and where lazy
    'mnist': (0.5, (1.0, 0.05), (48.0, 0.3)),
    'modular': (0.5, (1.0, 1.0), (4.0, 1.0)),
    'teacher': (0.1, (1.0, 0.1), (8.0, 0.1)),
}
PICTURES = ('alpha 0.5', 'alpha 2', 'frozen kernel', 'mnist lazy', 'teacher lazy', 'mean field')
UNUSED = ('step', 'loss', 'gradient_norm')  # columns of a history
once = functools.partial(jax.jit, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    task: str = 'polynomial'  # or one of `OTHERS`
    data: str = 'mnist5k'  # authors' code, 1000 of them
    dimension: int = 100  # D, figure 1, authors' code
    units: int = 500  # N, figure 1, authors' code
    points: int = 550  # P, figure 1, authors' code
    learning_rate: float = 2.0  # eta, authors' code
    steps: int = 100_000  # of gradient descent, authors' code
    stride: int = 100  # of them in a step of `fit`
    threshold: float = 0.1  # of the error of f = 0
    draws: int = 8  # of data and weights, whose mean is one seed
    sizes: tuple[int, ...] = (200, 315, 1000, 3125)  # P: too few, few, more, plenty
    fresh: int = 1000  # new points; as many digits are learned from
    other_steps: int = 10_000  # of the student, authors' code; of MNIST and transformer too
    width: int = 200  # of the MNIST network, authors' code; of the student too
    pool: int = 1  # pixels of a digit averaged to one, each way
    modulus: int = 113  # of the addition
    modular_width: int = 128  # of the transformer
    adam: float = 1e-3  # its learning rate
    share: float = 0.8  # of the pairs that are learned
    paths: int = 32_768  # Monte Carlo sample of the mean-field theory
    twin: tuple[int, ...] = (800, 2400, 40, 16)  # D, P, steps and number of simulations beside it


PAPER = Config()
CPU = replace(
    PAPER, dimension=32, units=128, points=200, learning_rate=10.0, steps=3000, draws=4,
    sizes=(64, 100, 320, 1000), other_steps=1000, width=128, pool=2, modulus=11, modular_width=16,
    adam=5e-3, paths=8192,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, data='digits', dimension=8, units=8, points=16, learning_rate=1.0, steps=4,
    stride=2, draws=8, sizes=(4, 8, 24, 24), fresh=16, other_steps=4, width=8, modulus=5,
    modular_width=8, paths=64, twin=(16, 48, 3, 2),
)  # fmt: skip


class Arm(NamedTuple):
    """What tells runs of one compiled program apart: all of it is in the state."""

    points: Any  # P; further rows have no weight
    rate: Any  # eta
    alpha: Any = 1.0  # output scale
    epsilon: Any = 0.25  # curvature of phi
    planted: Any = 0.0  # c, the target's share in the initial weights
    frozen: Any = 0.0  # 1 trains the linearised network
    decay: Any = 0.0  # of the mean over units of |w|^2 / 2
    start: Any = None  # the initial parameters


def direction(config):
    return teachers.teacher_direction(jax.random.key(0), config.dimension)


def examples(config, key):
    """{x: (to learn from, to test on), y: ...}"""
    if config.task == 'mnist':
        known, new = (data.load(config.data, split) for split in ('train', 'test'))
        order = jax.random.permutation(key, len(known['label']))[: config.points]
        pick = lambda k: jnp.append(jnp.asarray(known[k])[order], new[k][: config.fresh], 0)
        x = models.patchify(pick('image'), config.pool).mean(-1)
        x, y = x.reshape(len(x), -1), jax.nn.one_hot(pick('label'), 10)
        x = (x - x.mean(0)) / x.std()
    elif config.task == 'modular':
        x, y = teachers.addition_tokens(key, config.modulus)
        y = jax.nn.one_hot(y, config.modulus) - 1 / config.modulus
    else:  # the other teacher has two rectified units, along beta and -beta
        link = teachers.half_square if config.task == 'polynomial' else jnp.abs
        count = config.points + config.fresh
        x, y = teachers.single_index(key, direction(config), count, link=link)
    return {'x': jnp.split(x, [config.points]), 'y': jnp.split(y, [config.points])}


def inputs(config):
    return draw.eval_shape(config, None, jax.random.key(0))[1]


def squared(error):
    return jnp.square(error).reshape(len(error), -1).sum(1)


def network(config):
    """(begin(key, arm) -> params, f(params, arm, x), test errors(params, arm, x, y), optimiser)."""
    if config.task == 'polynomial':
        beta, count = lambda: direction(config), config.units
        options = lambda arm: {'alpha': arm.alpha, 'epsilon': arm.epsilon, 'linear': arm.frozen}
        begin = lambda key, arm: teachers.planted_weights(key, beta(), count, share=arm.planted)
        f = lambda w, arm, x: dmft.quadratic_committee(w, arm.start, x, **options(arm))

        def exact(w, arm, x, y):
            parts = dmft.quadratic_error(w, arm.start, beta(), **options(arm))
            return {'test': sum(parts) / 0.75, **parts._asdict()}  # E y^2 = 3/4

        return begin, f, exact, optax.sgd(count)
    width, rule = config.width, optax.sgd(config.width)
    if config.task == 'mnist':
        module = models.MLP((width, width, 10))
    elif config.task == 'teacher':
        scale, one = lambda x: x * config.dimension**0.5, lambda y: y[:, 0]
        module = nn.Sequential([scale, models.MLP((width, 1)), one])
    else:  # read at the last token
        width, p, rule = config.modular_width, config.modulus, optax.adam(config.adam)
        layer, head = models.Transformer(width, depth=1, heads=4), models.Classifier(p)
        module = nn.Sequential([nn.Embed(p + 1, width), layer, lambda h: h[:, -1], head])
    begin = lambda key, arm: module.init(key, examples(config, key)['x'][0][:1])
    f = lambda w, arm, x: arm.alpha * module.apply(w, x) / width**0.5
    test = lambda w, arm, x, y: {'test': squared(f(w, arm, x) - y).sum() / squared(y).sum()}
    return begin, f, test, rule


@functools.lru_cache
def build(config):
    """(init, step) of gradient descent on `draws` of data and weights."""
    begin, f, test, optimiser = network(config)

    def init(key, arm=None):
        arm = Arm(*(jnp.float32(v) for v in (arm or Arm(config.points, config.learning_rate))[:-1]))
        params = begin(key, arm)
        return train.create(params, optimiser, extra=arm._replace(start=params))

    def loss_fn(params, state, batch, key):
        arm, (x, new_x), (y, new_y) = state.extra, batch['x'], batch['y']
        weight = (jnp.arange(len(y)) < arm.points) / arm.points
        error = weight @ squared(f(params, arm, x) - y)
        size = optax.tree.norm(params, squared=True) / (2 * config.units)
        loss = arm.rate * (error / (2 * arm.alpha**2) + arm.decay * size)
        metrics = {'train': error / (weight @ squared(y)), **test(params, arm, new_x, new_y)}
        return loss, metrics, arm

    def kernel(state, batch):
        arm, x, y = state.extra, batch['x'][0][:100], batch['y'][0][:100]
        now, then = (ntk(lambda w, x: f(w, arm, x), w, x) for w in (state.params, arm.start))
        moved = jnp.linalg.norm(now - then) / jnp.linalg.norm(then)
        return {'label_alignment': kernel_alignment(now, jnp.outer(y, y)), 'kernel_movement': moved}

    step = train.gradient_step(loss_fn, optimiser)
    measure = kernel if config.task == 'polynomial' else None
    return recorded(init, step, curves=('train', 'test'), steps=config.steps, stride=config.stride,
                    copies=config.draws, measure=measure)  # fmt: skip


# Drawn once: to optimise this program costs five times what it saves.
@functools.partial(once, compiler_options={'xla_backend_optimization_level': 0})
def draw(config, arm, key):
    """The initial states and the data of all draws."""
    init_key, key = jax.random.split(key)
    batch = jax.vmap(functools.partial(examples, config))(jax.random.split(key, config.draws))
    return build(config)[0](init_key, arm), batch


def arms(config):
    """{name: (config, Arm)} of all that is trained."""
    lazy, middle = (Arm(config.points, config.learning_rate, alpha) for alpha in (4.0, 2.0))
    found = {f'alpha {a:g}': lazy._replace(alpha=a) for a in (0.5, 1.0, 2.0, 4.0)}
    found |= {f'points {i}': lazy._replace(points=p) for i, p in enumerate(config.sizes)}
    found |= {f'planted {c:g}': middle._replace(planted=c) for c in (0.5, 1.0)}
    found |= {'frozen kernel': middle._replace(frozen=1.0), 'decay': middle._replace(decay=1e-5)}
    found['epsilon 0.5'] = middle._replace(epsilon=0.5)
    # padded, all but the plentiful share one program
    rows = lambda arm: replace(config, points=max(arm.points, config.sizes[2]))
    found = {name: (rows(arm), arm) for name, arm in found.items()}
    pairs = config.modulus * (config.modulus + 1) // 2
    points = {'mnist': config.fresh, 'teacher': 2 * config.points}
    points['modular'] = int(config.share * pairs)
    for task, (threshold, *scales) in OTHERS.items():
        draws = config.draws if task == 'teacher' else 1
        chosen = replace(config, task=task, points=points[task], draws=draws,
                         steps=config.other_steps, threshold=threshold)  # fmt: skip
        for name, (alpha, rate) in zip(('rich', 'lazy'), scales, strict=True):
            found[f'{task} {name}'] = chosen, Arm(points[task], rate, alpha)
    return found


@once
def check(config, state, batch, key):
    """The formula against new points, and the initial kernel: its spectrum and its regression."""
    _, f, test, _ = network(config)

    def one(each):
        state, batch, key = each
        w, arm, (x, new_x), (y, new_y) = state.params, state.extra, batch['x'], batch['y']
        many, goal = teachers.single_index(key, direction(config), 100_000)
        error = squared(f(w, arm, many) - goal).mean() / 0.75
        gap = error / test(w, arm, new_x, new_y)['test'] - 1
        x, y = x[: config.points], y[: config.points]
        gram, cross = (ntk(lambda w, x: f(w, arm, x), arm.start, z, x) for z in (x, new_x))
        spectrum = jnp.linalg.eigvalsh(gram)
        miss = squared(kernel_regression(gram, cross, y) - new_y).mean() / 0.75
        return jnp.stack([gap, spectrum.sum() / spectrum[-1], miss])

    each = jax.lax.map(one, (state, batch, jax.random.split(key, config.draws)))
    gap, rank, miss = each.mean(0)
    return {'formula_gap': abs(gap), 'stable_rank': rank, 'lowest_test': miss}


@once
def mean_field(config, key):
    """Train and test error over time: the simulations' means, and the theory's."""
    dimension, points, steps, simulations = config.twin
    settings = {'dimension': dimension, 'points': points, 'steps': steps, 'alpha': 0.5}
    settings |= {'learning_rate': 0.15 * dimension, 'target': teachers.half_square}
    settings |= {'activation': lambda h: h + h * h / 4}
    keys = jax.random.split(key, 1 + simulations)
    simulate = functools.partial(dmft.committee_simulation, units=2, fresh=points, **settings)
    runs = jax.lax.map(simulate, keys[1:])
    limit = dmft.committee_dynamics(keys[0], jnp.eye(3), paths=config.paths, **settings)
    found = {'train': runs.train.mean(0), 'test': runs.test.mean(0)}
    return {**found, 'train, theory': limit.train, 'test, theory': limit.test}


def run(config, ctx):
    pictures, trained = {}, arms(config)
    for method in ctx.grid(method=tuple(trained)):
        chosen, arm = trained[method]
        step, fits = build(chosen)[1], chosen.steps // chosen.stride
        for seed in ctx.seeds:
            state, batch = draw(chosen, arm, ctx.key(seed))
            name = f'{method}-{seed}'.replace(' ', '-')
            state, history = ctx.fit(step, state, batch, steps=fits, seed=seed, name=name, every=1)
            row = generalisation_delay(**state.curves, threshold=chosen.threshold)._asdict()
            row = {k: v.mean() for k, v in row.items()}
            last = {k: v[-1] for k, v in history.items() if k not in UNUSED}
            ctx.add(method=method, seed=seed, delay=jnp.exp(row['log_delay']), **row, **last)
            if method == 'alpha 2':
                found = check(config, state.state, batch, ctx.key(seed + 1000))
                ctx.add(method='kernel regression', seed=seed, **found)
        pictures[method] = {k: v.mean(0) for k, v in state.curves.items()}
    for seed in ctx.seeds:
        found = pictures['mean field'] = mean_field(config, ctx.key(seed))
        gap = lambda k, found=found: jnp.abs(found[f'{k}, theory'] / found[k] - 1).max()
        ctx.add(method='mean field', seed=seed, train_gap=gap('train'), test_gap=gap('test'))
    timed = lambda curve: (np.arange(1, len(curve) + 1), curve)
    shown = {name: {k: timed(v) for k, v in pictures[name].items()} for name in PICTURES}
    ctx.save_figure('curves', figures.curves(shown, y='error', log_x=True, log_y=True))
    return ctx.report(
        Ordering('log_delay', ('alpha 0.5', 'alpha 1', 'alpha 2')),
        Claim('delay', 'alpha 2', 'alpha 0.5', ratio=1.5),
        Range('lowest_test', low=0.3, where={'method': 'frozen kernel'}),
        Range('train', high=0.01, where={'method': 'frozen kernel'}),
        Range('lowest_test', low=0.5, where={'method': 'points 0'}),
        Range('lowest_test', high=0.1, where={'method': 'points 2'}),
        Claim('log_delay', 'points 2', 'points 3'),
        Range('delay', high=1.5, where={'method': 'points 3'}),
        Ordering('log_delay', ('planted 1', 'planted 0.5', 'alpha 2')),
        Claim('test_time', 'planted 1', 'alpha 2', ratio=1 / 3, lower=True),
        Equality('log_delay', 'decay', 'alpha 2', 0.2),
        Range('formula_gap', high=0.02),
        Range('train_gap', high=0.12),
        Range('test_gap', high=0.12),
        Claim('delay', 'mnist lazy', 'mnist rich', ratio=2.0),
        Claim('delay', 'teacher lazy', 'teacher rich', ratio=2.0),
    )


if __name__ == '__main__':
    experiment.main()
