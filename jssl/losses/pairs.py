"""Losses on the pairs of a labelled batch: rows of a class together, rows of two classes apart.

Distances are Euclidean between rows as they are; cosines and everything that says so take rows of
unit length. A row without a partner that its loss needs loses nothing. Where the paper divides by a
number of pairs of the batch, the values of the rows are scaled so that their mean is its loss.
"""

import math

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import cosine_matrix, distance_matrix, normalise

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


def pair_contrastive(z: jax.Array, labels: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Squared distances within classes, squared hinges across them.

        L_i = mean_{j != i}  1/2 d_ij^2 if y_j = y_i else 1/2 max(0, margin - d_ij)^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: distance from which a negative costs nothing.

    Returns:
        Loss of each row [B].

    Reference: Dimensionality Reduction by Learning an Invariant Mapping (Hadsell et al., 2006).
    """
    d, positive, negative = _distances(z, labels)
    cost = jnp.where(positive, jnp.square(d), jnp.square(jax.nn.relu(margin - d))) / 2
    return _mean(cost, positive | negative)


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
    z: jax.Array, labels: jax.Array, *, margin: float | None = None
) -> jax.Array:
    """The triplet of each row's farthest positive and nearest negative.

        L_i = max(0, margin + max_p d_ip - min_n d_in),   or softplus of it without a margin

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: None for the soft margin.

    Returns:
        Loss of each row [B].

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """
    d, positive, negative = _distances(z, labels)
    hardest = jnp.where(positive, d, 0.0).max(1) - jnp.where(negative, d, -NEVER).min(1)
    cost = jax.nn.softplus(hardest) if margin is None else jax.nn.relu(hardest + margin)
    return jnp.where(positive.any(1) & negative.any(1), cost, 0.0)


def multi_similarity(
    z: jax.Array, labels: jax.Array, *, alpha: float = 2.0, beta: float = 50.0, base: float = 1.0
) -> jax.Array:
    """Soft hinges on the least similar positives and on the most similar negatives.

        L_i = 1/alpha log(1 + sum_p exp(-alpha (s_ip - base)))
            + 1/beta  log(1 + sum_n exp( beta  (s_in - base)))

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        alpha, beta: sharpness for positives and for negatives.
        base: cosine at which a pair begins to cost.

    Returns:
        Loss of each row [B].

    Reference: Multi-Similarity Loss with General Pair Weighting (Wang et al., 2019).
    """
    s, positive, negative = _cosines(z, labels)
    near = _softplus_sum(-alpha * (s - base), positive) / alpha
    return near + _softplus_sum(beta * (s - base), negative) / beta


def circle(
    z: jax.Array, labels: jax.Array, *, margin: float = 0.25, scale: float = 256.0
) -> jax.Array:
    """Every pair is weighted by how far it is from where it should be.

        L_i = log(1 + sum_n exp(g w_n (s_n - m)) sum_p exp(-g w_p (s_p - 1 + m)))
        w_p = [1 + m - s_p]_+,  w_n = [s_n + m]_+,  both without gradient

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: m, relaxation.
        scale: g.

    Returns:
        Loss of each row [B].

    Reference: Circle Loss: A Unified Perspective of Pair Similarity Optimization (Sun et al.,
    2020).
    """
    s, positive, negative = _cosines(z, labels)
    fixed = jax.lax.stop_gradient(s)
    near = -scale * jax.nn.relu(1 + margin - fixed) * (s - 1 + margin)
    far = scale * jax.nn.relu(fixed + margin) * (s - margin)
    return jax.nn.softplus(_log_sum(near, positive) + _log_sum(far, negative))


def lifted_structure(z: jax.Array, labels: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Every positive pair against all negatives of both of its ends.

        J_ij = d_ij + log(sum_{k in N_i} exp(m - d_ik) + sum_{l in N_j} exp(m - d_jl))
        L = 1 / (2 |P|) sum_{(i, j) in P} max(0, J_ij)^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: m.

    Returns:
        Part of each row as the first of its pairs [B]; the mean is L.

    Reference: Deep Metric Learning via Lifted Structured Feature Embedding (Song et al., 2016).
    """
    d, positive, negative = _distances(z, labels)
    far = _log_sum(margin - d, negative)
    cost = jnp.square(jax.nn.relu(d + jnp.logaddexp(far[:, None], far[None, :])))
    return _over_batch(cost, positive) / 2


def generalized_lifted_structure(
    z: jax.Array, labels: jax.Array, *, margin: float = 1.0
) -> jax.Array:
    """All positives of a row against all of its negatives.

        L_i = max(0, log sum_p exp(d_ip) + log sum_n exp(m - d_in))

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        margin: m.

    Returns:
        Loss of each row [B].

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """
    d, positive, negative = _distances(z, labels)
    return jax.nn.relu(_log_sum(d, positive) + _log_sum(margin - d, negative))


def n_pairs(anchor: jax.Array, positive: jax.Array) -> jax.Array:
    """Cross-entropy of finding an anchor's positive among those of all classes.

        L_i = log(1 + sum_{j != i} exp(a_i.p_j - a_i.p_i))

    Args:
        anchor, positive: embeddings of one pair of each class [B, D], of any length: the paper
            adds a penalty on it, see `l2`.

    Returns:
        Loss of each pair [B].

    Reference: Improved Deep Metric Learning with Multi-class N-pair Loss Objective (Sohn, 2016).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'))
    products = _products(anchor, positive)
    return jax.nn.logsumexp(products, axis=1) - jnp.diagonal(products)


def angular(anchor: jax.Array, positive: jax.Array, *, angle: float = 45.0) -> jax.Array:
    """Negatives have to be seen from a pair's middle under at most an angle.

        L_i = log(1 + sum_{j != i} exp(4 t (a_i + p_i).p_j - 2 (1 + t) a_i.p_i)),  t = tan^2(angle)

    Args:
        anchor, positive: embeddings of one pair of each class [B, D].
        angle: in degrees.

    Returns:
        Loss of each pair [B].

    Reference: Deep Metric Learning with Angular Loss (Wang et al., 2017).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'))
    t = math.tan(math.radians(angle)) ** 2
    a, p = widen(anchor), widen(positive)
    middle = 4 * t * _products(a + p, p)
    own = 2 * (1 + t) * jnp.sum(a * p, axis=1)
    others = ~jnp.eye(a.shape[0], dtype=bool)
    return _softplus_sum(middle - own[:, None], others)


def tuplet_margin(
    anchor: jax.Array, positive: jax.Array, *, margin: float = 5.73, scale: float = 64.0
) -> jax.Array:
    """N-pairs on angles, with some slack for the positive.

        L_i = log(1 + sum_{j != i} exp(scale (cos(a_i, p_j) - cos(angle(a_i, p_i) - margin))))

    Args:
        anchor, positive: embeddings of one pair of each class [B, D].
        margin: in degrees.
        scale: sharpness.

    Returns:
        Loss of each pair [B].

    Reference: Deep Metric Learning with Tuplet Margin Loss (Yu & Tao, 2019).
    """
    check_axes(anchor=(anchor, 'B D'), positive=(positive, 'B D'))
    cosine, slack = cosine_matrix(anchor, positive), math.radians(margin)
    own = jnp.diagonal(cosine)
    sine = _root(1 - jnp.square(own))
    eased = own * math.cos(slack) + sine * math.sin(slack)
    others = ~jnp.eye(own.shape[0], dtype=bool)
    return _softplus_sum(scale * (cosine - eased[:, None]), others)


def margin(z: jax.Array, labels: jax.Array, beta: jax.Array, *, alpha: float = 0.2) -> jax.Array:
    """Positives within, negatives beyond a distance that is learned; over the pairs that cost.

        l_ij = max(0, alpha + y_ij (d_ij - beta_i)),  y_ij = 1 in a class and -1 across two
        L = sum_ij l_ij / |{l_ij > 0}|

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        beta: the boundary, a scalar, or of each row [B] (its class's: beta[labels]).
        alpha: half the gap around it.

    Returns:
        Part of each row [B]; the mean is L.

    Reference: Sampling Matters in Deep Embedding Learning (Wu et al., 2017).
    """
    check_axes(labels=(labels, 'B'), beta=(beta, 'B' if jnp.ndim(beta) else ''))
    d, positive, negative = _distances(z, labels)
    beyond = d - jnp.broadcast_to(widen(jnp.asarray(beta)), labels.shape)[:, None]
    cost = jax.nn.relu(alpha + jnp.where(positive, beyond, -beyond))
    return _over_batch(cost, (positive | negative) & (cost > 0))


def nca(z: jax.Array, labels: jax.Array, *, scale: float = 1.0) -> jax.Array:
    """Probability that a neighbour, drawn by distance, has the row's class.

        L_i = -log (sum_p exp(-scale d_ip^2) / sum_{j != i} exp(-scale d_ij^2))

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        scale: sharpness of the draw.

    Returns:
        Loss of each row [B].

    Reference: Neighbourhood Components Analysis (Goldberger et al., 2004).
    """
    d, positive, negative = _distances(z, labels)
    logits = -scale * jnp.square(d)
    cost = _log_sum(logits, positive | negative) - _log_sum(logits, positive)
    return jnp.where(positive.any(1), cost, 0.0)


def signal_to_noise(
    z: jax.Array,
    labels: jax.Array,
    *,
    positive_margin: float = 0.01,
    negative_margin: float = 0.2,
    zero_mean: float = 0.0,
) -> jax.Array:
    """Hinges on the variance of a difference over the variance of the anchor.

        d_ij = var(z_j - z_i) / var(z_i)
        L_i = mean_p max(0, d_ip - m_p) + mean_n max(0, m_n - d_in) + zero_mean |sum_k z_ik|

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        positive_margin, negative_margin: m_p and m_n.
        zero_mean: weight of the pull of each row's sum to zero.

    Returns:
        Loss of each row [B].

    Reference: Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning (Yuan et
    al., 2019).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    positive, negative = pair_masks(labels)
    z = widen(z)
    centred = z - z.mean(1, keepdims=True)
    signal = jnp.square(centred).mean(1)
    noise = jnp.square(distance_matrix(centred, centred)) / z.shape[1]
    d = noise / jnp.maximum(signal, 1e-12)[:, None]
    near = _mean(jax.nn.relu(d - positive_margin), positive)
    far = _mean(jax.nn.relu(negative_margin - d), negative)
    return near + far + zero_mean * jnp.abs(z.sum(1))


def intra_pair_variance(
    z: jax.Array,
    labels: jax.Array,
    *,
    positive_slack: float = 0.01,
    negative_slack: float = 0.01,
) -> jax.Array:
    """Positive pairs that are less alike than their mean, negative ones that are more; a scalar.

        L = mean_pos max(0, (1 - e_p) mu_p - s_ij)^2 + mean_neg max(0, s_ij - (1 + e_n) mu_n)^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        positive_slack, negative_slack: e_p and e_n.

    Returns:
        Loss of the batch, a scalar; the paper adds it to another loss.

    Reference: Deep Metric Learning with Tuplet Margin Loss (Yu & Tao, 2019), section 3.4.
    """
    s, positive, negative = _cosines(z, labels)
    near = jax.nn.relu((1 - positive_slack) * _mean(s, positive, axis=None) - s)
    far = jax.nn.relu(s - (1 + negative_slack) * _mean(s, negative, axis=None))
    near, far = (_mean(jnp.square(x), m, axis=None) for x, m in ((near, positive), (far, negative)))
    return near + far


def ranked_list(
    z: jax.Array,
    labels: jax.Array,
    *,
    alpha: float = 1.2,
    margin: float = 0.4,
    temperature: float = 10.0,
    balance: float = 0.5,
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

    Returns:
        Loss of each row [B].

    Reference: Ranked List Loss for Deep Metric Learning (Wang et al., 2019).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    d, positive, negative = _distances(normalise(z), labels)
    out, inside = d - (alpha - margin), alpha - d
    near = _mean(jax.nn.relu(out), positive & (out > 0))
    costly = negative & (inside > 0)
    weights = jax.nn.softmax(jnp.where(costly, temperature * jax.lax.stop_gradient(inside), NEVER))
    far = (jnp.where(costly, weights, 0.0) * inside).sum(1)
    return (1 - balance) * near + balance * far


def threshold_consistent_margin(
    z: jax.Array,
    labels: jax.Array,
    *,
    positive_threshold: float = 0.9,
    negative_threshold: float = 0.5,
) -> jax.Array:
    """Hard pairs alone, against thresholds that are the same for all classes; a scalar.

        L = mean of (m_p - s) over positives with s <= m_p + mean of (s - m_n) over s >= m_n

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        positive_threshold, negative_threshold: m_p and m_n, cosines.

    Returns:
        Loss of the batch, a scalar; the paper adds it to another loss.

    Reference: Threshold-Consistent Margin Loss for Open-World Deep Metric Learning (Zhang et al.,
    2024).
    """
    s, positive, negative = _cosines(z, labels)
    near, far = positive_threshold - s, s - negative_threshold
    near = _mean(near, positive & (near >= 0), axis=None)
    return near + _mean(far, negative & (far >= 0), axis=None)


def histogram(z: jax.Array, labels: jax.Array, *, bins: int = 100) -> jax.Array:
    """Probability that a negative pair is more alike than a positive one; a scalar.

        L = sum_r h-_r sum_{q <= r} h+_q,  h: shares of cosines by linear interpolation over bins

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        bins: intervals of [-1, 1].

    Returns:
        Loss of the batch, a scalar; zero where one kind of pair is missing.

    Reference: Learning Deep Embeddings with Histogram Loss (Ustinova & Lempitsky, 2016).
    """
    s, positive, negative = _cosines(z, labels)
    parts = _interpolated(s, -1.0, 2 / bins, bins + 1)
    near, far = (_mean(parts, mask[:, :, None], axis=(0, 1)) for mask in (positive, negative))
    return jnp.sum(far * jnp.cumsum(near))


def fast_ap(z: jax.Array, labels: jax.Array, *, bins: int = 10) -> jax.Array:
    """One minus the average precision of each row's ranking, by histograms of distances.

        L_i = 1 - 1/|P_i| sum_b h+_b H+_b / H_b,  H = cumulated h, over squared distances in [0, 4]

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        bins: intervals of [0, 4].

    Returns:
        Loss of each row [B].

    Reference: Deep Metric Learning to Rank (Cakir et al., 2019).
    """
    s, positive, negative = _cosines(z, labels)
    parts = _interpolated(2 - 2 * s, 0.0, 4 / bins, bins + 1)
    near, far = (jnp.where(mask[:, :, None], parts, 0.0).sum(1) for mask in (positive, negative))
    both = near + far
    total = jnp.cumsum(both, axis=1)
    lives = total > 0
    precision = jnp.where(lives, jnp.cumsum(near, axis=1) / jnp.where(lives, total, 1.0), 0.0)
    count = positive.sum(1).astype(s.dtype)
    precision = (near * precision).sum(1) / jnp.maximum(count, 1)
    return jnp.where(count > 0, 1 - precision, 0.0)


def smooth_ap(z: jax.Array, labels: jax.Array, *, temperature: float = 0.01) -> jax.Array:
    """One minus the average precision of each row's ranking, by sigmoids of differences.

        L_i = 1 - 1/|P_i| sum_p (1 + sum_{q in P_i, q != p} g_qp) / (1 + sum_{q != i, p} g_qp)
        g_qp = sigma((s_iq - s_ip) / tau)

    Memory grows with B^3.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        temperature: tau.

    Returns:
        Loss of each row [B].

    Reference: Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval (Brown et al.,
    2020).
    """
    s, positive, negative = _cosines(z, labels)
    ahead = jax.nn.sigmoid((s[:, None, :] - s[:, :, None]) / temperature)  # [i, p, q]
    other = ~jnp.eye(s.shape[0], dtype=bool)[None]
    rank, among = (
        1 + jnp.where(other & mask[:, None, :], ahead, 0.0).sum(2)
        for mask in (positive | negative, positive)
    )
    return jnp.where(positive.any(1), 1 - _mean(among / rank, positive), 0.0)


def _root(x: jax.Array) -> jax.Array:
    """sqrt(max(0, x)), with slope zero at and below zero."""
    lives = x > 0
    return jnp.where(lives, jnp.sqrt(jnp.where(lives, x, 1.0)), 0.0)


def _distances(z, labels):
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    return distance_matrix(z, z), *pair_masks(labels)


def _cosines(z, labels):
    check_axes(z=(z, 'B D'), labels=(labels, 'B'))
    return cosine_matrix(z, z), *pair_masks(labels)


def _length(a, b):
    return _root(jnp.square(widen(a) - widen(b)).sum(1))


def _products(a, b):
    return jnp.matmul(widen(a), widen(b).T, precision='highest')


def _mean(values, mask, *, axis=1):
    """Mean of the values that a mask chooses, zero where it chooses none."""
    count = jnp.maximum(mask.sum(axis), 1).astype(values.dtype)
    return jnp.where(mask, values, 0.0).sum(axis) / count


def _over_batch(values, mask):
    """Sums of rows, such that their mean is the mean of all the values that a mask chooses."""
    count = jnp.maximum(mask.sum(), 1).astype(values.dtype)
    return mask.shape[0] * jnp.where(mask, values, 0.0).sum(1) / count


def _log_sum(logits, mask):
    """log sum_j exp(x_ij) over a mask [B], about -1e30 for an empty row."""
    return jax.nn.logsumexp(jnp.where(mask, logits, NEVER), axis=1)


def _softplus_sum(logits, mask):
    """log(1 + sum_j exp(x_ij)) over a mask [B]."""
    return jax.nn.softplus(_log_sum(logits, mask))


def _interpolated(values, low, width, nodes):
    """Shares of each value at the nodes low, low + width, ...: [..., nodes], summing to one."""
    place = jnp.clip((values - low) / width, 0.0, nodes - 1.0)
    at = jnp.arange(nodes, dtype=values.dtype).reshape((1,) * values.ndim + (nodes,))
    return jax.nn.relu(1 - jnp.abs(place[..., None] - at))
