"""What the generic smoke test leaves out: what adapts, and that a batch is classified before it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.adaptation import cafa

CONFIG = replace(cafa.SMOKE, classes=3, widths=(4,), size=8)
SHIFTS = len(cafa.names(CONFIG))


@pytest.fixture(scope='module')
def stepped():
    """begun(method) -> state; the compiled step; a batch of every shift."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (12, SHIFTS, 8, 8, 3), np.uint8)
    batch = {'image': images, 'label': np.arange(12, dtype=np.int32) % 3}
    model = cafa.network(CONFIG).init(jax.random.key(0))
    h = random.standard_normal((30, 4)).astype(np.float32)
    begun = lambda method: cafa.begin(CONFIG, model, h, np.arange(30) % 3, method, 0.1)
    return begun, jax.jit(cafa.build_adaptation(CONFIG)), batch


def moved(after, before):
    """Of every shift, how far its scales and offsets went."""
    change = jax.tree.map(lambda a, b: np.abs(a - b).reshape(SHIFTS, -1).max(1), after, before)
    return np.max(list(change.values()), axis=0)


def test_only_norms_adapt():
    net = cafa.network(CONFIG).init(jax.random.key(0))
    affine, frozen = cafa.parted(net.params)
    assert set(affine) == {'backbone/norm0/scale', 'backbone/norm0/bias'}
    assert not set(affine) & set(frozen)
    assert len(affine) + len(frozen) == len(jax.tree.leaves(net.params))


@pytest.mark.parametrize('method', [m for m in cafa.METHODS if m != 't3a'])
def test_a_batch_is_classified_before_it_is_learned_from(stepped, method):
    begun, step, batch = stepped
    plain, start = begun('batch statistics'), begun(method)
    _, wanted = step(plain, batch, jax.random.key(0))
    after, found = step(start, batch, jax.random.key(0))
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    assert ((moved(after.affine, start.affine) > 0) == (method != 'batch statistics')).all()


def test_shifts_do_not_see_each_other(stepped):
    begun, step, batch = stepped
    other = {**batch, 'image': batch['image'].copy()}
    other['image'][:, 1] = 255 - other['image'][:, 1]
    ends = []
    for b in (batch, other):
        state, _ = step(begun('cafa'), b, jax.random.key(0))
        # Adam's first step has one length for all slopes of one sign.
        ends.append(step(state, b, jax.random.key(0))[0].affine)
    assert (moved(*ends) > 0).tolist() == [i == 1 for i in range(SHIFTS)]


def test_distances_are_of_the_true_class(stepped):
    """Against loops; the model's features go through its own batch's statistics."""
    begun, step, batch = stepped
    state = begun('cafa')
    _, found = step(state, batch, jax.random.key(0))
    model = cafa.network(CONFIG).init(jax.random.key(0))
    near, far = [], []
    for s in range(SHIFTS):
        x = jnp.asarray(batch['image'][:, s], jnp.float32) / 255
        h, _ = cafa.network(CONFIG).features(model, x, training=True)
        for row, y in zip(np.asarray(h, np.float64), batch['label'], strict=True):
            for k in range(3):
                apart = row - np.asarray(state.gaussians.means[k], np.float64)
                d = apart @ np.asarray(state.gaussians.precisions[k], np.float64) @ apart
                (near if k == y else far).append(d)
    np.testing.assert_allclose(found['intra'], np.mean(near), rtol=1e-4)
    np.testing.assert_allclose(found['inter'], np.mean(far), rtol=1e-4)
