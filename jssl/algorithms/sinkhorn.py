"""Entropic optimal transport: the general plan, and SwAV's codes as its uniform case.

The plain scaling form costs two matrix-vector products an iteration but underflows once the costs
spread over more than about 80 epsilon; the log-domain form never does and costs two passes of exp.
So: scaling where it is provably safe, otherwise blocks of iterations that absorb the potentials
into the kernel (Schmitzer, 2019), each in scaling form if its kernel allows that and in the log
domain if not. The choice is made from values, inside `jit`.
"""

import functools

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32

# Potentials may move this far, in log units, around a kernel before float32 (exp(-87)) loses mass.
_SAFE_SPREAD = 60.0
_START = 5  # updates in the log domain from zero potentials, whose kernel has empty columns
_BLOCKS = range(10, 26)  # updates per kernel; none moves the potentials further than the one before
_FORBIDDEN = -1e30


def sinkhorn(scores: jax.Array, *, epsilon: float = 0.05, iterations: int = 3) -> jax.Array:
    """Soft codes that use all prototypes equally: SwAV's assignment, without gradient.

        Q = argmax_Q Tr(Q^T S) + epsilon H(Q)  with Q 1 = 1/B, Q^T 1 = 1/K;  returned times B

    Each iteration normalises prototypes first and samples last, so rows always sum to one, and
    columns to B/K in the limit of many iterations. The batch is the global batch.

    Args:
        scores: similarities of samples and prototypes [B, K].
        epsilon: weight of the entropy.
        iterations: number of alternating normalisations.

    Returns:
        Codes [B, K], float32 or wider.

    Reference: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments
    (Caron et al., 2020).
    """
    chex.assert_rank(scores, 2)
    scores = jax.lax.stop_gradient(scores)
    return scores.shape[0] * sinkhorn_plan(-scores, epsilon=epsilon, iterations=iterations)


@functools.partial(jax.jit, static_argnames='iterations')
def sinkhorn_plan(
    cost: jax.Array,
    a: jax.Array | None = None,
    b: jax.Array | None = None,
    *,
    epsilon: float = 0.05,
    iterations: int = 100,
) -> jax.Array:
    """Entropic optimal transport plan, differentiable in the cost and in both marginals.

        P = argmin_P <P, C> - epsilon H(P)  with P 1 = a, P^T 1 = b

    The last update is that of the rows: P 1 = a holds exactly, P^T 1 = b in the limit. The number
    of iterations is fixed, so the gradient is that of the plan returned, converged or not. Memory
    of the backward pass is one kernel and the potentials of every iteration.

    Args:
        cost: cost of moving mass from n to m [N, M]; an infinite cost forbids the pair.
        a: mass of the rows [N], non-negative, with the same sum as `b`; uniform when None.
        b: mass of the columns [M]; uniform when None.
        epsilon: weight of the entropy, in units of the cost.
        iterations: number of alternating updates, columns first.

    Returns:
        Plan [N, M], float32 or wider.

    Reference: Sinkhorn Distances (Cuturi, 2013); Stabilized Sparse Scaling Algorithms for Entropy
    Regularized Transport Problems (Schmitzer, 2019).
    """
    chex.assert_rank(cost, 2)
    if iterations < 1:
        raise ValueError(f'iterations must be at least 1, got {iterations}')
    n, m = cost.shape
    logits = -at_least_float32(cost)
    dtype = logits.dtype
    a = jnp.full(n, 1 / n, dtype) if a is None else a.astype(dtype)
    b = jnp.full(m, 1 / m, dtype) if b is None else b.astype(dtype)
    chex.assert_shape(a, (n,))
    chex.assert_shape(b, (m,))

    logits = (logits - jax.lax.stop_gradient(logits.max())) / epsilon
    logits = jnp.maximum(logits, _FORBIDDEN)  # infinities would make NaN of the potentials
    potentials = jnp.zeros(n, dtype), jnp.zeros(m, dtype)
    _, g = jax.lax.cond(
        logits.min() >= -_SAFE_SPREAD,
        lambda: _scaling_updates(jnp.exp(logits), a, b, potentials, iterations),
        lambda: _absorbing_updates(logits, a, b, potentials, iterations),
    )
    # The rows' update of the last iteration once more, as a softmax: its sum cannot drift.
    logits = logits + g[None, :]
    top = jnp.max(logits, axis=1, keepdims=True, where=b[None, :] > 0, initial=2 * _FORBIDDEN)
    weights = b[None, :] * _bounded_exp(logits - jax.lax.stop_gradient(top))
    return a[:, None] * weights / weights.sum(1, keepdims=True)


# Throughout, P = a_n b_m exp(logits + f_n + g_m): with the marginals outside the kernel, points
# without mass have finite potentials too.


def _bounded_exp(logits):
    """exp, which only points without mass could overflow."""
    return jnp.exp(jnp.minimum(logits, _SAFE_SPREAD))


def _scaling_updates(kernel, a, b, potentials, iterations):
    """Matrix scaling; u and v are carried as logs because their gradients stay of order one."""
    tiny = jnp.finfo(kernel.dtype).tiny

    def step(carry, _):
        log_u, _ = carry
        columns = jnp.matmul(a * jnp.exp(log_u), kernel, precision='highest')
        log_v = -jnp.log(jnp.maximum(columns, tiny))
        rows = jnp.matmul(kernel, b * jnp.exp(log_v), precision='highest')
        log_u = -jnp.log(jnp.maximum(rows, tiny))
        return (log_u, log_v), None

    carry = jax.tree.map(jnp.zeros_like, potentials)
    carry, _ = jax.lax.scan(step, carry, length=iterations)
    return jax.tree.map(jnp.add, potentials, carry)


def _log_updates(logits, a, b, potentials, iterations):
    """The same updates in the log domain; recomputed backwards, else every pass would be kept."""

    @jax.checkpoint
    def step(carry, _):
        f, _ = carry
        g = -jax.nn.logsumexp(logits + f[:, None], axis=0, b=a[:, None])
        f = -jax.nn.logsumexp(logits + g[None, :], axis=1, b=b[None, :])
        return (f, g), None

    potentials, _ = jax.lax.scan(step, potentials, length=iterations)
    return potentials


def _absorbing_updates(logits, a, b, potentials, iterations):
    """Log-domain start, then blocks of updates around a kernel with the potentials taken in."""

    def block(potentials, length):
        f, g = potentials
        kernel = _bounded_exp(logits + g[None, :] + f[:, None])  # rows sum to one, weighted by b
        columns = jnp.matmul(a, kernel, precision='highest')
        step = jnp.log(columns.max()) - jnp.log(columns.min())
        return jax.lax.cond(
            step * length <= _SAFE_SPREAD,
            lambda: _scaling_updates(kernel, a, b, potentials, length),
            lambda: _log_updates(logits, a, b, potentials, length),
        )

    rest = max(iterations - _START, 0)
    length = min(_BLOCKS, key=lambda length: (rest % length, -length))
    potentials = _log_updates(logits, a, b, potentials, iterations - rest + rest % length)
    body = jax.checkpoint(lambda carry, _: (block(carry, length), None))
    potentials, _ = jax.lax.scan(body, potentials, length=rest // length)
    return potentials
