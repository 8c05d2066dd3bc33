"""How often a classifier is right."""

from functools import partial

import chex
import jax
import jax.numpy as jnp


def _predicted(logits_or_labels, labels):
    """Predicted labels in the shape of `labels`."""
    if logits_or_labels.ndim == labels.ndim + 1:
        logits_or_labels = logits_or_labels.argmax(-1)
    if logits_or_labels.shape != labels.shape:
        raise ValueError(
            f'predictions must be {labels.shape} like the labels, or have one more axis of logits; '
            f'got {logits_or_labels.shape}'
        )
    return logits_or_labels


@jax.jit
def accuracy(logits_or_labels: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of the predictions that are right.

        1/N sum_i [argmax_c logits_ic = y_i]

    Args:
        logits_or_labels: logits or probabilities [..., C], or predicted labels [...].
        labels: true labels [...].

    Returns:
        Scalar; of equal logits the first class counts as the prediction.

    Reference: An introduction to ROC analysis (Fawcett, 2006).
    """
    return (_predicted(logits_or_labels, labels) == labels).astype(jnp.float32).mean()


@partial(jax.jit, static_argnames='k')
def top_k_accuracy(logits: jax.Array, labels: jax.Array, *, k: int = 5) -> jax.Array:
    """Share of the rows whose true class is among the k largest logits.

        1/N sum_i [y_i in top_k(logits_i)]

    Args:
        logits: logits or probabilities [..., C].
        labels: true labels [...].
        k: how many guesses a row has.

    Returns:
        Scalar; equal logits are taken in the order of their class, never all at once.

    Reference: ImageNet Large Scale Visual Recognition Challenge (Russakovsky et al., 2015).
    """
    chex.assert_rank(logits, labels.ndim + 1)
    _, guesses = jax.lax.top_k(logits, k)
    return (guesses == labels[..., None]).any(-1).astype(jnp.float32).mean()


@partial(jax.jit, static_argnames='classes')
def per_class_accuracy(
    logits_or_labels: jax.Array, labels: jax.Array, *, classes: int
) -> jax.Array:
    """Accuracy within each true class (recall); its `nanmean` is the balanced accuracy.

        a_c = |{i: y_i = c, prediction_i = c}| / |{i: y_i = c}|

    Args:
        logits_or_labels: logits or probabilities [..., C], or predicted labels [...].
        labels: true labels [...]; those outside [0, classes) are left out.
        classes: number of classes C.

    Returns:
        Accuracies [C], NaN for a class without examples.

    Reference: The balanced accuracy and its posterior distribution (Brodersen et al., 2010).
    """
    predicted = _predicted(logits_or_labels, labels)
    total = _count(labels, classes)
    right = _count(jnp.where(predicted == labels, labels, classes), classes)
    return jnp.where(total > 0, right / jnp.maximum(total, 1), jnp.nan)


@partial(jax.jit, static_argnames='classes')
def confusion(labels: jax.Array, predicted: jax.Array, *, classes: int) -> jax.Array:
    """Counts of every pair of true and predicted class.

        M_cd = |{i: y_i = c, prediction_i = d}|

    Args:
        labels: true labels [...].
        predicted: predicted labels [...].
        classes: number of classes C; pairs with a label outside [0, C) are left out.

    Returns:
        Matrix [C, C], int32, rows true and columns predicted.

    Reference: An introduction to ROC analysis (Fawcett, 2006).
    """
    chex.assert_equal_shape([labels, predicted])
    labels, predicted = (y.astype(jnp.int32) for y in (labels, predicted))
    inside = (labels >= 0) & (labels < classes) & (predicted >= 0) & (predicted < classes)
    pairs = jnp.where(inside, labels * classes + predicted, classes**2)
    return _count(pairs, classes**2).reshape(classes, classes)


def _count(indices, length):
    """How often each of 0 .. length - 1 occurs, int32."""
    # bincount would count negative indices as zeros.
    indices = jnp.where(indices < 0, length, indices)
    return jnp.bincount(indices.ravel(), length=length).astype(jnp.int32)
