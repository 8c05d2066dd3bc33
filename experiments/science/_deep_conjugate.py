"""Deep conjugate directions: a network guesses where to go, conjugate gradients do the rest.

Paper: A Deep Conjugate Direction Method for Iteratively Solving Linear Systems (Kaneda et al.,
2023).

    train  L = mean_b |b - a A f(b)|^2,  a = f(b)'b / f(b)'A f(b),  b = sum_j c_j q_j of length one
           q_j: Ritz vectors of A;  c_j ~ N(0, 81) for j <= m/2 + theta, N(0, 1) beyond
    solve  d = f(r / |r|), made A-conjugate to the two directions before;  x += (r'd / d'A d) d

The network has no offsets: f(c b) = c f(b) for c > 0, and it works at any resolution. Nobody has to
solve a system to train it. Beside it: conjugate gradients, the same with incomplete Cholesky
factors and with deflation, the network once and then conjugate gradients, and the network's
directions as they are.

Claim: a fraction of the iterations of conjugate gradients, also on finer grids and around obstacles
that the network has not seen; without conjugacy it takes more.
Differences from the paper:
  1. The cpu preset has plane vessels of 32 x 32 cells and few channels; the paper preset has the
  paper's three dimensions. 2. Training vectors come from several vessels, most with obstacles; the
  paper's from one. 3. The network has more levels than the paper's two; what comes up from a
  coarser one is multiplied by 4, as the inverse is on a grid twice as wide; all maps are zero
  outside the fluid. Every level's answer starts from b and is refined by linear convolutions, so
  that an untrained network already is a sum over levels (Bramble et al., 1990); what that does
  alone stands beside the trained one. 4. Deflation takes the constants on 4 x 4 blocks, not Ritz
  vectors. 5. Solvers run on to a residual of 1e-6, where solutions are compared with a direct
  solver's; what is counted is the way to 1e-4.

    python -m experiments.science.deep_conjugate --preset=cpu
"""

import dataclasses
import functools
from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from jssl import algorithms, data, evaluate, experiment, train
from jssl.data.generated import poisson
from jssl.experiment import Claim, Range, figures


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
    dimensions: int = 3  # of the grid
    size: int = 64  # cells along a side in training; the paper also has 128
    vessels: int = 1  # that training vectors come from, of which one has no obstacles
    obstacles: int = 4  # at most, in a vessel
    ritz: int = 10_000  # m, official code
    theta: int = 500  # official code
    vectors: int = 20_000  # in all, official code
    widths: tuple[int, ...] = (16, 16)  # of a level's maps, fine to coarse; official code
    blocks: int = 2  # of a level, before and after the coarser one; official code
    sweeps: int = 2  # linear convolutions of a level's answer; not in the paper
    learning_rate: float = 1e-4  # Adam, official code
    batch: int = 10  # official code
    steps: int = 100_000  # 50 epochs
    systems: int = 20  # right-hand sides of a test
    scales: tuple[int, ...] = (1, 2, 4)  # sizes of test grids, in halves of `size`
    counted: float = 1e-4  # residual at which iterations are counted, section 5
    tolerance: float = 1e-6  # residual at which solvers stop
    limit: int = 300  # iterations of a solver


PAPER = Config(scales=(2, 4, 8))
CPU = replace(
    PAPER, dimensions=2, size=32, vessels=40, ritz=64, theta=4, vectors=2000,
    widths=(8, 12, 16, 16, 16), blocks=1, learning_rate=5e-3, batch=16, steps=300, scales=(2, 3, 4),
)  # fmt: skip
SMOKE = replace(
    CPU, seeds=1, size=8, vessels=2, obstacles=1, ritz=16, theta=1, vectors=16, widths=(2, 3),
    batch=8, steps=2, systems=3, scales=(2,), tolerance=1e-4, limit=8,
)  # fmt: skip


class Inverse(nn.Module):
    """b, and where the fluid is, both [B, *S], to a direction [B, *S]."""

    widths: tuple[int, ...]
    blocks: int
    sweeps: int

    @nn.compact
    def __call__(self, b, fluid):
        dimensions, zeros = b.ndim - 1, nn.initializers.zeros
        convolve = lambda x, width, **options: nn.Conv(
            width, (3,) * dimensions, use_bias=False, **options
        )(x)
        halve = lambda x: nn.avg_pool(x, (2,) * dimensions, (2,) * dimensions)
        linear = lambda x, width, **options: nn.Dense(width, use_bias=False, **options)(x)

        def blocks(x, inside):
            for _ in range(self.blocks):
                y = nn.relu(convolve(x, x.shape[-1]))
                x = inside * (x + convolve(y, x.shape[-1], kernel_init=zeros))
            return x

        def level(b, x, inside, narrower):
            x, d = blocks(x, inside), b
            if narrower:
                down = halve(b), linear(halve(x), narrower[0]), halve(inside)
                coarse, y = level(*down, narrower[1:])
                up = lambda y: (
                    4 * inside * jax.image.resize(y, x.shape[:-1] + y.shape[-1:], 'linear')
                )
                d, y = d + up(coarse), up(linear(y, x.shape[-1], kernel_init=zeros))
                x = blocks(x + y + inside * linear(d, x.shape[-1]), inside)
            for _ in range(self.sweeps):
                now = jnp.concatenate([d, b, linear(x, 1)], axis=-1)
                d = inside * (d + convolve(now, 1, kernel_init=zeros))
            return d, x

        inside, b = fluid[..., None], b[..., None]
        d, _ = level(b, inside * convolve(b, self.widths[0]), inside, self.widths[1:])
        return d[..., 0]


def inner(kind):
    """Where the fluid is, without the frame; kind [B, S + 2 ...]."""
    return kind[(slice(None),) + (slice(1, -1),) * (kind.ndim - 1)] == poisson.FLUID


@functools.lru_cache
def build(config):
    """(init, step) of the network, on vectors that no system was solved for."""
    net = Inverse(config.widths, config.blocks, config.sweeps)
    rate = train.schedules.warmup_cosine(config.learning_rate, config.steps)
    optimiser = train.adamw(rate, weight_decay=0.0)

    def init(key):
        x = jnp.zeros((1,) + (2 ** len(config.widths),) * config.dimensions)
        return train.create(net.init(key, x, x), optimiser)

    def loss_fn(params, state, batch, key):
        b, kind = batch['b'], batch['kind']
        dot = lambda x, y: (x * y).sum(range(1, b.ndim), keepdims=True)
        d = net.apply(params, b, inner(kind).astype(jnp.float32))
        image = algorithms.poisson_product(d, kind)
        reach = dot(d, b) / jnp.maximum(dot(d, image), 1e-12)
        return jnp.square(b - reach * image).sum(range(1, b.ndim)).mean()

    return init, train.gradient_step(loss_fn, optimiser)


def inputs(config):
    shape = lambda side, kind: jax.ShapeDtypeStruct(
        (config.batch,) + (side,) * config.dimensions, kind
    )
    return {'b': shape(config.size, jnp.float32), 'kind': shape(config.size + 2, jnp.int8)}


def training_vectors(config, random):
    """Columns b and kind: sums of Ritz vectors in which the lower half is nine times as strong."""
    found, count = {'b': [], 'kind': []}, config.vectors // config.vessels
    for i in range(config.vessels):
        obstacles = 1 + i % config.obstacles if i else 0
        kind = vessel(config, random, config.size, obstacles)
        matrix = algorithms.poisson_matrix(kind)
        start = matrix @ (inner(kind[None]).ravel() * random.standard_normal(matrix.shape[0]))
        _, q = algorithms.ritz_pairs(matrix.dot, start, config.ritz)
        c = random.standard_normal((count, len(q)))
        c[:, : len(q) // 2 + config.theta] *= 9
        b = c @ q
        b /= np.linalg.norm(b, axis=1, keepdims=True)
        found['b'].append(b.reshape(count, *inner(kind[None]).shape[1:]).astype(np.float32))
        found['kind'].append(np.repeat(kind[None], count, axis=0))
    return {name: np.concatenate(column) for name, column in found.items()}


def vessel(config, random, size, obstacles):
    options = {'dimensions': config.dimensions, 'obstacles': obstacles}
    return poisson.vessel(random, size=size, **options)


@functools.lru_cache
def direction(config):
    net = Inverse(config.widths, config.blocks, config.sweeps)
    return jax.jit(lambda params, b, fluid: net.apply(params, b, fluid))


def blocks_of(kind, parts=4):
    """The constants on blocks of the fluid, 4 along a side, as columns of a sparse matrix."""
    fluid = inner(kind)
    place = np.indices(fluid.shape[1:]) * parts // fluid.shape[1]
    block = np.ravel_multi_index(place, (parts,) * len(place))[None]
    block = block + parts ** len(place) * np.arange(len(kind)).reshape(-1, *[1] * len(place))
    _, column = np.unique(block[fluid], return_inverse=True)
    return sparse.csr_matrix(
        (np.ones(len(column)), (np.flatnonzero(fluid), column)), (fluid.size, column.max() + 1)
    )


def solvers(config, params, untrained, kind, matrix, b):
    """{method: function of nothing to a Solution} for systems b [B, N] on their vessels."""
    rows = lambda f: lambda x: f(x.ravel()).reshape(x.shape)
    apply, fluid = rows(matrix.dot), jnp.asarray(inner(kind), jnp.float32)
    options = {'tolerance': config.tolerance, 'limit': config.limit}

    def guess(params, r):
        shaped = jnp.asarray(r.reshape(fluid.shape), jnp.float32)
        return np.float64(direction(config)(params, shaped, fluid)).reshape(r.shape)

    def preconditioned():
        factors = rows(algorithms.incomplete_cholesky(matrix))
        return algorithms.conjugate_gradient(apply, b, precondition=factors, **options)

    def deflated():
        w = blocks_of(kind)
        small = splu((w.T @ matrix @ w).tocsc())
        coarse = rows(lambda r: w @ small.solve(w.T @ r))
        return algorithms.conjugate_gradient(apply, b, coarse=coarse, **options)

    def one_shot():
        start = descend(partial(guess, params), limit=1).x
        return algorithms.conjugate_gradient(apply, b, start=start, **options)

    descend = partial(algorithms.conjugate_directions, apply, b)
    return {
        'cg': lambda: algorithms.conjugate_gradient(apply, b, **options),
        'ic(0) cg': preconditioned,
        'deflated cg': deflated,
        'one shot, cg': one_shot,
        'dcdm': lambda: descend(partial(guess, params), **options),
        'untrained': lambda: descend(partial(guess, untrained), **options),
        'not conjugate': lambda: descend(partial(guess, params), kept=0, **options),
    }


def compare(config, ctx, study, networks, kind, b, seed, *, plain=False):
    """Adds every solver's iterations; returns the curves of the first system's residuals."""
    matrix = sparse.block_diag([algorithms.poisson_matrix(one) for one in kind], 'csr')
    b = b.reshape(len(b), -1)
    exact = splu(matrix.tocsc()).solve(b.ravel()).reshape(b.shape)
    lines = {}
    for method, solve in solvers(config, *networks, kind, matrix, b).items():
        if method in ('untrained', 'not conjugate') and not plain:
            continue
        solution, seconds = evaluate.timed(solve)
        taken = algorithms.iterations_to(solution.residuals, config.counted)
        wrong = np.linalg.norm(solution.x - exact, axis=1) / np.linalg.norm(exact, axis=1)
        row = {'study': study, 'method': method, 'seed': seed, 'seconds': seconds}
        ctx.add(**row, iterations=taken.mean(), solution_error=wrong.mean())
        lines[method] = np.arange(len(solution.residuals)), solution.residuals.mean(1)
    return lines


def run(config, ctx):
    test, lines = np.random.default_rng(0), {}
    boxes = {}
    for scale in config.scales:
        kind = vessel(config, test, config.size * scale // 2, 0)
        b = poisson.right_sides(test, kind, config.systems)
        boxes[f'{len(kind) - 2} cells'] = np.repeat(kind[None], config.systems, axis=0), b
    unseen = [vessel(config, test, config.size, config.obstacles) for _ in range(config.systems)]
    b = [poisson.right_sides(test, k, 3)[i % 3] for i, k in enumerate(unseen)]
    boxes['obstacles'] = np.stack(unseen), np.stack(b)
    if config.dimensions == 2:
        kind = vessel(config, test, config.size * config.scales[-1] // 2, 1)
        smoke = poisson.plume(kind, config.systems)
        boxes['smoke'] = np.repeat(kind[None], len(smoke), axis=0), smoke
        ctx.save_figure('smoke', figures.images({'divergence': np.abs(smoke) / smoke.max()}))
    for seed in ctx.grid(seed=ctx.seeds):
        (init, step), columns = build(config), training_vectors(config, np.random.default_rng(seed))
        stream = data.batches(columns, config.batch, seed=seed)
        state, history = ctx.fit(step, init, stream, steps=config.steps, seed=seed, name=f'{seed}')
        ctx.add(study='training', seed=seed, last_loss=history['loss'][-1])
        networks = state.params, jax.jit(init)(ctx.key(seed)).params
        for study, (kind, b) in boxes.items():
            plain = study == f'{config.size} cells'
            lines[study] = compare(config, ctx, study, networks, kind, b, seed, plain=plain)
    ctx.save_figure('residuals', figures.curves(lines, x='iteration', y='|r| / |b|', log_y=True))
    first, last = (f'{config.size * s // 2} cells' for s in (2, config.scales[-1]))
    fewer = partial(Claim, 'iterations', 'dcdm', 'cg', lower=True)
    return ctx.report(
        fewer(ratio=0.4, where={'study': first}, paper='figure 5'),
        fewer(ratio=0.5, where={'study': last}),
        fewer(ratio=0.6, where={'study': 'obstacles'}),
        Claim('iterations', 'not conjugate', 'dcdm', ratio=1.3, where={'study': first}),
        Range('solution_error', high=1e-3, where={'study': first, 'method': 'dcdm'}),
    )


if __name__ == '__main__':
    experiment.main()
