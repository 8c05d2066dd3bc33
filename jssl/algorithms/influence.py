"""Influence functions: what the optimum would be if examples were weighted otherwise."""

import jax
import jax.numpy as jnp


def woodfisher(gradients: jax.Array, vector: jax.Array, *, count: int | None = None) -> jax.Array:
    """Inverse-Hessian-vector product H^-1 v by one pass over per-example gradients.

    o_1 = g_1, k = v; for every further g:
        k <- k - (k.g / (N + o.g)) o,   o <- o - (o.g / (N + o.g)) o

    H is the empirical Fisher matrix with a unit ridge, and o stands for H^-1 g: one vector for all
    examples, which makes the pass linear in their number and an approximation.

    Args:
      gradients: g [N, P], a row per example (or per small batch).
      vector: v [P].
      count: N in the formula; None is the number of rows.

    Returns:
      H^-1 v [P].

    WoodFisher: Efficient Second-Order Approximation for Neural Network Compression (Singh and
    Alistarh, 2020); in this form in Model Sparsity Can Simplify Machine Unlearning (Jia et al.,
    2023).
    """
    if gradients.ndim != 2 or gradients.shape[1:] != vector.shape:
        raise ValueError(
            f'gradients must be [N, P] and vector [P], got {gradients.shape} and {vector.shape}'
        )
    count = gradients.shape[0] if count is None else count

    def absorb(carry, g):
        k, o = carry
        flow = jnp.dot(o, g)
        k = k - jnp.dot(k, g) / (count + flow) * o
        o = o - flow / (count + flow) * o
        return (k, o), None

    (k, _), _ = jax.lax.scan(absorb, (vector, gradients[0]), gradients[1:])
    return k
