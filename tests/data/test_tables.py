"""Tables and networks: shapes, splits, no row in two of them."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from jssl.data.packaged import routes, tables
from jssl.data.readers import SPLITS
from jssl.errors import Refusal

TABLES = {'iris': (149, 4, 3), 'wine': (178, 13, 3), 'breast_cancer': (569, 30, 2)}


@pytest.mark.parametrize('name', TABLES)
def test_a_table_is_cut_in_three(name):
    rows, columns, classes = TABLES[name]
    parts = [getattr(tables, name)(split) for split in SPLITS]
    feature = np.concatenate([part['feature'] for part in parts])
    assert feature.shape == (rows, columns)
    assert feature.dtype == np.float32
    assert len(np.unique(feature, axis=0)) == rows
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert part['label'].dtype == np.int32
        assert set(part['label']) == set(range(classes))
        assert abs(len(part['label']) / rows - share) < 0.02
    found = tables.names(name)
    assert len(found[0]) == columns
    assert len(found[1]) == classes
    forest = RandomForestClassifier(30, random_state=0).fit(parts[0]['feature'], parts[0]['label'])
    assert forest.score(parts[2]['feature'], parts[2]['label']) > 0.88


def test_diabetes_has_targets_alike_in_all_splits():
    parts = [tables.diabetes(split) for split in SPLITS]
    assert sum(len(part['target']) for part in parts) == 442
    rows = np.concatenate([np.c_[part['feature'], part['target']] for part in parts])
    assert len(np.unique(rows, axis=0)) == 442
    assert rows[:, -1].min() == 25
    assert rows[:, -1].max() == 346
    means = [part['target'].mean() for part in parts]
    assert np.ptp(means) < 15
    assert tables.names('diabetes')[0][2] == 'bmi'
    with pytest.raises(Refusal, match='no split'):
        tables.diabetes('all')


def test_airlines_are_layers_of_one_network():
    network = routes.airline_network()
    assert len(network['airport']) == len(network['city']) == len(network['place']) == 352
    assert len(network['airline']) == 12
    assert network['edges'].shape == (9161, 3)
    assert (network['edges'].max(0) < [12, 352, 352]).all()
    assert set(network['edges'][:, 1:].ravel()) == set(range(352))
    code = network['airport'].tolist().index
    north, east = network['place'][code('SEA')]
    assert (47 < north < 48) & (-123 < east < -122)
    pairs = len(np.unique(network['edges'][:, 1:], axis=0))
    assert pairs == 6022  # fewer than flights: airlines share routes


def test_routes_keep_both_directions_in_one_split():
    parts = [routes.routes(split) for split in SPLITS]
    links = [
        set(map(tuple, np.c_[part['label'], np.sort(part['edges'], axis=1)].tolist()))
        for part in parts
    ]
    assert not links[0] & links[1] | links[0] & links[2] | links[1] & links[2]
    assert sum(len(part['label']) for part in parts) == 9161
    for part in parts:
        assert set(part['label']) == set(range(12))
        assert part['edges'].dtype == part['label'].dtype == np.int32
