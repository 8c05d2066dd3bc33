"""The segmenter on two rectangles to a picture, three steps old."""

import jax
import numpy as np
import pytest

from jssl import data, train
from jssl.zoo import tiny_segmenter as zoo

ONE = train.make_mesh('data:1', jax.devices()[:1])
TOY = zoo.Recipe(options=(('classes', 3),), widths=(4, 8), steps=3, batch=8)


@pytest.fixture(autouse=True)
def rectangles(monkeypatch):
    """Sixteen pictures with one or two objects of three kinds, in place of drawn shapes."""
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 2, 8, 8), bool)
    mask[:, 0, 1:4, 1:7] = mask[:, 1, 5:7, 2:5] = True
    present = np.stack([np.ones(16, bool), np.arange(16) % 2 == 0], axis=1)
    columns = {
        'image': rng.integers(0, 256, (16, 8, 8, 3), np.uint8),
        'mask': mask & present[..., None, None],
        'label': rng.integers(0, 3, (16, 2)).astype(np.int32),
        'present': present,
    }
    monkeypatch.setattr(data, 'load', lambda name, split, **options: columns)
    zoo.load.cache_clear()
    yield columns
    zoo.load.cache_clear()


def test_a_pixel_is_of_the_object_that_it_belongs_to(rectangles):
    label = zoo.load(TOY, 'train')['label']
    for n in range(16):
        for i, j in ((0, 0), (2, 3), (6, 4)):
            expected = 0
            for o in range(2):
                if rectangles['mask'][n, o, i, j]:
                    expected = 1 + rectangles['label'][n, o]
            assert label[n, i, j] == expected


def test_trains_and_measures():
    init, step = zoo.build(TOY)
    options = {'steps': 3, 'key': 0, 'mesh': ONE, 'progress': False}
    state, _ = train.fit(step, init, zoo.batches(TOY), **options)
    variables = zoo.variables(TOY, state)
    test, net = zoo.load(TOY, 'test'), zoo.network(TOY)
    logits = net.apply(variables, test['image'] / np.float32(255))
    assert logits.shape == (16, 8, 8, 4)
    found, answer = zoo.measure(TOY, variables), logits.argmax(-1)
    assert found['accuracy'] == pytest.approx((answer == test['label']).mean())
    ious = []
    for k in range(4):
        ours, theirs = answer == k, test['label'] == k
        if (ours | theirs).any():
            ious.append((ours & theirs).sum() / (ours | theirs).sum())
    assert found['mean_iou'] == pytest.approx(np.mean(ious), abs=1e-6)


def test_scenes_count_kinds_and_what_they_stand_on():
    assert zoo.classes(zoo.Recipe(data='scenes', options=())) == 6 + 8
    assert zoo.classes(zoo.Recipe(data='scenes', options=(('classes', ('ball', 'cone')),))) == 2 + 8
