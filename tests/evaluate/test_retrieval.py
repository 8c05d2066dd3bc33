"""Recall against a sort."""

import jax
import numpy as np
import pytest

from jssl import evaluate


@pytest.mark.parametrize('k', [1, 3, 7])
def test_recall_at_k(k):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 7)).astype('f')
    relevant = rng.random((20, 7)) < 0.2
    got = np.asarray(jax.jit(lambda s, r: evaluate.recall_at_k(s, r, k=k))(scores, relevant))
    for row, mine, found in zip(scores, relevant, got, strict=True):
        best = sorted(range(7), key=lambda j: -row[j])[:k]
        assert found == any(mine[j] for j in best)
    assert 0 < got.mean() < 1


def test_ties_go_to_the_first():
    relevant = np.eye(3, dtype=bool)[[0, 1]]
    np.testing.assert_array_equal(evaluate.recall_at_k(np.zeros((2, 3), 'f'), relevant), [1, 0])
