"""Characters of Hershey's fonts: lines of a pen, within their frame, each once."""

import numpy as np

from jssl import data
from jssl.data.packaged import strokes


def test_characters_fill_their_frame_and_are_in_one_split():
    found = {split: data.load('hershey', split) for split in ('train', 'validation', 'test')}
    assert {split: len(c['label']) for split, c in found.items()} == data.SETS['hershey'].sizes
    shapes = [row.tobytes() for c in found.values() for row in c['points']]
    assert len(set(shapes)) == len(shapes)
    for columns in found.values():
        points, stroke = columns['points'], columns['stroke']
        assert points.dtype == np.float32
        np.testing.assert_allclose(np.abs(points).max((1, 2)), 1, rtol=1e-6)
        last = (stroke >= 0).sum(1) - 1
        for x, n in zip(points, last, strict=True):
            assert (x[n:] == x[n]).all()
        steps = np.diff(stroke, axis=1)
        assert ((steps == 0) | (steps == 1) | (stroke[:, 1:] == -1)).all()
        assert (columns['label'] < len(strokes.fonts())).all()


def test_a_capital_t_is_a_bar_on_a_stem():
    columns = [data.load('hershey', split) for split in ('train', 'validation', 'test')]
    font = list(strokes.fonts()).index('futural')
    ((points, stroke),) = (
        (c['points'][i], c['stroke'][i])
        for c in columns
        for i in np.flatnonzero((c['label'] == font) & (c['code'] == ord('T')))
    )
    stem, bar = (points[stroke == k] for k in (0, 1))
    assert np.ptp(stem[:, 0]) == np.ptp(bar[:, 1]) == 0
    assert bar[0, 1] == stem[:, 1].max() == 1
