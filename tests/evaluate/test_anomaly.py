"""Separation of positives and negatives by a score."""

import numpy as np
import pytest
from sklearn import metrics

from jssl.evaluate import auroc, average_precision, fpr_at_tpr

METRICS = [auroc, average_precision, fpr_at_tpr]


def all_pairs_auroc(scores, positives):
    wins = [(p > n) + (p == n) / 2 for p in scores[positives] for n in scores[~positives]]
    return np.mean(wins)


def stepwise_average_precision(scores, positives):
    area, recall = 0.0, 0.0
    for t in sorted(set(scores), reverse=True):
        found = scores >= t
        new = (found & positives).sum() / positives.sum()
        area += (new - recall) * (found & positives).sum() / found.sum()
        recall = new
    return area


def every_threshold_fpr(scores, positives, tpr):
    rates = [
        (scores >= t)[~positives].mean() for t in scores if (scores >= t)[positives].mean() >= tpr
    ]
    return min(rates)


@pytest.mark.parametrize('levels', [2, 5, 1000])  # from nearly all ties to none
def test_against_definitions(levels):
    random = np.random.default_rng(levels)
    positives = random.random(60) < 0.3
    scores = np.float32(random.integers(0, levels, 60) + positives * levels // 3)
    expected = all_pairs_auroc(scores, positives)
    np.testing.assert_allclose(auroc(scores, positives), expected, rtol=1e-6)
    np.testing.assert_allclose(metrics.roc_auc_score(positives, scores), expected)
    expected = stepwise_average_precision(scores, positives)
    np.testing.assert_allclose(average_precision(scores, positives), expected, rtol=1e-6)
    np.testing.assert_allclose(metrics.average_precision_score(positives, scores), expected)
    for tpr in (0.5, 0.95, 1.0):
        expected = every_threshold_fpr(scores, positives, tpr)
        np.testing.assert_allclose(fpr_at_tpr(scores, positives, tpr=tpr), expected, rtol=1e-6)


def test_perfect_inverted_and_constant_scores():
    positives = np.arange(60) >= 36
    scores = np.arange(60, dtype=np.float32)
    assert [float(m(scores, positives)) for m in METRICS] == [1, 1, 0]
    assert auroc(-scores, positives) == 0
    assert fpr_at_tpr(-scores, positives) == 1
    constant = np.zeros(60, np.float32)
    assert [round(float(m(constant, positives)), 6) for m in METRICS] == [0.5, 0.4, 1]


@pytest.mark.parametrize('metric', METRICS)
def test_only_the_order_counts(metric):
    random = np.random.default_rng(0)
    positives, order = random.random(60) < 0.4, random.permutation(60)
    scores = np.round(random.normal(size=60) + positives, 1).astype(np.float32)
    value = metric(scores, positives)
    assert 0 < value <= 1
    np.testing.assert_allclose(metric(np.exp(scores), positives), value, rtol=1e-6)
    np.testing.assert_allclose(metric(scores**3 * 1e20, positives), value, rtol=1e-6)
    np.testing.assert_allclose(metric(scores[order], positives[order]), value, rtol=1e-6)
    np.testing.assert_allclose(metric(scores, positives.astype(int)), value, rtol=1e-6)


def test_classes_swapped():
    random = np.random.default_rng(0)
    scores, positives = np.float32(random.integers(0, 9, 60)), random.random(60) < 0.4
    np.testing.assert_allclose(auroc(scores, ~positives), 1 - auroc(scores, positives), rtol=1e-6)


@pytest.mark.parametrize('metric', METRICS)
def test_nothing_to_measure_is_nan(metric):
    scores = np.arange(60, dtype=np.float32)
    assert np.isnan(metric(scores, np.zeros(60, bool)))
    assert np.isnan(metric(scores, np.ones(60, bool)))
    for position in (0, 30, 59):
        broken = np.where(np.arange(60) == position, np.nan, scores).astype(np.float32)
        assert np.isnan(metric(broken, np.arange(60) > 30))


def test_infinite_scores_are_scores():
    positives = np.arange(60) < 2
    scores = np.full(60, -np.inf, np.float32)
    scores[:2] = np.inf, 0
    assert [float(m(scores, positives)) for m in METRICS] == [1, 1, 0]


def test_nineteen_of_twenty_is_enough_for_95_percent():
    scores = np.concatenate([np.arange(1, 20), [-1], np.zeros(40)]).astype(np.float32)
    assert fpr_at_tpr(scores, np.arange(60) < 20) == 0


def test_large_and_unbalanced():
    random = np.random.default_rng(0)
    positives = np.arange(100_000) < 30
    scores = (random.normal(size=positives.size) + positives).astype(np.float32)
    expected = metrics.roc_auc_score(positives, scores)
    np.testing.assert_allclose(auroc(scores, positives), expected, atol=1e-6)
