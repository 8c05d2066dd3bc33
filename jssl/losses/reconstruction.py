"""Errors of predicted patches."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def patch_errors(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of each patch.

        e_n = 1/D |prediction_n - target_n|^2

    Args:
        prediction, target: patches [B, N, D].

    Returns:
        Errors [B, N].

    Reference: Masked Autoencoders Are Scalable Vision Learners (He et al., 2022).
    """
    check_axes(prediction=(prediction, 'B N D'), target=(target, 'B N D'))
    return jnp.mean(jnp.square(widen(prediction) - widen(target)), axis=-1)


def masked_reconstruction(prediction: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean squared error over the masked patches; zero for a row that masks nothing.

        L_b = sum_n m_n e_n / sum_n m_n,   e = patch_errors(prediction, target)

    Args:
        prediction, target: patches [B, N, D].
        mask: 1 where a patch was masked, and counts, [B, N].

    Returns:
        Loss of each row [B].

    Reference: Masked Autoencoders Are Scalable Vision Learners (He et al., 2022).
    """
    check_axes(prediction=(prediction, 'B N D'), target=(target, 'B N D'), mask=(mask, 'B N'))
    mask = widen(mask)
    masked = mask.sum(1)
    return (patch_errors(prediction, target) * mask).sum(1) / jnp.where(masked > 0, masked, 1.0)


def normalise_patches(patches: jax.Array, *, epsilon: float = 1e-6) -> jax.Array:
    """Patches with zero mean and unit variance each: MAE's pixel targets.

        (x - mean) / sqrt(var + epsilon),   var over D - 1

    Args:
        patches: [B, N, D], D >= 2.
        epsilon: added to the variance; a flat patch becomes zero.

    Returns:
        Normalised patches [B, N, D], float32 or wider.

    Reference: Masked Autoencoders Are Scalable Vision Learners (He et al., 2022).
    """
    check_axes(patches=(patches, 'B N D'))
    chex.assert_axis_dimension_gt(patches, -1, 1)
    patches = widen(patches)
    variance = jnp.var(patches, axis=-1, keepdims=True, ddof=1)
    return jax.nn.standardize(patches, variance=variance, epsilon=epsilon)
