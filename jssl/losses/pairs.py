"""Losses on the pairs of a labelled batch: rows of a class together, rows of two classes apart.

Distances are Euclidean between rows as they are; cosines and everything that says so take rows of
unit length. A row without a partner that its loss needs loses nothing. Where the paper divides by a
number of pairs of the batch, the values of the rows are scaled so that their mean is its loss.
"""

import math

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, masked_mean, widen
from jssl.losses.similarity import (
    cosine_matrix,
    cosine_similarity,
    distance_matrix,
    normalise,
    squared_distance_matrix,
)
from jssl.losses.tiles import by_rows

NEVER = -1e30  # a logit that takes no part: -inf would become a NaN in an empty row's gradient


def pair_masks(labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which rows of a batch are a row's positives, and which its negatives.

        positive_ij = [y_i = y_j and i != j],   negative_ij = [y_i != y_j]

    Args:
        labels: classes [B], integer.

    Returns:
        Two masks [B, B], bool.

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """
    check_axes(labels=(labels, 'B'))
    same = labels[:, None] == labels[None, :]
    return same & ~jnp.eye(labels.shape[0], dtype=bool), ~same


def pair_contrastive(
    z: jax.Array, labels: jax.Array, *, margin: float = 1.0, chunk: int | None = None
) -> jax.Array:
    """Squared distances within classes, squared hinges across them.

        L_i = mean_{j != i}  1/2 d_ij^2 if y_j = y_i else 1/2 max(0, margin - d_ij)^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: distance from which a negative costs nothing.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Dimensionality Reduction by Learning an Invariant Mapping (Hadsell et al., 2006).
    """

    def cost(d, positive, negative):
        apart = jnp.where(positive, d, jax.nn.relu(margin - d))
        return masked_mean(jnp.square(apart) / 2, positive | negative)

    return _each_row(cost, distance_matrix, z, labels, chunk)


def triplet_margin(
    anchor: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    *,
    margin: float = 1.0,
    swap: bool = False,
) -> jax.Array:
    """The positive has to be nearer than the negative, by a margin.

        L_i = max(0, d(a_i, p_i) - d(a_i, n_i) + margin)
        with `swap`, the nearer of d(a_i, n_i) and d(p_i, n_i)

    Args:
        anchor, positive, negative: embeddings [B, D].
        margin: by how much.
        swap: whether the positive may stand in for the anchor.

    Returns:
        Loss of each triplet [B].

    Reference: Learning Local Feature Descriptors with Triplets and Shallow Convolutional Neural
    Networks (Balntas et al., 2016).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'), negative=(negative, 'B D'))
    far = _length(anchor, negative)
    if swap:
        far = jnp.minimum(far, _length(positive, negative))
    return jax.nn.relu(_length(anchor, positive) - far + margin)


def batch_hard_triplet(
    z: jax.Array, labels: jax.Array, *, margin: float | None = None, chunk: int | None = None
) -> jax.Array:
    """The triplet of each row's farthest positive and nearest negative.

        L_i = max(0, margin + max_p d_ip - min_n d_in),   or softplus of it without a margin

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: None for the soft margin.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """

    def cost(d, positive, negative):
        hardest = jnp.where(positive, d, 0.0).max(1) - jnp.where(negative, d, -NEVER).min(1)
        loss = jax.nn.softplus(hardest) if margin is None else jax.nn.relu(hardest + margin)
        return jnp.where(positive.any(1) & negative.any(1), loss, 0.0)

    return _each_row(cost, distance_matrix, z, labels, chunk)


def multi_similarity(
    z: jax.Array,
    labels: jax.Array,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 1.0,
    chunk: int | None = None,
) -> jax.Array:
    """Soft hinges on the least similar positives and on the most similar negatives.

        L_i = 1/alpha log(1 + sum_p exp(-alpha (s_ip - base)))
            + 1/beta  log(1 + sum_n exp( beta  (s_in - base)))

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        alpha, beta: sharpness for positives and for negatives.
        base: cosine at which a pair begins to cost.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Multi-Similarity Loss with General Pair Weighting (Wang et al., 2019).
    """

    def cost(s, positive, negative):
        near = _softplus_sum(-alpha * (s - base), positive) / alpha
        return near + _softplus_sum(beta * (s - base), negative) / beta

    return _each_row(cost, cosine_matrix, z, labels, chunk)


def circle(
    z: jax.Array,
    labels: jax.Array,
    *,
    margin: float = 0.25,
    scale: float = 256.0,
    chunk: int | None = None,
) -> jax.Array:
    """Every pair is weighted by how far it is from where it should be.

        L_i = log(1 + sum_n exp(g w_n (s_n - m)) sum_p exp(-g w_p (s_p - 1 + m)))
        w_p = [1 + m - s_p]_+,  w_n = [s_n + m]_+,  both without gradient

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: m, relaxation.
        scale: g.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Circle Loss: A Unified Perspective of Pair Similarity Optimization (Sun et al.,
    2020).
    """

    def cost(s, positive, negative):
        fixed = jax.lax.stop_gradient(s)
        near = -scale * jax.nn.relu(1 + margin - fixed) * (s - 1 + margin)
        far = scale * jax.nn.relu(fixed + margin) * (s - margin)
        return jax.nn.softplus(_log_sum(near, positive) + _log_sum(far, negative))

    return _each_row(cost, cosine_matrix, z, labels, chunk)


def lifted_structure(
    z: jax.Array, labels: jax.Array, *, margin: float = 1.0, chunk: int | None = None
) -> jax.Array:
    """Every positive pair against all negatives of both of its ends.

        J_ij = d_ij + log(sum_{k in N_i} exp(m - d_ik) + sum_{l in N_j} exp(m - d_jl))
        L = 1 / (2 |P|) sum_{(i, j) in P} max(0, J_ij)^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: m.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Part of each row as the first of its pairs [B]; the mean is L.

    Reference: Deep Metric Learning via Lifted Structured Feature Embedding (Song et al., 2016).
    """

    def negatives(d, _, negative):
        return _log_sum(margin - d, negative)

    def cost(d, positive, _, own):
        hinge = jax.nn.relu(d + jnp.logaddexp(own[:, None], far[None, :]))
        return _sum_and_count(jnp.square(hinge), positive)

    far = _each_row(negatives, distance_matrix, z, labels, chunk)
    return _over_batch(_each_row(cost, distance_matrix, z, labels, chunk, far)) / 2


def generalized_lifted_structure(
    z: jax.Array, labels: jax.Array, *, margin: float = 1.0, chunk: int | None = None
) -> jax.Array:
    """All positives of a row against all of its negatives.

        L_i = max(0, log sum_p exp(d_ip) + log sum_n exp(m - d_in))

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: m.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """

    def cost(d, positive, negative):
        return jax.nn.relu(_log_sum(d, positive) + _log_sum(margin - d, negative))

    return _each_row(cost, distance_matrix, z, labels, chunk)


def n_pairs(anchor: jax.Array, positive: jax.Array, *, chunk: int | None = None) -> jax.Array:
    """Cross-entropy of finding an anchor's positive among those of all classes.

        L_i = log(1 + sum_{j != i} exp(a_i.p_j - a_i.p_i))

    Args:
        anchor, positive: embeddings of one pair of each class [B, D], of any length: the paper
            adds a penalty on it, see `l2`.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each pair [B].

    Reference: Improved Deep Metric Learning with Multi-class N-pair Loss Objective (Sohn, 2016).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'))
    a, p = widen(anchor), widen(positive)

    def logits(a, own):
        return _products(a, p) - own[:, None]

    return _against_others(logits, (a, (a * p).sum(1)), chunk)


def angular(
    anchor: jax.Array, positive: jax.Array, *, angle: float = 45.0, chunk: int | None = None
) -> jax.Array:
    """Negatives have to be seen from a pair's middle under at most an angle.

        L_i = log(1 + sum_{j != i} exp(4 t (a_i + p_i).p_j - 2 (1 + t) a_i.p_i)),  t = tan^2(angle)

    Args:
        anchor, positive: embeddings of one pair of each class [B, D].
        angle: in degrees.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each pair [B].

    Reference: Deep Metric Learning with Angular Loss (Wang et al., 2017).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'))
    t = math.tan(math.radians(angle)) ** 2
    a, p = widen(anchor), widen(positive)

    def logits(middle, own):
        return 4 * t * _products(middle, p) - own[:, None]

    return _against_others(logits, (a + p, 2 * (1 + t) * (a * p).sum(1)), chunk)


def tuplet_margin(
    anchor: jax.Array,
    positive: jax.Array,
    *,
    margin: float = 5.73,
    scale: float = 64.0,
    chunk: int | None = None,
) -> jax.Array:
    """N-pairs on angles, with some slack for the positive.

        L_i = log(1 + sum_{j != i} exp(scale (cos(a_i, p_j) - cos(angle(a_i, p_i) - margin))))

    Args:
        anchor, positive: embeddings of one pair of each class [B, D].
        margin: in degrees.
        scale: sharpness.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each pair [B].

    Reference: Deep Metric Learning with Tuplet Margin Loss (Yu & Tao, 2019).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'))
    own, slack = cosine_similarity(anchor, positive), math.radians(margin)
    sine = _root(1 - jnp.square(own))
    eased = own * math.cos(slack) + sine * math.sin(slack)

    def logits(a, eased):
        return scale * (cosine_matrix(a, positive) - eased[:, None])

    return _against_others(logits, (anchor, eased), chunk)


def margin(
    z: jax.Array,
    labels: jax.Array,
    beta: jax.Array,
    *,
    alpha: float = 0.2,
    chunk: int | None = None,
) -> jax.Array:
    """Positives within, negatives beyond a distance that is learned; over the pairs that cost.

        l_ij = max(0, alpha + y_ij (d_ij - beta_i)),  y_ij = 1 in a class and -1 across two
        L = sum_ij l_ij / |{l_ij > 0}|

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        beta: the boundary, a scalar, or of each row [B] (its class's: beta[labels]).
        alpha: half the gap around it.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Part of each row [B]; the mean is L.

    Reference: Sampling Matters in Deep Embedding Learning (Wu et al., 2017).
    """
    check_axes(labels=(labels, 'B'), beta=(beta, 'B' if jnp.ndim(beta) else ''))

    def cost(d, positive, negative, beta):
        beyond = d - beta[:, None]
        hinge = jax.nn.relu(alpha + jnp.where(positive, beyond, -beyond))
        return _sum_and_count(hinge, (positive | negative) & (hinge > 0))

    beta = jnp.broadcast_to(widen(jnp.asarray(beta)), labels.shape)
    return _over_batch(_each_row(cost, distance_matrix, z, labels, chunk, beta))


def nca(
    z: jax.Array, labels: jax.Array, *, scale: float = 1.0, chunk: int | None = None
) -> jax.Array:
    """Probability that a neighbour, drawn by distance, has the row's class.

        L_i = -log (sum_p exp(-scale d_ip^2) / sum_{j != i} exp(-scale d_ij^2))

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        scale: sharpness of the draw.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Neighbourhood Components Analysis (Goldberger et al., 2004).
    """

    def cost(nearness, positive, negative):
        logits = scale * nearness
        surprise = _log_sum(logits, positive | negative) - _log_sum(logits, positive)
        return jnp.where(positive.any(1), surprise, 0.0)

    return _each_row(cost, _nearness, z, labels, chunk)


def signal_to_noise(
    z: jax.Array,
    labels: jax.Array,
    *,
    positive_margin: float = 0.01,
    negative_margin: float = 0.2,
    zero_mean: float = 0.0,
    chunk: int | None = None,
) -> jax.Array:
    """Hinges on the variance of a difference over the variance of the anchor.

        d_ij = var(z_j - z_i) / var(z_i)
        L_i = mean_p max(0, d_ip - m_p) + mean_n max(0, m_n - d_in) + zero_mean |sum_k z_ik|

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        positive_margin, negative_margin: m_p and m_n.
        zero_mean: weight of the pull of each row's sum to zero.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning (Yuan et
    al., 2019).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))

    def ratio(a, b):
        signal = jnp.maximum(jnp.square(a).mean(1), 1e-12)
        return squared_distance_matrix(a, b) / (a.shape[1] * signal[:, None])

    def cost(d, positive, negative):
        near = masked_mean(jax.nn.relu(d - positive_margin), positive)
        return near + masked_mean(jax.nn.relu(negative_margin - d), negative)

    z = widen(z)
    centred = z - z.mean(1, keepdims=True)
    return _each_row(cost, ratio, centred, labels, chunk) + zero_mean * jnp.abs(z.sum(1))


def intra_pair_variance(
    z: jax.Array,
    labels: jax.Array,
    *,
    positive_slack: float = 0.01,
    negative_slack: float = 0.01,
    chunk: int | None = None,
) -> jax.Array:
    """Positive pairs that are less alike than their mean, negative ones that are more; a scalar.

        L = mean_pos max(0, (1 - e_p) mu_p - s_ij)^2 + mean_neg max(0, s_ij - (1 + e_n) mu_n)^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        positive_slack, negative_slack: e_p and e_n.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of the batch, a scalar; the paper adds it to another loss.

    Reference: Deep Metric Learning with Tuplet Margin Loss (Yu & Tao, 2019), section 3.4.
    """

    def cosines(s, positive, negative):
        return _by_kind(s, positive, s, negative)

    def cost(s, positive, negative):
        near = jax.nn.relu((1 - positive_slack) * mean[0] - s)
        far = jax.nn.relu(s - (1 + negative_slack) * mean[1])
        return _by_kind(jnp.square(near), positive, jnp.square(far), negative)

    mean = _quotient(_each_row(cosines, cosine_matrix, z, labels, chunk))
    return _quotient(_each_row(cost, cosine_matrix, z, labels, chunk)).sum()


def ranked_list(
    z: jax.Array,
    labels: jax.Array,
    *,
    alpha: float = 1.2,
    margin: float = 0.4,
    temperature: float = 10.0,
    balance: float = 0.5,
    chunk: int | None = None,
) -> jax.Array:
    """Positives into a ball, negatives out of a wider one, the nearest ones weighing most.

        L_i = (1 - b) mean of (d_ip - (alpha - m)) over the positives outside of alpha - m
            + b       sum_n w_n (alpha - d_in),  w_n ~ exp(T (alpha - d_in)) over those inside alpha

    Distances are between unit rows; the weights carry no gradient.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        alpha: radius that negatives stay out of.
        margin: m, between the two radii.
        temperature: T of the weights.
        balance: b.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Ranked List Loss for Deep Metric Learning (Wang et al., 2019).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))

    def cost(d, positive, negative):
        out, inside = d - (alpha - margin), alpha - d
        near = masked_mean(jax.nn.relu(out), positive & (out > 0))
        costly = negative & (inside > 0)
        logits = jnp.where(costly, temperature * jax.lax.stop_gradient(inside), NEVER)
        far = (jnp.where(costly, jax.nn.softmax(logits), 0.0) * inside).sum(1)
        return (1 - balance) * near + balance * far

    return _each_row(cost, distance_matrix, normalise(z), labels, chunk)


def threshold_consistent_margin(
    z: jax.Array,
    labels: jax.Array,
    *,
    positive_threshold: float = 0.9,
    negative_threshold: float = 0.5,
    chunk: int | None = None,
) -> jax.Array:
    """Hard pairs alone, against thresholds that are the same for all classes; a scalar.

        L = mean of (m_p - s) over positives with s <= m_p + mean of (s - m_n) over s >= m_n

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        positive_threshold, negative_threshold: m_p and m_n, cosines.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of the batch, a scalar; the paper adds it to another loss.

    Reference: Threshold-Consistent Margin Loss for Open-World Deep Metric Learning (Zhang et al.,
    2024).
    """

    def cost(s, positive, negative):
        near, far = positive_threshold - s, s - negative_threshold
        return _by_kind(near, positive & (near >= 0), far, negative & (far >= 0))

    return _quotient(_each_row(cost, cosine_matrix, z, labels, chunk)).sum()


def histogram(
    z: jax.Array, labels: jax.Array, *, bins: int = 100, chunk: int | None = None
) -> jax.Array:
    """Probability that a negative pair is more alike than a positive one; a scalar.

        L = sum_r h-_r sum_{q <= r} h+_q,  h: shares of cosines by linear interpolation over bins

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        bins: intervals of [-1, 1].
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of the batch, a scalar; zero where one kind of pair is missing.

    Reference: Learning Deep Embeddings with Histogram Loss (Ustinova & Lempitsky, 2016).
    """

    def shares(s, positive, negative):
        return _histograms(s, (positive, negative), -1.0, 2 / bins, bins + 1)

    total = _each_row(shares, cosine_matrix, z, labels, chunk).sum(0)
    pairs = jax.lax.stop_gradient(total.sum(1, keepdims=True))  # as the shares of a pair add to one
    near, far = total / jnp.maximum(pairs, 1.0)
    return jnp.sum(far * jnp.cumsum(near))


def fast_ap(
    z: jax.Array, labels: jax.Array, *, bins: int = 10, chunk: int | None = None
) -> jax.Array:
    """One minus the average precision of each row's ranking, by histograms of distances.

        L_i = 1 - 1/|P_i| sum_b h+_b H+_b / H_b,  H = cumulated h, over squared distances in [0, 4]

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        bins: intervals of [0, 4].
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Deep Metric Learning to Rank (Cakir et al., 2019).
    """

    def cost(s, positive, negative):
        parts = _histograms(2 - 2 * s, (positive, negative), 0.0, 4 / bins, bins + 1)
        near, both = parts[:, 0], parts.sum(1)
        total = jnp.cumsum(both, axis=1)
        lives = total > 0
        precision = jnp.where(lives, jnp.cumsum(near, axis=1) / jnp.where(lives, total, 1.0), 0.0)
        count = positive.sum(1).astype(s.dtype)
        precision = (near * precision).sum(1) / jnp.maximum(count, 1)
        return jnp.where(count > 0, 1 - precision, 0.0)

    return _each_row(cost, cosine_matrix, z, labels, chunk)


def smooth_ap(
    z: jax.Array, labels: jax.Array, *, temperature: float = 0.01, chunk: int | None = None
) -> jax.Array:
    """One minus the average precision of each row's ranking, by sigmoids of differences.

        L_i = 1 - 1/|P_i| sum_p (1 + sum_{q in P_i, q != p} g_qp) / (1 + sum_{q != i, p} g_qp)
        g_qp = sigma((s_iq - s_ip) / tau)

    Memory grows with B^3, in tiles with B x chunk^2.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        temperature: tau.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval (Brown et al.,
    2020).
    """

    def cost(s, positive, negative):
        def precision(own, index):  # of a tile of the p, for the rows i: [p, i]
            ahead = jax.nn.sigmoid((s[None, :, :] - own[:, :, None]) / temperature)
            other = (index[:, None] != jnp.arange(s.shape[1])[None, :])[:, None, :]
            rank, among = (
                1 + jnp.where(other & mask[None, :, :], ahead, 0.0).sum(2)
                for mask in (positive | negative, positive)
            )
            return among / rank

        each = by_rows(precision, (s.T, jnp.arange(s.shape[1])), chunk).T
        return jnp.where(positive.any(1), 1 - masked_mean(each, positive), 0.0)

    return _each_row(cost, cosine_matrix, z, labels, chunk)


def _root(x: jax.Array) -> jax.Array:
    """sqrt(max(0, x)), with slope zero at and below zero."""
    lives = x > 0
    return jnp.where(lives, jnp.sqrt(jnp.where(lives, x, 1.0)), 0.0)


def _each_row(cost, matrix, z, labels, chunk, *arrays):
    """cost(values, positive, negative, *arrays) of the rows of a matrix of pairs, in tiles of them.

    Args:
        cost: (values [n, B], two masks [n, B], rows of the arrays) -> [n, ...].
        matrix: (rows, all of z) -> values of their pairs.
        arrays: [B] each, further arguments of `cost`.
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    number = jnp.arange(z.shape[0])

    def of_rows(rows, own, index, *more):
        same = own[:, None] == labels[None, :]
        itself = index[:, None] == number[None, :]
        return cost(matrix(rows, z), same & ~itself, ~same, *more)

    return by_rows(of_rows, (z, labels, number, *arrays), chunk)


def _against_others(logits, arrays, chunk):
    """log(1 + sum_{j != i} exp(logits(*arrays)_ij)) [B]."""
    number = jnp.arange(arrays[0].shape[0])

    def of_rows(index, *rows):
        return _softplus_sum(logits(*rows), index[:, None] != number[None, :])

    return by_rows(of_rows, (number, *arrays), chunk)


def _length(a, b):
    return _root(jnp.square(widen(a) - widen(b)).sum(1))


def _nearness(a, b):
    """-|a_i - b_j|^2 [N, M], but for a constant of each row, which a softmax does not see."""
    a, b = widen(a), widen(b)
    a, b = (
        x - jax.lax.stop_gradient(b.mean(0, keepdims=True)) for x in (a, b)
    )  # nothing large cancels
    return 2 * _products(a, b) - jnp.square(b).sum(1)[None, :]


def _products(a, b):
    return jnp.matmul(a, b.T, precision='highest')


def _sum_and_count(values, mask):
    """Sum and number [n, 2] of the values of a row that a mask chooses."""
    total = jnp.where(mask, values, 0.0).sum(1)
    return jnp.stack([total, mask.sum(1).astype(total.dtype)], axis=1)


def _by_kind(near, positive, far, negative):
    """Sums and numbers [n, 2, 2] of the values of positive pairs and of negative pairs."""
    return jnp.stack([_sum_and_count(near, positive), _sum_and_count(far, negative)], axis=1)


def _quotient(parts):
    """Means over the batch [...] from the sums and numbers of its rows [B, ..., 2]."""
    total = parts.sum(0)
    return total[..., 0] / jnp.maximum(total[..., 1], 1)


def _over_batch(parts):
    """Sums of rows [B], such that their mean is the mean over the batch."""
    return parts.shape[0] * parts[:, 0] / jnp.maximum(parts[:, 1].sum(), 1)


def _log_sum(logits, mask):
    """log sum_j exp(x_ij) over a mask [n], about -1e30 for an empty row."""
    return jax.nn.logsumexp(jnp.where(mask, logits, NEVER), axis=1)


def _softplus_sum(logits, mask):
    """log(1 + sum_j exp(x_ij)) over a mask [n]."""
    return jax.nn.softplus(_log_sum(logits, mask))


def _histograms(values, masks, low, width, nodes):
    """Of each row's values under each mask, at the nodes low, low + width, ...: [n, masks, nodes].

    A value is shared by the two nodes around it, by linear interpolation.
    """
    place = jnp.clip((values - low) / width, 0.0, nodes - 1.0)

    def at_node(node):
        shares = jax.nn.relu(1 - jnp.abs(place - node))
        return jnp.stack([jnp.where(mask, shares, 0.0).sum(1) for mask in masks], axis=1)

    # Node by node, and again for the gradient: the shares of all would take `nodes` times as much.
    found = jax.lax.map(jax.checkpoint(at_node), jnp.arange(nodes, dtype=values.dtype))
    return jnp.moveaxis(found, 0, -1)
