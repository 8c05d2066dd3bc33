"""How far apart two sets of images, or sounds, lie in the features of a network."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.arrays import widen


@jax.jit
def frechet_distance(h1: jax.Array, h2: jax.Array) -> jax.Array:
    """Frechet distance of two sets of features, each taken as a normal distribution.

        |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)),   m mean, S covariance

    With Inception's features this is FID, and rFID for reconstructions.

    Args:
        h1: features of one set [N, D].
        h2: features of the other [M, D].

    Returns:
        Scalar, at least 0 up to rounding.

    Reference: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium
    (Heusel et al., 2017).
    """
    chex.assert_rank([h1, h2], 2)
    chex.assert_equal(h1.shape[1], h2.shape[1])
    means, roots = zip(*(_moments(widen(h)) for h in (h1, h2)), strict=True)
    # With S = R'R, the eigenvalues of S_1 S_2 are the squared singular values of R_1 R_2'. No
    # matrix is squared, and so float32 keeps its digits.
    cross = jnp.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    apart = jnp.square(means[0] - means[1]).sum()
    return apart + sum(jnp.square(r).sum() for r in roots) - 2 * cross


def _moments(h):
    mean = h.mean(0)
    root = jnp.linalg.qr((h - mean[None, :]) / jnp.sqrt(max(len(h) - 1, 1)), mode='r')
    return mean, root
