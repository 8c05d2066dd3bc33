"""Scores of a matrix of accuracies, by hand."""

import numpy as np
import pytest

from jssl import evaluate

NAN = np.nan
ACCURACIES = np.array([[0.9, NAN, NAN], [0.95, 0.8, NAN], [0.7, 0.85, 0.6]])


def test_average_and_forgetting_by_hand():
    assert evaluate.average_accuracy(ACCURACIES) == pytest.approx((0.7 + 0.85 + 0.6) / 3)
    assert evaluate.forgetting(ACCURACIES) == pytest.approx(((0.95 - 0.7) + (0.8 - 0.85)) / 2)


def test_nothing_is_forgotten_where_nothing_changes():
    kept = np.where(np.tri(4) > 0, [0.5, 0.6, 0.7, 0.8], NAN)
    assert evaluate.forgetting(kept) == 0.0


@pytest.mark.parametrize('wrong', [[0.5], np.ones((2, 3)), np.ones((0, 0))])
def test_what_is_no_square_is_refused(wrong):
    with pytest.raises(ValueError, match='accuracies'):
        evaluate.average_accuracy(wrong)


def test_one_task_has_nothing_to_forget():
    with pytest.raises(ValueError, match='one task'):
        evaluate.forgetting([[0.5]])
