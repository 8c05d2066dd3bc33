"""Tables: posteriors are calibrated, columns matter as `truth` says, values go missing."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import tabular
from jssl.errors import Refusal

SETS = [
    {'separation': 1.0, 'missing': 0.3},
    {'categorical': 6, 'separation': 0.3, 'classes': 3, 'novel': 1, 'skew': 0.0},
    {'family': 'linear', 'snr': 2.0, 'informative': 5},
    {'family': 'madelon', 'noise': 20, 'separation': 1.0},
]


@pytest.mark.parametrize('knobs', SETS)
def test_rows_depend_on_seed_split_and_index_alone(knobs):
    few, many = (tabular.dataset(count=n, **knobs) for n in (9, 30))
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][:9])
    for other in ({'split': 'test'}, {'seed': 1}):
        assert (tabular.dataset(count=9, **knobs, **other)['feature'] != few['feature']).any()


@pytest.mark.parametrize('knobs', SETS)
def test_the_posterior_is_calibrated_and_beats_a_line(knobs):
    train, test = (tabular.dataset(split, count=2000, **knobs) for split in ('train', 'test'))
    share, label = test['posterior'].astype(float), test['label']
    one = label[:, None] == np.arange(share.shape[1])
    assert (abs((one - share).sum(0)) < 4 * np.sqrt((share * (1 - share)).sum(0)) + 1).all()
    best, right = share.max(1), share.argmax(1) == label
    assert abs((right - best).sum()) < 4 * np.sqrt((best * (1 - best)).sum())
    clean = lambda d: np.arcsinh(np.nan_to_num(d['feature']))
    line = LogisticRegression(max_iter=200).fit(clean(train), train['label'])
    assert right.mean() > line.score(clean(test), label) - 0.01
    assert len(np.unique(label)) == share.shape[1]


def test_madelon_is_not_linear_and_needs_its_columns():
    train, test = (tabular.dataset(s, family='madelon', count=1500) for s in ('train', 'test'))
    relevance = tabular.truth('madelon')['relevance']
    assert np.bincount(relevance).tolist() == [480, 5, 15]
    assert (test['posterior'].argmax(1) == test['label']).mean() > 0.75
    line = LogisticRegression(C=0.01, max_iter=200).fit(
        train['feature'][:, relevance > 0], train['label']
    )
    assert line.score(test['feature'][:, relevance > 0], test['label']) < 0.7
    values = np.linalg.svd(train['feature'][:, relevance > 0], compute_uv=False)
    assert values[5] < 1e-3 * values[4]
    noise = train['feature'][:, relevance == 0]
    assert abs(np.corrcoef(noise.T, train['label'])[-1, :-1]).max() < 0.13


def test_linear_tables_have_their_signal_and_weights():
    knobs = {'family': 'linear', 'dimension': 20, 'informative': 4, 'snr': 4.0}
    found, truth = tabular.dataset(count=4000, **knobs), tabular.truth(**knobs)
    assert truth['relevance'].sum() == 4
    np.testing.assert_allclose(found['feature'] @ truth['weight'], found['signal'], atol=1e-5)
    np.testing.assert_allclose(found['signal'].var(), 4, rtol=0.1)
    np.testing.assert_allclose((found['target'] - found['signal']).var(), 1, rtol=0.1)


def test_nuisance_columns_group_rows_by_something_else():
    found = tabular.dataset(count=800, nuisance_scale=5.0, skew=0.0)
    relevance = tabular.truth(nuisance_scale=5.0, skew=0.0)['relevance']
    nuisance = found['feature'][:, relevance == 0]
    cluster = KMeans(4, n_init=3, random_state=0).fit(nuisance / nuisance.std(0)).labels_
    table = np.array([np.bincount(found['group'][cluster == c], minlength=4) for c in range(4)])
    assert table.max(1).sum() > 0.85 * 800
    by_class = np.stack([nuisance[found['label'] == y].mean(0) for y in range(10)])
    assert (abs(by_class - nuisance.mean(0)) < 0.5 * nuisance.std(0)).all()


def test_novel_classes_are_those_of_the_truth():
    found, truth = tabular.dataset(count=500), tabular.truth()
    np.testing.assert_array_equal(found['novel'], np.isin(found['label'], truth['novel']))
    assert len(truth['novel']) == 4


def test_missing_values_are_marked_and_counted():
    found = tabular.dataset(count=1000, missing=0.2)
    numbers = found['missing'][:, :12]
    np.testing.assert_array_equal(np.isnan(found['feature']), numbers)
    np.testing.assert_array_equal(found['category'] < 0, found['missing'][:, 12:])
    relevance = tabular.truth(missing=0.2)['relevance']
    np.testing.assert_allclose(numbers[:, relevance > 0].mean(), 0.2, atol=0.02)
    assert not numbers[:, relevance == 0].any()
    assert not np.isnan(tabular.dataset(count=50)['feature']).any()


def test_skew_warps_and_keeps_the_order():
    plain, warped = (tabular.dataset(count=300, skew=s) for s in (0.0, 1.0))
    for column in range(12):
        ranks = [np.argsort(d['feature'][:, column]) for d in (plain, warped)]
        np.testing.assert_array_equal(*ranks)
    np.testing.assert_array_equal(plain['posterior'], warped['posterior'])
    tails = [
        abs(d['feature'] - d['feature'].mean(0)).max(0) / d['feature'].std(0)
        for d in (plain, warped)
    ]
    assert (tails[1] > tails[0]).mean() > 0.9


def test_families_that_are_not_known_are_refused():
    with pytest.raises(Refusal, match='choose'):
        tabular.dataset(family='iris')
