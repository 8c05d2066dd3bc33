"""What the generic smoke test leaves out: networks and losses of the paper, what may not move."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.generative import simvq

TINY = replace(
    simvq.SMOKE, data='shapes', size=32, backbone='conv', widths=(4, 8), grid=16, width=4, batch=2,
    perceptual=1.0, adversarial=0.1, vgg=(2, 4),
)  # fmt: skip
SOUND = replace(
    simvq.PAPER, backbone='sound', size=simvq.PAPER.sound, width=simvq.PAPER.sound_width,
    perceptual=0.0, adversarial=0.0,
)  # fmt: skip


@pytest.fixture(scope='module')
def stepped():
    """States before and after a step of the convolutional tokeniser with all of its losses."""
    init, step = simvq.build(TINY)
    before = jax.jit(init)(jax.random.key(0))
    batch = {'image': np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)}
    return before, *jax.jit(step)(before, batch, jax.random.key(1))


def moved(before, after):
    return [
        bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
    ]


def test_both_players_learn_and_what_is_frozen_stays(stepped):
    before, after, metrics = stepped
    assert np.isfinite(metrics['loss'])
    assert metrics['loss'] > metrics['error']  # LPIPS and the adversary count
    assert set(before.extra) == {'constants', 'lpips'}
    assert not any(moved(before.extra, after.extra))
    for part in (before.params['critic'], before.params['tokeniser']['quantiser']):
        assert jax.tree.leaves(part)
    for name in ('critic', 'tokeniser'):
        assert any(moved(before.params[name], after.params[name]))
    linear = lambda state: state.params['tokeniser']['quantiser']['linear']['kernel']
    assert (linear(before) != linear(after)).any()


def test_the_variant_learns_its_basis_too():
    config = replace(simvq.SMOKE, widths=())
    init, step = simvq.build(config, 'both')
    before = jax.jit(init)(jax.random.key(0))
    batch = {'image': np.full((config.batch, 8, 8, 1), 100, np.uint8)}
    after, _ = jax.jit(step)(before, batch, jax.random.key(1))
    basis = lambda state: state.params['tokeniser']['quantiser']['basis']
    assert (basis(before) != basis(after)).any()
    assert 'constants' not in before.extra


def shapes(config):
    model = simvq.network(config, 'simvq', 64)
    x = jax.eval_shape(simvq.read, simvq.inputs(config))
    made, found = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], x)
    assert made.shape == x.shape
    return found.indices.shape


def test_the_paper_preset_has_its_tokens():
    config = simvq.PAPER
    assert shapes(config) == (config.batch, config.grid, config.grid)
    assert shapes(SOUND) == (config.batch, 75)  # 75 tokens a second


def test_the_paper_codec_has_a_step():
    init, step = simvq.build(SOUND)
    state = jax.eval_shape(init, jax.random.key(0))
    after, metrics = jax.eval_shape(step, state, simvq.inputs(SOUND), jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert metrics['loss'].shape == ()
