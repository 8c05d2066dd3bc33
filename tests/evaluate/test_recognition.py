"""Edits by recursion, and what frames say."""

import jax
import numpy as np
import pytest

from jssl import evaluate


def recursion(a, b):
    if not a or not b:
        return len(a) + len(b)
    same = a[-1] == b[-1]
    return min(
        recursion(a[:-1], b) + 1, recursion(a, b[:-1]) + 1, recursion(a[:-1], b[:-1]) + 1 - same
    )


@pytest.mark.parametrize('seed', range(12))
def test_edit_distance_is_the_recursion(seed):
    random = np.random.default_rng(seed)
    a, b = (random.integers(0, 3, random.integers(0, 6)) for _ in range(2))
    wanted = recursion(a.tolist(), b.tolist())
    assert evaluate.edit_distance(a, b) == evaluate.edit_distance(b, a) == wanted


def test_error_rate_counts_labels_and_not_rows():
    said = np.array([[1, 2, -1, -1], [3, -1, -1, -1]])
    heard = np.array([[1, 2, -1, -1, -1], [1, 2, 3, 4, -1]])
    assert evaluate.error_rate(heard, said) == 3 / 3
    assert evaluate.error_rate(said, heard) == 3 / 6
    assert evaluate.error_rate(said, said) == 0


def test_runs_are_one_label_and_blanks_none():
    best = np.array([[1, 1, 0, 1, 2, 2, 0], [0, 3, 3, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
    logits = np.eye(4, dtype='f')[best]
    valid = np.ones((3, 7), bool)
    valid[1, 4:] = False
    found = jax.jit(evaluate.ctc_greedy)(logits, valid)
    none = [-1] * 7
    assert found.tolist() == [[1, 1, 2, *none[3:]], [3, *none[1:]], none]
