"""From the losses of rows to one number, where it is not their mean."""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def mean_above_zero(loss: jax.Array) -> jax.Array:
    """Mean of the losses that are not zero: rows that are in order do not water down the others.

    Args:
        loss: of rows, pairs or triplets [...].

    Returns:
        A scalar; zero where all are.

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """
    return mean_between(loss, low=0.0)


def mean_between(loss: jax.Array, *, low: float = -jnp.inf, high: float = jnp.inf) -> jax.Array:
    """Mean of the losses that lie between two bounds, both excluded.

    Args:
        loss: of rows, pairs or triplets [...].
        low, high: the bounds.

    Returns:
        A scalar; zero where none lies between.

    Reference: A Metric Learning Reality Check (Musgrave et al., 2020), whose library has it.
    """
    loss = widen(loss)
    chosen = (loss > low) & (loss < high)
    return jnp.where(chosen, loss, 0.0).sum() / jnp.maximum(chosen.sum(), 1).astype(loss.dtype)


def class_weighted(loss: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean of the losses, each times the weight of its row's class.

        1/B sum_i w_(y_i) L_i

    Args:
        loss: of rows [B].
        labels: classes [B], integer.
        weights: w [K].

    Returns:
        A scalar.

    Reference: A Metric Learning Reality Check (Musgrave et al., 2020), whose library has it.
    """
    check_axes(loss=(loss, 'B'), labels=(labels, 'B'), weights=(weights, 'K'))
    return (widen(loss) * widen(weights)[labels]).mean()
