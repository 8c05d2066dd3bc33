"""How many dimensions a representation uses."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.arrays import widen


def _shares(x):
    """Entries over their sum; of zeros, zeros."""
    total = x.sum()
    return x / jnp.where(total > 0, total, 1)


@jax.jit
def rankme(h: jax.Array) -> jax.Array:
    """Smooth rank of a matrix of embeddings, a label-free predictor of how they will transfer.

        exp(-sum_k p_k log p_k),  p_k = sigma_k(h) / |sigma(h)|_1 + 1e-7

    Args:
        h: embeddings [N, D], with N well above D; not centred.

    Returns:
        Scalar between 1 and min(N, D), up to the 1e-7.

    Reference: RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
    Representations by Their Rank (Garrido et al., 2023).
    """
    chex.assert_rank(h, 2)
    shares = _shares(jnp.linalg.svd(widen(h), compute_uv=False)) + 1e-7
    return jnp.exp(-(shares * jnp.log(shares)).sum())


@jax.jit
def spectrum(h: jax.Array) -> jax.Array:
    """Eigenvalues of the covariance of a representation, the largest first.

        lambda(1/N sum_i (h_i - mean h)(h_i - mean h)^T)

    Args:
        h: representations [N, D].

    Returns:
        Eigenvalues [D], never negative; at most N - 1 of them are not zero.

    Reference: Understanding Dimensional Collapse in Contrastive Self-supervised Learning (Jing et
    al., 2022).
    """
    chex.assert_rank(h, 2)
    h = widen(h)
    centred = h - h.mean(0, keepdims=True)
    # Singular values of h, not eigenvalues of the product: float32 keeps twice the digits.
    singular = jnp.linalg.svd(centred, compute_uv=False)
    return jnp.pad(jnp.square(singular) / h.shape[0], (0, h.shape[1] - singular.size))


@jax.jit
def effective_rank(h: jax.Array) -> jax.Array:
    """Effective rank of the covariance: how many directions share its variance.

        exp(-sum_k p_k log p_k),  p_k = lambda_k / sum_j lambda_j,  lambda = spectrum(h)

    Args:
        h: representations [N, D].

    Returns:
        Scalar in [1, D]; 1 where nothing varies.

    Reference: The Effective Rank: a Measure of Effective Dimensionality (Roy and Vetterli, 2007).
    """
    chex.assert_rank(h, 2)
    shares = _shares(spectrum(h))
    positive = shares > 0
    # Zero shares are left out before the log, or their gradient would be infinite.
    logs = jnp.log(jnp.where(positive, shares, 1))
    return jnp.exp(-(shares * logs).sum())


@jax.jit
def stable_rank(h: jax.Array) -> jax.Array:
    """Squared Frobenius norm over squared spectral norm: a rank that small noise does not raise.

        sum_k sigma_k(h)^2 / max_k sigma_k(h)^2

    Args:
        h: representations [N, D]; not centred.

    Returns:
        Scalar in [1, min(N, D)]; 0 for a zero matrix.

    Reference: Sampling from Large Matrices: an Approach through Geometric Functional Analysis
    (Rudelson and Vershynin, 2007).
    """
    chex.assert_rank(h, 2)
    singular = jnp.linalg.svd(widen(h), compute_uv=False)
    largest = singular.max()
    return jnp.square(singular / jnp.where(largest > 0, largest, 1)).sum()
