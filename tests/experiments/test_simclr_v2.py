"""What the smoke run leaves out: which layer a task reads, and who teaches at which mix."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contrastive import simclr_v2

CONFIG = replace(simclr_v2.SMOKE, widths=(4, 4))


@pytest.fixture(scope='module')
def model():
    state = jax.jit(simclr_v2.build(CONFIG, 'small')[0])(jax.random.key(0))
    stats = jax.tree.map(lambda a: a + 0.1, state.extra['stats'])
    return simclr_v2.Model(state.params, stats, jnp.int32(1))


def drawn(count=6):
    image = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), np.uint8)
    return {'image': image, 'label': np.arange(count, dtype=np.int32)}


def test_a_task_reads_the_layer_it_names(model):
    """Layer m of the head by hand: relu of batch norm of a matrix product, m times."""
    net, x = simclr_v2.network(CONFIG, 'small'), drawn()['image'] / np.float32(255)
    h = np.asarray(net.apply(model.variables, x, method=net.represent), np.float64)
    head, task = model.params['head'], model.params['task']['dense']
    for m in range(3):
        if m:
            stats, norm = model.stats['head'][f'norm{m - 1}'], head[f'norm{m - 1}']
            h = h @ head[f'dense{m - 1}']['kernel']
            h = (h - stats['mean']) / np.sqrt(stats['var'] + 1e-5) * norm['scale'] + norm['bias']
            h = np.maximum(h, 0)
        found = net.apply(model.variables, x, layer=jnp.int32(m))
        np.testing.assert_allclose(found, h @ task['kernel'] + task['bias'], rtol=1e-3, atol=1e-4)


def first_loss(model, batch, mix, teacher=None):
    """The loss of the first step, at which a task layer of zeros gives every class the same."""
    start, step = simclr_v2.build_tuning(CONFIG, 'small', 2, 1e-3, 'small')
    state = start(model, teacher or model, mix)
    return jax.jit(step)(state, batch, jax.random.key(0))[1]['loss']


def test_rows_without_a_label_count_for_the_teacher_alone(model):
    batch = drawn()
    some = {**batch, 'label': np.where(batch['label'] < 2, batch['label'], -1)}
    none = {**batch, 'label': np.full(6, -1, np.int32)}
    for labelled in (batch, some):
        np.testing.assert_allclose(first_loss(model, labelled, 0.0), np.log(10), rtol=1e-5)
    assert first_loss(model, none, 0.0) == 0
    # Whatever the teacher says, a student that knows nothing is log(10) away from it.
    for mix, labelled, share in ((1.0, none, 1.0), (0.25, none, 0.25), (0.25, some, 1.0)):
        loss = first_loss(model, labelled, mix)
        np.testing.assert_allclose(loss, share * np.log(10), rtol=1e-5)
