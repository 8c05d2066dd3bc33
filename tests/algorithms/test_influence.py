"""The recursion against itself written out, and against the exact inverse where it is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.influence import (
    example_gradients,
    fisher_noise,
    influence_update,
    largest_curvature,
    woodfisher,
)


def test_recursion_written_out():
    rng = np.random.default_rng(0)
    g, v = rng.normal(size=(7, 5)), rng.normal(size=5)
    k, o = v.copy(), g[0].copy()
    for row in g[1:]:
        flow = o @ row
        k = k - (k @ row) / (7 + flow) * o
        o = o - flow / (7 + flow) * o
    found = woodfisher(jnp.asarray(g, jnp.float32), jnp.asarray(v, jnp.float32))
    np.testing.assert_allclose(found, k, rtol=1e-5)


def test_two_equal_gradients_are_sherman_morrison():
    # With g_2 = g_1 = g the vector o is H^-1 g for H = I exactly: one rank-one update of the
    # inverse.
    rng = np.random.default_rng(1)
    g, v = rng.normal(size=4), rng.normal(size=4)
    exact = np.linalg.solve(np.eye(4) + np.outer(g, g) / 2, v)
    found = woodfisher(jnp.asarray(np.stack([g, g]), jnp.float32), jnp.asarray(v, jnp.float32))
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_gradients_orthogonal_to_the_vector_leave_it():
    g = jnp.asarray([[0.0, 1.0], [0.0, 2.0], [0.0, -1.0]])
    np.testing.assert_allclose(woodfisher(g, jnp.asarray([3.0, 0.0])), [3.0, 0.0])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r'gradients must be \[N, P\]'):
        woodfisher(jnp.zeros((3, 4)), jnp.zeros(5))


def test_example_gradients_of_least_squares():
    rng = np.random.default_rng(2)
    x, y, w = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=3)
    loss = lambda p, x, y: 0.5 * (jnp.dot(x, p['w']) + p['b'] - y) ** 2
    params = {'b': jnp.asarray(0.5), 'w': jnp.asarray(w, jnp.float32)}
    found = example_gradients(loss, params, jnp.asarray(x), jnp.asarray(y))
    error = x @ w + 0.5 - y
    np.testing.assert_allclose(found, np.c_[error, error[:, None] * x], rtol=1e-4, atol=1e-5)


def test_influence_update_vanishes_when_both_parts_pull_alike():
    rng = np.random.default_rng(3)
    g = jnp.asarray(rng.normal(size=(8, 4)), jnp.float32)
    np.testing.assert_allclose(influence_update(g, g[::-1], share=0.1), 0, atol=1e-6)
    pull = influence_update(g, g + jnp.asarray([1.0, 0, 0, 0]), share=0.1)
    assert float(pull[0]) > 0  # towards a higher loss on the forgotten


def test_fisher_noise_has_the_variance_it_says():
    g = jnp.asarray([[1.0, 0.1, 0.0]] * 5)
    draws = jax.vmap(lambda k: fisher_noise(k, g, alpha=4.0, cap=50.0))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    np.testing.assert_allclose(draws.var(0), [4.0, 200.0, 200.0], rtol=0.05)


def test_largest_curvature_of_a_quadratic_and_under_a_mask():
    rng = np.random.default_rng(4)
    a = rng.normal(size=(6, 6))
    a = a @ a.T
    loss = lambda p: 0.5 * jnp.dot(p['w'], jnp.dot(jnp.asarray(a, jnp.float32), p['w']))
    params = {'w': jnp.ones(6)}
    whole = largest_curvature(loss, params, {'w': jnp.ones(6)}, iterations=200)
    np.testing.assert_allclose(whole, np.linalg.eigvalsh(a)[-1], rtol=1e-3)
    keep = jnp.asarray([1.0, 1, 0, 0, 1, 0])
    part = largest_curvature(loss, params, {'w': keep}, iterations=200)
    rows = np.flatnonzero(keep)
    np.testing.assert_allclose(part, np.linalg.eigvalsh(a[np.ix_(rows, rows)])[-1], rtol=1e-3)
