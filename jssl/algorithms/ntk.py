"""The empirical neural tangent kernel, regression with it, and training in its limit."""

from collections.abc import Callable

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp


def ntk(apply: Callable, params, x1: jax.Array, x2: jax.Array | None = None) -> jax.Array:
    """Kernel of the gradients of a network's outputs.

    K(x, x') = sum_p (df(x) / dp) (df(x') / dp)

    Args:
      apply: `(params, x [B, ...]) -> [B]` or `[B, K]`, rows independent of each other.
      params: a pytree of arrays.
      x1: [B1, ...].
      x2: [B2, ...]; None for x1 itself.
    Returns: [B1, B2] for scalar outputs, [B1, B2, K, K] for vectors.

    Neural Tangent Kernel: Convergence and Generalization in Neural Networks (Jacot et al., 2018).
    """
    j1 = _jacobian(apply, params, x1)
    j2 = j1 if x2 is None else _jacobian(apply, params, x2)
    kernel = jnp.tensordot(j1, j2, (-1, -1))
    return kernel if kernel.ndim == 2 else kernel.transpose(0, 2, 1, 3)


def _jacobian(apply, params, x):
    """[B, parameters] or [B, K, parameters]."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def output(flat, row):
        y = apply(unravel(flat), row[None])
        if y.ndim not in (1, 2):
            raise ValueError(f'apply must return [B] or [B, K], got shape {y.shape}')
        return y[0]

    return jax.vmap(jax.jacrev(output), (None, 0))(flat, x)


def linearise(apply: Callable, params) -> Callable:
    """The network's first-order expansion in its parameters: training it keeps the kernel frozen.

    f_lin(p, x) = f(p0, x) + (df(p0, x) / dp) (p - p0)

    Args:
      apply: `(params, x) -> y`.
      params: p0, the point of expansion.
    Returns: `(params, x) -> y`, linear in params - p0.

    Wide Neural Networks of Any Depth Evolve as Linear Models Under Gradient Descent (Lee et al.,
    2019).
    """

    def linear(moved, x):
        step = jax.tree.map(jnp.subtract, moved, params)
        value, change = jax.jvp(lambda p: apply(p, x), (params,), (step,))
        return value + change

    return linear


def kernel_regression(
    train: jax.Array, test: jax.Array, y: jax.Array, *, ridge: float = 1e-5
) -> jax.Array:
    """What training for ever with a fixed kernel predicts.

    f = K_* (K + ridge mean(diag K) I)^-1 y

    Args:
      train: K [P, P].
      test: K_* [M, P], test points against training points.
      y: [P] or [P, K].
      ridge: relative to the mean of K's diagonal; duplicated points need a positive one.
    Returns: [M] or [M, K].

    Neural Tangent Kernel: Convergence and Generalization in Neural Networks (Jacot et al., 2018).
    """
    chex.assert_rank([train, test], 2)
    points = train.shape[0]
    if train.shape[1] != points or test.shape[1] != points or y.shape[0] != points:
        raise ValueError(
            f'train must be [P, P], test [M, P] and y [P] or [P, K], got shapes {train.shape},'
            f' {test.shape} and {y.shape}'
        )
    # LAPACK knows no half precision
    train, test, y = (a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in (train, test, y))
    scale = jnp.trace(train) / points
    scale = jnp.where(scale > 0, scale, 1.0)  # a kernel of zeros predicts zero
    regular = train / scale + ridge * jnp.eye(points, dtype=train.dtype)
    # LU and not Cholesky: rounding can leave a kernel of low rank slightly indefinite
    return (test / scale) @ jnp.linalg.solve(regular, y)
