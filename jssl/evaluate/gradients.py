"""How noisy a gradient is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def gradient_variance(objective: Callable, params, batches) -> jax.Array:
    """How far the gradients of several batches lie from their mean.

        sum_j var_r g_rj,   g_r = grad objective(params, batch_r)

    Args:
        objective: (params, batch) -> scalar.
        params: any pytree.
        batches: R batches of one shape, stacked: every leaf [R, ...].

    Returns:
        Scalar: the trace of the unbiased covariance.

    Reference: An Empirical Model of Large-Batch Training (McCandlish et al., 2018).
    """
    gradients = jax.lax.map(lambda batch: jax.grad(objective)(params, batch), batches)
    return sum(jnp.var(g, axis=0, ddof=1).sum() for g in jax.tree.leaves(gradients))
