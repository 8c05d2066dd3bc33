"""What the smoke run leaves out: what a mask, a rate and a share of pruning do."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.theory import lottery_ticket
from jssl.train import pruning

CONFIG = replace(lottery_ticket.SMOKE, optimiser='momentum')


@pytest.fixture(scope='module')
def advanced():
    """A state with half of its weights, and what two steps of momentum make of it."""
    init, step = lottery_ticket.build(CONFIG)
    state = init(jax.random.key(0))
    mask = pruning.shuffled_mask(jax.random.key(1), pruning.magnitude_mask(state.params, 0.5))
    # Moments that would bring every weight back.
    moments = jax.tree.map(lambda a: a + 1.0, state.opt_state)
    extra = {**state.extra, 'mask': mask, 'arm': lottery_ticket.Arm(*map(jnp.float32, (0.1, 3, 0)))}
    params = pruning.masked(state.params, mask)
    state = state._replace(params=params, opt_state=moments, extra=extra)
    shapes = lottery_ticket.inputs(CONFIG)
    random = np.random.default_rng(0)
    batch = {k: random.integers(0, 10, s.shape).astype(s.dtype) for k, s in shapes.items()}
    return state, batch, jax.jit(step)(state, batch, jax.random.key(2))[0]


def test_removed_weights_stay_removed_and_the_others_move(advanced):
    state, _, after = advanced
    leaves = (jax.tree.leaves(t) for t in (state.params, after.params, state.extra['mask']))
    for before, now, mask in zip(*leaves, strict=True):
        assert not np.asarray(now)[np.asarray(mask) == 0].any()
        moved = np.asarray(before != now)[np.asarray(mask) == 1]
        assert moved.mean() > 0.9


def test_two_steps_by_hand(advanced):
    """LeNet under momentum, whose rate rises over three steps to the first whole one."""
    state, batch, after = advanced
    names = ('dense0', 'dense1')
    layers = [state.params['layers'][n] for n in names] + [state.params['output']]
    theta = [np.float64(layer[k]) for layer in layers for k in ('kernel', 'bias')]
    masks = [state.extra['mask']['layers'][n] for n in names] + [state.extra['mask']['output']]
    masks = [np.float64(layer[k]) for layer in masks for k in ('kernel', 'bias')]
    traces = [np.ones_like(t) for t in theta]
    for number in range(CONFIG.stride):
        rows = slice(number * CONFIG.batch, (number + 1) * CONFIG.batch)
        x = batch['image'][rows].reshape(CONFIG.batch, -1) / 255.0
        hidden = [x]
        for w, b in zip(theta[0:4:2], theta[1:4:2], strict=True):
            hidden.append(np.maximum(hidden[-1] @ w + b, 0))
        logits = hidden[-1] @ theta[4] + theta[5]
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        delta = (p - np.eye(10)[batch['label'][rows]]) / CONFIG.batch
        grads = [None] * 6
        for i in (2, 1, 0):
            grads[2 * i], grads[2 * i + 1] = hidden[i].T @ delta, delta.sum(0)
            delta = (delta @ theta[2 * i].T) * (hidden[i] > 0)
        rate = 0.1 * (number + 1) / 4
        traces = [0.9 * t + g for t, g in zip(traces, grads, strict=True)]
        theta = [m * (t - rate * v) for m, t, v in zip(masks, theta, traces, strict=True)]
    layers = [after.params['layers'][n] for n in names] + [after.params['output']]
    found = [layer[k] for layer in layers for k in ('kernel', 'bias')]
    for one, two in zip(found, theta, strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-5)


def test_shares_of_layers():
    resnet = lottery_ticket.smaller(CONFIG, 'resnet18')
    net = lottery_ticket.Network(resnet)
    params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))['params']
    found = lottery_ticket.shares(replace(resnet, conv_share=0.5), params, 2)
    named = jax.tree_util.tree_leaves_with_path(found)
    for (path, share), leaf in zip(named, jax.tree.leaves(params), strict=True):
        assert share == (0.75 if leaf.ndim == 4 else 0)
        assert leaf.ndim != 4 or 'shortcut' not in jax.tree_util.keystr(path)
