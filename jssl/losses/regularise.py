"""Penalties on parameters: sums over a whole tree, so the weight is the caller's to scale."""

import chex
import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import widen


def l1(params: chex.ArrayTree) -> jax.Array:
    """Sum of absolute values of all floating leaves, kernels and biases alike.

        sum |theta|

    Args:
        params: any pytree of arrays; integer leaves and typed keys do not count.

    Returns:
        A scalar; its gradient at zero is zero.

    Reference: Regression Shrinkage and Selection via the Lasso (Tibshirani, 1996).
    """
    # abs has the gradient 1 at zero, which would push parameters that are pruned.
    signed = [leaf * jax.lax.stop_gradient(jnp.sign(leaf)) for leaf in _floating(params)]
    return optax.tree.sum(signed)


def l2(params: chex.ArrayTree) -> jax.Array:
    """Sum of squares of all floating leaves, kernels and biases alike; not halved.

        sum theta^2

    Args:
        params: any pytree of arrays; integer leaves and typed keys do not count.

    Returns:
        A scalar.

    Reference: A Simple Weight Decay Can Improve Generalization (Krogh & Hertz, 1991).
    """
    return optax.tree.norm(_floating(params), squared=True)


def _floating(params):
    leaves = jax.tree.leaves(params)
    return [widen(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
