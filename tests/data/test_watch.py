"""The watch: people stay apart, windows are cut from recordings, exercises can be told."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from jssl.data.packaged import watch
from jssl.data.readers import SPLITS
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def parts():
    return [watch.watch(split) for split in SPLITS]


def test_no_person_is_in_two_splits(parts):
    people = [set(part['subject'].tolist()) for part in parts]
    assert [len(each) for each in people] == [7, 1, 2]
    assert set().union(*people) == set(range(1, 11))
    recordings = [set(part['recording'].tolist()) for part in parts]
    assert [len(each) for each in recordings] == [98, 14, 28]
    assert set().union(*recordings) == set(range(140))
    with pytest.raises(Refusal, match='no split'):
        watch.watch('all')


def test_windows_have_their_shape_and_units(parts):
    for part in parts:
        assert part['signal'].shape[1:] == (100, len(watch.CHANNELS))
        assert part['signal'].dtype == np.float32
        assert set(part['label']) == set(range(len(watch.EXERCISES)))
        assert set(part['side']) == {0, 1}
        gravity = np.median(np.linalg.norm(part['signal'][..., :3], axis=-1))
        assert 1 < gravity < 1.2


def test_windows_are_cut_from_recordings():
    whole, half = watch.watch('test'), watch.watch('test', length=50, hop=50)
    for row in (0, 100, 200):
        same = half['recording'] == whole['recording'][row]
        place = np.flatnonzero(same & (half['start'] == whole['start'][row]))[0]
        joined = half['signal'][place : place + 2].reshape(100, 6)
        np.testing.assert_array_equal(joined, whole['signal'][row])
    assert len(watch.watch('test', hop=50)['label']) > 1.9 * len(whole['label'])
    with pytest.raises(ValueError, match='length'):
        watch.watch('test', length=5000)


def test_exercises_of_other_people_are_told_by_statistics_but_not_for_certain(parts):
    def statistics(part):
        signal = part['signal']
        return np.concatenate([signal.mean(1), signal.std(1), signal.min(1), signal.max(1)], 1)

    forest = RandomForestClassifier(50, random_state=0)
    forest.fit(statistics(parts[0]), parts[0]['label'])
    assert 0.5 < forest.score(statistics(parts[2]), parts[2]['label']) < 0.995
