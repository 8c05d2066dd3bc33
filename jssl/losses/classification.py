"""Cross-entropy with labels, and entropy without."""

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import check_axes, widen


def cross_entropy(logits: jax.Array, labels: jax.Array, *, smoothing: float = 0.0) -> jax.Array:
    """Softmax cross-entropy with integer labels, smoothed if asked.

        L_i = -sum_k ((1 - s) 1[k = y_i] + s / K) log softmax(l_i)_k

    Args:
        logits: [B, K].
        labels: classes [B], integer, 0 to K - 1.
        smoothing: s, a Python number.

    Returns:
        Loss of each row [B].

    Reference: Rethinking the Inception Architecture for Computer Vision (Szegedy et al., 2016),
    for the smoothing.
    """
    check_axes(logits=(logits, 'B K'), labels=(labels, 'B'))
    logits = widen(logits)
    if smoothing == 0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    one_hot = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))


def entropy(logits: jax.Array) -> jax.Array:
    """Shannon entropy of the softmax, in nats; a logit of -inf takes no part.

        H_i = -sum_k p_ik log p_ik,   p = softmax(l)

    Args:
        logits: [B, K].

    Returns:
        Entropy of each row [B], in [0, log K].

    Reference: Semi-supervised Learning by Entropy Minimization (Grandvalet & Bengio, 2004).
    """
    check_axes(logits=(logits, 'B K'))
    logits = widen(logits)
    p = jax.nn.softmax(logits)
    # 0 log 0 = 0, and the gradient of the other branch must be finite too.
    log_p = jnp.where(p > 0, jax.nn.log_softmax(logits), 0.0)
    return -jnp.sum(p * log_p, axis=-1)
