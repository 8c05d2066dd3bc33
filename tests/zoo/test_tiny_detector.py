"""The detector on pictures with one or two rectangles, and how its answers are counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import data, train
from jssl.zoo import tiny_detector as zoo

TOY = zoo.Recipe(options=(('classes', 3),), widths=(4, 8), layers=1, grid=(2, 2), steps=3, batch=8)
BOXES = np.array([[1, 1, 7, 4], [2, 5, 5, 7]], np.float32)


@pytest.fixture(autouse=True)
def rectangles(monkeypatch):
    """Sixteen pictures, in place of drawn shapes; the second object is hidden in every other."""
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 2, 8, 8), bool)
    mask[:, 0, 1:4, 1:7] = mask[::2, 1, 5:7, 2:5] = True
    columns = {
        'image': rng.integers(0, 256, (16, 8, 8, 3), np.uint8),
        'mask': mask,
        'box': np.tile(BOXES, (16, 1, 1)),
        'label': np.tile(np.array([2, 1], np.int32), (16, 1)),
    }
    monkeypatch.setattr(data, 'load', lambda name, split, **options: columns)
    zoo.load.cache_clear()
    yield
    zoo.load.cache_clear()


def test_what_is_hidden_is_no_object():
    columns = zoo.load(TOY, 'train')
    assert columns['label'][:2].tolist() == [[2, 1], [2, -1]]
    np.testing.assert_allclose(columns['box'][3], BOXES / 8)


def test_trains_and_detects():
    init, step = zoo.build(TOY)
    mesh = train.make_mesh('data:1', jax.devices()[:1])
    options = {'steps': 3, 'key': 0, 'mesh': mesh, 'progress': False}
    state, history = train.fit(step, init, zoo.batches(TOY), **options)
    assert np.isfinite(history['loss']).all()
    variables, image = zoo.variables(TOY, state), zoo.load(TOY, 'test')['image'] / np.float32(255)
    boxes, labels, scores = zoo.detect(zoo.network(TOY), variables, image)
    assert (boxes.shape, labels.shape, scores.shape) == ((16, 4, 4), (16, 4), (16, 4))
    assert 0 <= zoo.measure(TOY, variables)['recall'] <= 1


@pytest.mark.parametrize(
    ('labels', 'scores', 'recall', 'precision'),
    [
        ((2, 1, 2, 1), (0.9, 0.9, 0.1, 0.1), 24 / 24, 24 / 32),  # an object of eight is hidden
        ((2, 1, 2, 1), (0.9, 0.9, 0.9, 0.1), 24 / 24, 24 / 48),  # a second answer is wrong
        ((2, 0, 2, 0), (0.9, 0.9, 0.1, 0.1), 16 / 24, 16 / 32),  # so is a wrong name
        ((2, 1, 2, 1), (0.9, 0.4, 0.1, 0.1), 16 / 24, 16 / 16),
    ],
)
def test_what_counts_as_found(labels, scores, recall, precision, monkeypatch):
    def detect(network, variables, images):
        answers = np.tile(BOXES / 8, (2, 1)), np.array(labels), np.array(scores)
        return [jnp.broadcast_to(x[None], (len(images), *x.shape)) for x in answers]

    monkeypatch.setattr(zoo, 'detect', detect)
    found = zoo.measure(TOY, {})
    assert found['recall'] == pytest.approx(recall)
    assert found['precision'] == pytest.approx(precision)
