"""What the smoke run leaves out: what arms begin with, and what few labels start from."""

import jax
import numpy as np
import pytest

from experiments.pretext import rotnet

CONFIG = rotnet.SMOKE


@pytest.mark.parametrize(('method', 'outputs'), [('rotnet', 4), ('supervised', 10)])
def test_an_arm_begins_with_even_odds_among_its_own_answers(method, outputs):
    shape = (8, CONFIG.size, CONFIG.size, 3)
    batch = {'image': np.full(shape, 99, np.uint8), 'label': np.arange(8, dtype=np.int32)}
    step = jax.jit(rotnet.build(CONFIG, method)[1])
    _, metrics = step(rotnet.start(CONFIG, 0), batch, jax.random.key(1))
    np.testing.assert_allclose(metrics['loss'], np.log(outputs), rtol=1e-5)


def test_the_random_network_learns_nothing_but_the_scale_of_its_inputs():
    begun = rotnet.start(CONFIG, 0)
    shape = (8, CONFIG.size, CONFIG.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = {'image': images, 'label': np.zeros(8, np.int32)}
    after, _ = jax.jit(rotnet.build(CONFIG, 'random')[1])(begun, batch, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, after.params, begun.params)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after.extra, begun.extra)
    assert all(jax.tree.leaves(moved))


def test_few_labels_start_from_the_first_blocks_alone():
    begun = rotnet.start(CONFIG, 0)
    trained = jax.tree.map(lambda a: a + 1, begun)
    found = rotnet.grafted(CONFIG, begun, trained)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), found, begun)
    for blocks in moved.params['blocks'], moved.extra['blocks']:
        new = {name: set(jax.tree.leaves(tree)) for name, tree in blocks.items()}
        assert new == {name: {int(name[5]) < CONFIG.kept} for name in new}
    assert not any(jax.tree.leaves([moved.params['head'], moved.params['decoder']]))
    assert not any(jax.tree.leaves([moved.opt_state, moved.step]))
