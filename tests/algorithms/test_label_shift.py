"""Anchored factors come back; posteriors against Bayes' rule in loops."""

import jax
import numpy as np
import pytest

from jssl import algorithms

RNG = np.random.default_rng(0)


def mixed(k, r):
    return RNG.dirichlet(np.full(k, 0.5), r).T


@pytest.mark.parametrize('restarts', [0, 3])
def test_factors_with_a_cell_for_each_class_are_found(restarts):
    """From random starts only where there are pure domains, too."""
    words = np.array([[0.5, 0, 0], [0, 0.4, 0], [0, 0, 0.6], [0.3, 0.2, 0.1], [0.2, 0.4, 0.3]])
    pure = np.eye(3) if restarts else mixed(3, 3)
    mixes = np.concatenate([pure, mixed(3, 3)], 1)
    options = {'iterations': 5000, 'restarts': restarts}
    found, shares = algorithms.factor_domains(words @ mixes, 3, **options)
    order = [int(np.argmin(np.abs(found - word[:, None]).sum(0))) for word in words.T]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found[:, order], words, atol=1e-3)
    np.testing.assert_allclose(shares[order], mixes, atol=1e-3)
    with pytest.raises(ValueError, match='k must be'):
        algorithms.factor_domains(words @ mixes, 6)


def test_what_fits_best_need_not_be_true():
    """Where no domain lacks a class, other factors fit exact shares too; those of anchors are true.

    Counts are fitted better than by the truth, and from anchors the fit stays nearer to it.
    """
    random = np.random.default_rng(1)
    words = np.concatenate([np.diag([0.5, 0.4, 0.6]), random.random((5, 3)) / 4])
    words /= words.sum(0)
    mixes = random.dirichlet(np.full(3, 3.0), 6).T
    counts = np.stack([random.multinomial(100, p) for p in (words @ mixes).T], 1) / 100
    miss, errors = {}, {}
    for name, cells in (('exact', words @ mixes), ('counted', counts)):
        for restarts in (0, 5):
            found, shares = algorithms.factor_domains(cells, 3, restarts=restarts)
            order = algorithms.match_labels(words.T @ found)
            miss[name, restarts] = np.square(cells - found @ shares).sum()
            errors[name, restarts] = np.abs(shares[order] - mixes).mean()
    assert max(miss['exact', 0], miss['exact', 5]) < 1e-6
    assert errors['exact', 0] < 1e-3 < 0.03 < errors['exact', 5]
    assert miss['counted', 5] < np.square(counts - words @ mixes).sum()
    assert errors['counted', 0] < errors['counted', 5]


def test_posteriors_by_bayes_rule():
    k, r, cells = 3, 4, 6
    mixes, shares = mixed(k, r), RNG.dirichlet(np.ones(r))
    words = RNG.dirichlet(np.ones(cells), k).T
    joint = np.empty((cells, k, r))
    for x, y, d in np.ndindex(cells, k, r):
        joint[x, y, d] = words[x, y] * mixes[y, d] * shares[d]
    by_domain = joint.sum(1) / joint.sum((1, 2))[:, None]
    found = jax.jit(algorithms.class_posteriors)(by_domain, mixes, shares)
    wanted = joint.sum(2) / joint.sum((1, 2))[:, None]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    d = np.arange(cells) % r
    here = algorithms.in_domain(wanted, mixes, shares, d)
    for x in range(cells):
        one = joint[x, :, d[x]]
        np.testing.assert_allclose(here[x], one / one.sum(), rtol=1e-5)


def test_rows_without_a_possible_class_get_the_domains_own():
    mixes = np.array([[1.0, 0.0], [0.0, 1.0]])
    shares, d = np.array([0.5, 0.5]), np.array([0, 1])
    found = algorithms.in_domain(np.array([[0.0, 1.0], [0.3, 0.7]]), mixes, shares, d)
    np.testing.assert_array_equal(found, [[1, 0], [0, 1]])
