"""Pressure on a grid of fluid, solid and open cells: Poisson's equation by differences."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

SOLID, FLUID, OPEN = 0, 1, 2  # an open cell has pressure zero, through a solid one nothing flows


def poisson_product(x: jax.Array, kind: jax.Array) -> jax.Array:
    """The negative Laplacian, without its matrix.

        (A x)_i = sum of x_i - x_j over neighbours j that are not solid, x_j = 0 where j is open

    Args:
      x: [B, *S], a grid of any dimension; counted as zero outside the fluid.
      kind: of the cells and of a frame around them, which has no fluid [B, S + 2 ...], integer.

    Returns:
      [B, *S], zero outside the fluid.

    Finite Difference Methods for Ordinary and Partial Differential Equations (LeVeque, 2007).
    """
    inner = (slice(None),) + (slice(1, -1),) * (x.ndim - 1)
    fluid = kind[inner] == FLUID
    x = jnp.where(fluid, x, 0)
    framed, total = jnp.pad(x, [(0, 0)] + [(1, 1)] * (x.ndim - 1)), jnp.zeros_like(x)
    for beside in _neighbours(x.ndim - 1):
        beside = (slice(None), *beside)
        total += jnp.where(kind[beside] == SOLID, 0, x - framed[beside])
    return jnp.where(fluid, total, 0)


def poisson_matrix(kind: np.ndarray) -> sparse.csr_matrix:
    """The matrix of `poisson_product` on one grid, with ones on the diagonal outside the fluid.

        A_ii = neighbours that are not solid;  A_ij = -1 for neighbours i, j in the fluid

    Args:
      kind: of the cells and of a frame around them, which has no fluid [S + 2 ...], integer.

    Returns:
      Sparse [N, N], N the number of cells, symmetric; positive where each part of the fluid
      touches an open cell.

    Finite Difference Methods for Ordinary and Partial Differential Equations (LeVeque, 2007).
    """
    inner = (slice(1, -1),) * kind.ndim
    fluid, shape = kind[inner] == FLUID, tuple(n - 2 for n in kind.shape)
    number = np.zeros(kind.shape, int)
    number[inner] = np.arange(fluid.size).reshape(shape)
    diagonal, rows, columns = np.where(fluid, 0, 1), [], []
    for beside in _neighbours(kind.ndim):
        diagonal += fluid & (kind[beside] != SOLID)
        tied = fluid & (kind[beside] == FLUID)
        rows.append(number[inner][tied])
        columns.append(number[beside][tied])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    ties = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (fluid.size,) * 2)
    return (sparse.diags(diagonal.ravel().astype(float)) - ties).tocsr()


def _neighbours(dimensions):
    """Slices that see, of a framed grid, the neighbours of all cells in each direction."""
    for axis in range(dimensions):
        for place in (slice(None, -2), slice(2, None)):
            yield tuple(place if i == axis else slice(1, -1) for i in range(dimensions))
