"""What is left of a sequence of tasks: scores of the matrix of accuracies."""

import numpy as np


def average_accuracy(accuracies) -> float:
    """Accuracy after the last task, averaged over tasks: mean_i a_Ti.

    Args:
        accuracies: a [T, T], a_ti of task i after task t; those of tasks to come (i > t) are never
            looked at.

    Reference: Gradient Episodic Memory for Continual Learning (Lopez-Paz and Ranzato, 2017).
    """
    return float(_square(accuracies)[-1].mean())


def forgetting(accuracies) -> float:
    """What tasks lost since they were known best: mean_{i < T} max_{t < T} a_ti - a_Ti.

    Args:
        accuracies: as in `average_accuracy`, of at least two tasks.

    Returns:
        The loss; less than 0 where later tasks helped.

    Reference: Riemannian Walk for Incremental Learning (Chaudhry et al., 2018).
    """
    a = _square(accuracies)
    if len(a) < 2:
        raise ValueError('accuracies of one task alone: nothing can have been forgotten')
    best = [a[i:-1, i].max() for i in range(len(a) - 1)]
    return float(np.mean(best - a[-1, :-1]))


def _square(accuracies):
    a = np.asarray(accuracies, np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not len(a):
        raise ValueError(f'accuracies must be [T, T], got {a.shape}')
    return a
