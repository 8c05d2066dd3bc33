"""Influence functions: what the optimum would be if examples were weighted otherwise."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree


def example_gradients(loss: Callable, params, *rows) -> jax.Array:
    """The gradient of every single example, flat: g_i = d loss(params, *row_i) / d params.

    Args:
      loss: (params, *row) -> scalar, of one example without a batch axis.
      params: any pytree, P numbers in all.
      rows: arrays [N, ...], mapped over together.

    Returns:
      [N, P]; `jax.flatten_util.ravel_pytree(params)[1]` turns a row back into a tree.

    Understanding Black-box Predictions via Influence Functions (Koh and Liang, 2017).
    """

    def one(*row):
        return ravel_pytree(jax.grad(loss)(params, *row))[0]

    return jax.vmap(one)(*rows)


def influence_update(retained: jax.Array, forgotten: jax.Array, *, share: float) -> jax.Array:
    """How the optimum moves when a share of the data loses its weight: H^-1 grad L(1/N - w).

    w is 1 / |D_r| on the retained data and 0 on the forgotten, so the gradient is
    share (mean g_f - mean g_r); H^-1 is `woodfisher` on the retained gradients.

    Args:
      retained, forgotten: per-example gradients [N, P] and [M, P], samples of the two parts.
      share: forgotten part of all the data.

    Returns:
      [P], to be added to the parameters.

    Approximate Data Deletion from Machine Learning Models (Izzo et al., 2021); Model Sparsity Can
    Simplify Machine Unlearning (Jia et al., 2023).
    """
    vector = share * (forgotten.mean(0) - retained.mean(0))
    return woodfisher(retained, vector)


def fisher_noise(key: jax.Array, retained: jax.Array, *, alpha: float, cap: float = 1e3):
    """Noise that hides what the retained data does not pin down: N(0, alpha min(1 / F, cap)).

    Args:
      key: random key.
      retained: per-example gradients [N, P]; F is the diagonal of their Fisher matrix.
      alpha: variance where F is one.
      cap: largest inverse Fisher information.

    Returns:
      [P], to be added to the parameters.

    Eternal Sunshine of the Spotless Net (Golatkar et al., 2020).
    """
    inverse = jnp.minimum(1 / (jnp.square(retained).mean(0) + 1e-8), cap)
    return jnp.sqrt(alpha * inverse) * jax.random.normal(key, inverse.shape)


def largest_curvature(loss: Callable, params, mask, *, iterations: int = 20) -> jax.Array:
    """The largest absolute eigenvalue of the Hessian on the entries that `mask` keeps.

    v <- m H v / |m H v|, repeated; Hessian-vector products forward over reverse

    Args:
      loss: params -> scalar.
      params: any pytree.
      mask: the same tree, 1 where an entry takes part.
      iterations: of the power method.

    Returns:
      A scalar.

    Fast Exact Multiplication by the Hessian (Pearlmutter, 1994).
    """
    flat, back = ravel_pytree(params)
    kept = ravel_pytree(mask)[0].astype(flat.dtype)

    def turn(v, _):
        curved = (
            kept * jax.jvp(lambda p: ravel_pytree(jax.grad(loss)(back(p)))[0], (flat,), (v,))[1]
        )
        size = jnp.linalg.norm(curved)
        return curved / (size + 1e-12), size

    # Not a constant start: it can be orthogonal to the leading eigenvector.
    start = kept * jax.random.normal(jax.random.key(0), flat.shape)
    _, sizes = jax.lax.scan(turn, start / jnp.linalg.norm(start), None, length=iterations)
    return sizes[-1]


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
