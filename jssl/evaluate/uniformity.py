"""Alignment of positive pairs and uniformity on the sphere."""

import jax

from jssl import losses

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
    return losses.alignment(z1, z2, alpha=alpha).mean()


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
    return losses.uniformity(z, t=t, chunk=max(1, _ENTRIES // z.shape[0]))
