"""Clustering as semidefinite programs over membership matrices, solved by ADMM."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32


class ClusterSDP(NamedTuple):
    """A solution, how far it is from feasible and optimal, and what a warm start needs."""

    parts: jax.Array  # Z [J, N, N]
    objective: jax.Array  # sum_j <A_j, Z_j>
    bound: jax.Array  # of the dual: no feasible Z has a larger objective
    residual: jax.Array  # largest entry by which the copies of Z differ
    copies: jax.Array  # [2, J, N, N], semidefinite and non-negative
    prices: jax.Array  # [2, J, N, N], scaled dual variables of the copies


def cluster_sdp(
    affinities: jax.Array,
    traces: jax.Array,
    *,
    start: ClusterSDP | None = None,
    penalty: float = 0.1,
    iterations: int = 200,
) -> ClusterSDP:
    """Maximises an affinity over relaxed cluster memberships.

        max sum_j <A_j, Z_j>  s.t.  Z_j >= 0, Z_j psd, tr Z_j = t_j, sum_j Z_j 1 = 1

    The relaxation of Z_j = 1_G 1_G' / |G| for clusters G that part all points: one matrix with
    trace K gives k-means (Peng and Wei), K of them with trace 1 a likelihood with unequal shapes.
    A step of ADMM: Y = psd(Z + U), W = max(Z + V, 0), Z the feasible point nearest to
    (Y - U + W - V + A / rho) / 2, U += Z - Y, V += Z - W. The bound holds for any prices, converged
    or not: A_j + N_j - M_j has no eigenvalue above l_j, with N the price of Z >= 0 and M that of
    the equalities, so that no objective exceeds 1'y + sum_j t_j (tau_j + l_j).

    Args:
      affinities: A [J, N, N], symmetric.
      traces: t [J], non-negative.
      start: an earlier solution to go on from.
      penalty: rho, relative to the spread of A.
      iterations: of ADMM.

    Returns: ClusterSDP with parts [J, N, N].

    Approximating K-means-type Clustering via Semidefinite Programming (Peng and Wei, 2007);
    Likelihood Adjusted Semidefinite Programs (Zhuang et al., 2023).
    """
    chex.assert_rank([affinities, traces], [3, 1])
    a = at_least_float32(affinities)
    count, n, _ = a.shape
    chex.assert_shape(a, (count, n, n))
    rho = penalty * jnp.maximum(a.std(), jnp.finfo(a.dtype).tiny) * n
    if start is None:
        even = jnp.full(a.shape, 1 / (n * count), a.dtype)
        copies, prices = jnp.stack([even, even]), jnp.zeros((2, *a.shape), a.dtype)
    else:
        copies, prices = start.copies, start.prices

    def update(_, carry):
        copies, prices = carry
        z = _feasible(0.5 * ((copies - prices).sum(0) + a / rho), traces)
        copies = jnp.stack([_semidefinite(z + prices[0]), jnp.maximum(z + prices[1], 0)])
        return copies, prices + z[None] - copies

    copies, prices = jax.lax.fori_loop(0, iterations, update, (copies, prices))
    z = _feasible(copies.mean(0), traces)
    residual = jnp.abs(z[None] - copies).max()
    more = a - rho * jnp.minimum(prices[1], 0)
    # The equalities' own prices: what leaves of `more` the price of the semidefinite copy alone.
    rows, diagonal = _equalities(more - rho * prices[0], 0.0, 0.0)
    largest = jnp.linalg.eigvalsh(more + _spanned(rows, diagonal))[:, -1]
    bound = -rows.sum() + (traces * (largest - diagonal)).sum()
    return ClusterSDP(z, (a * z).sum(), bound, residual, copies, prices)


def _spanned(rows, diagonal):
    """(y 1' + 1 y') / 2 + tau_j I, [J, N, N]."""
    symmetric = 0.5 * (rows[:, None] + rows[None, :])
    return symmetric[None] + diagonal[:, None, None] * jnp.eye(len(rows), dtype=rows.dtype)[None]


def _equalities(m, sums, traces):
    """(y, tau) for which M_j + (y 1' + 1 y') / 2 + tau_j I has these row sums and traces."""
    count, n, _ = m.shape
    short = sums - m.sum((0, 2))
    lacks = traces - jnp.trace(m, axis1=1, axis2=2)
    total = (short.sum() - lacks.sum()) / (count * (n - 1))  # 1'y
    diagonal = (lacks - total) / n
    rows = (2 / count * (short - diagonal.sum()) - total) / n
    return rows, diagonal


def _feasible(m, traces):
    """The nearest matrices that keep the equalities."""
    return m + _spanned(*_equalities(m, 1.0, traces))


def _semidefinite(m):
    """The nearest positive semidefinite matrices."""
    values, vectors = jnp.linalg.eigh(m)
    return jnp.matmul(vectors * jnp.maximum(values, 0)[:, None, :], vectors.mT, precision='highest')


def profile_affinity(x: jax.Array, covariances: jax.Array) -> jax.Array:
    """Affinities whose sum over a cluster is twice its Gaussian log-likelihood at the best mean.

        A_k[i, j] = -(x_i - x_j)' S_k^-1 (x_i - x_j) / 2 - log |S_k|

    sum_k <A_k, Z_k> of the memberships Z_k = 1_G 1_G' / |G| leaves out constants alone.

    Args:
      x: points [N, D].
      covariances: S [K, D, D], positive definite.

    Returns: A [K, N, N].

    Likelihood Adjusted Semidefinite Programs (Zhuang et al., 2023), equation 9.
    """
    chex.assert_rank([x, covariances], [2, 3])
    factors = jnp.linalg.cholesky(covariances)

    def one(factor):
        z = jax.lax.linalg.triangular_solve(factor, x.T, left_side=True, lower=True).T
        squares = jnp.square(z[:, None] - z[None]).sum(-1)
        return -0.5 * squares - 2 * jnp.log(jnp.diagonal(factor)).sum()

    return jax.vmap(one)(factors)


def membership_covariances(
    x: jax.Array, parts: jax.Array, *, ridge: float | jax.Array = 1e-3
) -> jax.Array:
    """Covariances of clusters that are given by membership matrices, with a ridge.

        S_k = sum_ij Z_k[i, j] (x_i - x_j) (x_i - x_j)' / (2 1' Z_k 1) + ridge I

    Args:
      x: points [N, D].
      parts: Z [K, N, N], symmetric and non-negative.
      ridge: what is added to the variances.

    Returns: S [K, D, D]; of an empty cluster the ridge alone.

    Likelihood Adjusted Semidefinite Programs (Zhuang et al., 2023), equation 12.
    """
    chex.assert_rank([x, parts], [2, 3])
    x = x - x.mean(0, keepdims=True)
    degrees = parts.sum(2)
    own = jnp.einsum('kn,nd,ne->kde', degrees, x, x, precision='highest')
    cross = jnp.einsum('kmn,md,ne->kde', parts, x, x, precision='highest')
    mass = jnp.maximum(degrees.sum(1), jnp.finfo(x.dtype).tiny)[:, None, None]
    return (own - cross) / mass + ridge * jnp.eye(x.shape[1], dtype=x.dtype)[None]


def membership_matrices(labels: jax.Array, k: int) -> jax.Array:
    """The matrices Z_k = 1_G 1_G' / |G| of a clustering.

    Args:
      labels: int [N].
      k: number of clusters; an empty one gets zeros.

    Returns: Z [K, N, N].

    Approximating K-means-type Clustering via Semidefinite Programming (Peng and Wei, 2007).
    """
    chex.assert_rank(labels, 1)
    member = jax.nn.one_hot(labels, k, axis=0)
    size = jnp.maximum(member.sum(1), 1)[:, None, None]
    return member[:, :, None] * member[:, None, :] / size
