"""Weighted nearest neighbours."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import knn
from jssl.evaluate.knn import _votes


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 90)
    h = (random.normal(size=(90, 6)) + np.eye(4, 6)[y]).astype(np.float32)
    return h[:60], y[:60], h[60:], y[60:]


def loop_over_queries(train_h, train_y, test_h, k, temperature, classes):
    votes = np.zeros((len(test_h), classes))
    for i, h in enumerate(np.float64(test_h)):
        cosines = [h @ g / np.linalg.norm(h) / np.linalg.norm(g) for g in np.float64(train_h)]
        for j in sorted(range(len(cosines)), key=lambda j: -cosines[j])[:k]:
            votes[i, train_y[j]] += np.exp(cosines[j] / temperature)
    return votes


@pytest.mark.parametrize(('k', 'temperature'), [(1, 0.07), (20, 0.07), (20, 10.0)])
def test_against_a_loop(case, k, temperature):
    train_h, train_y, test_h, test_y = case
    expected = loop_over_queries(train_h, train_y, test_h, k, temperature, 4)
    votes = _votes(train_h, train_y, test_h, temperature, k=k, classes=4)
    share = lambda v: v / v.sum(1, keepdims=True)
    np.testing.assert_allclose(share(np.asarray(votes)), share(expected), rtol=1e-4, atol=1e-6)
    score = knn(*case, k=k, temperature=temperature)
    assert score == (expected.argmax(1) == test_y).mean()
    assert score.protocol == 'knn/1'


def test_blocks_of_queries_give_the_same(case, monkeypatch):
    train_h, train_y, test_h, _ = map(jnp.asarray, case)
    whole = _votes(train_h, train_y, test_h, 0.07, k=20, classes=4)
    monkeypatch.setattr(importlib.import_module('jssl.evaluate.knn'), '_ENTRIES', 7 * 60)
    again = jax.jit(_votes.__wrapped__, static_argnames=('k', 'classes'))
    blocks = again(train_h, train_y, test_h, 0.07, k=20, classes=4)
    np.testing.assert_allclose(blocks, whole, rtol=1e-5)


def test_length_of_features_and_order_of_rows_do_not_matter(case):
    train_h, train_y, test_h, test_y = case
    random = np.random.default_rng(1)
    order = random.permutation(60)
    lengths = random.uniform(0.1, 10, (60, 1)).astype(np.float32)
    found = knn((lengths * train_h)[order], train_y[order], 5 * test_h, test_y)
    assert found == knn(*case)


def test_separable_random_and_collapsed():
    random = np.random.default_rng(0)
    y = np.arange(400) % 2
    h = random.normal(size=(400, 5)).astype(np.float32)
    assert knn(h[:200], y[:200], h[200:], y[200:]) == pytest.approx(0.5, abs=0.12)
    h[:, 0] = 20 * (2 * y - 1)
    assert knn(h[:200], y[:200], h[200:], y[200:]) == 1
    assert knn(0 * h[:200], y[:200], 0 * h[200:], y[200:]) == 0.5
    assert knn(h[:200], y[:200], h[200:], y[200:], temperature=1e-6) == 1


def test_bfloat16_and_jax_arrays(case):
    train_h, train_y, test_h, test_y = map(jnp.asarray, case)
    found = knn(train_h.astype(jnp.bfloat16), train_y, test_h.astype(jnp.bfloat16), test_y)
    assert found == pytest.approx(knn(*case), abs=0.1)


@pytest.mark.parametrize('k', [0, 61])
def test_number_of_neighbours_is_checked(case, k):
    with pytest.raises(ValueError, match='k must lie'):
        knn(*case, k=k)
