"""How well one score separates positives (anomalies, members, out-of-distribution) from negatives.

All three depend on the order of the scores alone, take ties as ties, and are NaN when there are
no positives or no negatives, or a score is NaN: there is nothing to measure then.
"""

import chex
import jax
import jax.numpy as jnp

from jssl.evaluate.correlation import average_ranks


def _check(scores, positives):
    chex.assert_rank([scores, positives], 1)
    chex.assert_equal_shape([scores, positives])
    return positives.astype(bool)


def _defined(value, scores, positives):
    """The value, or NaN where it would not mean anything."""
    defined = positives.any() & ~positives.all() & ~jnp.isnan(scores).any()
    return jnp.where(defined, value, jnp.nan)


def _detected(scores, positives):
    """True and false positives if each score in turn were the threshold, [N] each."""
    ordered = jnp.sort(scores)
    below = jnp.searchsorted(ordered, scores, side='left')
    found = jnp.cumsum(positives[jnp.argsort(scores)])
    missed = jnp.where(below > 0, found[below - 1], 0)
    true = found[-1] - missed
    return true, scores.size - below - true


@jax.jit
def auroc(scores: jax.Array, positives: jax.Array) -> jax.Array:
    """Probability that a positive scores higher than a negative; ties count one half.

        (mean rank of the positives - (P + 1) / 2) / (number of negatives)

    Args:
        scores: scores [N], higher for what should be positive.
        positives: boolean, or 0 and 1 [N].

    Returns:
        Scalar; NaN without positives or without negatives.

    Reference: An introduction to ROC analysis (Fawcett, 2006).
    """
    positives = _check(scores, positives)
    count = positives.sum()
    mean_rank = average_ranks(scores).mean(where=positives)
    area = (mean_rank - (count + 1) / 2) / jnp.maximum(scores.size - count, 1)
    return _defined(area, scores, positives)


@jax.jit
def average_precision(scores: jax.Array, positives: jax.Array) -> jax.Array:
    """Area under the steps of the precision-recall curve.

        sum_t (recall_t - recall_(t-1)) precision_t  over the distinct scores t, from the largest

    Args:
        scores: scores [N], higher for what should be positive.
        positives: boolean, or 0 and 1 [N].

    Returns:
        Scalar; NaN without positives or without negatives.

    Reference: Recall, Precision and Average Precision (Zhu, 2004).
    """
    positives = _check(scores, positives)
    true, false = _detected(scores, positives)
    # A step of the curve is 1/P high for each positive at that score.
    precision = (true / jnp.maximum(true + false, 1)).mean(where=positives)
    return _defined(precision, scores, positives)


@jax.jit
def fpr_at_tpr(scores: jax.Array, positives: jax.Array, *, tpr: float = 0.95) -> jax.Array:
    """Smallest rate of false alarms at which at least a share `tpr` of the positives is found.

        min_t FPR(t)  over the thresholds t with TPR(t) >= tpr

    Args:
        scores: scores [N], higher for what should be positive.
        positives: boolean, or 0 and 1 [N].
        tpr: share of the positives that must be found.

    Returns:
        Scalar; NaN without positives or without negatives.

    Reference: Enhancing the Reliability of Out-of-distribution Image Detection in Neural Networks
    (Liang et al., 2018).
    """
    positives = _check(scores, positives)
    true, false = _detected(scores, positives)
    count = positives.sum()
    # The slack is for 19 of 20 being 0.95, in whichever way the division is rounded.
    enough = true / jnp.maximum(count, 1) >= tpr - 1e-6
    rate = false / jnp.maximum(scores.size - count, 1)
    return _defined(rate.min(where=enough, initial=1.0), scores, positives)
