"""Labels spread over a graph from a few labelled nodes."""

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms.spectral import normalised_affinity


def label_propagation(
    affinity: jax.Array,
    labels: jax.Array,
    *,
    classes: int,
    alpha: float = 0.99,
    iterations: int | None = None,
) -> jax.Array:
    """Scores of the classes at every node: its neighbours' scores and its own label, if it has one.

        F <- alpha S F + (1 - alpha) Y,  S = D^{-1/2} W D^{-1/2}
        F* = (1 - alpha) (I - alpha S)^{-1} Y

    Args:
        affinity: symmetric non-negative weights W [N, N] with a diagonal of zeros.
        labels: class of every node [N], -1 where unknown.
        classes: number of classes C.
        alpha: share of the neighbours, in [0, 1).
        iterations: number of updates from F = Y; the limit F*, by a Cholesky solve, when None.

    Returns:
        Non-negative scores [N, C]; rows without a path to a labelled node are zero.

    Reference: Learning with Local and Global Consistency (Zhou et al., 2004).
    """
    chex.assert_rank([affinity, labels], [2, 1])
    chex.assert_shape(affinity, (labels.shape[0], labels.shape[0]))
    smooth = normalised_affinity(affinity)
    y = jax.nn.one_hot(labels, classes, dtype=smooth.dtype)  # -1 gives a row of zeros
    if iterations is None:
        system = jnp.eye(y.shape[0], dtype=y.dtype) - alpha * smooth
        scores = jax.scipy.linalg.solve(system, (1 - alpha) * y, assume_a='pos')
        return jnp.maximum(scores, 0)  # negative by rounding only

    def spread(f, _):
        return alpha * jnp.matmul(smooth, f, precision='highest') + (1 - alpha) * y, None

    scores, _ = jax.lax.scan(spread, y, length=iterations)
    return scores
