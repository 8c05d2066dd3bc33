"""Fiddle tunes: playable notation, whose meter tells much of the dance."""

import re

import numpy as np

from jssl import data
from jssl.data.packaged import music


def test_tunes_have_key_meter_and_a_dance():
    found = {split: data.load('tunes', split) for split in ('train', 'validation', 'test')}
    assert {split: len(c['label']) for split, c in found.items()} == data.SETS['tunes'].sizes
    text = np.concatenate([columns['text'] for columns in found.values()])
    label = np.concatenate([columns['label'] for columns in found.values()])
    assert len(set(text)) == len(text)
    assert all('\nK' in f'\n{tune}' and 'M:' in tune and tune.count('|') > 4 for tune in text)
    assert not any('freeserve' in tune for tune in text)
    three = np.array([bool(re.search('M: ?[69]/8', tune)) for tune in text])
    assert three[label == music.DANCES.index('jig')].mean() > 0.9
    assert three[label == music.DANCES.index('slip jig')].mean() > 0.9
    assert three[label == music.DANCES.index('reel')].mean() < 0.05
