"""Embeddings that look Gaussian along random directions; batch scalars.

A direction is a slice of the batch, and a few hundred of them drawn anew at each step tell as much
as the whole distribution. The key is the same on all devices: one batch, one set of directions.
"""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def sigreg(
    key: jax.Array, z: jax.Array, *, slices: int = 1024, knots: int = 17, limit: float = 3.0
) -> jax.Array:
    """Distance of the slices' characteristic functions from the normal one: Epps and Pulley's test.

        L = mean_a B int |1/B sum_i exp(i t a.z_i) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt

    The integral over [-limit, limit] is twice the trapezoidal sum over [0, limit].

    Args:
        key: of the directions a, of unit length.
        z: embeddings [B, D].
        slices: how many directions.
        knots: points of the sum.
        limit: its end, as in the authors' code.

    Returns:
        A scalar, not negative.

    Reference: LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics
    (Balestriero & LeCun, 2025).
    """
    check_axes(z=(z, 'B D'))
    z = widen(z)
    along = z @ _directions(key, z.shape[1], slices, z.dtype)
    t = jnp.linspace(0.0, limit, knots, dtype=z.dtype)
    normal = jnp.exp(-jnp.square(t) / 2)

    @jax.checkpoint
    def error(at):  # one knot at a time: B x slices numbers, not B x slices x knots
        t, normal = at
        real, imaginary = jnp.cos(t * along).mean(0), jnp.sin(t * along).mean(0)
        return (jnp.square(real - normal) + jnp.square(imaginary)).mean()

    errors = jax.lax.map(error, (t, normal))
    return 2 * z.shape[0] * jnp.trapezoid(errors * normal, t)


def lejepa(
    key: jax.Array,
    z: jax.Array,
    *,
    views: int = 2,
    weight: float = 0.05,
    slices: int = 1024,
    knots: int = 17,
    limit: float = 3.0,
) -> jax.Array:
    """All views near the mean of the global ones, each view's batch Gaussian; a batch scalar.

        L = (1 - weight) mean_vid (z_vi - mean_{g <= G} z_gi)_d^2 + weight mean_v SIGReg(Z_v)

    Args:
        key: of the directions, the same for all views.
        z: embeddings of the views [V, B, D], the global ones first.
        views: G, how many are global.
        weight: of `sigreg`.
        slices, knots, limit: as in `sigreg`.

    Returns:
        Loss of the batch, a scalar.

    Reference: LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics
    (Balestriero & LeCun, 2025).
    """
    check_axes(z=(z, 'V B D'))
    z = widen(z)
    gaussian = jax.vmap(lambda x: sigreg(key, x, slices=slices, knots=knots, limit=limit))(z)
    return (1 - weight) * _spread(z, views) + weight * gaussian.mean()


def visreg(
    key: jax.Array,
    z: jax.Array,
    *,
    views: int = 2,
    weight: float = 0.9,
    scale: float = 1.0,
    shape: float = 1.0,
    centre: float = 1.0,
    slices: int = 4096,
) -> jax.Array:
    """Views alike; each view's columns centred and of unit variance, its slices Gaussian; a scalar.

        L = (1 - weight) mean_vid (z_vi - mean_{g <= G} z_gi)_d^2
          + weight mean_v (scale mean_d (sigma_d - 1)^2 + shape W + centre mean_d mu_d^2)
        W = mean_ai (a.u_(i) - Phi^-1(i / (B + 1)))^2,   u = (z - mu) / sigma

    mu and sigma, which has no gradient in u, are mean and deviation over the batch; a.u_(i) is the
    i-th smallest along a.

    Args:
        key: of the directions a, of unit length and the same for all views.
        z: embeddings of the views [V, B, D], the global ones first.
        views: G, how many are global.
        weight: of all but the views' likeness.
        scale, shape, centre: weights of the three terms.
        slices: how many directions.

    Returns:
        Loss of the batch, a scalar.

    Reference: VISReg: Variance-Invariance-Sketching Regularization for JEPA Training (Wu et al.,
    2026).
    """
    check_axes(z=(z, 'V B D'))
    z = widen(z)
    batch = z.shape[1]
    directions = _directions(key, z.shape[2], slices, z.dtype)
    ranks = jnp.arange(1, batch + 1, dtype=z.dtype) / (batch + 1)
    quantiles = jax.scipy.special.ndtri(ranks)[None, :, None]

    mean = z.mean(1, keepdims=True)
    variance = jnp.square(z - mean).mean(1, keepdims=True)
    lives = variance > 1e-12  # a root without a slope at zero, as is that of a norm
    deviation = jnp.where(lives, jnp.sqrt(jnp.where(lives, variance, 1.0)), 0.0)
    scaled = (z - mean) / jnp.maximum(jax.lax.stop_gradient(deviation), 1e-6)
    sliced = jnp.sort(scaled @ directions, axis=1)
    regular = scale * jnp.square(deviation - 1).mean() + centre * jnp.square(mean).mean()
    regular += shape * jnp.square(sliced - quantiles).mean()
    return (1 - weight) * _spread(z, views) + weight * regular


def _directions(key, dimension, count, dtype):
    """Columns of unit length [dimension, count]."""
    a = jax.random.normal(key, (dimension, count), dtype)
    return a / jnp.linalg.norm(a, axis=0, keepdims=True)


def _spread(z, views):
    """Mean square of the distance to the mean of the first views."""
    if not 1 <= views <= z.shape[0]:
        raise ValueError(f'z must have at least `views` = {views} views, got {z.shape[0]}')
    return jnp.square(z - z[:views].mean(0, keepdims=True)).mean()
