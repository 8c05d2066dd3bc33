"""What the generic smoke test leaves out: the loss in loops from the paper, and who moves when."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.graphs import infomgf
from jssl.data.generated import graphs

CONFIG = replace(
    infomgf.SMOKE, nodes=12, features=6, neighbours=3, propagations=2, dropout=0.0, drop_edges=0.0
)


@pytest.fixture(scope='module')
def stepped():
    """(state, step, batch) of one multiplex graph; both arms are numbers in the state."""
    made = graphs.dataset(family='multiplex', count=1, nodes=12, dimension=6, degree=3, labelled=2)
    batch = {'x': made['feature'][0], 'adjacency': made['adjacency'][0].swapaxes(0, 1)}
    init, step = infomgf.build(CONFIG)
    return jax.jit(init)(jax.random.key(0)), jax.jit(step), batch


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def propagation(a):
    degree = a.sum(1)
    return a / np.sqrt(degree[:, None] * degree[None, :])


def nearest(h):
    """Cosines with the nearest nodes and oneself, symmetrised, without what is negative."""
    cosine, n = unit(h) @ unit(h).T, len(h)
    kept = np.zeros((n, n))
    for i in range(n):
        for j in np.argsort(-cosine[i])[: CONFIG.neighbours + 1]:
            kept[i, j] = cosine[i, j]
    return propagation(np.maximum((kept + kept.T) / 2, 0))


def layers(params, name, h, graph=None):
    for i in range(2):
        w = params['params'][f'{name}{i}']
        h = h @ np.asarray(w['kernel'], np.float64) + np.asarray(w['bias'], np.float64)
        h = h if graph is None else graph @ h
        h = np.maximum(h, 0) if i == 0 else h
    return h


def agreement(a, b):
    """Symmetric InfoNCE, node by node, at temperature 0.2."""
    s, total = unit(a) @ unit(b).T / 0.2, 0.0
    for i in range(len(s)):
        total += np.log(np.exp(s[i]).sum()) + np.log(np.exp(s[:, i]).sum()) - 2 * s[i, i]
    return total / 2 / len(s)


def test_loss_is_the_papers(stepped):
    state, step, batch = stepped
    _, metrics = step(state, batch, jax.random.key(1))
    params, _ = state.params
    x = batch['x'].astype(np.float64)
    given = [propagation(a + np.eye(12)) for a in batch['adjacency'].swapaxes(0, 1).astype(float)]
    h = [unit(a @ a @ x) for a in given]
    views = [*h, np.concatenate([*h, unit(x)], 1)]
    # At the start the learners weigh every feature by one.
    *z, fused = [
        unit(layers(params['encoder'], 'layer', x, nearest(np.tanh(view)))) for view in views
    ]
    u = [unit(layers(params['encoder'], 'layer', x, a)) for a in given]
    head = lambda role, i, z: layers(jax.tree.map(lambda w: w[i], params[role]), 'dense', z)
    own = [head('own', i, z[i]) for i in range(3)]
    wanted = {
        'fused': np.mean([agreement(head('fused', i, fused), own[i]) for i in range(3)]),
        'shared': np.mean([agreement(own[i], own[j]) for i, j in ((0, 1), (0, 2), (1, 2))]),
        'unique': np.mean([agreement(own[i], head('unique', i, u[i])) for i in range(3)]),
    }
    wanted['loss'] = sum(wanted.values())
    for name, value in wanted.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(('generated', 'learned'), [(0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_who_moves(stepped, generated, learned):
    """Weights of neighbours have slopes where graphs are learned; the rival moves in LA alone."""
    state, step, batch = stepped
    arm = state.extra._replace(generated=np.float32(generated), learned=np.float32(learned))
    after, metrics = step(state._replace(extra=arm), batch, jax.random.key(1))
    moved = lambda tree, other: max(
        float(np.abs(a - b).max())
        for a, b in zip(*map(jax.tree.leaves, (tree, other)), strict=True)
    )
    (params, generator), (old, other) = after.params, state.params
    assert (moved(generator, other) > 0) == (generated > 0) == (float(metrics['rival']) > 0)
    for name in ('weights', 'fused weights'):
        assert (moved(params[name], old[name]) > 0) == (learned > 0)
    assert moved(params['encoder'], old['encoder']) > 0
