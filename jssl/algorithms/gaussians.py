"""A Gaussian for each class of features, and distances in its metric."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32


class Gaussians(NamedTuple):
    """Means [K, D] and inverse covariances [K, D, D] of K classes."""

    means: jax.Array
    precisions: jax.Array


def class_gaussians(
    h: jax.Array, labels: jax.Array, *, classes: int, shrinkage: float | jax.Array = 0.1
) -> Gaussians:
    """The mean and the covariance of every class, the latter shrunk so that it has an inverse.

        C_k = (1 - s) S_k + s (tr S_k / D) I,   S_k = mean over rows of class k of their scatter

    Args:
        h: features [N, D].
        labels: classes [N], integer, each with two different rows or more.
        classes: K.
        shrinkage: s, in (0, 1].

    Returns:
        `Gaussians` of the K classes.

    Reference: A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices (Ledoit and
    Wolf, 2004), for the shape of the target.
    """
    chex.assert_rank([h, labels], [2, 1])
    chex.assert_equal_shape_prefix([h, labels], 1)
    h = at_least_float32(h)

    def one(k):
        member = (labels == k).astype(h.dtype)
        count = jnp.maximum(member.sum(), 1)
        mean = member @ h / count
        apart = (h - mean[None, :]) * member[:, None]
        scatter = jnp.matmul(apart.T, apart, precision='highest') / count
        sphere = jnp.trace(scatter) / h.shape[1] * jnp.eye(h.shape[1], dtype=h.dtype)
        return mean, jnp.linalg.inv((1 - shrinkage) * scatter + shrinkage * sphere)

    return Gaussians(*jax.lax.map(one, jnp.arange(classes)))


def mahalanobis(h: jax.Array, gaussians: Gaussians) -> jax.Array:
    """Squared distance of every row from every class, in the metric of the class.

        D_ik = (h_i - m_k)' C_k^-1 (h_i - m_k)

    Args:
        h: features [B, D].
        gaussians: of K classes.

    Returns:
        Distances [B, K].

    Reference: A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks (Lee et al., 2018).
    """
    chex.assert_rank(h, 2)
    apart = at_least_float32(h)[:, None, :] - gaussians.means[None, :, :]
    turned = jnp.einsum('bkd,kde->bke', apart, gaussians.precisions, precision='highest')
    return (turned * apart).sum(-1)
