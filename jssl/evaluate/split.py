"""What every probe is given: features and labels of a training set and of a test set."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl.losses.arrays import widen


def check_split(train_h, train_y, test_h, test_y, *, classes: int | None = None) -> int:
    """Number of classes of a split, or a ValueError that names what does not fit.

    Args:
        train_h: training features [N, D], finite.
        train_y: training labels [N], integers in [0, classes).
        test_h: test features [M, D].
        test_y: test labels [M].
        classes: number of classes; one more than the largest label of either set when None.

    Returns:
        The number of classes, a Python int.
    """
    for name, h in (('train_h', train_h), ('test_h', test_h)):
        if np.ndim(h) != 2 or 0 in np.shape(h):
            raise ValueError(f'{name} must be features [N, D], not empty; got {np.shape(h)}')
        if not jnp.isfinite(h).all():
            raise ValueError(f'{name} has entries that are not finite')
    if train_h.shape[1] != test_h.shape[1]:
        raise ValueError(f'test_h must be [M, {train_h.shape[1]}] like train_h, got {test_h.shape}')
    for name, y, h in (('train_y', train_y, train_h), ('test_y', test_y, test_h)):
        if np.shape(y) != (len(h),):
            raise ValueError(f'{name} must be labels [{len(h)}], got {np.shape(y)}')
        if not jnp.issubdtype(y.dtype, jnp.integer):
            raise ValueError(f'{name} must be integers, got {y.dtype}')
    if classes is None:
        classes = 1 + max(int(train_y.max()), int(test_y.max()))
    for name, y in (('train_y', train_y), ('test_y', test_y)):
        if int(y.min()) < 0 or int(y.max()) >= classes:
            raise ValueError(f'{name} must lie in [0, {classes}), got [{y.min()}, {y.max()}]')
    return classes


def standardised(train_h: jax.Array, *others: jax.Array) -> tuple[jax.Array, ...]:
    """Features shifted and scaled to mean 0 and variance 1 on the training set.

        h' = (h - mean(train_h)) / std(train_h), a constant feature divided by 1

    Args:
        train_h: features that give the statistics [N, D].
        *others: features that take them over, each [M, D].

    Returns:
        All of them, float32 or wider, in the same order.

    Reference: The Elements of Statistical Learning (Hastie, Tibshirani and Friedman, 2009), 3.4.
    """
    train_h = widen(train_h)
    mean = train_h.mean(0, keepdims=True)
    std = train_h.std(0, keepdims=True)
    # The mean of a constant column is rounded: what is left must not be blown up to variance 1.
    constant = std <= 8 * jnp.finfo(std.dtype).eps * jnp.abs(mean)
    std = jnp.where(constant, 1, std)
    return tuple((widen(h) - mean) / std for h in (train_h, *others))


def share_right(logits: jax.Array, y) -> float:
    """Accuracy as a ratio of two whole numbers, for a `Score` that prints as one.

        |{i: argmax_c logits_ic = y_i}| / M

    Args:
        logits: logits, votes or probabilities [M, C].
        y: labels [M].

    Returns:
        A Python float.

    Reference: An introduction to ROC analysis (Fawcett, 2006).
    """
    return int((logits.argmax(-1) == jnp.asarray(y)).sum()) / len(y)


def hold_out(y, *, fraction: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows to choose a hyper-parameter on; the same at every call.

    Stratified: as near as whole rows allow, each class gives its share.

    Args:
        y: labels [N].
        fraction: share of the rows that is held out.

    Returns:
        Indices of the rows to fit on, and of the rows held out, both sorted.

    Reference: A Study of Cross-Validation and Bootstrap (Kohavi, 1995).
    """
    y = np.asarray(y)
    held = round(fraction * len(y))
    if not 0 < held < len(y):
        raise ValueError(f'fraction {fraction} of {len(y)} rows leaves nothing on one side')
    shuffled = np.random.default_rng(0).permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind='stable')]
    # Evenly spaced along the sorted labels, half a stride in: a class of one row is mostly fitted.
    chosen = by_class[((np.arange(held) + 0.5) * len(y) / held).astype(int)]
    mask = np.zeros(len(y), bool)
    mask[chosen] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)
