"""Infinitely wide and deep networks: majority vote, nearest neighbour, or Bayes-optimal.

Paper: Wide and Deep Neural Networks Achieve Optimality for Classification (Radhakrishnan et al.,
2023).

    phi^(s) = E[phi(u) phi(v)],  S_0 = x.z,  S_l = phi^(S_{l-1}),  f = sign(y K^-1 K(X, x)), K = S_L
    A = E phi, A' = E phi', B' = E phi'^2:  A != 0 votes with the majority; A = A' = 0 with the
    nearest neighbour; A = 0, A' != 0, B' > 1 with sum_i y_i |x - x_i|^-alpha,
    alpha = -4 log A' / log B', which is consistent where alpha is the dimension d of the sphere

Beside the constructed activations, for d = 1, 2, 4, 8: sines of the same exponent, the second
Hermite polynomial, a cosine, erf and ReLU; nearest neighbours, Hilbert's estimate and Bayes' rule;
the same kernels as regressors; and finite networks with the constructed activation.

Claim: the averages foretell what a deep network does and with which exponent; the constructed
activations beat the nearest neighbour and approach Bayes' rule as points are added, which the
nearest neighbour does not; depth ruins the same kernel as a regressor.
Differences from the paper:
  1. The cpu preset has up to 2,000 points of Dirichlet laws for 10,000. 2. Deep kernels are those
  of the Gaussian process, diagonal one, as in the authors' code: the tangent kernel gets to the
  same limit only as 1 / depth. 3. Kernels of the nearest-neighbour regime go by logarithms: their
  entries are below the least number. 4. Finite networks are an illustration, without a claim.

    python -m experiments.theory.wide_deep_optimality --preset=cpu
"""

import dataclasses
import functools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from jssl import data, experiment, models, train
from jssl.algorithms import dual_kernels as dual
from jssl.data.generated import mixtures
from jssl.experiment import Bound, Claim, Equality, Range, figures

LAWS = {  # d: two Dirichlet concentrations on d + 1 parts; the last is ours
    1: ((1.0, 2.0), (2.0, 1.0)),
    2: ((0.5, 0.5, 2.5), (2.5, 0.1, 0.5)),
    4: ((3.0, 1.0, 2.0, 1.0, 1.0), (1.0, 2.0, 2.0, 2.0, 3.0)),
    8: ((3.0, 1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 3.0, 1.0),
        (1.0, 2.0, 2.0, 2.0, 3.0, 1.0, 2.0, 1.0, 2.0)),
}  # fmt: skip
SINES = {2: 2.676, 4: 6.135, 8: 13.83}  # the paper's
SQUARE = (0.0, 0.0, 1.0)  # the second Hermite polynomial


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    points: tuple[int, ...] = (1250, 2500, 5000, 10_000)  # to learn from; the paper has the last
    judged: int = 5000  # of them, where methods are compared
    few: int = 1000  # where the other activations are, with twice as many new ones
    tested: int = 10_000  # new points
    depth: int = 50  # of the singular kernels
    nearest_depth: int = 14  # of the second Hermite polynomial
    majority_depth: int = 200  # of the cosine
    relu_depth: int = 50_000  # on `relu_points`
    relu_points: int = 100  # to learn from
    tangent_depth: int = 100  # of the tangent kernel
    depths: tuple[int, ...] = (5, 10, 20, 40, 80)  # of the regressor
    dimension: int = 2  # d of regressors and finite networks
    width: int = 512  # of the finite networks
    layers: int = 3  # hidden ones
    steps: int = 5000  # of Adam
    batch: int = 256  # points
    learning_rate: float = 1e-4  # of Adam


PAPER = Config()
CPU = replace(
    PAPER, seeds=5, points=(250, 500, 1000, 2000), judged=1000, few=250, tested=2000, depth=20,
    relu_depth=5000, relu_points=30, width=128, layers=2, steps=400, batch=64, learning_rate=1e-3,
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, points=(16, 32), judged=32, few=16, tested=32, depth=3, nearest_depth=3,
    majority_depth=5, relu_depth=5, tangent_depth=3, relu_points=8, depths=(2, 4), width=4, steps=2,
    batch=8,
)  # fmt: skip


def draw(config, d, seed):
    """(x [N, d + 1], y of -1 and 1) to learn from and to test on, on the sphere, and Bayes' y."""
    options = {'family': 'dirichlets', 'concentrations': LAWS[d], 'imbalance': 1.5}  # prior 0.4
    found = []
    for split, count in (('train', config.points[-1]), ('test', config.tested)):
        made = mixtures.dataset(split, count=count, seed=seed, **options)
        x = made['feature'].astype(float)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        found += [x, 2 * made['label'] - 1]
    return *found, 2 * made['posterior'].argmax(1) - 1


def activation(squares):
    """sum_k sqrt(a_k) h_k(u) of an array, by the recursion of Hermite's polynomials."""

    def apply(u):
        before, here, total = jnp.zeros_like(u), jnp.ones_like(u), 0.0
        for k, a in enumerate(squares):
            total = total + math.sqrt(a / math.factorial(k)) * here
            before, here = here, u * here - k * before
        return total

    return apply


@functools.lru_cache
def network(config, kind):
    """A finite network with the 'optimal' activation or 'relu', and (params, x) -> f [B]."""
    optimal = activation(dual.optimal_squares(config.dimension))
    widths = (config.width,) * config.layers + (1,)
    net = models.MLP(widths, activation=optimal if kind == 'optimal' else jax.nn.relu)
    # Coordinates of unit variance are what the theory assumes of every layer.
    return net, lambda params, x: net.apply(params, x * math.sqrt(config.dimension + 1))[:, 0]


@functools.lru_cache
def build(config, kind='optimal'):
    """(init, step) of a finite network on labels of -1 and 1."""
    net, apply = network(config, kind)
    optimiser = train.adamw(config.learning_rate, weight_decay=0.0)

    def init(key):
        return train.create(net.init(key, jnp.zeros((1, config.dimension + 1))), optimiser)

    def loss_fn(params, state, batch, key):
        f = apply(params, batch['x'])
        return jnp.square(f - batch['y']).mean(), {'accuracy': (f * batch['y'] > 0).mean()}

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)
    return {'x': shape(config.batch, config.dimension + 1), 'y': shape(config.batch)}


def regress(kernel, x, y, new):
    """y K^-1 K(X, new), with a diagonal of exactly one; kernel: inner products -> values."""
    gram = kernel(x @ x.T)
    np.fill_diagonal(gram, 1.0)
    return kernel(new @ x.T) @ np.linalg.solve(gram, y.astype(float))


def hilbert(d, x, y, new):
    """sum_i y_i |new - x_i|^-d, up to a positive factor."""
    squares = np.maximum(2 - 2 * new @ x.T, 1e-30)
    logs = -d / 2 * np.log(squares)
    return np.exp(logs - logs.max(1, keepdims=True)) @ y


def nearest(squares, depth, x, y, new):
    """y K(X, new) in the regime where K^-1 is I and entries are far below the least number."""
    logs = dual.log_deep_kernel(squares, new @ x.T, depth)
    return np.exp(logs - logs.max(1, keepdims=True)) @ y


def neighbours(k, x, y, new):
    return KNeighborsClassifier(k, algorithm='brute').fit(x, y).predict(new)


def deep(law, depth, **options):
    return lambda s: dual.deep_kernel(law, s, depth, **options)


def exponents(config, ctx, d, seed):
    """The slope of log kernel over log distance, beside the one foretold."""
    away = np.geomspace(1e-3, 1e-1, 200)
    laws = {'optimal': dual.hermite_dual(dual.optimal_squares(d))}
    laws |= {'sine': dual.sine_dual(SINES[d])} if d in SINES else {}
    for name, law in laws.items():
        depth = max(config.depth, 60)  # until a distance of 1e-3 has become one of order 1
        kernel = dual.deep_kernel(law, 1 - away**2 / 2, depth) / law.slope(0.0) ** depth
        slope, _ = np.polyfit(np.log(away), np.log(kernel), 1)
        foretold = dual.regime(law).exponent
        ctx.add(study='exponent', method=name, d=d, seed=seed, fitted=-slope, foretold=foretold,
                exponent_error=abs(slope / foretold + 1), allowed=0.02)  # fmt: skip


def regimes(config, ctx, d, seed, sets):
    """Whether deep kernels decide as their regime says, on few points."""
    x, y, new, truth = (part[: (1 + i // 2) * config.few] for i, part in enumerate(sets[:4]))
    optimal = dual.hermite_dual(dual.optimal_squares(d))
    square, cosine = dual.hermite_dual(SQUARE), dual.cosine_dual(2.0)
    vote = lambda y: np.full(len(new), 1 if y.sum() > 0 else -1)
    ours = hilbert(d, x, y, new)
    found = {  # classifier, the regime's, and what the averages say
        'optimal': (regress(deep(optimal, config.depth), x, y, new), ours, optimal),
        'second hermite': (nearest(SQUARE, config.nearest_depth, x, y, new),
                           neighbours(1, x, y, new), square),
        'cosine': (regress(deep(cosine, config.majority_depth), x, y, new), vote(y), cosine),
        'tangent': (regress_tangent(optimal, config.tangent_depth, x, y, new), ours, optimal),
        'erf': (regress(deep(dual.erf_dual(), config.depth), x, y, new), ours, dual.erf_dual()),
    }  # fmt: skip
    if d == config.dimension:
        few, relu = (x[: config.relu_points], y[: config.relu_points]), dual.relu_dual()
        found['relu'] = regress(deep(relu, config.relu_depth), *few, new), vote(few[1]), relu
    if d in SINES:
        sine = dual.sine_dual(SINES[d])
        found['sine'] = regress(deep(sine, config.depth), x, y, new), ours, sine
    for name, (f, like, law) in found.items():
        agreement, right = (np.sign(f) == np.sign(like)).mean(), (np.sign(f) == truth).mean()
        ctx.add(study='regime', method=name, regime=dual.regime(law).name, d=d, seed=seed,
                agreement=agreement, accuracy=right)  # fmt: skip


def regress_tangent(law, depth, x, y, new):
    """With the tangent kernel, scaled to a diagonal of one."""
    top = dual.deep_kernel(law, np.ones(1), depth, tangent=True)[0]
    return regress(lambda s: dual.deep_kernel(law, s, depth, tangent=True) / top, x, y, new)


def consistency(config, ctx, d, seed, sets):
    """Accuracy as points are added; returns {method: gaps to Bayes' rule}."""
    x, y, new, truth, bayes = sets
    law, gaps = dual.hermite_dual(dual.optimal_squares(d)), {}
    gram, cross = (deep(law, config.depth)(s) for s in (x @ x.T, new @ x.T))
    np.fill_diagonal(gram, 1.0)
    best = (bayes == truth).mean()
    for n in config.points:
        some = x[:n], y[:n]
        found = {
            'optimal': cross[:, :n] @ np.linalg.solve(gram[:n, :n], y[:n].astype(float)),
            'hilbert': hilbert(d, *some, new),
            'nearest': neighbours(1, *some, new),
            'log n nearest': neighbours(round(math.log(n)), *some, new),
            'sqrt n nearest': neighbours(round(math.sqrt(n)), *some, new),
            'majority': np.full(len(new), np.sign(y[:n].sum() + 0.5)), 'bayes': bayes,
        }  # fmt: skip
        for name, f in found.items():
            right = (np.sign(f) == truth).mean()
            gaps.setdefault(name, []).append(best - right)
            ctx.add(study='points', method=name, d=d, points=n, seed=seed, accuracy=right,
                    gap=best - right)  # fmt: skip
    for name in ('optimal', 'nearest'):
        first, *_, last = gaps[name]
        ctx.add(study='closing', method=name, d=d, seed=seed, closed=first - last,
                share_closed=(first - last) / max(first, 1e-9))  # fmt: skip
    return gaps


def regression(config, ctx, seed, sets):
    """The optimal kernel as a regressor, deeper and deeper."""
    x, y, new, truth, _ = sets
    x, y = x[: config.few], y[: config.few]
    law = dual.hermite_dual(dual.optimal_squares(config.dimension))
    for depth in config.depths:
        f = regress(deep(law, depth), x, y, new)
        ctx.add(study='regression', method=f'depth {depth}', seed=seed,
                mse=np.square(f - truth).mean(), accuracy=(np.sign(f) == truth).mean())  # fmt: skip


def networks(config, ctx, seed, sets):
    """Finite networks with the optimal activation, and with rectifiers."""
    x, y, new, truth, _ = sets
    records = {'x': np.float32(x[: config.judged]), 'y': np.float32(y[: config.judged])}
    for kind in ('optimal', 'relu'):
        stream = data.batches(records, config.batch, seed=seed)
        (init, step), name = build(config, kind), f'{kind}-{seed}'
        state, _ = ctx.fit(step, init, stream, steps=config.steps, seed=seed, name=name)
        f = network(config, kind)[1](state.params, np.float32(new))
        ctx.add(study='finite', method=kind, seed=seed, accuracy=(np.sign(f) == truth).mean())


def run(config, ctx):
    curves = {}
    for seed in ctx.grid(seed=ctx.seeds):
        for d in LAWS:
            sets = draw(config, d, seed)
            exponents(config, ctx, d, seed)
            regimes(config, ctx, d, seed, sets)
            gaps = consistency(config, ctx, d, seed, sets)
            curves[f'd = {d}'] = {m: (config.points, g) for m, g in gaps.items() if m != 'majority'}
            if d == config.dimension:
                regression(config, ctx, seed, sets)
                networks(config, ctx, seed, sets)
    ctx.save_figure('points', figures.curves(curves, x='points', y='gap to Bayes', log_x=True))
    at = {'study': 'points', 'points': config.judged}
    margins, wide = {1: 0.03, 2: 0.01, 4: 0.015}, (2, 4, 8)
    last = f'depth {config.depths[-1]}'
    regressed = {'study': 'regression'}
    return ctx.report(
        Bound('exponent_error', 'allowed', where={'method': 'optimal'}, paper='theorem 2'),
        Range('agreement', 0.99, where={'method': 'cosine'}, paper='majority vote'),
        *(Range('agreement', 0.97, where={'method': 'second hermite', 'd': d}) for d in wide),
        Range('agreement', 0.99, where={'study': 'regime', 'method': 'optimal'}),
        *(Claim('accuracy', 'optimal', 'nearest', m, where=at | {'d': d}, paper='figure 3')
          for d, m in margins.items()),
        Range('closed', low=0.0, where={'method': 'optimal'}, paper='consistent'),
        Range('share_closed', high=1 / 3, where={'method': 'nearest'}, paper='not consistent'),
        Range('mse', 0.98, 1.02, where={'method': last, **regressed}),
        Equality('accuracy', last, f'depth {config.depths[-2]}', 0.01, where=regressed),
    )  # fmt: skip


if __name__ == '__main__':
    experiment.main()
