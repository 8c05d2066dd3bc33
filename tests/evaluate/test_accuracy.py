"""Counting right answers."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from jssl.evaluate import accuracy, confusion, per_class_accuracy, top_k_accuracy


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    logits = random.normal(size=(60, 6)).astype(np.float32)
    return logits, random.integers(0, 6, 60)


def test_against_scikit_learn(case):
    logits, labels = case
    predicted = logits.argmax(-1)
    expected = metrics.accuracy_score(labels, predicted)
    np.testing.assert_allclose(accuracy(logits, labels), expected, rtol=1e-6)
    np.testing.assert_allclose(accuracy(predicted, labels), expected, rtol=1e-6)
    for k in (1, 3, 6):
        expected = metrics.top_k_accuracy_score(labels, logits, k=k)
        np.testing.assert_allclose(top_k_accuracy(logits, labels, k=k), expected, rtol=1e-6)
    recall = metrics.recall_score(labels, predicted, average=None)
    np.testing.assert_allclose(per_class_accuracy(logits, labels, classes=6), recall, rtol=1e-6)
    matrix = metrics.confusion_matrix(labels, predicted)
    np.testing.assert_array_equal(confusion(labels, predicted, classes=6), matrix)
    assert np.trace(confusion(labels, labels, classes=6)) == 60


def test_leading_axes_are_all_averaged(case):
    logits, labels = case
    maps, targets = logits.reshape(3, 4, 5, 6), labels.reshape(3, 4, 5)
    assert accuracy(maps, targets) == accuracy(logits, labels)
    assert top_k_accuracy(maps, targets, k=2) == top_k_accuracy(logits, labels, k=2)
    np.testing.assert_array_equal(
        confusion(targets, maps.argmax(-1), classes=6),
        confusion(labels, logits.argmax(-1), classes=6),
    )


def test_constant_logits_are_at_chance_not_perfect():
    logits, labels = jnp.zeros((10, 5)), jnp.arange(10) % 5
    assert accuracy(logits, labels) == pytest.approx(0.2)
    assert top_k_accuracy(logits, labels, k=2) == pytest.approx(0.4)


def test_labels_outside_the_classes_are_left_out():
    labels = jnp.array([0, 1, -1, 255, 1])
    predicted = jnp.array([0, 0, 0, 1, -1])
    np.testing.assert_array_equal(confusion(labels, predicted, classes=2), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(per_class_accuracy(predicted, labels, classes=2), [1, 0])


def test_class_without_examples_is_nan():
    found = per_class_accuracy(jnp.array([0, 2]), jnp.array([0, 0]), classes=3)
    np.testing.assert_array_equal(found, [0.5, np.nan, np.nan])


def test_narrow_labels_do_not_overflow():
    y = jnp.array([200, 199], jnp.uint8)
    assert confusion(y, y, classes=201)[200, 200] == 1


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='predictions'):
        accuracy(jnp.zeros(3), jnp.zeros(4, int))
