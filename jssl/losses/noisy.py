"""Classification where some labels are wrong."""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.classification import cross_entropy


def generalized_cross_entropy(logits: jax.Array, labels: jax.Array, *, q: float = 0.7) -> jax.Array:
    """Between cross-entropy (q to 0) and the absolute error (q = 1), which noise does not move.

        L_i = (1 - p_i[y_i]^q) / q

    Args:
        logits: [B, K].
        labels: classes [B], integer, some of them wrong.
        q: in (0, 1].

    Returns:
        Loss of each row [B].

    Reference: Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels
    (Zhang & Sabuncu, 2018).
    """
    return -jnp.expm1(-q * cross_entropy(logits, labels)) / q


def symmetric_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> jax.Array:
    """Cross-entropy in both directions, the logarithm of a wrong class's zero being a constant.

        L_i = alpha CE(y_i, p_i) - beta log_zero (1 - p_i[y_i])

    Args:
        logits: [B, K].
        labels: classes [B], integer, some of them wrong.
        alpha, beta: weights of the two directions.
        log_zero: A of the paper, below zero.

    Returns:
        Loss of each row [B].

    Reference: Symmetric Cross Entropy for Robust Learning with Noisy Labels (Wang et al., 2019).
    """
    forward = cross_entropy(logits, labels)
    return alpha * forward + beta * log_zero * jnp.expm1(-forward)


def forward_correction(logits: jax.Array, labels: jax.Array, transition: jax.Array) -> jax.Array:
    """Cross-entropy of what the noise makes of the prediction.

        L_i = -log (p_i T)[y_i],   T_ab = P(label b | class a)

    Args:
        logits: [B, K].
        labels: classes [B], integer, some of them wrong.
        transition: T [K, K], whose rows sum to one.

    Returns:
        Loss of each row [B].

    Reference: Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach
    (Patrini et al., 2017).
    """
    check_axes(logits=(logits, 'B K'), labels=(labels, 'B'), transition=(transition, 'K K'))
    log_p = jax.nn.log_softmax(widen(logits))
    # In logarithms, so that a class of probability zero still has a slope.
    column = jnp.log(jnp.maximum(widen(transition), 1e-12)).T[labels]
    return -jax.nn.logsumexp(log_p + column, axis=1)


def backward_correction(logits: jax.Array, labels: jax.Array, transition: jax.Array) -> jax.Array:
    """Losses of all classes mixed such that their mean over the noise is the clean loss.

        L_i = sum_b (T^-1)[y_i, b] CE(b, p_i)

    Args:
        logits: [B, K].
        labels: classes [B], integer, some of them wrong.
        transition: T [K, K], which must have an inverse.

    Returns:
        Loss of each row [B]; without a lower bound.

    Reference: Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach
    (Patrini et al., 2017).
    """
    check_axes(logits=(logits, 'B K'), labels=(labels, 'B'), transition=(transition, 'K K'))
    weights = jnp.linalg.inv(widen(transition))[labels]
    return -(weights * jax.nn.log_softmax(widen(logits))).sum(1)


def peer_loss(
    logits: jax.Array,
    labels: jax.Array,
    peer_logits: jax.Array,
    peer_labels: jax.Array,
    *,
    alpha: float = 1.0,
) -> jax.Array:
    """Cross-entropy less that of predictions and labels that have nothing to do with each other.

        L_i = CE(y_i, p_i) - alpha CE(y'_i, p'_i)

    Args:
        logits, labels: [B, K] and classes [B], some of them wrong.
        peer_logits, peer_labels: of other rows, drawn apart from each other: [B, K] and [B].
        alpha: weight of the peers.

    Returns:
        Loss of each row [B]; without a lower bound.

    Reference: Peer Loss Functions: Learning from Noisy Labels without Knowing Noise Rates (Liu &
    Guo, 2020).
    """
    check_axes(
        logits=(logits, 'B K'),
        labels=(labels, 'B'),
        peer_logits=(peer_logits, 'B K'),
        peer_labels=(peer_labels, 'B'),
    )
    return cross_entropy(logits, labels) - alpha * cross_entropy(peer_logits, peer_labels)


def early_learning(
    logits: jax.Array, labels: jax.Array, targets: jax.Array, *, weight: float = 3.0
) -> jax.Array:
    """Cross-entropy, and a pull towards what the network said early, before it learned the noise.

        L_i = CE(y_i, p_i) + weight log(1 - p_i.t_i)

    Args:
        logits: [B, K].
        labels: classes [B], integer, some of them wrong.
        targets: t, the average of earlier predictions [B, K], see `early_targets`; no gradient.
        weight: lambda of the paper.

    Returns:
        Loss of each row [B].

    Reference: Early-Learning Regularization Prevents Memorization of Noisy Labels (Liu et al.,
    2020).
    """
    check_axes(logits=(logits, 'B K'), labels=(labels, 'B'), targets=(targets, 'B K'))
    p, t = jax.nn.softmax(widen(logits)), jax.lax.stop_gradient(widen(targets))
    agreement = jnp.clip((p * t).sum(1), 0.0, 1 - 1e-4)  # as the authors' code clips p
    return cross_entropy(logits, labels) + weight * jnp.log1p(-agreement)


def early_targets(targets: jax.Array, logits: jax.Array, *, decay: float = 0.7) -> jax.Array:
    """The next average of a row's predictions.

        t <- decay t + (1 - decay) p

    Args:
        targets: t [B, K], zeros at the start.
        logits: of the same rows [B, K].
        decay: beta of the paper.

    Returns:
        The next targets [B, K], without gradient.

    Reference: Early-Learning Regularization Prevents Memorization of Noisy Labels (Liu et al.,
    2020).
    """
    check_axes(targets=(targets, 'B K'), logits=(logits, 'B K'))
    p = jax.lax.stop_gradient(jax.nn.softmax(widen(logits)))
    return decay * jax.lax.stop_gradient(widen(targets)) + (1 - decay) * p


def z_loss(logits: jax.Array, labels: jax.Array, *, a: float = 0.1, b: float = 10.0) -> jax.Array:
    """How far the class's logit stands above the others, in deviations of them: no softmax.

        z = (o_y - mean o) / std o,   L_i = softplus(a (b - z)) / a

    Blind to a shift or a scaling of the logits.

    Args:
        logits: o [B, K].
        labels: classes [B], integer.
        a: sharpness.
        b: where the loss begins to vanish.

    Returns:
        Loss of each row [B].

    Reference: The Z-loss: a shift and scale invariant classification loss belonging to the
    Spherical Family (de Brebisson & Vincent, 2016).
    """
    check_axes(logits=(logits, 'B K'), labels=(labels, 'B'))
    o = widen(logits)
    centred = o - o.mean(1, keepdims=True)
    variance = jnp.square(centred).mean(1)
    lives = variance > 0
    deviation = jnp.sqrt(jnp.where(lives, variance, 1.0))
    own = jnp.take_along_axis(centred, labels[:, None], axis=1)[:, 0]
    return jax.nn.softplus(a * (b - jnp.where(lives, own / deviation, 0.0))) / a


def ens_loss(key: jax.Array, margins: jax.Array, *, lambda_: jax.Array | float = 0.0) -> jax.Array:
    """The slope of a convex calibrated loss that is drawn anew at every step.

        L_i = g_i m_i,   g <= 0 without gradient
        g: -min(1, r) of random r, in the order of the margins;  divided by m where m > 1;  - 1e-6
        r = exp(x), or max(0, 1 + lambda x)^(1 / lambda),   x ~ N(0, 1)

    Only the gradient means something: the value does not tell how training fares.

    Args:
        key: of the draw; another at every step.
        margins: m = y f(x), y in {-1, 1}: [B].
        lambda_: shape of the loss; may be traced. The paper draws it anew every ten steps.

    Returns:
        Loss of each row [B].

    Reference: EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in
    Classification (Dai, 2024).
    """
    check_axes(margins=(margins, 'B'), lambda_=(lambda_, ''))
    m = widen(margins)
    fixed, shape = jax.lax.stop_gradient((m, jnp.asarray(lambda_, m.dtype)))
    x = jax.random.normal(key, m.shape, m.dtype)
    curved = jnp.where(shape == 0, 1.0, shape)
    power = jnp.maximum(1 + curved * x, 0.0) ** (1 / curved)
    r = jnp.where(shape == 0, jnp.exp(x), power)
    steepest_first = jnp.sort(-jnp.minimum(r, 1.0))
    g = steepest_first[jnp.argsort(jnp.argsort(fixed))]
    return (g / jnp.maximum(fixed, 1.0) - 1e-6) * m
