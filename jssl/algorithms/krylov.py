"""Linear systems and eigenvectors by products with a symmetric matrix, in float64 on the host.

Many systems are solved at once: they are rows, b [B, N], and `apply` maps rows to rows, each by its
own matrix. Rounding decides how long directions stay conjugate, hence NumPy and double precision.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import splu


class Solution(NamedTuple):
    """Solutions [B, N], and |b - A x| / |b| before and after every iteration [T + 1, B]."""

    x: np.ndarray
    residuals: np.ndarray


def conjugate_gradient(
    apply: Callable,
    b: np.ndarray,
    *,
    start: np.ndarray | None = None,
    precondition: Callable | None = None,
    coarse: Callable | None = None,
    tolerance: float = 1e-4,
    limit: int = 1000,
) -> Solution:
    """Conjugate gradients, with a preconditioner and with deflation where they are given.

        p = z + (r'z / r_'z_) p_,  z = M^-1 r;   x += (r'z / p'A p) p
        deflated: x_0 += W E^-1 W'r_0, and z - W E^-1 W'A z in place of z,  E = W'A W

    Args:
      apply: product with A, symmetric and positive, rows [B, N] to rows.
      b: right-hand sides [B, N].
      start: x_0 [B, N]; None is zero.
      precondition: product with M^-1, symmetric and positive.
      coarse: product with W E^-1 W'.
      tolerance: of |b - A x| / |b|, for all systems.
      limit: iterations.

    Returns:
      `Solution`.

    Methods of Conjugate Gradients for Solving Linear Systems (Hestenes and Stiefel, 1952); A
    Deflated Version of the Conjugate Gradient Algorithm (Saad et al., 2000).
    """
    x = np.zeros_like(b) if start is None else start
    r, scale = b - apply(x), np.linalg.norm(b, axis=1)
    if coarse is not None:
        x = x + coarse(r)
        r = b - apply(x)
    rz, p, p_rz = None, np.zeros_like(b), 1.0
    residuals = [_over(np.linalg.norm(r, axis=1), scale)]
    while residuals[-1].max() > tolerance and len(residuals) <= limit:
        z = r if precondition is None else precondition(r)
        rz = _dot(r, z)
        p = _over(rz, p_rz) * p + (z if coarse is None else z - coarse(apply(z)))
        q, p_rz = apply(p), rz
        step = _over(rz, _dot(p, q))
        x, r = x + step * p, r - step * q
        residuals.append(_over(np.linalg.norm(r, axis=1), scale))
    return Solution(x, np.stack(residuals))


def conjugate_directions(
    apply: Callable,
    b: np.ndarray,
    guess: Callable,
    *,
    kept: int = 2,
    tolerance: float = 1e-4,
    limit: int = 1000,
) -> Solution:
    """Descends along guessed directions, each made conjugate to the latest ones.

        d = f(r / |r|);  d -= (d'A d_i / d_i'A d_i) d_i for the latest i;  x += (r'd / d'A d) d

    The residual r = b - A x is computed anew at every iteration.

    Args:
      apply: product with A, symmetric and positive, rows [B, N] to rows.
      b: right-hand sides [B, N].
      guess: f, from unit residuals [B, N] to directions [B, N], of any length.
      kept: directions that a new one is made conjugate to; 0 is steepest descent along guesses.
      tolerance: of |b - A x| / |b|, for all systems.
      limit: iterations.

    Returns:
      `Solution`.

    A Deep Conjugate Direction Method for Iteratively Solving Linear Systems (Kaneda et al., 2023).
    """
    x, r, latest = np.zeros_like(b), b, []
    residuals, scale = [np.ones(len(b))], np.linalg.norm(b, axis=1)
    while residuals[-1].max() > tolerance and len(residuals) <= limit:
        d = guess(_over(r, np.linalg.norm(r, axis=1, keepdims=True)))
        for old, image in latest:
            d = d - _over(_dot(d, image), _dot(old, image)) * old
        image = apply(d)
        x = x + _over(_dot(r, d), _dot(d, image)) * d
        r = b - apply(x)
        latest = [(d, image), *latest][:kept]
        residuals.append(_over(np.linalg.norm(r, axis=1), scale))
    return Solution(x, np.stack(residuals))


def iterations_to(residuals: np.ndarray, tolerance: float) -> np.ndarray:
    """The first iteration [B] at which residuals [T + 1, B] are below; T + 1 where none is.

    Methods of Conjugate Gradients for Solving Linear Systems (Hestenes and Stiefel, 1952).
    """
    below = residuals <= tolerance
    return np.where(below.any(0), below.argmax(0), len(residuals))


def incomplete_cholesky(matrix: sparse.csr_matrix) -> Callable:
    """The product with M^-1 of vectors [N]; M has A's pattern below the diagonal and its diagonal.

        M = (D + L) D^-1 (D + L)',  L: strictly lower part of A;  D_i = A_ii - sum_j L_ij^2 / D_j

    This is IC(0) where no two neighbours of an unknown are neighbours, as on a grid.

    Args:
      matrix: A, sparse [N, N], symmetric and positive.

    Returns:
      A function, vectors [N] to vectors.

    An Iterative Solution Method for Linear Systems of Which the Coefficient Matrix is a Symmetric
    M-Matrix (Meijerink and van der Vorst, 1977).
    """
    lower, d = sparse.tril(matrix, -1).tocsr(), matrix.diagonal().tolist()
    starts, columns, values = (x.tolist() for x in (lower.indptr, lower.indices, lower.data))
    for i, (first, last) in enumerate(itertools.pairwise(starts)):
        d[i] -= sum(values[k] ** 2 / d[columns[k]] for k in range(first, last))
    d = np.array(d)
    options = {'permc_spec': 'NATURAL', 'diag_pivot_thresh': 0.0}
    factor = splu((lower + sparse.diags(d)).tocsc(), **options)
    return lambda r: factor.solve(d * factor.solve(r), trans='T')


def ritz_pairs(apply: Callable, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos' approximations of eigenvalues and eigenvectors, orthogonalised in full.

        A Q ~ Q T, Q'Q = I, T tridiagonal;  T s = l s;  the pair is (l, Q s)

    Args:
      apply: product with A, symmetric, vectors [N] to vectors.
      start: a vector [N], the first of the Krylov space.
      steps: M; fewer come back where the space ends before.

    Returns:
      Ritz values [M], growing, and Ritz vectors [M, N] of length one.

    An Iteration Method for the Solution of the Eigenvalue Problem (Lanczos, 1950).
    """
    q, diagonal, beside = [start / np.linalg.norm(start)], [], []
    while True:
        w = apply(q[-1])
        diagonal.append(q[-1] @ w)
        basis = np.stack(q)
        for _ in range(2):  # once leaves rounding errors of the first pass
            w = w - (basis @ w) @ basis
        size = np.linalg.norm(w)
        if len(q) == steps or size < 1e-10 * np.abs(diagonal).max():
            break
        beside.append(size)
        q.append(w / size)
    values, turn = linalg.eigh_tridiagonal(np.array(diagonal), np.array(beside))
    return values, turn.T @ basis


def _dot(x, y):
    return (x * y).sum(1, keepdims=True)


def _over(x, y):
    """x / y; 0 where y is."""
    return np.divide(
        x, y, out=np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y))), where=y != 0
    )
