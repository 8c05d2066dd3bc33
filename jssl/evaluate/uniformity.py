"""Alignment of positive pairs and uniformity on the sphere."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.similarity import normalise

_ENTRIES = 2**26  # of the matrix of distances, held at a time: 256 MiB in float32


@jax.jit
def alignment(z1: jax.Array, z2: jax.Array, *, alpha: float = 2) -> jax.Array:
    """Mean distance of positive pairs on the unit sphere; lower is better.

        1/B sum_i |z1_i - z2_i|^alpha, both rows scaled to length 1

    Args:
        z1: projections of one view [B, D].
        z2: projections of the other [B, D].
        alpha: exponent.

    Returns:
        Scalar, not negative.

    Reference: Understanding Contrastive Representation Learning through Alignment and Uniformity
    on the Hypersphere (Wang and Isola, 2020).
    """
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    squared = jnp.square(normalise(z1) - normalise(z2)).sum(-1)
    apart = squared > 0
    # A power below one has no gradient at zero: coinciding pairs are taken out first.
    return jnp.where(apart, jnp.where(apart, squared, 1) ** (alpha / 2), 0).mean()


@jax.jit
def uniformity(z: jax.Array, *, t: float = 2) -> jax.Array:
    """Log of the mean Gaussian potential of all pairs on the unit sphere; lower is more uniform.

        log 2 / (B (B - 1)) sum_i<j exp(-t |z_i - z_j|^2), rows scaled to length 1

    Args:
        z: projections [B, D], at least two rows.
        t: inverse width of the potential.

    Returns:
        Scalar, not positive.

    Reference: Understanding Contrastive Representation Learning through Alignment and Uniformity
    on the Hypersphere (Wang and Isola, 2020).
    """
    chex.assert_rank(z, 2)
    count = z.shape[0]
    if count < 2:
        raise ValueError(f'z must have at least two rows, got {z.shape}')
    z = normalise(z)
    squared = jnp.square(z).sum(-1)

    def potential(i):
        products = jnp.matmul(z, z[i], precision='highest')
        distances = jnp.maximum(squared[i] + squared - 2 * products, 0)
        return jax.nn.logsumexp(-t * distances, where=jnp.arange(count) != i)

    batch = max(1, min(count, _ENTRIES // count))
    potentials = jax.lax.map(potential, jnp.arange(count), batch_size=batch)
    return jax.nn.logsumexp(potentials) - jnp.log(float(count) * (count - 1))
