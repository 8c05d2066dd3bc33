"""Redundancy reduction: no negatives, but the batch as a whole must fill the space.

Most are batch scalars: statistics of the whole batch, without a value for each row.
"""

import functools

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import cosine_similarity, distance_matrix, normalise
from jssl.losses.tiles import by_rows


def barlow_twins(
    z1: jax.Array, z2: jax.Array, *, lambda_: float = 5e-3, epsilon: float = 1e-5
) -> jax.Array:
    """Distance of the two views' cross-correlation matrix from the identity; a batch scalar.

        L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2
        C = zn1^T zn2 / B,   zn = (z - mean_b z) / sqrt(var_b z + epsilon)

    Args:
        z1, z2: projections of two views [B, D].
        lambda_: weight of the off-diagonal.
        epsilon: added to each column's variance; a constant column has no correlations.

    Returns:
        Loss of the batch, a scalar.

    Reference: Barlow Twins: Self-Supervised Learning via Redundancy Reduction (Zbontar et al.,
    2021).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    c = _correlations(epsilon, widen(z1), widen(z2))
    diagonal = jnp.diagonal(c)
    return jnp.sum(jnp.square(1 - diagonal)) + lambda_ * _off_diagonal_square(c)


def vicreg(
    z1: jax.Array,
    z2: jax.Array,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    epsilon: float = 1e-4,
) -> jax.Array:
    """Invariance of pairs, a floor on each column's deviation, no covariance; a batch scalar.

        L = invariance s(z1, z2) + variance (v(z1) + v(z2)) + covariance (c(z1) + c(z2))
        s = mean (z1 - z2)^2                             over rows and columns
        v = mean_d max(0, 1 - sqrt(Var_d + epsilon))
        c = 1/D sum_{i != j} C_ij^2                      C, Var: unbiased, over B - 1

    As in the paper's algorithm 1: s is a mean over columns too (equation 5 sums them), and v is not
    halved (the authors' code does).

    Args:
        z1, z2: projections of two views [B, D].
        invariance, variance, covariance: weights of the three terms.
        epsilon: added to the variance under the root.

    Returns:
        Loss of the batch, a scalar.

    Reference: VICReg: Variance-Invariance-Covariance Regularization (Bardes et al., 2022).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    z1, z2 = widen(z1), widen(z2)
    loss = invariance * jnp.mean(jnp.square(z1 - z2))
    for z in (z1, z2):
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        c = centred.T @ centred / max(z.shape[0] - 1, 1)
        deviation = jnp.sqrt(jnp.diagonal(c) + epsilon)
        loss += variance * jnp.mean(jax.nn.relu(1 - deviation))
        loss += covariance * _off_diagonal_square(c) / z.shape[1]
    return loss


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _correlations(epsilon, z1, z2):
    """Of the columns of two arrays [D, D]; the slope takes no sums over rows but one product."""
    return _correlated(epsilon, z1, z2)[0]


def _correlated(epsilon, z1, z2):
    centred = [z - z.mean(0, keepdims=True) for z in (z1, z2)]
    inverse = [jax.lax.rsqrt(jnp.square(z).mean(0) + epsilon) for z in centred]
    scale = jnp.outer(*inverse) / z1.shape[0]
    c = (centred[0].T @ centred[1]) * scale
    return c, (centred, inverse, scale, c)


def _correlation_slopes(epsilon, known, slope):
    (z1, z2), inverse, scale, c = known
    own = [(slope * c).sum(1 - i) * jnp.square(inverse[i]) / z1.shape[0] for i in (0, 1)]
    towards1 = z2 @ (slope * scale).T - z1 * own[0][None, :]
    return towards1, z1 @ (slope * scale) - z2 * own[1][None, :]


_correlations.defvjp(_correlated, _correlation_slopes)


def _off_diagonal_square(c):
    """Sum of squares off the diagonal; masked, as a difference of two sums would cancel."""
    return jnp.sum(jnp.where(jnp.eye(c.shape[0], dtype=bool), 0.0, jnp.square(c)))


def tico(
    z1: jax.Array,
    z2: jax.Array,
    covariance: jax.Array,
    *,
    beta: float = 0.9,
    rho: float = 8.0,
) -> tuple[jax.Array, jax.Array]:
    """Pairs alike, and away from the directions in which past batches spread most.

        C <- beta C + (1 - beta) 1/B sum_i u_i u_i^T
        L_i = 1 - u_i.v_i + rho u_i^T C u_i,   u, v: z1, z2 of unit length

    Args:
        z1, z2: projections of two views [B, D]; z2 of a momentum network, without gradient there.
        covariance: C of the batches before [D, D], zeros at the start; no gradient.
        beta: decay of C.
        rho: weight of the contrast.

    Returns:
        Loss of each row [B]; the next C [D, D], without gradient.

    Reference: TiCo: Transformation Invariance and Covariance Contrast for Self-Supervised Visual
    Representation Learning (Zhu et al., 2022).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'), covariance=(covariance, 'D E'))
    u, v = normalise(z1), normalise(z2)
    c = beta * jax.lax.stop_gradient(widen(covariance)) + (1 - beta) * (u.T @ u) / u.shape[0]
    loss = 1 - (u * v).sum(1) + rho * ((u @ c) * u).sum(1)
    return loss, jax.lax.stop_gradient(c)


def mmcr(z: jax.Array, *, lambda_: float = 0.0) -> jax.Array:
    """Centroids of the views that fill the space, views that fill none; a batch scalar.

        L = -|M|_* + lambda / B sum_b |Z_b|_*,   m_b = mean_v z_vb,   |.|_*: sum of singular values

    Args:
        z: projections of V views [V, B, D], scaled to unit length here.
        lambda_: weight of the spread of an image's views; the paper found 0 enough.

    Returns:
        Loss of the batch, a scalar; below zero.

    Reference: Learning Efficient Coding of Natural Images with Maximum Manifold Capacity
    Representations (Yerxa et al., 2023).
    """
    check_axes(z=(z, 'V B D'))
    z = normalise(z)
    loss = -_nuclear_norm(z.mean(0))
    if lambda_:
        loss += lambda_ * jax.vmap(_nuclear_norm, in_axes=1)(z).mean()
    return loss


def w_mse(z1: jax.Array, z2: jax.Array, *, epsilon: float = 1e-4) -> jax.Array:
    """Distance of the two views after the batch was whitened; whitening alone prevents collapse.

        u = W (z - mean z) of unit length,   W^T W = ((1 - e) Cov(z) + e I)^-1 by Cholesky
        L_i = |u1_i - u2_i|^2,   z = [z1; z2]

    Args:
        z1, z2: projections of two views [B, D], 2 B well above D.
        epsilon: e, the share of the identity in the covariance.

    Returns:
        Loss of each pair [B].

    Reference: Whitening for Self-Supervised Representation Learning (Ermolov et al., 2021).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    z = jnp.concatenate([widen(z1), widen(z2)])
    centred = z - z.mean(0, keepdims=True)
    covariance = centred.T @ centred / (z.shape[0] - 1)
    identity = jnp.eye(z.shape[1], dtype=z.dtype)
    # Of the trace: an absolute share would vanish beside large projections.
    scale = jax.lax.stop_gradient(jnp.trace(covariance) / z.shape[1]) + 1e-12
    factor = jnp.linalg.cholesky((1 - epsilon) * covariance / scale + epsilon * identity)
    white = jax.scipy.linalg.solve_triangular(factor, centred.T, lower=True).T
    u1, u2 = jnp.split(normalise(white), 2)
    return jnp.square(u1 - u2).sum(1)


def koleo(z: jax.Array, *, chunk: int | None = None) -> jax.Array:
    """Logarithm of the distance to the nearest other row: rows spread over the sphere.

        L_i = -log(min_{j != i} |u_i - u_j| + 1e-8),   u: z of unit length

    Args:
        z: representations [B, D].
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B]; zero for a batch of one.

    Reference: Spreading vectors for similarity search (Sablayrolles et al., 2019).
    """
    check_axes(z=(z, 'B D'))
    u = normalise(z)
    number = jnp.arange(z.shape[0])

    def of_rows(rows, index):
        itself = index[:, None] == number[None, :]
        return jnp.where(itself, 4.0, distance_matrix(rows, u)).min(1)

    nearest = by_rows(of_rows, (u, number), chunk)
    return -jnp.log(nearest + 1e-8) if z.shape[0] > 1 else 0.0 * nearest


def coding_rate(z: jax.Array, *, epsilon: float = 0.5) -> jax.Array:
    """Nats that it takes to code the rows of a batch up to a distortion; a batch scalar.

        R = 1/2 log det(I + D / (B e^2) Z^T Z)

    Args:
        z: representations [B, D], as they are.
        epsilon: e, the distortion.

    Returns:
        A scalar, not negative. To be made large: its negative is a loss.

    Reference: Learning Diverse and Discriminative Representations via the Principle of Maximal
    Coding Rate Reduction (Yu et al., 2020).
    """
    check_axes(z=(z, 'B D'))
    z = widen(z)
    return _rate(z.T @ z / z.shape[0], epsilon)


def mcr2(z: jax.Array, membership: jax.Array, *, epsilon: float = 0.5) -> jax.Array:
    """Rows as a whole take many nats, the rows of each group few; a batch scalar.

        L = -R(Z) + sum_k (tr P_k / B) 1/2 log det(I + D / (tr P_k e^2) Z^T P_k Z)

    Args:
        z: representations [B, D], as they are; the paper's have unit length.
        membership: diagonals of the P_k [B, K]: one-hot labels, or probabilities.
        epsilon: e, the distortion.

    Returns:
        A scalar: the rate reduction with its sign turned.

    Reference: Learning Diverse and Discriminative Representations via the Principle of Maximal
    Coding Rate Reduction (Yu et al., 2020).
    """
    check_axes(z=(z, 'B D'), membership=(membership, 'B K'))
    z, p = widen(z), widen(membership)
    size = p.sum(0)
    of_group = jnp.einsum('bd,bk,be->kde', z, p, z) / jnp.maximum(size, 1e-6)[:, None, None]
    rates = jax.vmap(lambda c: _rate(c, epsilon))(of_group)
    return (size / z.shape[0]) @ rates - coding_rate(z, epsilon=epsilon)


def emp_ssl(z: jax.Array, *, weight: float = 200.0, epsilon: float = 0.2) -> jax.Array:
    """Many crops alike to their mean, each crop's batch wide; a batch scalar.

        L = -mean_v R(Z_v) - weight mean_v mean_b cos(z_vb, mean_v z_vb)

    Args:
        z: projections of V crops [V, B, D], scaled to unit length here.
        weight: of the likeness.
        epsilon: squared distortion of the paper's code, e^2 = epsilon.

    Returns:
        Loss of the batch, a scalar.

    Reference: EMP-SSL: Towards Self-Supervised Learning in One Training Epoch (Tong et al., 2023).
    """
    check_axes(z=(z, 'V B D'))
    u = normalise(z)
    rates = jax.vmap(lambda view: coding_rate(view, epsilon=epsilon**0.5))(u)
    mean = jnp.broadcast_to(u.mean(0, keepdims=True), u.shape)
    return -rates.mean() - weight * cosine_similarity(u, mean).mean()


def frossl(z: jax.Array, *, invariance: float = 1.0) -> jax.Array:
    """Covariances of flat spectrum, by their Frobenius norm, and views near their mean; a scalar.

        L = sum_v (log |C_v|_F^2 + invariance V D mean_bd (u_vbd - mean_w u_wbd)^2)
        C_v = U_v^T U_v / tr,   u: columns of z of unit length over the batch

    The weight V D of the second term is that of lightly; the authors' code has had several.

    Args:
        z: projections of V views [V, B, D].
        invariance: weight of the views' likeness.

    Returns:
        Loss of the batch, a scalar.

    Reference: FroSSL: Frobenius Norm Minimization for Efficient Multiview Self-Supervised Learning
    (Skean et al., 2024).
    """
    check_axes(z=(z, 'V B D'))
    u = normalise(z, axis=1)
    views, batch, dimensions = u.shape
    # U U^T has the norm and the trace of U^T U: take the smaller one.
    form = 'vbd,vbe->vde' if batch > dimensions else 'vbd,vcd->vbc'
    c = jnp.einsum(form, u, u, precision='highest')
    trace = jnp.maximum(jnp.square(u).sum((1, 2)), 1e-12)
    norm = jnp.log(jnp.maximum(jnp.square(c).sum((1, 2)) / jnp.square(trace), 1e-12))
    spread = jnp.square(u - u.mean(0, keepdims=True)).mean()
    return norm.sum() + invariance * views**2 * dimensions * spread


def _nuclear_norm(x):
    return jnp.linalg.svd(x, compute_uv=False).sum()


def _rate(covariance, epsilon):
    """1/2 log det(I + D / e^2 C), by Cholesky: it is positive definite."""
    d = covariance.shape[0]
    factor = jnp.linalg.cholesky(jnp.eye(d, dtype=covariance.dtype) + d / epsilon**2 * covariance)
    return jnp.log(jnp.diagonal(factor)).sum()
