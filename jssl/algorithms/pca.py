"""Principal components and whitening."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32


class PCA(NamedTuple):
    """The k directions of largest variance."""

    mean: jax.Array  # [D]
    components: jax.Array  # [k, D], orthonormal rows
    explained: jax.Array  # [k], variance along each, largest first


def pca(x: jax.Array, k: int) -> PCA:
    """Principal components by a singular value decomposition of the centred points.

        x - mean = U S V^T;  components V[:, :k]^T, explained S[:k]^2 / (N - 1)

    Every component's largest entry is positive, so that equal data give equal signs.

    Args:
        x: points [N, D].
        k: number of components, at most min(N, D).

    Returns:
        PCA with mean [D], components [k, D] and explained variances [k].

    Reference: On Lines and Planes of Closest Fit to Systems of Points in Space (Pearson, 1901).
    """
    chex.assert_rank(x, 2)
    if not 1 <= k <= min(x.shape):
        raise ValueError(f'k must be between 1 and min(x.shape) = {min(x.shape)}, got {k}')
    x = at_least_float32(x)
    mean = x.mean(axis=0)
    _, singular_values, components = jnp.linalg.svd(x - mean[None, :], full_matrices=False)
    components = components[:k]
    largest = jnp.abs(components).argmax(axis=1, keepdims=True)
    components = components * jnp.where(jnp.take_along_axis(components, largest, 1) < 0, -1, 1)
    return PCA(mean, components, singular_values[:k] ** 2 / max(x.shape[0] - 1, 1))


def project(basis: PCA, x: jax.Array) -> jax.Array:
    """Coordinates of points in a basis of principal components.

        z = (x - mean) components^T

    Args:
        basis: PCA of k components.
        x: points [N, D].

    Returns:
        Coordinates [N, k].

    Reference: On Lines and Planes of Closest Fit to Systems of Points in Space (Pearson, 1901).
    """
    chex.assert_rank(x, 2)
    chex.assert_equal(x.shape[1], basis.mean.shape[0])
    return jnp.matmul(
        at_least_float32(x) - basis.mean[None, :], basis.components.T, precision='highest'
    )


def whiten(x: jax.Array, *, kind: str = 'zca', epsilon: float = 1e-5) -> jax.Array:
    """Centres a batch and makes its features uncorrelated and of variance one.

        z = (x - mean) W^T,  W (S + epsilon I) W^T = I,  S the batch covariance

    Args:
        x: points [N, D].
        kind: which W, see `whitening_matrix`.
        epsilon: added to the variances; bounds W where S is singular (constant or more features
            than points).

    Returns:
        Whitened points [N, D].

    Reference: Optimal Whitening and Decorrelation (Kessy et al., 2018).
    """
    chex.assert_rank(x, 2)
    x = at_least_float32(x)
    x = x - x.mean(axis=0, keepdims=True)
    covariance = jnp.matmul(x.T, x, precision='highest') / max(x.shape[0] - 1, 1)
    matrix = whitening_matrix(covariance, kind=kind, epsilon=epsilon)
    return jnp.matmul(x, matrix.T, precision='highest')


def whitening_matrix(
    covariance: jax.Array, *, kind: str = 'zca', epsilon: float = 1e-5
) -> jax.Array:
    """A matrix W with W (S + epsilon I) W^T = I.

        zca: (S + epsilon I)^{-1/2}, closest to the identity;  pca: L^{-1/2} V^T of S = V L V^T;
        cholesky: C^{-1} of S + epsilon I = C C^T, lower triangular

    zca and cholesky have finite gradients also at repeated eigenvalues; the axes of pca are not
    unique there, so its gradient does not exist.

    Args:
        covariance: symmetric positive semi-definite S [D, D].
        kind: 'zca', 'pca' or 'cholesky'.
        epsilon: added to the diagonal.

    Returns:
        Whitening matrix [D, D].

    Reference: Optimal Whitening and Decorrelation (Kessy et al., 2018).
    """
    chex.assert_rank(covariance, 2)
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    covariance = covariance + epsilon * identity
    if kind == 'zca':
        return _inverse_square_root(covariance, epsilon)
    if kind == 'pca':
        eigenvalues, axes = jnp.linalg.eigh(covariance)
        return axes.T / jnp.sqrt(jnp.maximum(eigenvalues, epsilon))[:, None]
    if kind == 'cholesky':
        factor = jnp.linalg.cholesky(covariance)
        return jax.lax.linalg.triangular_solve(factor, identity, left_side=True, lower=True)
    raise ValueError(f"kind must be 'zca', 'pca' or 'cholesky', got {kind!r}")


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _inverse_square_root(matrix, floor):
    eigenvalues, axes = jnp.linalg.eigh(matrix)
    scaled = axes / jnp.sqrt(jnp.maximum(eigenvalues, floor))[None, :]
    return jnp.matmul(scaled, axes.T, precision='highest')


@_inverse_square_root.defjvp
def _inverse_square_root_jvp(floor, primals, tangents):
    """V (F * (V^T dM V)) V^T with the divided differences of l^{-1/2} written without a difference.

    The derivative of eigh divides by gaps between eigenvalues and is NaN where two agree.
    """
    (matrix,), (tangent,) = primals, tangents
    eigenvalues, axes = jnp.linalg.eigh(matrix)
    roots = jnp.sqrt(jnp.maximum(eigenvalues, floor))
    differences = -1 / (roots[:, None] * roots[None, :] * (roots[:, None] + roots[None, :]))
    product = functools.partial(jnp.matmul, precision='highest')
    inner = differences * product(product(axes.T, tangent), axes)
    primal = product(axes / roots[None, :], axes.T)
    return primal, product(product(axes, inner), axes.T)
