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
    return simclr_v2.Model(state.params, stats)


def drawn(count=6):
    image = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), np.uint8)
    return {'image': image, 'label': np.arange(count, dtype=np.int32)}


def test_a_task_reads_the_layer_it_names(model):
    """Layer m of the head by hand: relu of batch norm of a matrix product, m times."""
    x, head = drawn()['image'] / np.float32(255), model.params['head']
    kernel = np.random.default_rng(1).normal(size=model.params['task']['dense']['kernel'].shape)
    task = {'dense': {'kernel': jnp.float32(kernel), 'bias': jnp.ones(len(kernel[0]))}}
    model = model._replace(params={**model.params, 'task': task})
    for m in range(3):
        outputs = simclr_v2.forward(CONFIG, 'small')(model._replace(layer=jnp.int32(m)), x)
        h, _, found = (np.asarray(a, np.float64) for a in outputs)
        for layer in range(m):
            stats, norm = model.stats['head'][f'norm{layer}'], head[f'norm{layer}']
            h = h @ head[f'dense{layer}']['kernel']
            h = (h - stats['mean']) / np.sqrt(stats['var'] + 1e-5) * norm['scale'] + norm['bias']
            h = np.maximum(h, 0)
        np.testing.assert_allclose(found, h @ kernel + 1, rtol=1e-3, atol=1e-3)


def first_loss(model, batch, mix):
    """The loss of the first step, at which a task layer of zeros gives every class the same."""
    start, step = simclr_v2.build_tuning(CONFIG, 'small', 1e-3, 2, 'small')
    state = start(model, teacher=model, mix=mix)
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
