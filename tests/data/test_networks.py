"""Real networks: shapes, splits, and what is known of them."""

import numpy as np
import pytest

from jssl.data.packaged import networks
from jssl.data.readers import SPLITS
from jssl.errors import Refusal

FACTS = {
    'umls': (135, 46, (5216, 652, 661)),
    'kinships': (104, 25, (8544, 1068, 1074)),
    'nations': (14, 55, (1592, 199, 201)),
}


@pytest.fixture(scope='module')
def mice():
    return [networks.mouse_brains(split) for split in SPLITS]


def test_mice_are_cut_alike_in_every_strain(mice):
    for part, count in zip(mice, (4, 2, 2), strict=True):
        assert part['adjacency'].shape == (4 * count, 332, 332)
        assert part['adjacency'].dtype == np.float32
        assert np.bincount(part['label']).tolist() == [count] * 4
        assert set(part['sex']) == {0, 1}
    brains = np.concatenate([part['adjacency'] for part in mice])
    assert len(np.unique(brains.reshape(32, -1), axis=0)) == 32
    with pytest.raises(Refusal, match='no split'):
        networks.mouse_brains('all')


def test_brains_are_symmetric_graphs(mice):
    brains = np.concatenate([part['adjacency'] for part in mice])
    np.testing.assert_array_equal(brains, brains.transpose(0, 2, 1))
    assert (brains.diagonal(axis1=1, axis2=2) == 0).all()
    assert brains.min() == 0
    assert 0.6 < (brains > 0).mean() < 0.7


def test_regions_of_one_block_are_linked_more(mice):
    regions = networks.mouse_regions()
    assert np.bincount(regions['label']).tolist() == [41, 20, 7, 11, 9, 28, 50] * 2
    assert regions['strain'].tolist() == ['B6', 'BTBR', 'CAST', 'DBA2']
    assert len(regions['block']) == 14
    weight = np.log1p(mice[0]['adjacency']).mean(0)
    same = regions['label'][:, None] == regions['label']
    assert weight[same].mean() > 1.3 * weight[~same].mean()


def test_a_strain_is_known_by_the_nearest_brain(mice):
    train, test = (
        np.log1p(mice[i]['adjacency']).reshape(len(mice[i]['label']), -1) for i in (0, 2)
    )
    nearest = ((test[:, None] - train) ** 2).sum(-1).argmin(1)
    assert (mice[0]['label'][nearest] == mice[2]['label']).mean() >= 0.75


@pytest.mark.parametrize('name', FACTS)
def test_facts_are_numbered_and_in_one_split(name):
    entities, relations, counts = FACTS[name]
    parts = [np.stack(list(getattr(networks, name)(split).values()), 1) for split in SPLITS]
    assert tuple(map(len, parts)) == counts
    facts = np.concatenate(parts)
    assert facts.dtype == np.int32
    assert len(np.unique(facts, axis=0)) == sum(counts)
    assert set(facts[:, [0, 2]].ravel()) == set(range(entities))
    assert set(facts[:, 1]) == set(range(relations))
    assert [len(each) for each in networks.names(name)] == [entities, relations]
    with pytest.raises(Refusal, match='no split'):
        getattr(networks, name)('all')


def test_a_fact_that_people_know_is_there():
    entity, relation = (each.tolist() for each in networks.names('umls'))
    fact = [entity.index('alga'), relation.index('isa'), entity.index('entity')]
    columns = networks.umls('train')
    assert tuple(fact) in zip(*(columns[k] for k in ('head', 'relation', 'tail')), strict=True)


def test_a_larva_has_two_sides_of_four_kinds_of_cells():
    columns = networks.larva_brain()
    adjacency, label, count = (columns[name] for name in ('adjacency', 'label', 'count'))
    assert count.tolist() == [209, 213]
    assert ((label >= 0).sum(1) == count).all()
    assert not adjacency[label < 0].any()
    assert not adjacency.transpose(0, 2, 1)[label < 0].any()
    kenyon = label == list(networks.CELLS).index('K')
    assert kenyon.sum(1).tolist() == [101, 100]
    out = label == list(networks.CELLS).index('O')
    for side, k, o in zip(adjacency, kenyon, out, strict=True):  # they speak to output neurons
        assert side[k][:, o].mean() > 5 * side[o][:, k].mean()


def test_a_department_has_five_layers():
    columns = networks.department()
    edges = columns['edges']
    assert columns['layer'].tolist() == ['coauthor', 'facebook', 'leisure', 'lunch', 'work']
    assert np.bincount(edges[:, 0]).tolist() == [21, 124, 88, 193, 194]
    assert (edges[:, 1] < edges[:, 2]).all()
    assert len(columns['label']) == len(columns['role']) == edges[:, 1:].max() + 1 == 61
    same = columns['label'][edges[:, 1]] == columns['label'][edges[:, 2]]
    assert same[edges[:, 0] == 3].mean() > 0.5  # groups lunch together
