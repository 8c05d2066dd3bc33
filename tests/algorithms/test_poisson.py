"""Poisson's equation cell by cell, in two dimensions and in three."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import algorithms
from jssl.algorithms.poisson import FLUID, OPEN, SOLID


def by_hand(x, kind):
    """(A x)_i: what flows out of a cell, by a loop over cells and neighbours."""
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        here = tuple(p + 1 for p in place)
        if kind[here] != FLUID:
            continue
        for axis in range(x.ndim):
            for way in (-1, 1):
                there = tuple(p + way * (i == axis) for i, p in enumerate(here))
                if kind[there] == FLUID:
                    found[place] += x[place] - x[tuple(p - 1 for p in there)]
                elif kind[there] == OPEN:
                    found[place] += x[place]
    return found


@pytest.mark.parametrize('shape', [(4, 5), (3, 2, 3)])
def test_product_and_matrix_are_the_differences(shape):
    random = np.random.default_rng(0)
    kind = random.choice([SOLID, OPEN], size=[n + 2 for n in shape])
    inner = (slice(1, -1),) * len(shape)
    kind[inner] = random.choice([SOLID, FLUID, OPEN], p=[0.2, 0.7, 0.1], size=shape)
    x = random.normal(size=shape) * (kind[inner] == FLUID)
    want = by_hand(x, kind)
    product = jax.jit(algorithms.poisson_product)
    found = product(jnp.float32(x)[None], jnp.int8(kind)[None])[0]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
    matrix = algorithms.poisson_matrix(kind)
    fluid = (kind[inner] == FLUID).ravel()
    np.testing.assert_allclose(matrix @ (x.ravel() * fluid), want.ravel(), atol=1e-10)
    dense = matrix.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_array_equal(dense[~fluid], np.eye(len(fluid))[~fluid])


def test_a_vessel_that_is_open_has_one_solution():
    kind = np.pad(np.full((4, 4), FLUID), 1, constant_values=SOLID)
    constant = np.linalg.eigvalsh(algorithms.poisson_matrix(kind).toarray())[0]
    np.testing.assert_allclose(constant, 0, atol=1e-12)
    kind[0] = OPEN
    assert np.linalg.eigvalsh(algorithms.poisson_matrix(kind).toarray())[0] > 0.1
