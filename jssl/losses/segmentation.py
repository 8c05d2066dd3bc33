"""Losses on masks: probabilities of pixels against what the pixels are.

Pixels may be laid out in any way: [B, ...], with one value for each row.
"""

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import axes_of, check_axes, widen


def dice(logits: jax.Array, mask: jax.Array, *, smooth: float = 1.0) -> jax.Array:
    """One minus twice the overlap over the sum of areas.

        L_i = 1 - (2 sum p m + s) / (sum p + sum m + s),   p = sigma(logits)

    Args:
        logits: [B, ...].
        mask: 0 or 1, or shares between, of the same shape.
        smooth: s; an empty mask that is predicted empty costs nothing.

    Returns:
        Loss of each row [B].

    Reference: V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation
    (Milletari et al., 2016), with areas in place of their squares.
    """
    return tversky(logits, mask, alpha=0.5, beta=0.5, smooth=smooth / 2)


def tversky(
    logits: jax.Array,
    mask: jax.Array,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
) -> jax.Array:
    """Dice with weights of its own for false alarms and for misses.

        L_i = 1 - (TP + s) / (TP + alpha FP + beta FN + s)
        TP = sum p m,  FP = sum p (1 - m),  FN = sum (1 - p) m

    Args:
        logits: [B, ...].
        mask: as in `dice`.
        alpha, beta: weights of false alarms and of misses.
        smooth: s.

    Returns:
        Loss of each row [B].

    Reference: Tversky loss function for image segmentation using 3D fully convolutional deep
    networks (Salehi et al., 2017).
    """
    p, m = _pixels(logits, mask=mask)
    p = jax.nn.sigmoid(p)
    hit, alarm, miss = ((a * b).sum(1) for a, b in ((p, m), (p, 1 - m), (1 - p, m)))
    return 1 - (hit + smooth) / (hit + alpha * alarm + beta * miss + smooth)


def focal(
    logits: jax.Array, mask: jax.Array, *, gamma: float = 2.0, alpha: float | None = 0.25
) -> jax.Array:
    """Binary cross-entropy that counts less the surer a right prediction is.

        L_i = mean a (1 - p_t)^gamma (-log p_t),   p_t: probability of what the pixel is

    Args:
        logits: [B, ...].
        mask: as in `dice`.
        gamma: 0 is cross-entropy.
        alpha: weight of ones; that of zeros is 1 - alpha. None weighs all alike.

    Returns:
        Loss of each row [B].

    Reference: Focal Loss for Dense Object Detection (Lin et al., 2017).
    """
    x, m = _pixels(logits, mask=mask)
    return optax.losses.sigmoid_focal_loss(x, m, alpha=alpha, gamma=gamma).mean(1)


def lovasz_hinge(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Convex extension of the Jaccard loss to the hinges of pixels.

        e_j = max(0, 1 - l_j (2 m_j - 1)), sorted downwards;   L_i = sum_j e_j (J_j - J_(j-1))
        J_j: Jaccard loss when the first j pixels are wrong

    Args:
        logits: [B, ...].
        mask: 0 or 1, of the same shape.

    Returns:
        Loss of each row [B].

    Reference: The Lovasz-Softmax loss: A tractable surrogate for the optimization of the
    intersection-over-union measure in neural networks (Berman et al., 2018).
    """
    x, m = _pixels(logits, mask=mask)
    errors = 1 - x * (2 * m - 1)
    order = jnp.argsort(-errors, axis=1)
    errors, m = (jnp.take_along_axis(a, order, axis=1) for a in (errors, m))
    inside = jnp.maximum(m.sum(1, keepdims=True) - jnp.cumsum(m, axis=1), 0)
    union = m.sum(1, keepdims=True) + jnp.cumsum(1 - m, axis=1)
    jaccard = 1 - inside / union
    steps = jnp.diff(jaccard, axis=1, prepend=0.0)
    return (jax.nn.relu(errors) * jax.lax.stop_gradient(steps)).sum(1)


def boundary(logits: jax.Array, distance: jax.Array) -> jax.Array:
    """Predicted area, weighed by how far outside of the true boundary it lies.

        L_i = mean p phi,   phi < 0 inside of the mask and > 0 outside

    Args:
        logits: [B, ...].
        distance: phi, signed distance to the boundary, of the same shape.

    Returns:
        Loss of each row [B]; added to a loss of areas such as `dice`.

    Reference: Boundary loss for highly unbalanced segmentation (Kervadec et al., 2019).
    """
    x, phi = _pixels(logits, distance=distance)
    return (jax.nn.sigmoid(x) * phi).mean(1)


def _pixels(logits, **other):
    """Both as [B, N] numbers; the other is given by the name that an error shall use."""
    ((name, mask),) = other.items()
    axes = axes_of(logits)
    check_axes(logits=(logits, axes), **{name: (mask, axes)})
    x = widen(logits).reshape(logits.shape[0], -1)
    return x, mask.astype(x.dtype).reshape(x.shape)
