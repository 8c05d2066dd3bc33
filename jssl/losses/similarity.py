"""Directions: rows of unit length, and the cosine between them."""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen

_AT_ONCE = 16  # columns; measured: 8 and 32 are slower than none


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
    return _products(normalise(a), normalise(b))


def distance_matrix(a: jax.Array, b: jax.Array) -> jax.Array:
    """Euclidean distances between all rows of two arrays, with slope zero where rows coincide.

        d_ij = |a_i - b_j|_2

    Args:
        a: rows [N, D].
        b: rows [M, D].

    Returns:
        Distances [N, M].

    Reference: FaceNet (Schroff et al., 2015).
    """
    square = squared_distance_matrix(a, b)
    lives = square > 0
    return jnp.where(lives, jnp.sqrt(jnp.where(lives, square, 1.0)), 0.0)


def squared_distance_matrix(a: jax.Array, b: jax.Array) -> jax.Array:
    """Squared Euclidean distances between all rows of two arrays.

        d_ij = |a_i - b_j|_2^2

    By differences, so that a distance is as exact when it is small; the gradient by products, so
    that memory grows with N M and not N M D.

    Args:
        a: rows [N, D].
        b: rows [M, D].

    Returns:
        Squared distances [N, M].

    Reference: Neighbourhood Components Analysis (Goldberger et al., 2004).
    """
    check_axes(a=(a, 'N D'), b=(b, 'M D'))
    return _squares(widen(a), widen(b))


def lp_distance_matrix(a: jax.Array, b: jax.Array, *, p: float = 2.0) -> jax.Array:
    """Distances between all rows of two arrays by a power, with slope zero where rows coincide.

        d_ij = (sum_k |a_ik - b_jk|^p)^(1/p)

    For p = 2, `distance_matrix` takes less memory.

    Args:
        a: rows [N, D].
        b: rows [M, D].
        p: at least 1.

    Returns:
        Distances [N, M].

    Reference: A Metric Learning Reality Check (Musgrave et al., 2020), whose library has it.
    """
    check_axes(a=(a, 'N D'), b=(b, 'M D'))
    difference = jnp.abs(widen(a)[:, None, :] - widen(b)[None, :, :])
    # Of the greatest difference, so that no power leaves the range of numbers.
    scale = jax.lax.stop_gradient(difference.max(-1, keepdims=True))
    lives = scale > 0
    power = (difference / jnp.where(lives, scale, 1.0)) ** p
    total = jnp.where(lives[..., 0], power.sum(-1), 1.0)
    return jnp.where(lives[..., 0], scale[..., 0] * total ** (1 / p), 0.0)


def signal_to_noise_matrix(a: jax.Array, b: jax.Array) -> jax.Array:
    """Variance of the difference of two rows over that of the first one.

        d_ij = var(b_j - a_i) / var(a_i)

    Args:
        a: rows [N, D], the signals.
        b: rows [M, D].

    Returns:
        Ratios [N, M].

    Reference: Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning (Yuan et
    al., 2019).
    """
    check_axes(a=(a, 'N D'), b=(b, 'M D'))
    a, b = (widen(x) - widen(x).mean(1, keepdims=True) for x in (a, b))
    noise = squared_distance_matrix(a, b)
    return noise / jnp.maximum(jnp.square(a).sum(1), 1e-12)[:, None]


@jax.custom_jvp
def _squares(a, b):
    """Squared distances [N, M], a few columns at a time: sums along rows are not vectorised."""
    columns = [
        jnp.pad(x, ((0, 0), (0, -x.shape[1] % _AT_ONCE))).T.reshape(-1, _AT_ONCE, x.shape[0])
        for x in (a, b)
    ]

    def add(square, some):
        for x, y in zip(*some, strict=True):
            square = square + jnp.square(x[:, None] - y[None, :])
        return square, None

    return jax.lax.scan(add, jnp.zeros((a.shape[0], b.shape[0]), a.dtype), columns)[0]


@_squares.defjvp
def _slopes(rows, changes):
    """2 (a_i - b_j).(da_i - db_j), term by term: the differences would take N M D memory."""
    a, b = (x - rows[1].mean(0, keepdims=True) for x in rows)
    da, db = changes
    own = (a * da).sum(1)[:, None] + (b * db).sum(1)[None, :]
    return _squares(*rows), 2 * (own - _products(a, db) - _products(da, b))


def _products(a, b):
    return jnp.matmul(a, b.T, precision='highest')
