"""Whether directions that were learned are those that made the data."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.similarity import cosine_matrix


@jax.jit
def direction_recovery(true: jax.Array, found: jax.Array) -> jax.Array:
    """How near the nearest learned direction comes to each true one.

        c_j = max_i <g_j, u_i> / (|g_j| |u_i|)

    Args:
        true: g [J, D].
        found: u [F, D].

    Returns:
        Cosines [J]; 0 for a direction without length.

    Reference: Taking features out of superposition with sparse autoencoders (Sharkey et al., 2022).
    """
    chex.assert_rank([true, found], 2)
    return jnp.max(cosine_matrix(true, found), axis=1)
