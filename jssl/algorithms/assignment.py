"""One-to-one matching: clusters to classes on the host, any cost matrix inside `jit`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl.algorithms._precision import at_least_float32


def match_labels(confusion) -> np.ndarray:
    """The one-to-one map from clusters to classes that agrees with the most labels; on the host.

        argmax_m sum_k confusion[k, m(k)]

    Args:
        confusion: number of points of every cluster and class [K, C].

    Returns:
        Class of every cluster [K]; -1 for the clusters left over when K > C.

    Reference: The Hungarian Method for the Assignment Problem (Kuhn, 1955).
    """
    from scipy.optimize import linear_sum_assignment  # half a second, on the first use only

    confusion = np.asarray(confusion)
    chex.assert_rank(confusion, 2)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    matches = np.full(len(confusion), -1)
    matches[rows] = columns
    return matches


@jax.jit
def match_costs(cost: jax.Array) -> jax.Array:
    """The cheapest one-to-one matching of rows to columns; jit-able, to be used inside a loss.

        argmin_m sum_n cost[n, m(n)]

    Args:
        cost: finite cost of every pair [N, M].

    Returns:
        Column of every row [N], int32, without gradient; -1 for the rows left over when N > M.

    Reference: The Hungarian Method for the Assignment Problem (Kuhn, 1955).
    """
    chex.assert_rank(cost, 2)
    cost = at_least_float32(jax.lax.stop_gradient(cost))
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    return jnp.full(cost.shape[0], -1, jnp.int32).at[rows].set(columns.astype(jnp.int32))
