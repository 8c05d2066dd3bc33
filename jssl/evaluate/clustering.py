"""Agreement of clusters with classes; nothing here depends on how either is numbered."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from jssl.evaluate.score import Score


def _pairs(labels, predicted):
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.ndim != 1 or labels.shape != predicted.shape or not labels.size:
        raise ValueError(
            'labels and predicted must be integers of one shape [N], not empty; '
            f'got {labels.shape} and {predicted.shape}'
        )
    return labels, predicted


def clustering_accuracy(labels, predicted) -> Score:
    """Accuracy under the best one-to-one matching of clusters and classes.

        max_m 1/N sum_i [y_i = m(c_i)]

    Args:
        labels: classes [N].
        predicted: clusters [N]; as many as there are, more or fewer than classes.

    Returns:
        `Score` in [0, 1]; the rows of a cluster that goes unmatched are wrong.

    Reference: Unsupervised Deep Embedding for Clustering Analysis (Xie et al., 2016).
    """
    labels, predicted = _pairs(labels, predicted)
    _, rows = np.unique(labels, return_inverse=True)
    _, columns = np.unique(predicted, return_inverse=True)
    counts = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(counts, (rows, columns), 1)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return Score(matched / labels.size, 'clustering_accuracy/1')


def nmi(labels, predicted) -> Score:
    """Mutual information of clusters and classes over the mean of their entropies.

        2 I(Y; C) / (H(Y) + H(C))

    Args:
        labels: classes [N].
        predicted: clusters [N].

    Returns:
        `Score` in [0, 1].

    Reference: Cluster Ensembles: a Knowledge Reuse Framework (Strehl and Ghosh, 2002).
    """
    from sklearn import metrics  # takes longer to import than the rest of this room

    return Score(metrics.normalized_mutual_info_score(*_pairs(labels, predicted)), 'nmi/1')


def ari(labels, predicted) -> Score:
    """Share of pairs on which clusters and classes agree, adjusted for chance (Rand index).

        (agreements - expected) / (maximum - expected)

    Args:
        labels: classes [N].
        predicted: clusters [N].

    Returns:
        `Score` in [-0.5, 1], 0 in expectation for random clusters.

    Reference: Comparing Partitions (Hubert and Arabie, 1985).
    """
    from sklearn import metrics

    return Score(metrics.adjusted_rand_score(*_pairs(labels, predicted)), 'ari/1')
