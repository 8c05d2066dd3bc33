"""Characters as a pen writes them, of the fonts that Hershey drew in 1967."""

import numpy as np

from jssl.data import vendored
from jssl.data.readers import stratified_split

POINTS = 128


def hershey(split: str) -> dict[str, np.ndarray]:
    """Characters of 32 fonts, Latin, Greek, Cyrillic, Japanese and signs; each shape once.

    Args:
      split: train, validation or test, in every font of ten characters or more.

    Returns:
      points float32 [N, 128, 2], x to the right and y upwards, the longer side of a character from
      -1 to 1, where the pen is in order; after the last point that point again. stroke int32
      [N, 128], which line of the pen a point is on, -1 after the last; label int32 [N], the font,
      as `fonts` names them; code int32 [N], the key that writes it.

    Calligraphy for Computers (Hershey, 1967).
    """
    found = vendored.arrays('hershey')
    glyph = np.repeat(np.arange(len(found['strokes'])), found['strokes'])
    owner, line = (np.repeat(of, found['length']) for of in (glyph, _places(glyph)))
    count = np.bincount(owner)
    at = np.minimum(np.arange(POINTS), count[:, None] - 1)
    every = (np.cumsum(count) - count)[:, None] + at
    points = found['points'].astype(np.float32)[every] * (1, -1)
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    points = (points - (low + high) / 2) / ((high - low).max(2, keepdims=True) / 2)
    stroke = np.where(np.arange(POINTS) < count[:, None], line[every], -1)
    once = np.unique(points.reshape(len(points), -1), axis=0, return_index=True)[1]
    columns = {
        'points': points.astype(np.float32),
        'stroke': stroke.astype(np.int32),
        'label': found['fonts'].astype(np.int32),
        'code': found['code'].astype(np.int32),
    }
    columns = {name: column[np.sort(once)] for name, column in columns.items()}
    font = columns['label']
    group = np.where(np.bincount(font)[font] < 10, -1, font)
    tags = [b'%d %d' % pair for pair in zip(font, columns['code'], strict=True)]
    rows = stratified_split(group, tags, split)
    return {name: column[rows] for name, column in columns.items()}


def fonts() -> np.ndarray:
    """Names of the fonts that are the labels of `hershey`: strings (object [32])."""
    return vendored.lines(vendored.arrays('hershey')['font'])


def _places(glyph):
    """Place of each stroke in its character."""
    return np.arange(len(glyph)) - np.searchsorted(glyph, glyph)
