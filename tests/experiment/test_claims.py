"""Verdicts against intervals worked out by hand, and every kind of claim both ways."""

import math

import numpy as np
import pytest
from scipy import stats

from jssl.errors import Refusal
from jssl.experiment import Bound, Claim, Correlation, Equality, Ordering, Range
from jssl.experiment.claims import estimate


def rows(**methods):
    return [
        {'method': m, 'seed': s, 'accuracy': float(v)}
        for m, values in methods.items()
        for s, v in enumerate(values)
    ]


def test_interval_is_students_over_seeds():
    values = [0.31, 0.42, 0.33, 0.5]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(found[:3], [np.mean(values), low, high])
    assert found.seeds == 4


def test_differences_are_paired_by_seed():
    # Seeds differ wildly, methods by a constant: unpaired intervals would hide it.
    base = [0.1, 0.5, 0.9]
    verdict = Claim('accuracy', 'a', 'b', margin=0.04).judge(rows(a=[0.15, 0.551, 0.949], b=base))
    assert verdict.verdict == 'shown'
    assert verdict.estimate.mean == pytest.approx(0.05)
    assert verdict.estimate.low > 0.04


@pytest.mark.parametrize(
    ('ours', 'margin', 'expected'),
    [
        ([0.60, 0.61, 0.62], 0.05, 'shown'),
        ([0.60, 0.61, 0.62], 0.15, 'not shown'),
        ([0.50, 0.90, 0.52], 0.05, 'inconclusive'),  # passes on average, by one lucky seed
        ([0.40, 0.41, 0.42], 0.00, 'not shown'),
        ([0.49, 0.49, 0.49], -0.02, 'shown'),  # 'not more than two points below'
        ([0.47, 0.49, 0.51], -0.02, 'inconclusive'),
        ([0.60], 0.05, 'shown'),
        ([0.52], 0.05, 'not shown'),
        ([math.nan, 0.6, 0.6], 0.05, 'not shown'),
    ],
)
def test_verdicts(ours, margin, expected):
    data = rows(ours=ours, base=[0.5] * len(ours))
    assert Claim('accuracy', 'ours', 'base', margin=margin).judge(data).verdict == expected


def test_equal_differences_of_zero_are_not_a_gain():
    data = rows(ours=[0.5, 0.5, 0.5], base=[0.5, 0.5, 0.5])
    assert Claim('accuracy', 'ours', 'base', margin=0.01).judge(data).verdict == 'not shown'
    assert Claim('accuracy', 'ours', 'base').judge(data).verdict == 'inconclusive'


def test_one_seed_is_marked():
    assert 'one seed' in Claim('accuracy', 'a', 'b').judge(rows(a=[0.9], b=[0.1])).text


def test_lower_is_better_and_ratios():
    data = rows(a=[1.0, 1.1, 0.9], b=[2.0, 2.2, 1.8])
    assert Claim('accuracy', 'a', 'b', margin=0.5, lower=True).judge(data).verdict == 'shown'
    assert Claim('accuracy', 'a', 'b', ratio=0.6, lower=True).judge(data).verdict == 'shown'
    assert Claim('accuracy', 'a', 'b', ratio=0.4, lower=True).judge(data).verdict == 'not shown'
    assert Claim('accuracy', 'b', 'a', ratio=1.9).judge(data).verdict == 'shown'
    near = rows(a=[1.04, 1.0, 1.02], b=[1.0, 1.0, 1.0])
    assert Claim('accuracy', 'a', 'b', ratio=1.1, lower=True).judge(near).verdict == 'shown'
    noisy = rows(a=[1.3, 0.7, 1.02], b=[1.0, 1.0, 1.0])
    assert Claim('accuracy', 'a', 'b', ratio=1.1, lower=True).judge(noisy).verdict == 'inconclusive'


def test_where_selects_and_averages_the_rest():
    data = [
        {'method': m, 'seed': s, 'labels': n, 'fold': f, 'accuracy': m_value + 0.01 * f - 0.001 * s}
        for m, m_value in (('a', 0.8), ('b', 0.5))
        for n in (5, 50)
        for s in range(3)
        for f in range(2)
    ]
    data = [r if r['labels'] == 5 else {**r, 'accuracy': 0.0} for r in data]
    verdict = Claim('accuracy', 'a', 'b', where={'labels': 5}).judge(data)
    assert verdict.estimate.mean == pytest.approx(0.3)
    assert 'labels=5' in verdict.claim


def test_range():
    data = rows(a=[1.9, 2.0, 2.1])
    assert Range('accuracy', 1.5, 2.5).judge(data).verdict == 'shown'
    assert Range('accuracy', 1.99, 2.5).judge(data).verdict == 'inconclusive'
    assert Range('accuracy', 2.5, 3.0).judge(data).verdict == 'not shown'
    assert Range('accuracy', high=3.0).judge(data).verdict == 'shown'


def test_correlation_is_within_each_seed():
    xs = np.arange(6.0)
    # Within a seed y falls with x; across seeds both grow, which must not count.
    falling = [
        {'seed': s, 'x': float(x + 100 * s), 'y': float(-x + 100 * s)} for s in range(3) for x in xs
    ]
    verdict = Correlation('x', 'y', 0.5).judge(falling)
    assert verdict.verdict == 'not shown'
    assert verdict.estimate.mean == pytest.approx(-1)
    rising = [{**r, 'y': r['x'] ** 3} for r in falling]
    assert Correlation('x', 'y', 0.9).judge(rising).verdict == 'shown'


def test_ordering_is_decided_by_its_weakest_step():
    data = rows(a=[0.1, 0.11, 0.1], b=[0.3, 0.31, 0.32], c=[0.32, 0.33, 0.345])
    assert Ordering('accuracy', ('a', 'b', 'c')).judge(data).verdict == 'shown'
    assert Ordering('accuracy', ('a', 'b', 'c'), margin=0.1).judge(data).verdict == 'not shown'
    assert Ordering('accuracy', ('b', 'a')).judge(data).verdict == 'not shown'


def test_equality_needs_evidence_on_both_sides():
    near = rows(a=[0.500, 0.501, 0.502], b=[0.501, 0.500, 0.502])
    far = rows(a=[0.4, 0.6, 0.5], b=[0.5, 0.5, 0.5])
    other = rows(a=[0.6, 0.61, 0.6], b=[0.5, 0.5, 0.5])
    claim = Equality('accuracy', 'a', 'b', tolerance=0.02)
    verdicts = [claim.judge(r).verdict for r in (near, far, other)]
    assert verdicts == ['shown', 'inconclusive', 'not shown']


def test_one_violation_refutes_a_bound():
    data = [{'seed': s, 'error': 0.1 * s, 'theory': 0.25} for s in range(3)]
    assert Bound('error', 'theory').judge(data).verdict == 'shown'
    data.append({'seed': 3, 'error': 0.26, 'theory': 0.25})
    assert Bound('error', 'theory').judge(data).verdict == 'not shown'
    assert Bound('error', 'theory', slack=0.02).judge(data).verdict == 'shown'
    data.append({'seed': 4, 'error': math.nan, 'theory': 0.25})
    assert Bound('error', 'theory', slack=1.0).judge(data).verdict == 'not shown'


def test_missing_rows_and_unpaired_seeds_are_refused():
    with pytest.raises(Refusal, match='none has them'):
        Claim('f1', 'a', 'b').judge(rows(a=[1.0], b=[1.0]))
    with pytest.raises(Refusal, match='same seeds'):
        Claim('accuracy', 'a', 'b').judge(rows(a=[1.0, 2.0], b=[1.0]))
