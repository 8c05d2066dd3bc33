"""Correlation of paired observations."""

import chex
import jax
import jax.numpy as jnp

from jssl.losses.arrays import widen


def _centred(x):
    """x minus its mean, largest entry 1; zeros where x is constant up to rounding."""
    x = widen(x)
    centred = x - x.mean(-1, keepdims=True)
    largest = jnp.abs(centred).max(-1, keepdims=True)
    rounding = 8 * jnp.finfo(x.dtype).eps * jnp.abs(x).max(-1, keepdims=True)
    constant = largest <= rounding
    # Scaled first, so that the squares of very small or large values stay in range.
    return jnp.where(constant, 0, centred / jnp.where(constant, 1, largest))


@jax.jit
def pearson(a: jax.Array, b: jax.Array) -> jax.Array:
    """Linear correlation of paired observations.

        r = <a - mean a, b - mean b> / (|a - mean a| |b - mean b|)

    Args:
        a: observations [..., N].
        b: observations paired with them [..., N].

    Returns:
        Correlations [...] in [-1, 1]; 0 where either side is constant.

    Reference: Note on Regression and Inheritance in the Case of Two Parents (Pearson, 1895).
    """
    chex.assert_equal_shape([a, b])
    a, b = _centred(a), _centred(b)
    squared = jnp.square(a).sum(-1) * jnp.square(b).sum(-1)
    constant = squared == 0
    r = (a * b).sum(-1) / jnp.sqrt(jnp.where(constant, 1, squared))
    return jnp.clip(r, -1, 1)


@jax.jit
def average_ranks(x: jax.Array) -> jax.Array:
    """Ranks from 1 for the smallest entry; equal entries share the mean of their ranks.

        rank_i = |{j: x_j < x_i}| + (|{j: x_j = x_i}| + 1) / 2

    Args:
        x: observations [..., N].

    Returns:
        Ranks [..., N], float32; all NaN where an observation is NaN.

    Reference: The treatment of ties in ranking problems (Kendall, 1945).
    """

    def ranks(row):
        ordered = jnp.sort(row)
        below = jnp.searchsorted(ordered, row, side='left')
        up_to = jnp.searchsorted(ordered, row, side='right')
        return (below + up_to + 1).astype(jnp.float32) / 2

    ranked = jnp.vectorize(ranks, signature='(n)->(n)')(x)
    return jnp.where(jnp.isnan(x).any(-1, keepdims=True), jnp.nan, ranked)


@jax.jit
def spearman(a: jax.Array, b: jax.Array) -> jax.Array:
    """Correlation of the ranks of paired observations.

        rho = pearson(rank(a), rank(b)), ties at the mean of their ranks

    Args:
        a: observations [..., N].
        b: observations paired with them [..., N].

    Returns:
        Correlations [...] in [-1, 1]; 0 where either side is constant.

    Reference: The Proof and Measurement of Association between Two Things (Spearman, 1904).
    """
    chex.assert_equal_shape([a, b])
    return pearson(average_ranks(a), average_ranks(b))
