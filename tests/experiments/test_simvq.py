"""What the generic smoke test leaves out: the convolutional tokeniser, and what may not move."""

from dataclasses import replace

import jax
import numpy as np

from experiments.generative import simvq

TINY = replace(
    simvq.SMOKE, backbone='conv', widths=(4, 8), grid=4, width=4, batch=2, codes=(16, 32)
)


def test_the_convolutional_tokeniser_learns_and_its_basis_stays():
    init, step = simvq.build(TINY)
    before = jax.jit(init)(jax.random.key(0))
    batch = {'image': np.full((2, 8, 8, 1), 100, np.uint8)}
    after, metrics = jax.jit(step)(before, batch, jax.random.key(1))
    assert np.isfinite(metrics['loss'])
    basis = lambda state: state.extra['constants']['quantiser']['basis']
    np.testing.assert_array_equal(basis(before), basis(after))
    linear = lambda state: state.params['quantiser']['linear']['kernel']
    assert (linear(before) != linear(after)).any()


def test_the_paper_preset_has_its_grid():
    config = simvq.PAPER
    model = simvq.network(config, 'simvq', 64)
    x = simvq.inputs(config)['image']
    made, found = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x)[0],
        jax.ShapeDtypeStruct(x.shape, float),
    )
    assert made.shape == x.shape
    assert found.indices.shape == (config.batch, config.grid, config.grid)
