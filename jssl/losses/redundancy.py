"""Redundancy reduction: no negatives, but the columns of the batch must differ.

Both losses are batch scalars: statistics of the whole batch, without a value for each row.
"""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def barlow_twins(
    z1: jax.Array, z2: jax.Array, *, lambda_: float = 5e-3, epsilon: float = 1e-5
) -> jax.Array:
    """Distance of the two views' cross-correlation matrix from the identity; a batch scalar.

        L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2
        C = zn1^T zn2 / B,   zn = (z - mean_b z) / sqrt(var_b z + epsilon)

    Args:
        z1, z2: projections of two views [B, D].
        lambda_: weight of the off-diagonal.
        epsilon: added to each column's variance; a constant column has no correlations.

    Returns:
        Loss of the batch, a scalar.

    Reference: Barlow Twins: Self-Supervised Learning via Redundancy Reduction (Zbontar et al.,
    2021).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    zn1, zn2 = (
        jax.nn.standardize(widen(z), axis=0, epsilon=epsilon, algorithm='stable') for z in (z1, z2)
    )
    c = zn1.T @ zn2 / z1.shape[0]
    diagonal = jnp.diagonal(c)
    return jnp.sum(jnp.square(1 - diagonal)) + lambda_ * _off_diagonal_square(c)


def vicreg(
    z1: jax.Array,
    z2: jax.Array,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    epsilon: float = 1e-4,
) -> jax.Array:
    """Invariance of pairs, a floor on each column's deviation, no covariance; a batch scalar.

        L = invariance s(z1, z2) + variance (v(z1) + v(z2)) + covariance (c(z1) + c(z2))
        s = mean (z1 - z2)^2                             over rows and columns
        v = mean_d max(0, 1 - sqrt(Var_d + epsilon))
        c = 1/D sum_{i != j} C_ij^2                      C, Var: unbiased, over B - 1

    As in the paper's algorithm 1: s is a mean over columns too (equation 5 sums them), and v is not
    halved (the authors' code does).

    Args:
        z1, z2: projections of two views [B, D].
        invariance, variance, covariance: weights of the three terms.
        epsilon: added to the variance under the root.

    Returns:
        Loss of the batch, a scalar.

    Reference: VICReg: Variance-Invariance-Covariance Regularization (Bardes et al., 2022).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    z1, z2 = widen(z1), widen(z2)
    loss = invariance * jnp.mean(jnp.square(z1 - z2))
    for z in (z1, z2):
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        c = centred.T @ centred / max(z.shape[0] - 1, 1)
        deviation = jnp.sqrt(jnp.diagonal(c) + epsilon)
        loss += variance * jnp.mean(jax.nn.relu(1 - deviation))
        loss += covariance * _off_diagonal_square(c) / z.shape[1]
    return loss


def _off_diagonal_square(c):
    """Sum of squares off the diagonal; masked, as a difference of two sums would cancel."""
    return jnp.sum(jnp.where(jnp.eye(c.shape[0], dtype=bool), 0.0, jnp.square(c)))
