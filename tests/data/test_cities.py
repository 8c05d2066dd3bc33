"""Cities: where they are known to be, and blocks of the map in one split."""

import numpy as np
import pytest

from jssl import data

SPLITS = ('train', 'validation', 'test')


def test_cities_are_where_they_are_and_blocks_in_one_split():
    found = [data.load('cities', split) for split in SPLITS]
    assert [len(c['name']) for c in found] == list(data.SETS['cities'].sizes.values())
    hundredths = [np.round(100 * c['place'].astype(float)).astype(int) for c in found]
    blocks = [((9000, 18000) + each * (-1, 1)) // 640 for each in hundredths]
    inner = [{(i, j) for i, j in each.tolist() if i < 28 and j < 56} for each in blocks]
    assert sum(map(len, inner)) == len(set.union(*inner))
    name, place = (np.concatenate([c[column] for c in found]) for column in ('name', 'place'))
    assert len(name) == 45_065
    assert place[list(name).index('Reykjavík')] == pytest.approx((64.14, -21.9), abs=0.02)
