"""How well two kernels, or a kernel and the labels, agree."""

import chex
import jax
import jax.numpy as jnp


def kernel_alignment(k: jax.Array, l: jax.Array) -> jax.Array:
    """Centred kernel alignment (CKA): the cosine between two centred kernels.

    <HKH, HLH> / (|HKH| |HLH|),  H = I - 1 1' / N

    Args:
      k: [N, N], symmetric.
      l: [N, N], symmetric; y y' for labels y.
    Returns: a scalar in [-1, 1], in [0, 1] for positive semi-definite kernels; 0 where a centred
      kernel is zero.

    Algorithms for Learning Kernels Based on Centered Alignment (Cortes et al., 2012).
    """
    chex.assert_rank([k, l], 2)
    chex.assert_equal_shape([k, l])
    if k.shape[0] != k.shape[1]:
        raise ValueError(f'k and l must be square, got shape {k.shape}')
    k, l = _unit(_centre(k)), _unit(_centre(l))
    return jnp.vdot(k, l)


def _centre(k):
    k = k.astype(jnp.float32)
    k = k - k.mean(0, keepdims=True)
    return k - k.mean(1, keepdims=True)


def _unit(k):
    # the cosine does not depend on the scale: dividing by it first avoids overflow in the squares
    largest = jax.lax.stop_gradient(jnp.abs(k).max())
    k = k / jnp.where(largest > 0, largest, 1.0)
    square = jnp.square(k).sum()
    return k * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
