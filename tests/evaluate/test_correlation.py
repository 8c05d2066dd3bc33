"""Correlations."""

import jax
import numpy as np
import pytest
from scipy import stats

from jssl.evaluate import average_ranks, pearson, spearman


@pytest.fixture
def pairs():
    random = np.random.default_rng(0)
    a = random.integers(0, 8, (2, 3, 30)).astype(np.float32)  # many ties
    return a, (a + random.normal(0, 3, a.shape)).astype(np.float32)


def test_against_scipy_row_by_row(pairs):
    a, b = pairs
    linear, ranked, ranks = pearson(a, b), spearman(a, b), average_ranks(a)
    assert linear.shape == ranked.shape == (2, 3)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(linear[i], stats.pearsonr(a[i], b[i])[0], atol=1e-6)
        np.testing.assert_allclose(ranked[i], stats.spearmanr(a[i], b[i])[0], atol=1e-6)
        np.testing.assert_array_equal(ranks[i], stats.rankdata(a[i]))


def test_invariances(pairs):
    a, b = pairs
    for correlation in (pearson, spearman):
        r = correlation(a, b)
        np.testing.assert_allclose(correlation(b, a), r, atol=1e-6)
        np.testing.assert_allclose(correlation(3 * a + 7, 0.1 * b), r, atol=1e-5)
        np.testing.assert_allclose(correlation(-a, b), -r, atol=1e-6)
        np.testing.assert_allclose(correlation(a, a), 1, atol=1e-6)
    np.testing.assert_allclose(spearman(np.exp(a), b**3), spearman(a, b), atol=1e-6)


@pytest.mark.parametrize('scale', [1e-30, 1e30])
def test_scale_does_not_matter(pairs, scale):
    a, b = pairs
    np.testing.assert_allclose(pearson(np.float32(scale) * a, b), pearson(a, b), rtol=1e-4)


@pytest.mark.parametrize('constant', [0.0, 0.1, 1e30])
def test_constants_do_not_correlate(pairs, constant):
    a, b = np.full((2, 3, 30), constant, np.float32), pairs[1]
    for correlation in (pearson, spearman):
        for r in (correlation(a, b), correlation(b, a), correlation(a, a)):
            np.testing.assert_array_equal(r, 0)
    gradient = jax.jit(jax.grad(lambda a: pearson(a, b).sum()))
    assert np.isfinite(gradient(a)).all()


def test_signed_zeros_tie_and_nan_spreads(pairs):
    a, b = pairs
    signed = np.where(np.arange(30) % 2, 0, -np.zeros_like(a))
    np.testing.assert_array_equal(average_ranks(signed), 15.5)
    a[0, 0, 3], a[1, 1, 7], a[1, 1, 8] = np.nan, np.inf, -np.inf
    ranks = np.asarray(average_ranks(a))
    np.testing.assert_array_equal(np.isnan(ranks).all(-1), np.isnan(ranks).any(-1))
    assert np.isnan(ranks).sum() == 30
    assert (ranks[1, 1, 7], ranks[1, 1, 8]) == (30, 1)
    assert np.isnan(spearman(a, b)[0, 0])


def test_long_rows_keep_their_precision():
    a = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    b = a + np.random.default_rng(1).normal(size=a.size).astype(np.float32)
    np.testing.assert_allclose(spearman(a, b), stats.spearmanr(a, b)[0], atol=1e-5)
