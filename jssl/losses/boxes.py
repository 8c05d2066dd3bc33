"""Losses on boxes (left, top, right, bottom), and on sets of them."""

import math

import jax
import jax.numpy as jnp

from jssl.algorithms.assignment import match_costs
from jssl.losses.arrays import check_axes, widen
from jssl.losses.classification import cross_entropy


def giou(boxes: jax.Array, target: jax.Array) -> jax.Array:
    """One minus the overlap, plus the share of the hull that neither box covers.

        L_i = 1 - |a & b| / |a | b| + (|hull| - |a | b|) / |hull|

    Args:
        boxes, target: left, top, right, bottom [B, 4]; a box that ends before it begins is empty.

    Returns:
        Loss of each pair [B], in [0, 2].

    Reference: Generalized Intersection over Union (Rezatofighi et al., 2019).
    """
    iou, union, hull, _ = _overlap(boxes, target)
    area = hull.prod(1)
    return 1 - iou + _ratio(area - union, area)


def diou(boxes: jax.Array, target: jax.Array) -> jax.Array:
    """One minus the overlap, plus the squared distance of centres over the hull's diagonal.

        L_i = 1 - IoU + |c_a - c_b|^2 / |diagonal of the hull|^2

    Args:
        boxes, target: left, top, right, bottom [B, 4].

    Returns:
        Loss of each pair [B].

    Reference: Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression (Zheng et
    al., 2020).
    """
    iou, _, hull, centres = _overlap(boxes, target)
    return 1 - iou + _ratio(jnp.square(centres).sum(1), jnp.square(hull).sum(1))


def ciou(boxes: jax.Array, target: jax.Array) -> jax.Array:
    """DIoU, and the difference of the boxes' proportions.

        L_i = DIoU_i + a v,  v = 4 / pi^2 (atan w/h - atan w'/h')^2,  a = v / (1 - IoU + v), fixed

    Args:
        boxes, target: left, top, right, bottom [B, 4].

    Returns:
        Loss of each pair [B].

    Reference: Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression (Zheng et
    al., 2020).
    """
    iou, *_ = _overlap(boxes, target)
    sides = (jax.nn.relu(widen(b)[:, 2:] - widen(b)[:, :2]) + 1e-9 for b in (boxes, target))
    ours, theirs = (jnp.arctan(side[:, 0] / side[:, 1]) for side in sides)
    v = 4 / math.pi**2 * jnp.square(ours - theirs)
    a = jax.lax.stop_gradient(_ratio(v, 1 - iou + v))
    return diou(boxes, target) + a * v


def set_matching(
    logits: jax.Array,
    boxes: jax.Array,
    labels: jax.Array,
    target: jax.Array,
    *,
    weights: tuple[float, float, float] = (1.0, 5.0, 2.0),
    no_object: float = 0.1,
) -> jax.Array:
    """Predictions matched one to one with objects, the others told that there is none (DETR).

        cost_nm = -w1 p_n[y_m] + w2 |b_n - t_m|_1 + w3 (GIoU loss - 1)
        L = sum_n k_n CE_n / sum_n k_n + (w2 sum |b - t|_1 + w3 sum GIoU loss) / objects

    k_n is 1 where matched and `no_object` elsewhere.

    Args:
        logits: of K classes and, last, of no object [B, N, K + 1].
        boxes: predicted, left, top, right, bottom [B, N, 4].
        labels: classes of the objects, -1 where there is none [B, M], M <= N.
        target: their boxes [B, M, 4].
        weights: of class, distance and overlap, in the matching and in the loss.
        no_object: weight of a prediction that is matched with nothing.

    Returns:
        Loss of each image [B].

    Reference: End-to-End Object Detection with Transformers (Carion et al., 2020).
    """
    check_axes(
        logits=(logits, 'B N C'),
        boxes=(boxes, 'B N X'),
        labels=(labels, 'B M'),
        target=(target, 'B M X'),
    )

    def image(logits, boxes, labels, target):
        there = labels >= 0
        chosen = _match(logits, boxes, labels, target, there, weights)
        own = jnp.take_along_axis(boxes, chosen[:, None], axis=0)
        rest = logits.shape[1] - 1
        classes = jnp.full(len(logits), rest, jnp.int32)
        put = jnp.where(there, chosen, len(logits))
        classes = classes.at[put].set(labels.astype(jnp.int32), mode='drop')
        k = jnp.where(classes == rest, no_object, 1.0).astype(logits.dtype)
        named = (k * cross_entropy(logits, classes)).sum() / k.sum()
        count = jnp.maximum(there.sum(), 1).astype(logits.dtype)
        far = jnp.where(there, jnp.abs(own - target).sum(1), 0.0).sum() / count
        apart = jnp.where(there, giou(own, target), 0.0).sum() / count
        return weights[0] * named + weights[1] * far + weights[2] * apart

    return jax.vmap(image)(widen(logits), widen(boxes), labels, widen(target))


def _match(logits, boxes, labels, target, there, weights):
    """The prediction of every object [M]; those that are not there get what is left."""
    p = jax.nn.softmax(logits)[:, jnp.maximum(labels, 0)]
    far = jnp.abs(boxes[:, None] - target[None]).sum(2)
    apart = jax.vmap(lambda b: giou(jnp.broadcast_to(b[None], target.shape), target))(boxes)
    cost = -weights[0] * p + weights[1] * far + weights[2] * (apart - 1)
    return match_costs(jnp.where(there[None], cost, 0.0).T)


def _overlap(boxes, target):
    """(IoU, area of the union, sides of the hull [B, 2], difference of centres [B, 2])."""
    check_axes(boxes=(boxes, 'B X'), target=(target, 'B X'))
    if boxes.shape[1] != 4:
        raise ValueError(f'boxes must have shape [B, 4], got {boxes.shape}')
    a, b = widen(boxes), widen(target)
    sides = lambda low, high: jax.nn.relu(high - low)
    area = lambda low, high: sides(low, high).prod(1)
    shared = area(jnp.maximum(a[:, :2], b[:, :2]), jnp.minimum(a[:, 2:], b[:, 2:]))
    union = area(a[:, :2], a[:, 2:]) + area(b[:, :2], b[:, 2:]) - shared
    hull = sides(jnp.minimum(a[:, :2], b[:, :2]), jnp.maximum(a[:, 2:], b[:, 2:]))
    centres = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    return _ratio(shared, union), union, hull, centres


def _ratio(a, b):
    """a / b, zero where b vanishes."""
    lives = b > 0
    return jnp.where(lives, a / jnp.where(lives, b, 1.0), 0.0)
