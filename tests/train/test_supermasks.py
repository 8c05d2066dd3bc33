"""Supermasks against a sort in NumPy and the straight-through rule; weights that are taken stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.train import supermasks

RNG = np.random.default_rng(0)
SHAPES = {'first': {'kernel': (7, 5), 'bias': (5,)}, 'conv': {'kernel': (3, 3, 2, 4)}}


def drawn():
    leaf = lambda shape: jnp.asarray(RNG.normal(size=shape), jnp.float32)
    return jax.tree.map(leaf, SHAPES, is_leaf=lambda x: isinstance(x, tuple))


@pytest.mark.parametrize('density', [0.0, 0.05, 0.5, 1.0])
def test_a_mask_keeps_the_largest_of_every_layer(density):
    scores = drawn()
    mask = jax.jit(supermasks.supermask)(scores, density)
    for s, m in zip(jax.tree.leaves(scores), jax.tree.leaves(mask), strict=True):
        s, m = np.abs(np.asarray(s, np.float64)).ravel(), np.asarray(m).ravel()
        assert set(m) <= {0.0, 1.0}
        if s.size == 5:
            assert m.all()
            continue
        wanted = np.argsort(-s)[: max(1, round(density * s.size))]
        np.testing.assert_array_equal(np.flatnonzero(m), np.sort(wanted))


def test_the_gradient_goes_straight_to_the_scores():
    """grad s = grad (W m) W sign(s): of weights that are not used, too."""
    w, scores, g = drawn(), drawn(), drawn()

    def loss(scores):
        used = jax.tree.map(jnp.multiply, w, supermasks.supermask(scores, 0.3))
        return sum((a * b).sum() for a, b in zip(*map(jax.tree.leaves, (used, g)), strict=True))

    found = jax.grad(loss)(scores)
    wanted = jax.tree.map(lambda w, s, g: g * w * np.sign(s) * (s.ndim > 1), w, scores, g)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)


def test_equal_and_zero_scores_have_finite_gradients():
    scores = {'kernel': jnp.zeros((4, 3))}
    grad = jax.grad(lambda s: supermasks.supermask(s, 0.5)['kernel'].sum())(scores)
    assert np.isfinite(grad['kernel']).all()


def test_unused_is_what_no_earlier_task_has():
    mask = {'kernel': jnp.array([[1.0, 1.0, 0.0, 0.0]]), 'bias': jnp.ones(4)}
    used = {'kernel': jnp.array([[1.0, 0.0, 1.0, 0.0]]), 'bias': jnp.ones(4)}
    free = supermasks.unused(mask, used)
    np.testing.assert_array_equal(free['kernel'], [[0, 1, 0, 0]])
    assert not free['bias'].any()
    assert float(supermasks.share(mask)) == 0.5


def test_first_weights_and_scores():
    params = jax.tree.map(jnp.zeros_like, drawn())
    weights = supermasks.signed_constants(jax.random.key(0), params)
    kernel = np.asarray(weights['first']['kernel'])
    np.testing.assert_allclose(np.abs(kernel), np.sqrt(2 / 7), rtol=1e-6)
    assert {-1.0, 1.0} == set(np.sign(kernel).ravel())
    assert not weights['first']['bias'].any()
    scores = supermasks.first_scores(jax.random.key(0), params)
    assert float(np.abs(scores['conv']['kernel']).max()) <= 1 / np.sqrt(18)
    assert (np.asarray(scores['first']['bias']) == 1).all()


def test_occupancy_by_hand():
    masks = [{'kernel': jnp.array([row], jnp.float32)} for row in ([1, 1, 0, 0], [0, 1, 1, 0])]
    used, common = supermasks.occupancy(masks)
    assert used == [0.5, 0.75]
    assert common == [0.0, 0.5]
    assert supermasks.bits(masks[0]) == 4.0
    assert supermasks.bits({'kernel': jnp.ones((2, 2))}) == 0.0
