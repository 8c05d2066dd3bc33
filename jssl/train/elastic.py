"""What holds weights where earlier tasks left them: Fisher information and its penalty."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def fisher_diagonal(logits: Callable, params, x: jax.Array, y: jax.Array):
    """How much each weight matters to a classifier: F = mean_n (d log p(y_n | x_n) / d params)^2.

    Args:
      logits: (params, x [1, ...]) -> [1, K].
      params: any pytree.
      x: inputs [N, ...], gone through one at a time.
      y: their labels [N], integer.

    Returns: a tree like `params`.

    Overcoming catastrophic forgetting in neural networks (Kirkpatrick et al., 2017), with the
    labels of the data: the empirical Fisher information.
    """

    def surprise(params, x, y):
        each = optax.losses.softmax_cross_entropy_with_integer_labels
        return each(logits(params, x[None]), y[None])[0]

    def add(total, row):
        gradient = jax.grad(surprise)(params, *row)
        return jax.tree.map(lambda t, g: t + jnp.square(g), total, gradient), None

    total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), (x, y))
    return jax.tree.map(lambda t: t / len(x), total)


def elastic_penalty(params, anchor, fisher) -> jax.Array:
    """Half the squared distance from earlier weights, in their metric: 1/2 sum_i F_i (w_i - a_i)^2.

    Overcoming catastrophic forgetting in neural networks (Kirkpatrick et al., 2017), equation 3.
    """
    each = jax.tree.map(lambda w, a, f: (f * jnp.square(w - a)).sum(), params, anchor, fisher)
    return sum(jax.tree.leaves(each)) / 2
