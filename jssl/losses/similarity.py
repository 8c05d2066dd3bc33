"""Directions: rows of unit length, and the cosine between them."""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def normalise(x: jax.Array, *, axis: int = -1, epsilon: float = 1e-12) -> jax.Array:
    """Vectors scaled to unit length; a vector shorter than epsilon becomes zero.

        x / |x|_2

    Value and gradient of a vanishing vector are zero, where x / max(|x|, epsilon) would pass on a
    gradient of 1 / epsilon.

    Args:
        x: vectors along `axis`, any shape.
        axis: the axis of the components.
        epsilon: length below which a vector has no direction.

    Returns:
        Unit vectors with the shape of `x`, float32 or wider.

    Reference: FaceNet (Schroff et al., 2015), for embeddings on the unit sphere.
    """
    x = widen(x)
    square = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    # Both branches of a where are differentiated, so the unused one needs a safe divisor too.
    lives = square > epsilon**2
    return jnp.where(lives, x / jnp.sqrt(jnp.where(lives, square, 1.0)), 0.0)


def cosine_similarity(a: jax.Array, b: jax.Array, *, epsilon: float = 1e-12) -> jax.Array:
    """Cosine of the angle between two vectors, zero where one of them vanishes.

        cos(a, b) = a.b / (|a| |b|)

    Args:
        a, b: vectors [..., D].
        epsilon: length below which a vector has no direction.

    Returns:
        Cosines [...].

    Reference: SimSiam (Chen & He, 2021), equation 1.
    """
    if a.shape != b.shape:
        raise ValueError(f'b must have the shape of a, {a.shape}, got {b.shape}')
    return jnp.sum(normalise(a, epsilon=epsilon) * normalise(b, epsilon=epsilon), axis=-1)


def cosine_matrix(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cosines between all rows of two arrays, zero where one of them vanishes.

        s_ij = cos(a_i, b_j)

    Args:
        a: rows [N, D].
        b: rows [M, D].

    Returns:
        Cosines [N, M].

    Reference: SimSiam (Chen & He, 2021), equation 1.
    """
    check_axes(a=(a, 'N D'), b=(b, 'M D'))
    return jnp.matmul(normalise(a), normalise(b).T, precision='highest')


def distance_matrix(a: jax.Array, b: jax.Array) -> jax.Array:
    """Euclidean distances between all rows of two arrays, with slope zero where rows coincide.

        d_ij = |a_i - b_j|_2

    By differences, so that a distance is as exact when it is small; memory grows with N M D.

    Args:
        a: rows [N, D].
        b: rows [M, D].

    Returns:
        Distances [N, M].

    Reference: FaceNet (Schroff et al., 2015).
    """
    check_axes(a=(a, 'N D'), b=(b, 'M D'))
    square = jnp.square(widen(a)[:, None, :] - widen(b)[None, :, :]).sum(-1)
    lives = square > 0
    return jnp.where(lives, jnp.sqrt(jnp.where(lives, square, 1.0)), 0.0)
