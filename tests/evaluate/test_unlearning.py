"""Attack features against formulas in float64; the attacker on cases with a known answer."""

import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate.unlearning import (
    attack_features,
    average_gap,
    membership_inference,
    unlearning_scores,
)


def test_features_against_loops():
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    found = attack_features(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    for i in range(9):
        p = np.exp(logits[i]) / np.exp(logits[i]).sum()
        y = labels[i]
        modified = -(1 - p[y]) * np.log(p[y])
        modified -= sum(p[c] * np.log(1 - p[c]) for c in range(4) if c != y)
        expected = {
            'correctness': float(np.argmax(logits[i]) == y),
            'confidence': p[y],
            'entropy': -(p * np.log(p)).sum(),
            'modified_entropy': modified,
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][i, 0], value, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found['probability'][i], p, rtol=1e-4)


def test_features_are_finite_for_huge_logits():
    found = attack_features(jnp.asarray([[1e4, -1e4], [-1e4, 1e4]]), jnp.asarray([0, 0]))
    assert all(np.isfinite(v).all() for v in found.values())


def test_attacker_knows_members_by_their_confidence():
    rng = np.random.default_rng(0)
    member, outside = 0.95 + 0.02 * rng.normal(size=400), 0.5 + 0.02 * rng.normal(size=300)
    still_known = membership_inference(member, outside, np.full(50, 0.95))
    forgotten = membership_inference(member, outside, np.full(50, 0.5))
    assert (still_known, forgotten) == (0.0, 1.0)
    assert forgotten.protocol == 'membership_inference/1'


def test_attacker_sees_every_region_of_sorted_members():
    # Were only the first rows of a sorted set taken, the second cluster would pass for unseen.
    member = np.concatenate([np.full(500, 0.9), np.full(500, 0.1)])
    outside = np.full(200, 0.5)
    assert membership_inference(member, outside, np.full(20, 0.1)) == 0.0


def test_average_gap():
    gap = average_gap({'ua': 0.3, 'ra': 0.9}, {'ua': 0.1, 'ra': 1.0})
    assert gap == pytest.approx(0.15)


def test_scores_of_a_model_that_forgot_and_of_one_that_did_not():
    sure, wrong = np.tile([[4.0, 0.0]], (60, 1)), np.tile([[0.0, 1.0]], (60, 1))
    zeros = np.zeros(60, int)
    rng = np.random.default_rng(0)
    test = (np.where(rng.random((60, 1)) < 0.9, sure / 4, wrong), zeros)
    forgot = unlearning_scores((sure, zeros), (wrong, zeros), test)
    knows = unlearning_scores((sure, zeros), (sure, zeros), test)
    assert (forgot['ua'], forgot['mia'], forgot['ra']) == (1.0, 1.0, 1.0)
    assert (knows['ua'], knows['mia']) == (0.0, 0.0)
    assert 0.8 < forgot['ta'] == knows['ta'] < 1.0
