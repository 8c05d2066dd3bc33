"""Losses that make two domains alike, or a new domain's predictions sure and varied."""

import functools

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.classification import entropy
from jssl.losses.similarity import squared_distance_matrix
from jssl.losses.tiles import by_rows


def mmd(
    x: jax.Array,
    y: jax.Array,
    *,
    widths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0),
    chunk: int | None = None,
) -> jax.Array:
    """Maximum mean discrepancy of two samples, with kernels of several widths; a scalar.

        L = mean_{i, j} k(x_i, x_j) + mean_{i, j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
        k(a, b) = mean_w exp(-|a - b|^2 / (w m)),   m: mean squared distance of all, no gradient

    Args:
        x: representations of one domain [N, D].
        y: representations of the other [M, D].
        widths: w, in units of m.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        A scalar, not negative.

    Reference: Learning Transferable Features with Deep Adaptation Networks (Long et al., 2015).
    """
    check_axes(x=(x, 'N D'), y=(y, 'M D'))
    both = jnp.concatenate([widen(x), widen(y)])
    # The mean squared distance of all pairs is twice the variance.
    variance = jnp.square(both - both.mean(0, keepdims=True)).sum(1).mean()
    unit = jnp.maximum(jax.lax.stop_gradient(2 * variance), 1e-12)
    n, m = x.shape[0], y.shape[0]
    sign = jnp.concatenate([jnp.full(n, 1 / n), jnp.full(m, -1 / m)]).astype(both.dtype)

    def of_rows(rows):
        square = squared_distance_matrix(rows, both)
        return sum(jnp.exp(-square / (w * unit)) for w in widths) @ sign / len(widths)

    return sign @ by_rows(of_rows, (both,), chunk)


def coral(x: jax.Array, y: jax.Array) -> jax.Array:
    """Distance of the covariances of two samples; a scalar.

        L = |Cov(x) - Cov(y)|_F^2 / (4 D^2)

    Args:
        x: representations of one domain [N, D].
        y: representations of the other [M, D].

    Returns:
        A scalar.

    Reference: Deep CORAL: Correlation Alignment for Deep Domain Adaptation (Sun & Saenko, 2016).
    """
    check_axes(x=(x, 'N D'), y=(y, 'M D'))
    difference = _covariance(widen(x)) - _covariance(widen(y))
    return jnp.square(difference).sum() / (4 * x.shape[1] ** 2)


def class_confusion(logits: jax.Array, *, temperature: float = 2.5) -> jax.Array:
    """How often the batch confuses a class with others, sure rows weighing more (MCC); a scalar.

        w_i ~ 1 + exp(-H(p_i)), summing to B,   C = p^T diag(w) p with rows that sum to one
        L = 1/K sum_{a != b} C_ab,   p = softmax(l / T)

    Args:
        logits: of the new domain [B, K].
        temperature: T.

    Returns:
        A scalar in [0, 1].

    Reference: Minimum Class Confusion for Versatile Domain Adaptation (Jin et al., 2020).
    """
    check_axes(logits=(logits, 'B K'))
    logits = widen(logits) / temperature
    p = jax.nn.softmax(logits)
    weight = jax.lax.stop_gradient(1 + jnp.exp(-entropy(logits)))
    c = p.T @ (p * (weight / weight.sum() * p.shape[0])[:, None])
    c = c / jnp.maximum(c.sum(1, keepdims=True), 1e-12)
    return (c.sum() - jnp.trace(c)) / p.shape[1]


def batch_nuclear_norm(logits: jax.Array) -> jax.Array:
    """Predictions that are sure and of many classes have a large nuclear norm; a scalar.

        L = -1/B |P|_*,   P = softmax of the rows

    Args:
        logits: of the new domain [B, K].

    Returns:
        A scalar, below zero.

    Reference: Towards Discriminability and Diversity: Batch Nuclear-norm Maximization under Label
    Insufficient Situations (Cui et al., 2020).
    """
    check_axes(logits=(logits, 'B K'))
    p = jax.nn.softmax(widen(logits))
    return -jnp.linalg.svd(p, compute_uv=False).sum() / p.shape[0]


def mutual_information(logits: jax.Array) -> jax.Array:
    """Each prediction sure, all of them together varied; a scalar.

        L = mean_i H(p_i) - H(mean_i p_i)

    Args:
        logits: of the new domain [B, K].

    Returns:
        A scalar in [-log K, 0].

    Reference: Do We Really Need to Access the Source Data? (Liang et al., 2020), equation 3.
    """
    check_axes(logits=(logits, 'B K'))
    mean = jax.nn.softmax(widen(logits)).mean(0, keepdims=True)
    return entropy(logits).mean() - entropy(jnp.log(jnp.maximum(mean, 1e-30)))[0]


def gradient_reversal(h: jax.Array, *, weight: float = 1.0) -> jax.Array:
    """The same numbers forward; backward, the gradient turned round: for domain classifiers.

        f(h) = h,   df/dh = -weight

    Args:
        h: any array.
        weight: lambda of the paper, a Python number.

    Returns:
        `h`.

    Reference: Domain-Adversarial Training of Neural Networks (Ganin et al., 2016).
    """
    return _reversed(weight, h)


def conditional_features(h: jax.Array, logits: jax.Array) -> jax.Array:
    """What CDAN's domain classifier reads: features and prediction, every product of them.

        (h x p)_i = h_i p_i^T, flattened;  p without gradient

    Args:
        h: representations [B, D].
        logits: [B, K].

    Returns:
        Products [B, D K].

    Reference: Conditional Adversarial Domain Adaptation (Long et al., 2018).
    """
    check_axes(h=(h, 'B D'), logits=(logits, 'B K'))
    p = jax.lax.stop_gradient(jax.nn.softmax(widen(logits)))
    return (widen(h)[:, :, None] * p[:, None, :]).reshape(h.shape[0], -1)


def cafa(distances: jax.Array, labels: jax.Array) -> jax.Array:
    """Near the Gaussian of the predicted class, and far from those of all others.

        L_i = log D_iy - log sum_{k != y} D_ik

    Nothing is weighed: the logarithm of a ratio has no scale.

    Args:
        distances: D, squared Mahalanobis distances from the source's classes [B, K], K >= 2.
        labels: y, the classes that are predicted [B], integer.

    Returns:
        Loss of each row [B].

    Reference: CAFA: Class-Aware Feature Alignment for Test-Time Adaptation (Jung et al., 2023).
    """
    check_axes(distances=(distances, 'B K'), labels=(labels, 'B'))
    d = jnp.maximum(widen(distances), 1e-12)
    own = labels[:, None] == jnp.arange(d.shape[1])[None, :]
    near, far = (jnp.where(part, d, 0.0).sum(1) for part in (own, ~own))
    return jnp.log(near) - jnp.log(far)


def _covariance(x):
    centred = x - x.mean(0, keepdims=True)
    return centred.T @ centred / max(1, x.shape[0] - 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _reversed(weight, h):
    return h


_reversed.defvjp(lambda weight, h: (h, None), lambda weight, _, gradient: (-weight * gradient,))
