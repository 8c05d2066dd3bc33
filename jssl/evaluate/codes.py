"""How much of a codebook, or of a set of prototypes, is in use."""

from functools import partial

import jax
import jax.numpy as jnp


def _usage(indices, count):
    """Number of times each code is used, float32; indices outside [0, count) are left out."""
    # bincount would count negative indices as zeros.
    indices = jnp.where(indices < 0, count, indices)
    return jnp.bincount(indices.ravel(), length=count).astype(jnp.float32)


@partial(jax.jit, static_argnames='count')
def utilisation(indices: jax.Array, count: int) -> jax.Array:
    """Share of the codes that are used at least once.

        |{indices}| / K

    Args:
        indices: codes of the inputs [...], integers.
        count: number of codes K.

    Returns:
        Scalar in [0, 1].

    Reference: Addressing Representation Collapse in Vector Quantized Models with One Linear Layer
    (Zhu et al., 2024).
    """
    return (_usage(indices, count) > 0).astype(jnp.float32).mean()


@partial(jax.jit, static_argnames='count')
def perplexity(indices: jax.Array, count: int) -> jax.Array:
    """Number of equally used codes that would have the same entropy.

        exp(-sum_k u_k log u_k),  u_k the share of the inputs with code k

    Args:
        indices: codes of the inputs [...], integers.
        count: number of codes K.

    Returns:
        Scalar in [1, K].

    Reference: Neural Discrete Representation Learning (van den Oord et al., 2017).
    """
    usage = _usage(indices, count)
    shares = usage / jnp.maximum(usage.sum(), 1)
    return jnp.exp(jax.scipy.special.entr(shares).sum())
