"""Graphs: degrees, blocks, layers and edits are what was asked for; oracles read the truth."""

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import graphs
from jssl.errors import Refusal


@pytest.mark.parametrize('family', graphs.FAMILIES)
def test_graphs_depend_on_seed_split_and_index_alone(family):
    few, many = (graphs.dataset(family=family, count=n) for n in (1, 2))
    for name in many:
        np.testing.assert_array_equal(few[name][0], many[name][0])
    test, other = (
        graphs.dataset(family=family, count=1, **k) for k in ({'split': 'test'}, {'seed': 1})
    )
    name = 'adjacency' if 'adjacency' in few else 'author_paper'
    assert (test[name] != few[name]).any()
    assert (other[name] != few[name]).any()
    if name == 'adjacency':
        layers = few[name].reshape(-1, *few[name].shape[-2:])
        assert not layers.diagonal(axis1=1, axis2=2).any()
        np.testing.assert_array_equal(layers, layers.transpose(0, 2, 1))


def test_blocks_have_their_degree_and_homophily():
    found = graphs.dataset(count=8, homophily=0.6, degree=10.0)
    adjacency, label = found['adjacency'], found['label']
    np.testing.assert_allclose(adjacency.sum(2).mean(), 10, rtol=0.05)
    same = label[:, :, None] == label[:, None]
    np.testing.assert_allclose((adjacency & same).sum() / adjacency.sum(), 0.6, atol=0.03)
    for part, y in zip(found['part'], label, strict=True):
        assert (np.bincount(y[part == 0]) == 10).all()
        assert (np.bincount(y[part == 1]) == 5).all()
    with pytest.raises(Refusal, match='degree'):
        graphs.dataset(count=1, degree=300.0)


def test_posteriors_of_blocks_are_calibrated():
    found = graphs.dataset(count=10, informative=1.5, degree=5.0)
    accuracy = {}
    for name in ('feature_posterior', 'posterior'):
        share = found[name].astype(float)
        right, best = share.argmax(2) == found['label'], share.max(2)
        assert abs((right - best).sum()) < 5 * np.sqrt((best * (1 - best)).sum())
        accuracy[name] = right.mean()
    assert accuracy['posterior'] > accuracy['feature_posterior'] + 0.1
    blank = graphs.dataset(count=2, informative=0.0, homophily=0.25)
    np.testing.assert_allclose(blank['posterior'], 0.25, atol=0.04)


def test_a_line_on_features_stays_below_the_oracle():
    found = graphs.dataset(count=1)
    feature, label, part = (found[name][0] for name in ('feature', 'label', 'part'))
    line = LogisticRegression().fit(feature[part == 0], label[part == 0])
    oracle = (found['posterior'][0].argmax(1) == label)[part == 2].mean()
    assert oracle > line.score(feature[part == 2], label[part == 2]) + 0.2


@pytest.mark.parametrize('redundant', [False, True])
def test_layers_tell_their_parts(redundant):
    found = graphs.dataset(family='multiplex', count=1, redundant=redundant, noise_layers=1)
    clean, factor, label = (found[name][0] for name in ('clean', 'factor', 'label'))
    np.testing.assert_array_equal(label, 2 * factor[:, 0] + factor[:, 1])

    def agreement(layer, y):
        i, j = np.nonzero(layer)
        return (y[i] == y[j]).mean()

    expected = [[0.9, 0.5], [0.5, 0.9]]
    if redundant:  # of 0.1 outside the pair, a third agrees in a
        expected = [[0.933, 0.933]] * 2
    for layer, row in zip(clean[:2], expected, strict=True):
        np.testing.assert_allclose([agreement(layer, y) for y in factor.T], row, atol=0.04)
    np.testing.assert_allclose(agreement(clean[2], label), 0.4, atol=0.04)
    np.testing.assert_allclose(agreement(clean[3], label), 0.25, atol=0.04)
    more = found['adjacency'][0].sum((1, 2)) / clean.sum((1, 2))
    np.testing.assert_allclose(more, 1.4, atol=0.06)
    assert (found['adjacency'][0] >= clean).all()


@pytest.mark.parametrize('kind', ['added', 'removed', 'masked'])
def test_corruption_is_as_large_as_asked_for(kind):
    made = {k: v[0] for k, v in graphs.dataset(family='multiplex', count=1).items()}
    found = graphs.corrupted(np.random.default_rng(0), made, kind=kind, share=0.3)
    old, new = made['adjacency'], found['adjacency']
    np.testing.assert_array_equal(new, new.swapaxes(1, 2))
    assert not new.diagonal(axis1=1, axis2=2).any()
    want = {'added': 1.3, 'removed': 0.7, 'masked': 1.0}[kind]
    np.testing.assert_allclose(new.sum((1, 2)) / old.sum((1, 2)), want, atol=0.05)
    assert (new >= old).all() if kind == 'added' else (new <= old).all()
    kept = found['feature'] == made['feature']
    np.testing.assert_allclose(kept.mean(), 0.7 if kind == 'masked' else 1, atol=0.02)
    assert not found['feature'][~kept].any()


def test_roles_are_alike_as_far_as_they_reach():
    """Nodes of one role have the same number of nodes at each distance inside their motif."""
    found = graphs.dataset(family='roles', count=1)
    adjacency, label, motif = (found[name][0] for name in ('adjacency', 'label', 'motif'))
    assert np.bincount(label).tolist() == [24, 16, 4, 8, 8, 4, 4, 12, 4, 8, 8, 4, 8, 8]
    assert (np.flatnonzero(motif < 0).size, motif.max()) == (40, 15)
    kinds = {}
    for m in range(16):
        rows = np.flatnonzero(motif == m)
        distance = shortest_path(adjacency[np.ix_(rows, rows)])
        tie = adjacency[rows].sum(1) - adjacency[np.ix_(rows, rows)].sum(1)
        assert tie.sum() == 1
        for row, y in zip(distance, label[rows], strict=True):
            kinds.setdefault(y, set()).add((row[tie.argmax()], *sorted(row)))
    assert all(len(found) == 1 for found in kinds.values())


def test_rewired_graphs_share_degrees_and_differ_beyond():
    found = graphs.dataset(family='rewired', count=40)
    degree = np.sort(found['adjacency'].sum(2), 1)
    assert (degree == degree[0]).all()
    assert set(degree[0]) == {2, 5}
    first = found['assortativity'][found['label'] == 1]
    second = found['assortativity'][found['label'] == 0]
    assert first.min() > second.max()
    line = LogisticRegression(max_iter=500).fit(
        found['adjacency'][:30].reshape(30, -1), found['label'][:30]
    )
    assert line.score(found['adjacency'][30:].reshape(10, -1), found['label'][30:]) <= 0.9


def test_only_mixed_papers_link_scholars_of_different_classes():
    found = {name: column[0] for name, column in graphs.dataset(family='scholars', count=1).items()}
    mixed = found['paper_label'] < 0
    np.testing.assert_allclose(mixed.mean(), 0.3, atol=0.05)
    for p in np.flatnonzero(~mixed):
        assert set(found['label'][found['author_paper'][:, p]]) == {found['paper_label'][p]}
    assert (found['paper_venue'].sum(1) == 1).all()
    assert found['paper_venue'][mixed, -3:].any(1).all()
    assert not found['paper_venue'][~mixed, -3:].any()
    # A paper's terms and venue tell its class to who counts them.
    terms = found['paper_term'].reshape(len(mixed), 4, 15).sum(2)
    terms = terms + 2 * found['paper_venue'][:, :12].reshape(-1, 4, 3).sum(2)
    assert (terms.argmax(1) == found['paper_label'])[~mixed].mean() > 0.9


def test_distances_are_those_of_the_paths():
    for family in ('tree', 'grid'):
        found = {k: v[0] for k, v in graphs.dataset(family=family, count=1).items()}
        slow = shortest_path(found['adjacency'], unweighted=True)
        np.testing.assert_array_equal(found['distance'], slow)
        assert np.isfinite(slow).all()
    assert graphs.dataset(family='tree', count=3)['adjacency'].sum() == 3 * 2 * 47


@pytest.mark.parametrize('edits', [0, 1, 7, 200])
def test_edits_are_counted(edits):
    adjacency = graphs.dataset(count=1, nodes=40)['adjacency'][0]
    changed = graphs.edited(np.random.default_rng(0), adjacency, edits)
    assert (np.triu(changed) != np.triu(adjacency)).sum() == edits
    np.testing.assert_array_equal(changed, changed.T)


def test_families_that_are_not_known_are_refused():
    with pytest.raises(Refusal, match='choose'):
        graphs.dataset(family='cliques')
