"""Whether a classifier's probabilities mean what they say."""

from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import widen


def _check(probabilities, labels):
    chex.assert_rank(probabilities, 2)
    chex.assert_shape(labels, (probabilities.shape[0],))
    return widen(probabilities)


class Reliability(NamedTuple):
    """Bins of equal width over the confidence; an empty bin has zeros in all three."""

    confidence: jax.Array  # mean confidence of the rows in the bin [bins]
    accuracy: jax.Array  # share of them that is right [bins]
    count: jax.Array  # how many there are [bins]


@partial(jax.jit, static_argnames='bins')
def reliability(probabilities: jax.Array, labels: jax.Array, *, bins: int = 15) -> Reliability:
    """Table of the reliability diagram: confidence and accuracy, bin by bin.

        bin m holds the rows with max_c p_c in ((m - 1) / M, m / M]

    Args:
        probabilities: predicted probabilities [B, C].
        labels: true labels [B].
        bins: number of bins M.

    Returns:
        `Reliability` with arrays [bins].

    Reference: Predicting Good Probabilities with Supervised Learning (Niculescu-Mizil and Caruana,
    2005).
    """
    probabilities = _check(probabilities, labels)
    confidence = probabilities.max(-1)
    right = (probabilities.argmax(-1) == labels).astype(confidence.dtype)
    edges = jnp.linspace(0, 1, bins + 1, dtype=confidence.dtype)
    member = jnp.clip(jnp.searchsorted(edges, confidence, side='left') - 1, 0, bins - 1)
    sums = jax.ops.segment_sum(
        jnp.stack([confidence, right, jnp.ones_like(right)], -1), member, num_segments=bins
    )
    count = sums[:, 2]
    confidence, right = sums[:, 0] / jnp.maximum(count, 1), sums[:, 1] / jnp.maximum(count, 1)
    return Reliability(confidence, right, count.astype(jnp.int32))


@partial(jax.jit, static_argnames='bins')
def expected_calibration_error(
    probabilities: jax.Array, labels: jax.Array, *, bins: int = 15
) -> jax.Array:
    """Mean distance between confidence and accuracy over the bins of the reliability diagram.

        sum_m |B_m| / N |accuracy(B_m) - confidence(B_m)|

    Args:
        probabilities: predicted probabilities [B, C].
        labels: true labels [B].
        bins: number of bins of equal width.

    Returns:
        Scalar in [0, 1].

    Reference: On Calibration of Modern Neural Networks (Guo et al., 2017).
    """
    table = reliability(probabilities, labels, bins=bins)
    return (table.count * jnp.abs(table.accuracy - table.confidence)).sum() / len(labels)


@jax.jit
def brier(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Squared distance between the probabilities and the outcome.

        1/N sum_i sum_c (p_ic - [y_i = c])^2

    Args:
        probabilities: predicted probabilities [B, C].
        labels: true labels [B].

    Returns:
        Scalar in [0, 2].

    Reference: Verification of Forecasts Expressed in Terms of Probability (Brier, 1950).
    """
    probabilities = _check(probabilities, labels)
    outcome = jax.nn.one_hot(labels, probabilities.shape[-1], dtype=probabilities.dtype)
    return jnp.square(probabilities - outcome).sum(-1).mean()


@jax.jit
def negative_log_likelihood(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean surprise at the true class.

        -1/N sum_i log p_i,y_i

    Args:
        probabilities: predicted probabilities [B, C]; a zero counts as the smallest float above it.
        labels: true labels [B].

    Returns:
        Scalar.

    Reference: Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting and Raftery,
    2007).
    """
    probabilities = _check(probabilities, labels)
    likelihood = jnp.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0]
    return -jnp.log(jnp.maximum(likelihood, jnp.finfo(likelihood.dtype).tiny)).mean()


@jax.jit
def fit_temperature(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Temperature at which the held-out labels are likeliest.

        T = argmin_T -1/N sum_i log softmax(logits_i / T)[y_i],  T in [1e-3, 1e3]

    The objective is convex in 1/T: its slope is bisected.

    Args:
        logits: logits of held-out rows [B, C].
        labels: their labels [B].

    Returns:
        Scalar T; 1 where the logits say nothing, as when a row's are all equal.

    Reference: On Calibration of Modern Neural Networks (Guo et al., 2017).
    """
    logits = _check(logits, labels)
    likelihood = lambda inverse: optax.losses.softmax_cross_entropy_with_integer_labels(
        inverse * logits, labels
    ).mean()
    slope = jax.grad(likelihood)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        rises = slope(jnp.exp(middle)) > 0
        return jnp.where(rises, low, middle), jnp.where(rises, middle, high)

    widest = jnp.log(jnp.asarray(1e3, logits.dtype))
    low, high = jax.lax.fori_loop(0, 40, halve, (-widest, widest))
    flat = slope(jnp.ones((), logits.dtype)) == 0
    return jnp.where(flat, 1, jnp.exp(-(low + high) / 2))
