"""Losses on images without labels: what one view is predicted to be teaches the other."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import axes_of, check_axes, widen
from jssl.losses.classification import cross_entropy
from jssl.losses.similarity import normalise


def pi_model(logits1: jax.Array, logits2: jax.Array) -> jax.Array:
    """Squared distance of two predictions, both of which learn.

        L_i = 1/K |p1_i - p2_i|^2

    Args:
        logits1, logits2: of two views, or two passes with dropout [B, K].

    Returns:
        Loss of each row [B].

    Reference: Temporal Ensembling for Semi-Supervised Learning (Laine & Aila, 2017).
    """
    check_axes(logits1=(logits1, 'B K'), logits2=(logits2, 'B K'))
    p1, p2 = (jax.nn.softmax(widen(x)) for x in (logits1, logits2))
    return jnp.square(p1 - p2).mean(1)


def mean_teacher(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Squared distance of a prediction from that of the averaged network, which does not learn.

        L_i = 1/K |p_i - sg p'_i|^2

    Args:
        student, teacher: logits [B, K].

    Returns:
        Loss of each row [B].

    Reference: Mean teachers are better role models (Tarvainen & Valpola, 2017).
    """
    check_axes(student=(student, 'B K'), teacher=(teacher, 'B K'))
    return pi_model(student, jax.lax.stop_gradient(teacher))


def vat(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    *,
    epsilon: float = 8.0,
    iterations: int = 1,
) -> jax.Array:
    """Divergence of a prediction from itself when the image moves where that changes it most.

        L_i = KL(sg p(x_i) | p(x_i + e d)),   d <- H d / |H d| from a random one
        H = J^T (diag p - p p^T) J, the curvature of the divergence;   J = d logits / d x

    The paper takes H d from a finite difference of size xi; here it is exact.

    Args:
        key: of the first direction.
        predict: x -> logits [B, K], each row of its own image only.
        x: images [B, ...].
        epsilon: e, Euclidean length of the step, in the units of x; the paper tunes it.
        iterations: of the power method.

    Returns:
        Loss of each row [B].

    Reference: Virtual Adversarial Training: A Regularization Method for Supervised and
    Semi-Supervised Learning (Miyato et al., 2018).
    """
    x = widen(x)
    logits, pull = jax.vjp(predict, x)
    logits = jax.lax.stop_gradient(widen(logits))
    p = jax.nn.softmax(logits)
    # With epsilon zero: a prediction that is sure turns little, but it turns somewhere.
    unit = lambda d: normalise(d.reshape(d.shape[0], -1), epsilon=0.0).reshape(d.shape)
    d = unit(jax.random.normal(key, x.shape, x.dtype))
    for _ in range(iterations):
        turned = p * jax.jvp(predict, (x,), (d,))[1]
        d = unit(pull(turned - p * turned.sum(1, keepdims=True))[0])
    moved = jax.nn.log_softmax(widen(predict(x + epsilon * jax.lax.stop_gradient(d))))
    return (p * (jax.nn.log_softmax(logits) - moved)).sum(1)


def pseudo_label(logits: jax.Array, *, threshold: float = 0.0) -> jax.Array:
    """Cross-entropy with the network's own class, where it is sure of it.

        L_i = [max p_i >= t] CE(argmax p_i, p_i)

    Args:
        logits: [B, K].
        threshold: t; zero in the paper, which raises the weight of the loss in its place.

    Returns:
        Loss of each row [B].

    Reference: Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep
    Neural Networks (Lee, 2013).
    """
    check_axes(logits=(logits, 'B K'))
    return fixmatch(logits, logits, threshold=threshold)


def fixmatch(
    strong: jax.Array, weak: jax.Array, *, threshold: float | jax.Array = 0.95
) -> jax.Array:
    """Cross-entropy with the weak view's class, where it is sure of it.

        L_i = [max p_weak >= t] CE(argmax p_weak, p_strong)

    With zero as the threshold, pseudo-labels of everything.

    Args:
        strong, weak: logits of the strongly and of the weakly augmented view [B, K].
        threshold: t; or one of each class [K], as `flexmatch_thresholds` and
            `freematch_thresholds` give them.

    Returns:
        Loss of each row [B]; zero where the weak view is unsure.

    Reference: FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence (Sohn
    et al., 2020).
    """
    axes = 'K' if jnp.ndim(threshold) else ''
    check_axes(strong=(strong, 'B K'), weak=(weak, 'B K'), threshold=(threshold, axes))
    confidence, chosen = _chosen(weak)
    threshold = jnp.broadcast_to(jnp.asarray(threshold, confidence.dtype), weak.shape[1:])
    return jnp.where(confidence >= threshold[chosen], cross_entropy(strong, chosen), 0.0)


def flexmatch_thresholds(counts: jax.Array, unused: jax.Array, *, threshold: float = 0.95):
    """A lower threshold for classes that are learned later.

        b_c = n_c / max(max n, unused),   t_c = b_c / (2 - b_c) t

    Args:
        counts: images whose last sure prediction was class c, over the whole set [K].
        unused: images never predicted surely, a scalar.
        threshold: t.

    Returns:
        Thresholds [K].

    Reference: FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling (Zhang
    et al., 2021), with its warm-up and its convex map.
    """
    check_axes(counts=(counts, 'K'), unused=(unused, ''))
    n = counts.astype(jnp.float32)
    b = n / jnp.maximum(jnp.maximum(n.max(), jnp.asarray(unused).astype(n.dtype)), 1)
    return b / (2 - b) * threshold


def freematch_thresholds(
    confidence: jax.Array, shares: jax.Array, weak: jax.Array, *, decay: float = 0.999
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Thresholds that follow how sure the network is, in all and of each class.

        tau <- d tau + (1 - d) mean_b max p_b,   q <- d q + (1 - d) mean_b p_b
        t_c = q_c / max q  tau

    Args:
        confidence: tau, a scalar; 1 / K at the start.
        shares: q [K]; 1 / K at the start.
        weak: logits of weakly augmented views [B, K].
        decay: d.

    Returns:
        The next tau and q, and the thresholds [K]; none with a gradient.

    Reference: FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning (Wang et al.,
    2023).
    """
    check_axes(confidence=(confidence, ''), shares=(shares, 'K'), weak=(weak, 'B K'))
    confidence, shares, weak = jax.lax.stop_gradient((jnp.asarray(confidence), shares, weak))
    p = jax.nn.softmax(widen(weak))
    tau = decay * widen(confidence) + (1 - decay) * p.max(1).mean()
    q = decay * widen(shares) + (1 - decay) * p.mean(0)
    return tau, q, q / q.max() * tau


def softmatch(
    strong: jax.Array,
    weak: jax.Array,
    mean: jax.Array | float,
    variance: jax.Array | float,
    *,
    deviations: float = 2.0,
) -> jax.Array:
    """Cross-entropy with the weak view's class, unsure ones weighing less and not nothing.

        w_i = exp(-n^2 min(0, max p_i - mu)^2 / (2 var)),   L_i = w_i CE(argmax p_weak, p_strong)

    Args:
        strong, weak: logits of the strongly and of the weakly augmented view [B, K].
        mean, variance: running statistics of max p, scalars; no gradient.
        deviations: n; the paper divides the deviation by 2.

    Returns:
        Loss of each row [B].

    Reference: SoftMatch: Addressing the Quantity-Quality Tradeoff in Semi-supervised Learning (Chen
    et al., 2023).
    """
    check_axes(strong=(strong, 'B K'), weak=(weak, 'B K'), mean=(mean, ''), variance=(variance, ''))
    confidence, chosen = _chosen(weak)
    mean, variance = (jax.lax.stop_gradient(widen(jnp.asarray(x))) for x in (mean, variance))
    short = jnp.minimum(confidence - mean, 0.0) * deviations
    weight = jnp.exp(-jnp.square(short) / (2 * jnp.maximum(variance, 1e-12)))
    return weight * cross_entropy(strong, chosen)


def uda(
    strong: jax.Array, weak: jax.Array, *, threshold: float = 0.8, temperature: float = 0.4
) -> jax.Array:
    """Divergence from the sharpened prediction of the weak view, where it is sure.

        L_i = [max p_weak > t] KL(softmax(l_weak / T) | p_strong)

    Args:
        strong, weak: logits of the strongly and of the weakly augmented view [B, K].
        threshold: t, on the prediction before it is sharpened.
        temperature: T.

    Returns:
        Loss of each row [B].

    Reference: Unsupervised Data Augmentation for Consistency Training (Xie et al., 2020).
    """
    check_axes(strong=(strong, 'B K'), weak=(weak, 'B K'))
    weak = jax.lax.stop_gradient(widen(weak))
    log_q, log_p = jax.nn.log_softmax(weak / temperature), jax.nn.log_softmax(widen(strong))
    divergence = (jnp.exp(log_q) * (log_q - log_p)).sum(1)
    return jnp.where(_chosen(weak)[0] > threshold, divergence, 0.0)


def sharpen(p: jax.Array, *, temperature: float = 0.5) -> jax.Array:
    """A distribution with its differences widened.

        p_k^(1/T) / sum_j p_j^(1/T)

    Args:
        p: distributions [B, K].
        temperature: T.

    Returns:
        Distributions [B, K].

    Reference: MixMatch: A Holistic Approach to Semi-Supervised Learning (Berthelot et al., 2019).
    """
    check_axes(p=(p, 'B K'))
    return jax.nn.softmax(jnp.log(jnp.maximum(widen(p), 1e-12)) / temperature)


def guess_labels(logits: jax.Array, *, temperature: float = 0.5) -> jax.Array:
    """What an image is guessed to be: the sharpened mean of the predictions of its views.

        sharpen(mean_v softmax(l_v), T)

    Args:
        logits: of V views [V, B, K].
        temperature: T.

    Returns:
        Distributions [B, K], without gradient.

    Reference: MixMatch: A Holistic Approach to Semi-Supervised Learning (Berthelot et al., 2019).
    """
    check_axes(logits=(logits, 'V B K'))
    p = jax.nn.softmax(jax.lax.stop_gradient(widen(logits)))
    return sharpen(p.mean(0), temperature=temperature)


def mixup(x: jax.Array, other: jax.Array, ratio: jax.Array) -> jax.Array:
    """Rows mixed with other rows, of which they stay the greater part.

        r x_i + (1 - r) x'_i,   r = max(l_i, 1 - l_i)

    For images and for targets alike, with the same ratio.

    Args:
        x, other: [B, ...]; the other rows are commonly a permutation of a batch.
        ratio: l of each row [B], drawn from Beta(a, a); a is 0.75 in the paper.

    Returns:
        [B, ...], float32 or wider.

    Reference: MixMatch: A Holistic Approach to Semi-Supervised Learning (Berthelot et al., 2019).
    """
    check_axes(x=(x, axes_of(x)), other=(other, axes_of(x)), ratio=(ratio, 'B'))
    r = jnp.maximum(widen(ratio), 1 - widen(ratio)).reshape(-1, *(1,) * (x.ndim - 1))
    return r * widen(x) + (1 - r) * widen(other)


def mixmatch(
    logits: jax.Array,
    targets: jax.Array,
    unlabelled: jax.Array,
    guesses: jax.Array,
    *,
    weight: float = 75.0,
) -> jax.Array:
    """Cross-entropy where there were labels, squared error of the probabilities where not.

        L = mean_i CE(t_i, p_i) + weight mean_j 1/K |g_j - q_j|^2,   p, q = softmax of the logits

    Args:
        logits: of mixed labelled images [B, K].
        targets: t, mixed [B, K], without gradient.
        unlabelled: logits of mixed unlabelled images [N, K].
        guesses: g, mixed [N, K], without gradient; see `guess_labels` and `mixup`.
        weight: the paper raises it from zero.

    Returns:
        Loss of the batch, a scalar.

    Reference: MixMatch: A Holistic Approach to Semi-Supervised Learning (Berthelot et al., 2019).
    """
    check_axes(
        logits=(logits, 'B K'),
        targets=(targets, 'B K'),
        unlabelled=(unlabelled, 'N K'),
        guesses=(guesses, 'N K'),
    )
    targets, guesses = jax.lax.stop_gradient((widen(targets), widen(guesses)))
    supervised = optax.softmax_cross_entropy(widen(logits), targets)
    error = jnp.square(jax.nn.softmax(widen(unlabelled)) - guesses)
    return supervised.mean() + weight * error.mean()


def _chosen(logits):
    """(probability, class) of the likeliest class, without gradient."""
    p = jax.lax.stop_gradient(jax.nn.softmax(widen(logits)))
    return p.max(1), p.argmax(1)
