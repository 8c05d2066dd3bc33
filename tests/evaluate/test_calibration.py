"""Calibration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics

from jssl.evaluate import (
    brier,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (300, 4))
    labels = np.array([random.choice(4, p=p) for p in special.softmax(logits, -1)])
    return logits, labels


def loop_over_bins(probabilities, labels, bins):
    rows = []
    for m in range(bins):
        inside = [i for i, p in enumerate(probabilities) if m / bins < p.max() <= (m + 1) / bins]
        confidence = sum(probabilities[i].max() for i in inside)
        right = sum(probabilities[i].argmax() == labels[i] for i in inside)
        rows.append((confidence, right, len(inside)))
    return rows


@pytest.mark.parametrize('bins', [1, 15])
def test_bins_against_a_loop(case, bins):
    logits, labels = case
    p = special.softmax(logits, -1)
    rows = loop_over_bins(p, labels, bins)
    table = reliability(jnp.float32(p), labels, bins=bins)
    for m, (confidence, right, count) in enumerate(rows):
        assert table.count[m] == count
        np.testing.assert_allclose(table.confidence[m], confidence / max(count, 1), rtol=1e-5)
        np.testing.assert_allclose(table.accuracy[m], right / max(count, 1), rtol=1e-5)
    expected = sum(abs(right - confidence) for confidence, right, _ in rows) / len(labels)
    error = expected_calibration_error(jnp.float32(p), labels, bins=bins)
    np.testing.assert_allclose(error, expected, atol=1e-6)


def test_edges_belong_to_the_bin_below_and_empty_bins_are_zeros():
    p = jnp.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    table = reliability(p, jnp.array([0, 1, 0]), bins=4)
    np.testing.assert_array_equal(table.count, [0, 1, 1, 1])
    np.testing.assert_array_equal(table.confidence, [0, 0.5, 0.75, 1])
    np.testing.assert_array_equal(table.accuracy, [0, 1, 0, 1])


def test_extremes():
    certain, labels = jnp.eye(3), jnp.arange(3)
    assert expected_calibration_error(certain, labels) == 0
    assert expected_calibration_error(certain, (labels + 1) % 3) == 1
    assert brier(certain, labels) == negative_log_likelihood(certain, labels) == 0
    assert brier(certain, (labels + 1) % 3) == 2
    assert 80 < negative_log_likelihood(certain, (labels + 1) % 3) < 100  # finite
    # Rounded sums above one stay in the last bin.
    over = jnp.array([[1 + 1e-6, 0.0]])
    assert expected_calibration_error(over, jnp.array([0])) == pytest.approx(0, abs=1e-5)


def test_proper_scores(case):
    logits, labels = case
    p = special.softmax(logits, -1)
    expected = np.mean([sum((p[i] - np.eye(4)[y]) ** 2) for i, y in enumerate(labels)])
    np.testing.assert_allclose(brier(jnp.float32(p), labels), expected, rtol=1e-5)
    expected = metrics.log_loss(labels, p)
    np.testing.assert_allclose(negative_log_likelihood(jnp.float32(p), labels), expected, rtol=1e-5)


@pytest.mark.parametrize('scale', [0.05, 1.0, 30.0])
def test_temperature_is_the_minimum_and_scales_with_the_logits(case, scale):
    logits, labels = case
    loss = lambda log_t: metrics.log_loss(labels, special.softmax(logits / np.exp(log_t), -1))
    best = np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), options={'xatol': 1e-9}).x)
    assert 0.8 < best < 1.25  # labels were drawn at temperature 1
    found = fit_temperature(jnp.float32(scale * logits), labels)
    np.testing.assert_allclose(found, scale * best, rtol=1e-3)


def test_temperature_at_the_limits():
    labels = jnp.arange(3)
    separable, noise = 5 * jnp.eye(3), -5 * jnp.eye(3)
    assert fit_temperature(separable, labels) == pytest.approx(1e-3, rel=1e-3)
    assert fit_temperature(noise, labels) == pytest.approx(1e3, rel=1e-3)
    assert fit_temperature(jnp.zeros((3, 3)), labels) == 1
    assert np.isfinite(fit_temperature(1e30 * jax.random.normal(jax.random.key(0), (3, 3)), labels))
