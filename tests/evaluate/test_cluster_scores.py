"""Clusterings against classes."""

import itertools

import numpy as np
import pytest

from jssl.evaluate import ari, clustering_accuracy, nmi

SCORES = [clustering_accuracy, nmi, ari]


def brute_force_accuracy(labels, predicted):
    classes, clusters = np.unique(labels), np.unique(predicted)
    size = max(len(classes), len(clusters))
    best = 0
    for order in itertools.permutations(range(size)):
        right = 0
        for y, c in zip(labels, predicted, strict=True):
            right += order[np.searchsorted(clusters, c)] == np.searchsorted(classes, y)
        best = max(best, right)
    return best / len(labels)


def entropy(*columns):
    _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    shares = counts / counts.sum()
    return -np.sum(shares * np.log(shares))


def pair_counting_ari(labels, predicted):
    pairs = list(itertools.combinations(range(len(labels)), 2))
    same_y = np.array([labels[i] == labels[j] for i, j in pairs])
    same_c = np.array([predicted[i] == predicted[j] for i, j in pairs])
    expected = same_y.sum() * same_c.sum() / len(pairs)
    most = (same_y.sum() + same_c.sum()) / 2
    return ((same_y & same_c).sum() - expected) / (most - expected)


@pytest.mark.parametrize(('classes', 'clusters'), [(4, 4), (3, 5), (5, 3)])
def test_against_definitions(classes, clusters):
    random = np.random.default_rng(classes)
    labels, predicted = random.integers(0, classes, 40), random.integers(0, clusters, 40)
    predicted[:20] = labels[:20] % clusters
    expected = brute_force_accuracy(labels, predicted)
    assert clustering_accuracy(labels, predicted) == pytest.approx(expected)
    information = entropy(labels) + entropy(predicted) - entropy(labels, predicted)
    expected = 2 * information / (entropy(labels) + entropy(predicted))
    assert nmi(labels, predicted) == pytest.approx(expected)
    assert ari(labels, predicted) == pytest.approx(pair_counting_ari(labels, predicted))


@pytest.mark.parametrize('score', SCORES)
def test_numbering_and_order_do_not_matter(score):
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 4, (2, 50))
    order, names = random.permutation(50), np.array([70, -1, 5, 3])
    value = score(labels, predicted)
    assert value == pytest.approx(score(labels[order], predicted[order]))
    assert value == pytest.approx(score(labels, names[predicted]))
    assert value == pytest.approx(score(names[labels], predicted))
    assert score(labels, names[labels]) == pytest.approx(1)
    assert value.protocol == f'{score.__name__}/1'


def test_one_cluster():
    labels, one = np.arange(40) % 4, np.zeros(40, int)
    assert clustering_accuracy(labels, one) == 0.25
    assert nmi(labels, one) == pytest.approx(0)
    assert ari(labels, one) == pytest.approx(0)
    assert clustering_accuracy(one, one) == nmi(one, one) == ari(one, one) == 1


@pytest.mark.parametrize('score', SCORES)
@pytest.mark.parametrize('shapes', [((3,), (4,)), ((0,), (0,)), ((2, 2), (2, 2))])
def test_shapes_that_do_not_fit_are_refused(score, shapes):
    with pytest.raises(ValueError, match='labels'):
        score(*(np.zeros(shape, int) for shape in shapes))
