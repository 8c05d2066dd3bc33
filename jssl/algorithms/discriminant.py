"""Linear classifiers in closed form: Gaussians that share a covariance."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32


class Discriminant(NamedTuple):
    """Scores h W + b of K classes: log-posteriors, up to what all classes have in common."""

    weights: jax.Array  # [D, K]
    bias: jax.Array  # [K]

    def logits(self, h: jax.Array) -> jax.Array:
        """Scores [B, K] of features [B, D]."""
        return jnp.matmul(h, self.weights, precision='highest') + self.bias[None, :]


def shrunk_precision(centred: jax.Array, *, weight: jax.Array | float = 1.0) -> jax.Array:
    """The inverse of a covariance, shrunk so that it exists for any number of rows.

        P = D ((w N - 1) S + tr(S) I)^-1,   S = w sum_i x_i x_i' / (w N - 1)

    Args:
        centred: rows [N, D] less their means, not all zero.
        weight: w, how often every row counts: 1 / 2 where each is there twice.

    Returns:
        P [D, D].

    Reference: Estimation of the Precision Matrix of a Singular Wishart Distribution (Kubokawa and
    Srivastava, 2008), as in A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang
    et al., 2024).
    """
    chex.assert_rank(centred, 2)
    x = at_least_float32(centred)
    count, width = x.shape
    scatter = weight * jnp.matmul(x.T, x, precision='highest')
    sphere = jnp.trace(scatter) / jnp.maximum(weight * count - 1, 1) * jnp.eye(width, dtype=x.dtype)
    return width * jnp.linalg.inv(scatter + sphere)


def linear_discriminant(
    means: jax.Array, precision: jax.Array, *, log_prior: jax.Array | float = 0.0
) -> Discriminant:
    """Bayes' rule for Gaussians of one covariance: a linear classifier.

        w_k = P m_k,   b_k = log pi_k - m_k' P m_k / 2

    Args:
        means: m [K, D].
        precision: P [D, D], of `shrunk_precision`.
        log_prior: log pi [K], or a number where all classes are alike.

    Returns:
        `Discriminant`.

    Reference: The Use of Multiple Measurements in Taxonomic Problems (Fisher, 1936); A Hard-to-Beat
    Baseline for Training-free CLIP-based Adaptation (Wang et al., 2024).
    """
    chex.assert_rank([means, precision], 2)
    means = at_least_float32(means)
    weights = jnp.matmul(precision, means.T, precision='highest')
    return Discriminant(weights, log_prior - (means.T * weights).sum(0) / 2)


def gaussian_discriminant(
    h: jax.Array,
    labels: jax.Array,
    *,
    classes: int,
    log_prior: jax.Array | float = 0.0,
    weight: jax.Array | float = 1.0,
) -> Discriminant:
    """Fits class means and one shrunk covariance to features, and turns them into a classifier.

    Args:
        h: features [N, D].
        labels: classes [N], integer, every class at least once.
        classes: K.
        log_prior: as in `linear_discriminant`.
        weight: as in `shrunk_precision`.

    Returns:
        `Discriminant`.

    Reference: A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang et al., 2024).
    """
    chex.assert_rank([h, labels], [2, 1])
    chex.assert_equal_shape_prefix([h, labels], 1)
    h = at_least_float32(h)
    member = jax.nn.one_hot(labels, classes, dtype=h.dtype)
    counts = jnp.maximum(member.sum(0), 1)
    means = jnp.matmul(member.T, h, precision='highest') / counts[:, None]
    precision = shrunk_precision(h - means[labels], weight=weight)
    return linear_discriminant(means, precision, log_prior=log_prior)
