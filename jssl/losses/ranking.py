"""Losses on the order of values rather than on the values."""

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import check_axes, widen


def pairwise_ranking(prediction: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """Binary cross-entropy of which of two masked entries has the larger target.

        L = -mean_{i != j masked} t_ij log sigma(p_i - p_j) + (1 - t_ij) log(1 - sigma(p_i - p_j))
        t_ij = 1[target_i > target_j]

    The mean is over ordered pairs; two equal targets pull their predictions together. Zero for a
    row with fewer than two masked entries.

    Args:
        prediction: predicted values [B, N].
        target: true values [B, N], without gradient.
        mask: 1 where an entry takes part [B, N].

    Returns:
        Loss of each row [B].

    Reference: Bootstrap Masked Visual Modeling via Hard Patches Mining (Wang et al., 2023).
    """
    check_axes(prediction=(prediction, 'B N'), target=(target, 'B N'), mask=(mask, 'B N'))
    prediction, mask = widen(prediction), widen(mask)
    difference = prediction[:, :, None] - prediction[:, None, :]
    larger = target[:, :, None] > target[:, None, :]
    loss = optax.sigmoid_binary_cross_entropy(difference, larger)
    different = 1 - jnp.eye(mask.shape[1], dtype=mask.dtype)
    pairs = mask[:, :, None] * mask[:, None, :] * different[None]
    count = pairs.sum((1, 2))
    return (loss * pairs).sum((1, 2)) / jnp.where(count > 0, count, 1.0)
