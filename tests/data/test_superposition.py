"""Sums of directions: how many, how often, how strong, read off where directions are orthogonal."""

import numpy as np

from jssl.data.generated import superposition


def test_directions_have_unit_length_and_follow_the_seed():
    g = superposition.directions(1, count=50, width=8)
    np.testing.assert_allclose(np.linalg.norm(g, axis=1), 1, rtol=1e-5)
    assert np.abs(g.mean(0)).max() < 0.25
    np.testing.assert_array_equal(g, superposition.directions(1, count=50, width=8))


def test_sums_have_the_directions_they_count_as_often_as_the_law_says():
    x, difficulty = superposition.sums(1, np.eye(40), count=20_000, active=4.0)
    chosen = x > 0
    np.testing.assert_array_equal(chosen.sum(1), difficulty)
    assert abs(difficulty.mean() - 4) < 0.1
    assert difficulty.var() > 4  # more than Poisson's
    law = 1 / (np.arange(1, 41) + 10)
    np.testing.assert_allclose(chosen.mean(0), 4 * law / law.sum(), rtol=0.12)
    assert 0.5 <= x[chosen].min() < 0.52
    assert 1.48 < x.max() <= 1.5
