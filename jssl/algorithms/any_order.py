"""Sequences whose elements are told in any order: draws, likelihoods, and what is known so far.

An unknown element is -1. `conditionals` maps x int [B, D], some of it unknown, to logits [B, D, K]
of what each element may be; `order` int [B, D] says which element is told first, second, ...
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

UNKNOWN = -1


def orders(key: jax.Array, batch: int, length: int) -> jax.Array:
    """Draws orders, all equally likely.

    Args:
        key: of the draw.
        batch: B.
        length: D.

    Returns:
        int32 [B, D], a permutation in each row.

    Reference: A Deep and Tractable Density Estimator (Uria et al., 2014).
    """
    return jnp.argsort(jax.random.uniform(key, (batch, length)), axis=1).astype(jnp.int32)


def known(x: jax.Array, order: jax.Array, count: jax.Array | int) -> jax.Array:
    """What is known of x after so many elements.

    Args:
        x: [B, D].
        order: [B, D].
        count: elements of each row that are known, [B], or of all.

    Returns:
        [B, D], -1 where unknown.

    Reference: A Deep and Tractable Density Estimator (Uria et al., 2014).
    """
    chex.assert_equal_shape([x, order])
    rank = jnp.argsort(order, axis=1)
    return jnp.where(rank < jnp.reshape(count, (-1, 1)), x, UNKNOWN)


def fill(
    key: jax.Array, conditionals: Callable, x: jax.Array, order: jax.Array, *, start: int = 0
) -> jax.Array:
    """Draws elements one after the other, each given all that are known.

        x_i ~ p(x_i | x_known),  i = order[start], order[start + 1], ..., order[D - 1]

    All of a sequence with `start` 0; what is missing, where an order begins with what is known; one
    sweep of block Gibbs sampling of D - start elements, with random orders.

    Args:
        key: of the draw.
        conditionals: as in the module's docstring.
        x: [B, D]; what it has beyond the first `start` of the order is not read.
        order: [B, D].
        start: elements that are kept.

    Returns:
        int32 [B, D], nothing unknown.

    Reference: A Deep and Tractable Density Estimator (Uria et al., 2014); block Gibbs: Generative
    Marginalization Models (Liu et al., 2023).
    """
    rows = jnp.arange(len(x))

    def draw(x, told):
        key, at = told
        drawn = jax.random.categorical(key, conditionals(x)[rows, at])
        return x.at[rows, at].set(drawn.astype(x.dtype)), None

    keys = jax.random.split(key, x.shape[1] - start)
    begun = known(x, order, start).astype(jnp.int32)
    return jax.lax.scan(draw, begun, (keys, order.T[start:]))[0]


def order_log_prob(conditionals: Callable, x: jax.Array, order: jax.Array) -> jax.Array:
    """Log-likelihood of sequences by their order: D passes.

        sum_d log p(x_s(d) | x_s(<d)),  s = order

    Args:
        conditionals: as in the module's docstring.
        x: int [B, D], nothing unknown.
        order: [B, D].

    Returns:
        Nats [B].

    Reference: A Deep and Tractable Density Estimator (Uria et al., 2014).
    """
    chex.assert_equal_shape([x, order])
    rows = jnp.arange(len(x))

    def tell(seen, at):
        logits = jax.nn.log_softmax(conditionals(seen)[rows, at])
        value = x[rows, at]
        return seen.at[rows, at].set(value), logits[rows, value]

    return jax.lax.scan(tell, jnp.full_like(x, UNKNOWN), order.T)[1].sum(0)


def one_log_prob(key: jax.Array, conditionals: Callable, x: jax.Array) -> jax.Array:
    """Log-likelihood of sequences guessed from one element of one order: a single pass.

        D log p(x_s(d) | x_s(<d)),  an order s and a place d of each row drawn evenly

    Args:
        key: of the draw.
        conditionals: as in the module's docstring.
        x: int [B, D], nothing unknown.

    Returns:
        Nats [B]; the mean over draws is that of `order_log_prob` over orders.

    Reference: Autoregressive Diffusion Models (Hoogeboom et al., 2022).
    """
    before, _, at = _cut(key, x)
    return x.shape[1] * _told(conditionals, x, before, at)


def inconsistency(
    key: jax.Array, log_marginal: Callable, conditionals: Callable, x: jax.Array
) -> jax.Array:
    """By how much a marginal differs from the one with an element less, and its conditional.

        log p(x_s(<d)) + log p(x_s(d) | x_s(<d)) - log p(x_s(<=d)),  s and d drawn evenly

    Args:
        key: of the draw.
        log_marginal: maps x, some of it unknown, to log p of what is known [B].
        conditionals: as in the module's docstring.
        x: int [B, D], nothing unknown.

    Returns:
        Nats [B], with a sign; zero for a distribution.

    Reference: Generative Marginalization Models (Liu et al., 2023).
    """
    before, now, at = _cut(key, x)
    return log_marginal(before) + _told(conditionals, x, before, at) - log_marginal(now)


def _cut(key, x):
    """What is known before and after some element, and which element that is [B]."""
    k_order, k_count = jax.random.split(key)
    order = orders(k_order, *x.shape)
    count = jax.random.randint(k_count, (len(x),), 0, x.shape[1])
    return known(x, order, count), known(x, order, count + 1), order[jnp.arange(len(x)), count]


def _told(conditionals, x, before, at):
    rows = jnp.arange(len(x))
    return jax.nn.log_softmax(conditionals(before)[rows, at])[rows, x[rows, at]]
