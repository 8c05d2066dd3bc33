"""Uneven classes: long tails by their counts, and the examples that make them.

rows = imbalance.choose(labels, imbalance.exponential(10, 500, ratio=100), seed=0)
"""

from collections.abc import Sequence

import numpy as np

from jssl.data.seeds import generator


def exponential(classes: int, largest: int, *, ratio: float = 100.0) -> np.ndarray:
    """A tail that falls by one factor from class to class.

        n_k = n_0 ratio^(-k / (K - 1))

    Args:
      classes: K.
      largest: n_0.
      ratio: the imbalance factor, n_0 over n_{K-1}; some papers state its inverse.

    Returns:
      Counts, int64 [K], at least one each.

    Class-Balanced Loss Based on Effective Number of Samples (Cui et al., 2019).
    """
    return _counts(largest * ratio ** (-np.arange(classes) / max(classes - 1, 1)))


def step(classes: int, largest: int, *, ratio: float = 100.0, rare: float = 0.5) -> np.ndarray:
    """Frequent classes and rare ones, nothing between.

        n_k = n_0,   n_0 / ratio for the last round(rare K)

    Args:
      classes: K.
      largest: n_0.
      ratio: the imbalance factor.
      rare: share of the classes that is rare.

    Returns:
      Counts, int64 [K], at least one each.

    A systematic study of the class imbalance problem in convolutional neural networks (Buda et
    al., 2018).
    """
    frequent = np.arange(classes) < classes - round(rare * classes)
    return _counts(np.where(frequent, largest, largest / ratio))


def zipf(classes: int, largest: int, *, power: float = 1.0) -> np.ndarray:
    """The tail of words, species and sub-populations.

        n_k = n_0 / (k + 1)^power

    Args:
      classes: K.
      largest: n_0.
      power: 0 is even.

    Returns:
      Counts, int64 [K], at least one each.

    Does Learning Require Memorization? A Short Tale about a Long Tail (Feldman, 2019).
    """
    return _counts(largest / (1.0 + np.arange(classes)) ** power)


def choose(labels: np.ndarray, counts: Sequence[int], *, seed: int) -> np.ndarray:
    """Takes as many examples of each class as are wanted.

    With one seed, smaller counts choose a part of what larger ones choose. Permute `counts` for
    tails that end in other classes.

    Args:
      labels: integers [N] in 0 .. K - 1: classes, or sub-populations.
      counts: examples of each class, integers [K].
      seed: of the choice.

    Returns:
      Rows, int64 [sum(counts)], ascending.

    Class-Balanced Loss Based on Effective Number of Samples (Cui et al., 2019).
    """
    chosen = []
    for y, count in enumerate(counts):
        rows = np.flatnonzero(labels == y)
        if not 0 <= count <= len(rows):
            raise ValueError(f'counts asks {count} examples of class {y}, which has {len(rows)}')
        chosen.append(generator(seed, f'choose {y}').permutation(rows)[:count])
    return np.sort(np.concatenate(chosen))


def _counts(values):
    return np.maximum(1, np.round(values)).astype(np.int64)
