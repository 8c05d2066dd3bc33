"""Queries begin where their anchors are; positions off the grid agree with those on it."""

import jax
import numpy as np
import pytest

from jssl import models
from jssl.models.detection import cells, points_encoding

IMAGES = np.random.default_rng(0).random((2, 8, 12, 3), np.float32)


def test_points_in_the_middle_of_patches_have_the_table_s_encoding():
    points = [((j + 0.5) / 3, (i + 0.5) / 2) for i in range(2) for j in range(3)]
    encoded = points_encoding(np.array(points, np.float32), (2, 3), 8)
    np.testing.assert_allclose(encoded, models.sincos_table((2, 3), 8), atol=1e-6)


def test_the_last_layer_answers_and_boxes_begin_as_the_cells_of_the_grid(draw):
    backbone = models.ConvNet((4, 8))
    net = models.DETR(backbone, 5, grid=(2, 3), depth=2, heads=2)
    variables = draw(net, IMAGES)

    @jax.jit
    def both(variables, images):
        return net.apply(variables, images), net.apply(variables, images, layers=True)

    found, layers = both(variables, IMAGES)
    assert [x.shape for x in found] == [(2, 6, 6), (2, 6, 4), (2, 6, 8)]
    assert [x.shape[0] for x in layers] == [2, 2, 2]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[-1], atol=1e-6), found, layers)
    assert (np.asarray(found.boxes[..., :2]) < found.boxes[..., 2:]).all()
    assert np.abs(layers.boxes[0] - layers.boxes[1]).max() > 1e-3

    params = variables['params']
    params['anchors'] = cells((2, 3))
    params['boxes']['dense2'] = jax.tree.map(np.zeros_like, params['boxes']['dense2'])
    boxes = np.asarray(both(variables, IMAGES)[0].boxes)[1]
    for n, (i, j) in enumerate((i, j) for i in range(2) for j in range(3)):
        x, y = (j + 0.5) / 3, (i + 0.5) / 2
        half = 1.5 / 4 / 2
        expected = [x - half, y - half, x + half, y + half]
        assert boxes[n] == pytest.approx(expected, abs=1e-5)
