"""Losses on a batch as a whole: its centroids, ranks and neighbours, and a memory of past batches.

Rows without a partner that their loss needs lose nothing, as in pairs.py.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, masked_mean, widen
from jssl.losses.similarity import (
    cosine_matrix,
    distance_matrix,
    normalise,
    squared_distance_matrix,
)
from jssl.losses.tiles import by_rows


def centroid_triplet(
    z: jax.Array, labels: jax.Array, *, margin: float = 0.3, chunk: int | None = None
) -> jax.Array:
    """Nearer to the rest of the own class than to any other class, by their centroids.

        L_i = mean_{c != y_i} max(0, |z_i - m_i|^2 - |z_i - m_c|^2 + margin)

    m_c is the mean of class c in the batch, m_i that of the row's class without the row.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: by how much, of squared distances.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: On the Unreasonable Effectiveness of Centroids in Image Retrieval (Wieczorek et al.,
    2021).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    z, number = widen(z), jnp.arange(z.shape[0])

    def centroids(own, index):
        same = own[:, None] == labels[None, :]
        others = same & (index[:, None] != number[None, :])
        return jnp.stack([_mean_rows(same, z), _mean_rows(others, z)], 1), same.sum(1)

    means, count = by_rows(centroids, (labels, number), chunk)
    near = jnp.square(z - means[:, 1]).sum(1)

    def of_rows(rows, own, near, companions):
        negative = own[:, None] != labels[None, :]
        far = squared_distance_matrix(rows, means[:, 0])
        # A class has as many columns as rows: together they count once.
        share = negative.astype(z.dtype) / count.astype(z.dtype)[None, :]
        cost = (share * jax.nn.relu(near[:, None] - far + margin)).sum(1)
        lives = (companions > 1) & negative.any(1)
        return jnp.where(lives, cost / jnp.where(lives, share.sum(1), 1.0), 0.0)

    return by_rows(of_rows, (z, labels, near, count), chunk)


def _mean_rows(mask, z):
    """Mean of the rows that each row of a mask chooses, zero where it chooses none."""
    count = jnp.maximum(mask.sum(1), 1).astype(z.dtype)
    return jnp.matmul(mask.astype(z.dtype), z, precision='highest') / count[:, None]


def cross_batch_memory(
    z: jax.Array,
    labels: jax.Array,
    memory: jax.Array,
    memory_labels: jax.Array,
    *,
    margin: float = 0.5,
    chunk: int | None = None,
) -> jax.Array:
    """Cosines within classes, hinges on those across them, to the rows of past batches.

        L_i = sum_{j: y_j = y_i} (1 - s_ij) + sum_{j: y_j != y_i} max(0, s_ij - margin)

    `enqueue` makes the next memory. Any other loss with a value for each row has its memory too:
    it is loss(concatenate([z, memory]), concatenate([labels, memory_labels]))[:B].

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer, not negative.
        memory: rows of past batches [M, D], without gradient.
        memory_labels: their classes [M]; -1 for a row that is not filled yet.
        margin: cosine up to which a negative costs nothing.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B]; the paper adds it to the loss within the batch.

    Reference: Cross-Batch Memory for Embedding Learning (Wang et al., 2020).
    """
    check_axes(
        z=(z, 'B D'),
        labels=(labels, 'B'),
        memory=(memory, 'M D'),
        memory_labels=(memory_labels, 'M'),
    )
    memory = jax.lax.stop_gradient(memory)

    def of_rows(rows, own):
        s = cosine_matrix(rows, memory)
        same = own[:, None] == memory_labels[None, :]
        cost = jnp.where(same, 1 - s, jax.nn.relu(s - margin))
        return jnp.where(memory_labels[None, :] >= 0, cost, 0.0).sum(1)

    return by_rows(of_rows, (z, labels), chunk)


def dynamic_soft_margin(
    anchor: jax.Array,
    positive: jax.Array,
    histogram: jax.Array,
    *,
    momentum: float = 0.01,
    chunk: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Triplets weigh as much as the share of past triplets that were easier.

        L_i = F(d_i) d_i,   d_i = |a_i - p_i| - min_{j != i} min(|a_i - p_j|, |a_j - p_i|)
        h <- (1 - m) h + m shares of d,   F: cumulated h, without gradient

    Distances are between unit rows; d and F are read linearly between K nodes on [-2, 2].

    Args:
        anchor, positive: descriptors of pairs [B, D], B >= 2.
        histogram: h of the batches before [K], zeros at the start; no gradient.
        momentum: m, and 1 for a histogram of zeros.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each pair [B]; the next histogram [K], without gradient.

    Reference: Learning Local Descriptors With a CDF-Based Dynamic Soft Margin (Zhang &
    Rusinkiewicz, 2019).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'), histogram=(histogram, 'K'))
    a, p, number = normalise(anchor), normalise(positive), jnp.arange(anchor.shape[0])

    def of_rows(a_rows, p_rows, index):
        itself = index[:, None] == number[None, :]
        there, back = distance_matrix(a_rows, p), distance_matrix(p_rows, a)
        nearest = jnp.where(itself, 2.0, jnp.minimum(there, back)).min(1)
        return jnp.where(itself, there, 0.0).sum(1) - nearest

    gap = by_rows(of_rows, (a, p, number), chunk)
    nodes = jnp.linspace(-2.0, 2.0, histogram.size, dtype=gap.dtype)
    distance = jnp.abs(jax.lax.stop_gradient(gap)[:, None] - nodes[None, :])
    shares = jax.nn.relu(1 - distance * ((histogram.size - 1) / 4))
    past = jax.lax.stop_gradient(widen(histogram))
    rate = jnp.where(past.sum() > 0, momentum, 1.0)
    h = (1 - rate) * past + rate * shares.mean(0)
    return (shares @ jnp.cumsum(h)) * gap, h


def manifold(
    z: jax.Array,
    labels: jax.Array,
    proxies: jax.Array,
    *,
    alpha: float = 0.8,
    margin: float = 5e-4,
    context: float = 1.0,
    chunk: int | None = None,
) -> jax.Array:
    """Nearest to the own proxy by random walks over the batch and all proxies.

        F = (1 - alpha) (I - alpha D^-1/2 S D^-1/2)^-1,   S_kl = exp(2 max(0, cos)) off the diagonal
        L_i = l(F_i,proxies) + context l(cos(F_i, F_proxies)),   D: row sums of S
        l(s) = log(1 + sum over c != y_i with v_c > 0 of exp(v_c)),   v_c = s_c - s_yi + margin

    The walks start at the rows of z and of the proxies; F_i holds where that from row i ends.

    Args:
        z: embeddings [B, D].
        labels: proxies that rows belong to [B], integer; the paper draws them for unlabelled rows.
        proxies: [C, D].
        alpha: how far the walks go, in (0, 1).
        margin: of the ends' probabilities.
        context: weight of the second term.
        chunk: rows per tile, as in `info_nce`, whose walks are then found by conjugate gradients
            and not by an inverse; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Ensemble Deep Manifold Similarity Learning Using Hard Proxies (Aziere & Todorovic,
    2019), as pytorch-metric-learning has it.
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'), proxies=(proxies, 'C D'))
    batch, rows = z.shape[0], jnp.concatenate([widen(z), widen(proxies)])
    places = jnp.arange(rows.shape[0])
    own = labels[:, None] == jnp.arange(proxies.shape[0], dtype=labels.dtype)[None, :]

    def near(part, at):
        s = jnp.exp(2 * jax.nn.relu(cosine_matrix(part, rows)))
        return jnp.where(at[:, None] == places[None, :], 0.0, s)

    root = jax.lax.rsqrt(by_rows(lambda *tile: near(*tile).sum(1), (rows, places), chunk))

    def walk(x):
        def some(part, at, of_part, x_part):
            moved = jnp.matmul(near(part, at), root[:, None] * x, precision='highest')
            return x_part - alpha * of_part[:, None] * moved

        return by_rows(some, (rows, places, root, x), chunk)

    ends = _ends(walk, places, rows.dtype, whole=chunk is None)
    of_proxies = ends(places[batch:])

    def behind(scores, own):
        excess = scores - jnp.where(own, scores, 0.0).sum(1, keepdims=True) + margin
        return jnp.log1p(jnp.where(~own & (excess > 0), jnp.exp(excess), 0.0).sum(1))

    def cost(at, own):
        f = (1 - alpha) * ends(at)
        return behind(f[:, batch:], own) + context * behind(cosine_matrix(f, of_proxies), own)

    return by_rows(cost, (places[:batch], own), chunk)


def _ends(walk, places, dtype, *, whole):
    """Rows of the inverse of a symmetric map: of all at once, or solved for when asked for.

    The map's eigenvalues lie between 1 - alpha and 1 + alpha, so that conjugate gradients arrive at
    float32's precision in some thirty steps.
    """
    starts = lambda at: (at[:, None] == places[None, :]).astype(dtype)
    if whole:
        inverse = jnp.linalg.inv(walk(starts(places)))
        return lambda at: inverse[at]
    return lambda at: jax.scipy.sparse.linalg.cg(walk, starts(at).T, tol=1e-7, maxiter=100)[0].T


def _dampened(r):
    return 1 - (1 + r) ** -4.0


def pnp(
    z: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 0.01,
    penalty: Callable[[jax.Array], jax.Array] = _dampened,
    chunk: int | None = None,
) -> jax.Array:
    """Only the negatives that a row's ranking puts before a positive cost.

        L_i = mean_p penalty(sum_n sigma((s_in - s_ip) / tau))

    Penalties of the paper: 1 - (1 + r)^-alpha (PNP-D_q, its best, with alpha = 4 the default),
    log(1 + r) (D_s), r (O), (1 + r) log(1 + r) (I_u), (b r - log(1 + b r)) / b^2 (I_b). The
    authors' code and pytorch-metric-learning count the row itself among its positives.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        temperature: tau.
        penalty: function of r, how many negatives come first.
        chunk: rows per tile, as in `info_nce`; without it memory grows with B^3.

    Returns:
        Loss of each row [B].

    Reference: Rethinking the Optimization of Average Precision: Only Penalizing Negative Instances
    before Positive Ones is Enough (Li et al., 2022).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    number = jnp.arange(z.shape[0])

    def of_rows(rows, own, index):
        s = cosine_matrix(rows, z)
        same = own[:, None] == labels[None, :]
        positive = same & (index[:, None] != number[None, :])
        ahead = jax.nn.sigmoid((s[:, None, :] - s[:, :, None]) / temperature)  # [i, p, n]
        first = jnp.where(same[:, None, :], 0.0, ahead).sum(2)
        return masked_mean(penalty(first), positive)

    return by_rows(of_rows, (z, labels, number), chunk)
