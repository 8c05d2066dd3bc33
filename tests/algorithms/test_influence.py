"""The recursion against itself written out, and against the exact inverse where it is exact."""

import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.influence import woodfisher


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
