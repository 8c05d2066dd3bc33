"""Where the rows of a batch lie on the unit sphere."""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes
from jssl.losses.similarity import normalise
from jssl.losses.tiles import by_rows


def alignment(z1: jax.Array, z2: jax.Array, *, alpha: float = 2.0) -> jax.Array:
    """Distance of the two views of an image.

        L_i = |u1_i - u2_i|^alpha,   u: z of unit length

    Args:
        z1, z2: projections of two views [B, D].
        alpha: exponent.

    Returns:
        Loss of each pair [B].

    Reference: Understanding Contrastive Representation Learning through Alignment and Uniformity on
    the Hypersphere (Wang & Isola, 2020).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    square = jnp.square(normalise(z1) - normalise(z2)).sum(1)
    # A power below one has no gradient at zero: coinciding pairs are taken out first.
    apart = square > 0
    return jnp.where(apart, jnp.where(apart, square, 1.0) ** (alpha / 2), 0.0)


def uniformity(z: jax.Array, *, t: float = 2.0, chunk: int | None = None) -> jax.Array:
    """Log of the mean Gaussian potential of all pairs; a batch scalar.

        L = log 1 / (B (B - 1)) sum_{i != j} exp(-t |u_i - u_j|^2),   u: z of unit length

    Args:
        z: projections of one view [B, D], B >= 2.
        t: inverse width of the potential.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of the batch, a scalar, at most zero.

    Reference: Understanding Contrastive Representation Learning through Alignment and Uniformity on
    the Hypersphere (Wang & Isola, 2020).
    """
    check_axes(z=(z, 'B D'))
    count = z.shape[0]
    if count < 2:
        raise ValueError(f'z must have at least two rows, got {z.shape}')
    u, number = normalise(z), jnp.arange(count)
    square = jnp.square(u).sum(1)

    def potentials(rows, own, index):
        products = jnp.matmul(rows, u.T, precision='highest')
        distance = jnp.maximum(own[:, None] + square[None, :] - 2 * products, 0.0)
        others = index[:, None] != number[None, :]
        return jax.nn.logsumexp(-t * distance, axis=1, where=others)

    log_sums = by_rows(potentials, (u, square, number), chunk)
    return jax.nn.logsumexp(log_sums) - jnp.log(float(count) * (count - 1))
