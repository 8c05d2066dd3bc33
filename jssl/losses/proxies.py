"""Losses against learned rows of classes: weights, proxies, centres. They are arguments here.

All but SphereFace, large-margin softmax and instance loss take directions alone: unit rows.
"""

import math

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import cosine_matrix, normalise

NEVER = -1e30  # a logit that takes no part: -inf would become a NaN in an empty column's gradient


def normalized_softmax(
    z: jax.Array, labels: jax.Array, weights: jax.Array, *, temperature: float = 0.05
) -> jax.Array:
    """Cross-entropy of cosines to the classes' weights.

        L_i = -log softmax(cos(z_i, w_c) / tau)[y_i]

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: one row of each class [C, D].
        temperature: tau.

    Returns:
        Loss of each row [B].

    Reference: Classification is a Strong Baseline for Deep Metric Learning (Zhai & Wu, 2019).
    """
    return _cross_entropy(_cosines(z, labels, weights=weights) / temperature, labels)


def arcface(
    z: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
) -> jax.Array:
    """The angle to the own class counts as larger than it is.

        L_i = -log softmax(s cos(theta_ic + m [c = y_i]))[y_i]

    Where theta + m would pass pi, s (cos theta - m sin m) takes the place of the cosine, as in the
    authors' code: it goes on falling.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: one row of each class [C, D].
        margin: m, in radians.
        scale: s.

    Returns:
        Loss of each row [B].

    Reference: ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2019).
    """
    cosine = _cosines(z, labels, weights=weights)
    return _angular_softmax(cosine, labels, margin, scale)


def sub_center_arcface(
    z: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
) -> jax.Array:
    """ArcFace with several rows for a class, of which the nearest counts.

        theta_ic = min_k angle(z_i, w_ck)

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: K rows of each class [C, K, D].
        margin, scale: as in `arcface`.

    Returns:
        Loss of each row [B].

    Reference: Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces (Deng et
    al., 2020).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'), weights=(weights, 'C K D'))
    return _angular_softmax(_to_centres(z, weights).max(2), labels, margin, scale)


def cosface(
    z: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
) -> jax.Array:
    """The cosine to the own class counts as smaller than it is.

        L_i = -log softmax(s (cos theta_ic - m [c = y_i]))[y_i]

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: one row of each class [C, D].
        margin: m.
        scale: s.

    Returns:
        Loss of each row [B].

    Reference: CosFace: Large Margin Cosine Loss for Deep Face Recognition (Wang et al., 2018).
    """
    cosine = _cosines(z, labels, weights=weights)
    return _cross_entropy(scale * jnp.where(_own(labels, cosine), cosine - margin, cosine), labels)


def sphereface(
    z: jax.Array, labels: jax.Array, weights: jax.Array, *, margin: int = 4
) -> jax.Array:
    """The angle to the own class counts several times; embeddings keep their length.

        L_i = -log softmax(|z_i| psi(theta_ic))[y_i],  psi = cos theta for other classes
        psi(theta) = (-1)^k cos(m theta) - 2k  for theta in [k pi / m, (k + 1) pi / m]

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: one row of each class [C, D].
        margin: m, a whole number.

    Returns:
        Loss of each row [B].

    Reference: SphereFace: Deep Hypersphere Embedding for Face Recognition (Liu et al., 2017).
    """
    cosine = _cosines(z, labels, weights=weights)
    eased = jnp.where(_own(labels, cosine), _psi(cosine, margin), cosine)
    return _cross_entropy(_length(z)[:, None] * eased, labels)


def large_margin_softmax(
    z: jax.Array, labels: jax.Array, weights: jax.Array, *, margin: int = 4
) -> jax.Array:
    """SphereFace whose weights keep their length too: softmax with a multiple of the own angle.

        L_i = -log softmax(|w_c| |z_i| psi(theta_ic))[y_i],   psi as in `sphereface`

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: one row of each class [C, D].
        margin: m, a whole number; 1 for the plain softmax.

    Returns:
        Loss of each row [B].

    Reference: Large-Margin Softmax Loss for Convolutional Neural Networks (Liu et al., 2016).
    """
    cosine = _cosines(z, labels, weights=weights)
    eased = jnp.where(_own(labels, cosine), _psi(cosine, margin), cosine)
    return _cross_entropy(_length(z)[:, None] * _length(weights)[None, :] * eased, labels)


def instance_loss(
    image: jax.Array, text: jax.Array, labels: jax.Array, weights: jax.Array
) -> jax.Array:
    """Every pair of an image and its texts is a class, with one classifier for both sides.

        L_i = -log softmax(W image_i)[y_i] - log softmax(W text_i)[y_i]

    pytorch-metric-learning's classifies rows by their cosines to the batch instead, without W.

    Args:
        image, text: embeddings of pairs [B, D].
        labels: numbers of the pairs in the data set [B], integer.
        weights: W, one row of each pair of the data set [C, D].

    Returns:
        Loss of each pair [B].

    Reference: Dual-Path Convolutional Image-Text Embeddings with Instance Loss (Zheng et al.,
    2020).
    """
    check_axes(
        image=(image, 'B D'), text=(text, 'B D'), labels=(labels, 'B'), weights=(weights, 'C D')
    )
    w = widen(weights).T
    logits = [jnp.matmul(widen(h), w, precision='highest') for h in (image, text)]
    return sum(_cross_entropy(scores, labels) for scores in logits)


def p2s_grad(z: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Squared distance of the cosines to all classes from zeros and a one: no hyper-parameter.

        L_i = sum_c (cos theta_ic - [c = y_i])^2

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        weights: one row of each class [C, D].

    Returns:
        Loss of each row [B].

    Reference: P2SGrad: Refined Gradients for Optimizing Deep Face Models (Zhang et al., 2019).
    """
    cosine = _cosines(z, labels, weights=weights)
    return jnp.square(cosine - _own(labels, cosine).astype(cosine.dtype)).sum(1)


def proxy_nca(
    z: jax.Array, labels: jax.Array, proxies: jax.Array, *, scale: float = 1.0
) -> jax.Array:
    """Nearer to the own proxy than to all others, which alone stand in the denominator.

        L_i = -log exp(-s d(z_i, p_yi)^2) / sum_{c != yi} exp(-s d(z_i, p_c)^2)

    Distances are between unit rows. The loss has no lower bound of zero.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        proxies: one row of each class [C, D], C >= 2.
        scale: s.

    Returns:
        Loss of each row [B].

    Reference: No Fuss Distance Metric Learning using Proxies (Movshovitz-Attias et al., 2017).
    """
    square = scale * (2 - 2 * _cosines(z, labels, proxies=proxies))
    own = _own(labels, square)
    others = jax.nn.logsumexp(jnp.where(own, NEVER, -square), axis=1)
    return jnp.where(own, square, 0.0).sum(1) + others


def proxy_anchor(
    z: jax.Array,
    labels: jax.Array,
    proxies: jax.Array,
    *,
    alpha: float = 32.0,
    margin: float = 0.1,
) -> jax.Array:
    """Each proxy against all rows of the batch, the hardest weighing most; a batch scalar.

        L = 1/|P+| sum_{p in P+} log(1 + sum_{z of p} exp(-alpha (s(z, p) - margin)))
          + 1/|P|  sum_p         log(1 + sum_{z not of p} exp(alpha (s(z, p) + margin)))

    P+ are the proxies with a row of their class in the batch.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        proxies: one row of each class [C, D].
        alpha: sharpness.
        margin: as a cosine.

    Returns:
        Loss of the batch, a scalar.

    Reference: Proxy Anchor Loss for Deep Metric Learning (Kim et al., 2020).
    """
    cosine = _cosines(z, labels, proxies=proxies)
    own = _own(labels, cosine)
    near = _softplus_columns(-alpha * (cosine - margin), own)
    far = _softplus_columns(alpha * (cosine + margin), ~own)
    present = jnp.maximum(own.any(0).sum(), 1).astype(cosine.dtype)
    return near.sum() / present + far.mean()


def soft_triple(
    z: jax.Array,
    labels: jax.Array,
    centres: jax.Array,
    *,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    tau: float = 0.2,
) -> jax.Array:
    """Cross-entropy of similarities to classes of several centres, which are drawn together.

        S_ic = sum_k softmax_k(s_ick / gamma) s_ick,  s: cosines to the centres of class c
        L_i = -log softmax(scale (S_ic - margin [c = y_i]))[y_i]
              + tau / (C K (K - 1)) sum_c sum_{k < l} sqrt(2 - 2 w_ck.w_cl)

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        centres: K rows of each class [C, K, D].
        scale: lambda of the paper.
        gamma: temperature of the choice among a class's centres.
        margin: delta of the paper.
        tau: weight of the distances between a class's centres.

    Returns:
        Loss of each row [B]; the second term is the same for all.

    Reference: SoftTriple Loss: Deep Metric Learning Without Triplet Sampling (Qian et al., 2019).
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'), centres=(centres, 'C K D'))
    s = _to_centres(z, centres)
    similar = (jax.nn.softmax(s / gamma, axis=2) * s).sum(2)
    eased = jnp.where(_own(labels, similar), similar - margin, similar)
    return _cross_entropy(scale * eased, labels) + tau * _spread(centres)


def _spread(centres):
    """sum_c sum_{k < l} |w_ck - w_cl| / (C K (K - 1)), of unit rows."""
    classes, count, _ = centres.shape
    w = normalise(centres)
    square = 2 - 2 * jnp.einsum('ckd,cld->ckl', w, w, precision='highest')
    # Rounding leaves a millionth where two centres are the same, and there its root has no slope.
    lives = square > 1e-6
    distance = jnp.where(lives, jnp.sqrt(jnp.where(lives, square, 1.0)), 0.0)
    pairs = jnp.triu(jnp.ones((count, count), distance.dtype), 1)[None]
    return (pairs * distance).sum() / max(1, classes * count * (count - 1))


def _cosines(z, labels, **rows):
    """Cosines [B, C] to one row of each class, given by the name that an error shall use."""
    ((name, weights),) = rows.items()
    check_axes(z=(z, 'B D'), labels=(labels, 'B'), **{name: (weights, 'C D')})
    return cosine_matrix(z, weights)


def _to_centres(z, centres):
    """Cosines [B, C, K]."""
    return jnp.einsum('bd,ckd->bck', normalise(z), normalise(centres), precision='highest')


def _own(labels, scores):
    """Which column is the row's class [B, C]."""
    return labels[:, None] == jnp.arange(scores.shape[1], dtype=labels.dtype)[None, :]


def _angular_softmax(cosine, labels, margin, scale):
    sine = _root(1 - jnp.square(cosine))
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine <= math.cos(math.pi - margin)
    eased = jnp.where(beyond, cosine - margin * math.sin(margin), moved)
    return _cross_entropy(scale * jnp.where(_own(labels, cosine), eased, cosine), labels)


def _angle(cosine):
    return jnp.arccos(jnp.clip(cosine, -1.0, 1.0))


def _psi(cosine, times):
    """cos(m theta) for theta up to pi / m, carried on so that it falls all the way to pi."""
    k = jnp.floor(jax.lax.stop_gradient(_angle(cosine)) * (times / math.pi))
    return (1 - 2 * (k % 2)) * _multiple_cosine(cosine, times) - 2 * k


def _length(x):
    square = jnp.square(widen(x)).sum(1)
    lives = square > 0
    return jnp.where(lives, jnp.sqrt(jnp.where(lives, square, 1.0)), 0.0)


def _multiple_cosine(cosine, times):
    """cos(m theta) of cos theta, by Chebyshev's recurrence: arccos has no slope at its ends."""
    before, now = jnp.ones_like(cosine), cosine
    for _ in range(times - 1):
        before, now = now, 2 * cosine * now - before
    return now


def _root(x):
    lives = x > 1e-12
    return jnp.where(lives, jnp.sqrt(jnp.where(lives, x, 1.0)), 0.0)


def _cross_entropy(logits, labels):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def _softplus_columns(logits, mask):
    """log(1 + sum_i exp(x_ic)) over the rows of a mask [C]."""
    return jax.nn.softplus(jax.nn.logsumexp(jnp.where(mask, logits, NEVER), axis=0))
