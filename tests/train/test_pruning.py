"""Masks against a sort in NumPy; pruned weights stay pruned; layers do not collapse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl.train import pruning


def params(key=0, widths=(20, 30, 30, 10)):
    keys = jax.random.split(jax.random.key(key), len(widths))
    return {
        f'layer{i}': {
            'kernel': jax.random.normal(k, shape) * (10.0**-i),
            'bias': jnp.zeros(shape[1]),
        }
        for i, (k, shape) in enumerate(zip(keys, itertools.pairwise(widths), strict=False))
    }


def apply(p, x):
    for layer in p.values():
        x = jax.nn.relu(jnp.dot(x, layer['kernel']) + layer['bias'])
    return x


@pytest.mark.parametrize('share', [0.0, 0.5, 0.9, 0.95])
def test_magnitude_is_global_and_spares_biases(share):
    p = params()
    mask = pruning.magnitude_mask(p, share)
    kernels = np.concatenate([np.abs(v['kernel']).ravel() for v in p.values()])
    kept = np.concatenate([np.asarray(v['kernel']).ravel() for v in mask.values()])
    assert (kept == 0).sum() == round(share * kernels.size)
    if share:
        assert kernels[kept == 1].min() > kernels[kept == 0].max()
    assert all(float(v['bias'].min()) == 1.0 for v in mask.values())
    assert float(pruning.sparsity(pruning.masked(p, mask))) == pytest.approx(share, abs=1e-3)


def test_synflow_keeps_every_layer_where_magnitude_loses_one():
    p = params()
    by_size = pruning.magnitude_mask(p, 0.9)
    by_flow = pruning.synflow_mask(apply, p, (20,), sparsity=0.9, rounds=50)
    assert float(by_size['layer2']['kernel'].sum()) == 0.0
    assert all(float(v['kernel'].sum()) > 0 for v in by_flow.values())
    total = sum(v['kernel'].size for v in p.values())
    assert sum(float(v['kernel'].sum()) for v in by_flow.values()) == total - round(0.9 * total)


def test_synflow_score_in_one_round_is_the_flow_through_a_weight():
    p = params(widths=(3, 4, 2))
    a, b = (np.abs(np.asarray(v['kernel'], np.float64)) for v in p.values())
    flow_a = a * b.sum(1)[None, :]
    flow_b = b * a.sum(0)[:, None]
    scores = np.concatenate([flow_a.ravel(), flow_b.ravel()])
    mask = pruning.synflow_mask(apply, p, (3,), sparsity=0.5, rounds=1)
    kept = np.concatenate([np.asarray(v['kernel']).ravel() for v in mask.values()])
    assert set(np.flatnonzero(kept)) == set(np.argsort(scores)[10:])


def test_pruned_weights_do_not_grow_back():
    p = params()
    mask = pruning.magnitude_mask(p, 0.9)
    p = pruning.masked(p, mask)
    optimiser = pruning.keep_pruned(optax.adam(0.1), mask)
    state = optimiser.init(p)
    for _ in range(3):
        updates, state = optimiser.update(jax.tree.map(jnp.ones_like, p), state, p)
        p = optax.apply_updates(p, updates)
    for layer, kept in zip(p.values(), mask.values(), strict=True):
        removed = np.asarray(kept['kernel']) == 0
        assert np.all(np.asarray(layer['kernel'])[removed] == 0)
        assert np.all(np.asarray(layer['bias']) != 0)


@pytest.mark.parametrize('together', [False, True])
def test_every_round_removes_a_share_of_what_is_left(together):
    p = params(widths=(6, 7, 5))
    share = {'layer0': 0.3, 'layer1': 0.3 if together else 0.1}
    shares = {name: {'kernel': share[name], 'bias': 0.0} for name in p}
    mask = jax.tree.map(jnp.ones_like, p)
    left = {name: set(np.ndindex(layer['kernel'].shape)) for name, layer in p.items()}
    for _ in range(3):
        mask = jax.jit(lambda m: pruning.prune_further(p, m, shares, together=together))(mask)
        for group in [list(p)] if together else [[name] for name in p]:
            size = lambda at: abs(float(p[at[0]]['kernel'][at[1]]))
            ranked = sorted(((n, at) for n in group for at in left[n]), key=size)
            for name, at in ranked[: round(share[group[0]] * len(ranked))]:
                left[name].remove(at)
        for name, layer in mask.items():
            assert {*map(tuple, np.argwhere(np.asarray(layer['kernel'])))} == left[name]
            assert layer['bias'].all()


def test_layers_pruned_together_need_one_share():
    p = params(widths=(3, 4, 2))
    shares = {'layer0': {'kernel': 0.3, 'bias': 0.0}, 'layer1': {'kernel': 0.2, 'bias': 0.0}}
    with pytest.raises(ValueError, match='one share'):
        pruning.prune_further(p, jax.tree.map(jnp.ones_like, p), shares, together=True)


def test_a_random_mask_is_as_dense_layer_by_layer():
    p = params()
    mask = pruning.magnitude_mask(p, 0.7)
    drawn = pruning.shuffled_mask(jax.random.key(0), mask)
    for name, layer in mask.items():
        assert layer['kernel'].sum() == drawn[name]['kernel'].sum()
        assert drawn[name]['bias'].all()
    first = [m['layer0']['kernel'] for m in (mask, drawn)]
    assert (first[0] != first[1]).any()
