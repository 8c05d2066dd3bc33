"""Fiddle tunes of 1883 in ABC notation, with the dance that each is for."""

import numpy as np

from jssl.data import vendored
from jssl.data.readers import stratified_split

DANCES = ('clog', 'fling', 'hornpipe', 'jig', 'reel', 'slip jig', 'strathspey')


def tunes(split: str) -> dict[str, np.ndarray]:
    """Tunes of Ryan's Mammoth Collection.

    Args:
      split: train, validation or test, in every dance.

    Returns:
      text (object [N]), meter, length, key and notes in ABC; label int32 [N], of DANCES, which
      differ much in number; name (object [N]), the title, which mostly tells the dance.

    ABC notation (Walshaw, 1991).
    """
    items = vendored.rows('tunes')
    label = np.array([DANCES.index(item['dance']) for item in items], np.int32)
    rows = stratified_split(label, [item['text'].encode() for item in items], split)
    return {
        'text': np.array([item['text'] for item in items], object)[rows],
        'label': label[rows],
        'name': np.array([item['title'] for item in items], object)[rows],
    }
