"""Thresholds against sorts; the Zipf law against NumPy's own fit and against laws put in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import algorithms

RNG = np.random.default_rng(0)
Z = np.maximum(RNG.normal(size=(13, 9)), 0).astype(np.float32)
AXES = None, 0, 1
Z[3] = 0
Z[:, 4] = Z[:, 5]  # equal entries


def test_the_kth_largest_is_where_a_sort_puts_it():
    found = jax.jit(
        lambda z, *k: [algorithms.kth_largest(z, m, axis=a) for m, a in zip(k, AXES, strict=True)]
    )
    k = 20, RNG.integers(1, 13, 9), RNG.integers(1, 9, 13)
    whole, columns, rows = found(Z, *k)
    ordered = lambda x: np.sort(x)[::-1]
    assert whole == ordered(Z.ravel())[19]
    assert list(columns) == [ordered(c)[m - 1] for c, m in zip(Z.T, k[1], strict=True)]
    assert list(rows) == [ordered(r)[m - 1] for r, m in zip(Z, k[2], strict=True)]
    ends = algorithms.kth_largest(
        Z.astype(jnp.bfloat16), jnp.array([0, 1, 13, 14] + [2] * 5), axis=0
    )
    assert np.isinf(ends[0])
    assert ends[1] == Z[:, 1].astype(jnp.bfloat16).max()
    assert list(ends[2:4]) == [0, 0]


def weighted_line(frequency, offset):
    """(error, exponent, scale) of a fit by NumPy; its weights multiply residuals, not squares."""
    f = np.sort(frequency[frequency > 0])[::-1].astype(np.float64)
    rank = np.arange(1, len(f) + 1)
    weight = 1 / rank / (1 / rank).sum()
    x, y = np.log(rank + offset), np.log(f)
    slope, level = np.polyfit(x, y, 1, w=np.sqrt(weight))
    return (weight * (y - level - slope * x) ** 2).sum(), -slope, np.exp(level)


def test_a_zipf_law_is_fitted_as_numpy_fits_it_and_found_where_it_holds():
    fit = jax.jit(algorithms.fit_zipf)
    noisy = RNG.uniform(0.5, 2, 40) / np.arange(3, 43)
    noisy[-5:] = 0
    offsets = [0, *2.0 ** np.arange(8)]
    error, exponent, scale = min(weighted_line(noisy, b) for b in offsets)
    law = fit(RNG.permutation(noisy).astype(np.float32))
    np.testing.assert_allclose(law.exponent, exponent, rtol=1e-3)
    np.testing.assert_allclose(law.scale, scale, rtol=1e-3)
    assert weighted_line(noisy, float(law.offset))[0] == error

    rank = np.arange(1, 41)
    exact = 0.3 * (rank + 4.0) ** -1.25
    law = fit(exact.astype(np.float32))
    np.testing.assert_allclose([law.exponent, law.offset, law.scale], [1.25, 4, 0.3], rtol=1e-3)
    np.testing.assert_allclose(law(rank), exact, rtol=1e-3)
    assert np.isfinite(fit(np.zeros(40, np.float32))).all()


def test_counts_spend_the_budget_to_the_last_and_leave_no_feature_out():
    law = algorithms.Zipf(*map(jnp.float32, (1.5, 2.0, 0.7)))
    counts = np.asarray(algorithms.zipf_counts(law, 30, 333))
    share = (np.arange(1, 31) + 2.0) ** -1.5
    assert counts.sum() == 333
    assert counts.min() >= 1
    assert np.abs(counts - 1 - 303 * share / share.sum()).max() < 1.01
    assert (np.asarray(algorithms.zipf_counts(law, 30, 30)) == 1).all()
    with pytest.raises(ValueError, match='at least 30'):
        algorithms.zipf_counts(law, 30, 29)
