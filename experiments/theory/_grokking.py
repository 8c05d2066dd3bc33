"""Grokking as the passage from lazy to rich training.

Paper: Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    f(x) = (alpha / N) sum_i phi(w_i . x) - (same at the start),  phi(h) = h + (epsilon / 2) h^2
    y = (beta . x)^2 / 2,  L = mean (f - y)^2 / (2 alpha^2),  plain full-batch gradient descent
Claim: a network that starts lazy (large output scale alpha) first fits its points as a kernel
    machine of misaligned features and generalises when the features turn to beta. The delay grows
    with alpha and misalignment, needs a middling number of points and no weight decay, on MNIST,
    in transformers and students of a teacher too; dynamical mean-field theory gives the curves.
Differences from the paper:
    1. cpu: D = 32, N = 128; digits of 14 x 14 pixels, width 128; addition modulo 17.
    2. All seeds share the target's direction: inputs and weights are isotropic.
    3. Delay is t_test / t_train, first steps with an error below `threshold` times that of f = 0;
       what never gets there counts with the last step, a lower bound, and is `censored`.
    4. The other networks start uncentred; Adam trains the transformer, without positions.
    5. The mean-field twin has N = 2, D = 400, P = 1200: finite size and sampling err by less there.

    python -m experiments.theory.grokking --preset=cpu
"""

import dataclasses
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl import data, experiment, models
from jssl.algorithms import dmft
from jssl.algorithms.ntk import kernel_regression, linearise, ntk
from jssl.data import teachers
from jssl.evaluate.kernel_alignment import kernel_alignment
from jssl.experiment import Claim, Ordering, Range, figures

PROBE, FRESH = 100, 100_000  # points whose kernel is followed; of the Monte Carlo test error
SIMULATIONS, STEPS = 16, 40  # of the mean-field twin
PICTURES = ('alpha 0.5', 'alpha 2', 'alpha 4', 'frozen kernel', 'planted 1', 'mean field')
LAZY = {'mnist': 32.0, 'modular': 4.0, 'teacher': 8.0}  # alpha; 1 is rich


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    task: str = 'polynomial'  # polynomial | mnist | modular | teacher
    dimension: int = 100  # D, section 5
    units: int = 500  # N, section 5; width of all but the transformer
    points: int = 450  # P, section 5
    alpha: float = 1.0  # output scale, swept in section 5
    epsilon: float = 0.25  # curvature of phi
    learning_rate: float = 30.0  # eta; as large as the kernel's top eigenvalue allows
    steps: int = 10_000  # of gradient descent
    stride: int = 100  # of them in a step of `fit`
    threshold: float = 0.1  # of the error of f = 0
    planted: float = 0.0  # c, the target's share in the initial weights
    frozen: bool = False  # train the linearised network
    decay: float = 0.0  # shrinkage of the weights at every step
    sizes: tuple[int, ...] = (200, 315, 1000, 3125)  # P: too few, few, more, plenty
    other_steps: int = 10_000  # for MNIST, the transformer and the student
    pool: int = 1  # pixels of a digit averaged to one, each way
    modulus: int = 113  # section 6
    modular_width: int = 128  # section 6
    paths: int = 32_768  # Monte Carlo sample of the mean-field theory


PAPER = Config()
CPU = replace(
    replace(PAPER, dimension=32, units=128, points=200, learning_rate=10.0, steps=3000),
    **{'sizes': (64, 100, 320, 1000), 'other_steps': 1500, 'pool': 2, 'paths': 16_384},
    **{'modulus': 17, 'modular_width': 32},
)
SMOKE = replace(
    replace(CPU, seeds=1, dimension=8, units=8, points=16, steps=4, other_steps=4, stride=2),
    **{'sizes': (4, 8, 24, 32), 'pool': 7, 'paths': 128, 'modulus': 5, 'modular_width': 8},
)


class State(NamedTuple):
    params: Any
    start: Any  # the initial parameters
    opt_state: Any
    times: jax.Array  # now, and when train and test error passed the threshold (0: not yet)


def direction(config):
    return teachers.teacher_direction(jax.random.key(0), config.dimension)


def examples(config, seed):
    """The whole data set: `points` rows to learn from, then those (if any) to test on."""
    key, p = jax.random.key(10_000 + seed), config.modulus
    if config.task == 'polynomial':
        x, y = teachers.single_index(key, direction(config), config.points)
    elif config.task == 'teacher':  # two rectified units, along beta and -beta
        x, y = teachers.single_index(key, direction(config), config.points + 1000, link=jnp.abs)
        x, y = x * config.dimension**0.5, y[:, None]
    elif config.task == 'modular':  # the tokens a, b and =
        x, sums = (jax.random.permutation(key, part) for part in teachers.modular_addition(p))
        x, y = jnp.pad(x, ((0, 0), (0, 1)), constant_values=p), jax.nn.one_hot(sums, p) - 1 / p
    else:
        train, test = data.load('mnist5k', 'train'), data.load('mnist5k', 'test')
        chosen = np.random.default_rng(seed).permutation(len(train['label']))[: config.points]
        image, label = (np.concatenate([train[k][chosen], test[k]]) for k in train)
        x = np.asarray(models.patchify(image, config.pool)).mean(-1)
        x = (x - x[: config.points].mean(0)) / x[: config.points].std()
        y = jax.nn.one_hot(label, 10) - 0.1
    return {'x': jnp.asarray(x, jnp.int32 if config.task == 'modular' else jnp.float32), 'y': y}


def inputs(config):
    return jax.eval_shape(lambda: examples(config, 0))


def network(config):
    """(init, f, pace): f(params, start, x), and the width its gradients are multiplied by."""
    pace, scale, centre = config.units, config.alpha, 0.0
    if config.task == 'polynomial':
        init = lambda key: teachers.planted_weights(
            key, direction(config), pace, share=config.planted
        )
        phi, centre = lambda h: h + config.epsilon / 2 * h * h, 1.0
        apply = lambda w, x: phi(x @ w.T).mean(1)
    else:
        module = models.MLP((pace, pace, 10) if config.task == 'mnist' else (pace, 1))
        if config.task == 'modular':
            pace, p = config.modular_width, config.modulus
            layer, head = models.Transformer(pace, depth=1, heads=4), models.Classifier(p)
            module = nn.Sequential([nn.Embed(p + 1, pace), layer, lambda h: h[:, -1], head])
        init = lambda key: module.init(key, examples(config, 0)['x'][:1])
        apply, scale = module.apply, config.alpha / pace**0.5

    def f(params, start, x):
        g = linearise(apply, start) if config.frozen else apply
        return scale * (g(params, x) - centre * apply(start, x))

    return init, f, pace


def test_error(config, state):
    """Exact, in its three parts: linear power, variance, misalignment."""
    scales = {'alpha': config.alpha, 'epsilon': config.epsilon, 'linear': config.frozen}
    return dmft.quadratic_error(state.params, state.start, direction(config), **scales)


def build(config):
    """(init, step): a step of `fit` is `stride` steps of gradient descent, each one measured."""
    begin, f, pace = network(config)
    squared = lambda error: jnp.square(error).reshape(len(error), -1).sum(1).mean()
    sgd, adam = (
        optax.sgd(config.learning_rate * pace),
        optax.adam(config.learning_rate / config.alpha),
    )
    rule = adam if config.task == 'modular' else sgd
    optimiser = optax.chain(rule, optax.add_decayed_weights(-config.decay))

    def init(key):
        params, times = begin(key), jnp.zeros(3, jnp.int32)
        return State(params, jax.tree.map(jnp.copy, params), optimiser.init(params), times)

    def descend(state, batch):
        (x, new_x), (y, new_y) = (jnp.split(batch[k], [config.points]) for k in 'xy')

        def loss_fn(params):
            error = squared(f(params, state.start, x) - y)
            return error / (2 * config.alpha**2), error

        grads, train = jax.grad(loss_fn, has_aux=True)(state.params)
        if config.task == 'polynomial':
            parts = test_error(config, state)._asdict()
            test = sum(parts.values()) / 0.75  # E y^2
        else:
            parts, error = {}, squared(f(state.params, state.start, new_x) - new_y)
            test = error / squared(new_y)
        train, now, passed = train / squared(y), state.times[0] + 1, state.times[1:]
        under = jnp.stack([train, test]) < config.threshold
        times = jnp.append(now, jnp.where((passed == 0) & under, now, passed))
        updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, state.start, opt_state, times), {'train': train, 'test': test, **parts}

    def step(state, batch, key):
        after, curves = jax.lax.scan(lambda s, _: descend(s, batch), state, length=config.stride)
        metrics = {name: curve[0] for name, curve in curves.items()}
        metrics['lowest_test'] = curves['test'].min()
        if config.task == 'polynomial':
            x, y = batch['x'][:PROBE], batch['y'][:PROBE]
            now, then = (ntk(lambda p, x: f(p, state.start, x), p, x) for p in state[:2])
            metrics['label_alignment'] = kernel_alignment(now, jnp.outer(y, y))
            metrics['kernel_movement'] = jnp.linalg.norm(now - then) / jnp.linalg.norm(then)
        return after, metrics

    return init, step


def conditions(config):
    """What is trained, by name."""
    lazy, middle = replace(config, alpha=4.0), replace(config, alpha=2.0)
    found = {f'alpha {a:g}': replace(config, alpha=a) for a in (0.5, 1.0, 2.0, 4.0)}
    found |= {f'points {i}': replace(lazy, points=p) for i, p in enumerate(config.sizes)}
    found |= {f'planted {c:g}': replace(lazy, planted=c) for c in (0.5, 1.0)}
    found |= {'frozen kernel': replace(middle, frozen=True), 'decay': replace(middle, decay=1e-4)}
    found['epsilon 0.5'] = replace(middle, epsilon=0.5)
    settings = {  # points, learning rate, threshold: the floor of small sets is above 0.1
        'mnist': (1000, 0.1, 0.5),
        'modular': (int(0.9 * config.modulus**2), 5e-3, 0.5),
        'teacher': (2 * config.points, 0.05, 0.1),
    }
    for task, (points, rate, threshold) in settings.items():
        other = replace(config, task=task, points=points, learning_rate=rate, threshold=threshold)
        for name, alpha in (('rich', 1.0), ('lazy', LAZY[task])):
            found[f'{task} {name}'] = replace(other, alpha=alpha, steps=config.other_steps)
    return found


def mean_field(config, seed):
    """Curves of train and test error: simulations' mean, and theory."""
    twin = {'alpha': 0.5, 'learning_rate': 60.0, 'points': 1200, 'dimension': 400, 'steps': STEPS}
    twin |= {'activation': lambda h: h + h * h / 4, 'target': teachers.half_square}
    keys = jax.random.split(jax.random.key(seed), SIMULATIONS + 1)
    runs = jax.vmap(partial(dmft.committee_simulation, units=2, **twin))(keys[1:])
    limit = dmft.committee_dynamics(keys[0], jnp.eye(3), paths=config.paths, **twin)
    return jax.tree.map(lambda x: x.mean(0), runs)[:2], limit[:2]


def measure(config, state, batch, seed):
    """The formula's relative error on new points, and the initial kernel's regression."""
    x, y = teachers.single_index(jax.random.key(50_000 + seed), direction(config), FRESH)
    f = lambda params, x: network(config)[1](params, state.start, x)
    gap = jnp.square(f(state.params, x) - y).mean() / sum(test_error(config, state)) - 1
    gram, cross = (ntk(f, state.start, z, batch['x']) for z in (batch['x'], x[:1000]))
    error = jnp.square(kernel_regression(gram, cross, batch['y']) - y[:1000]).mean()
    return {'formula_gap': jnp.abs(gap), 'lowest_test': error / 0.75}


def run(config, ctx):
    pictures, runs = {}, conditions(config)
    for method in ctx.grid(method=tuple(runs)):
        chosen = runs[method]
        (init, step), fits = build(chosen), chosen.steps // chosen.stride
        for seed in ctx.seeds:
            batch, name = examples(chosen, seed), f'{method}-{seed}'.replace(' ', '-')
            state, history = ctx.fit(step, init, batch, steps=fits, seed=seed, name=name, every=1)
            train, test = (int(t) or chosen.steps for t in state.times[1:])
            row = {k: v[-1] for k, v in history.items() if k != 'step'}
            row['lowest_test'] = history['lowest_test'].min()
            row |= {'train_time': float(train), 'test_time': float(test), 'delay': test / train}
            row |= {'log_delay': np.log(test / train), 'censored': not int(state.times[2])}
            ctx.add(method=method, seed=seed, **row)
            if method == 'alpha 2':
                found = measure(chosen, state, batch, seed)
                ctx.add(method='kernel regression', seed=seed, **found)
        time = 1 + chosen.stride * (history['step'] - 1)
        pictures[method] = {k: (time, history[k]) for k in ('train', 'test')}
    curves, time = jax.jit(partial(mean_field, config)), np.arange(STEPS + 1)
    for seed in ctx.seeds:
        means, limits = curves(seed)
        gap = jnp.abs(jnp.stack(limits) / jnp.stack(means) - 1).max(1)
        ctx.add(method='mean field', seed=seed, train_gap=gap[0], test_gap=gap[1])
    named = zip(('train', 'test', 'train, theory', 'test, theory'), (*means, *limits), strict=True)
    pictures['mean field'] = {name: (time, curve) for name, curve in named}
    shown = {k: pictures[k] for k in (*PICTURES, *(f'{task} lazy' for task in LAZY))}
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
        Claim('test_time', 'planted 1', 'alpha 4', ratio=1 / 3, lower=True),
        Range('formula_gap', high=0.02),
        Range('train_gap', high=0.12),
        Range('test_gap', high=0.12),
        *(Claim('delay', f'{task} lazy', f'{task} rich', ratio=2.0) for task in LAZY),
    )


if __name__ == '__main__':
    experiment.main()
