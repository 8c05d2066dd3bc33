"""VGG and the distance in its maps, against loops; weights from a file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jssl.models.perceptual import LPIPS, VGG, extractor, pretrained

RNG = np.random.default_rng(0)
X, Y = RNG.random((2, 2, 8, 8, 3)).astype('f')


def test_vgg_16_has_its_parameters():
    shapes = jax.eval_shape(VGG().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == 14_714_688


def slow_vgg(x, p):
    """Maps of two stages of one convolution, for one image."""
    maps = []
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for stage in range(2):
        if stage:
            x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3))
        kernel, bias = p[f'conv{stage}_0']['kernel'], p[f'conv{stage}_0']['bias']
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        out = np.zeros((*x.shape[:2], kernel.shape[-1]))
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                out[i, j] = np.einsum('hwc,hwcd->d', padded[i : i + 3, j : j + 3], kernel) + bias
        x = np.maximum(out, 0)
        maps.append(x)
    return maps


def slow_lpips(maps_x, maps_y, weights):
    total = 0
    for f, g, w in zip(maps_x, maps_y, weights, strict=True):
        places = []
        for a, b in zip(f.reshape(-1, f.shape[-1]), g.reshape(-1, g.shape[-1]), strict=True):
            a, b = (v / max(np.linalg.norm(v), 1e-300) for v in (a, b))
            places.append(sum(w * (a - b) ** 2))
        total += np.mean(places)
    return total


def test_against_loops(draw, run):
    network = VGG((4, 5), depths=(1, 1))
    variables = draw(LPIPS(network), X, Y)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])
    maps = [[slow_vgg(x, p['network']) for x in a.astype(np.float64)] for a in (X, Y)]
    features, found = run(network, {'params': variables['params']['network']}, X, taps=True)
    for level in range(2):
        expected = np.stack([m[level] for m in maps[0]])
        np.testing.assert_allclose(found[level], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features, found[1].mean((1, 2)), rtol=1e-5)
    weights = [p['weights0'], p['weights1']]
    expected = [slow_lpips(a, b, weights) for a, b in zip(*maps, strict=True)]
    np.testing.assert_allclose(run(LPIPS(network), variables, X, Y), expected, rtol=1e-4)


def test_distance_laws():
    module, params = pretrained(widths=(4, 8))
    distance = jax.jit(lambda x, y: module.apply({'params': params}, x, y))
    np.testing.assert_allclose(distance(X, X), 0, atol=1e-6)
    np.testing.assert_allclose(distance(X, Y), distance(Y, X), rtol=1e-5)
    assert (distance(X, Y) > 0).all()
    near = X + 0.1 * (Y - X)
    assert (distance(X, near) < distance(X, Y)).all()
    slope = jax.grad(lambda x: distance(x, X).sum())
    for x in (X, jnp.zeros_like(X), jnp.full_like(X, 1e4)):
        assert np.isfinite(slope(x)).all()


def test_grey_is_three_equal_channels():
    module, params = pretrained(widths=(4, 8))
    apply = lambda x: module.network.apply({'params': params['network']}, x)
    grey = X[..., :1]
    np.testing.assert_allclose(apply(grey), apply(np.repeat(grey, 3, axis=-1)), rtol=1e-6)


def test_weights_come_from_a_file(tmp_path):
    _, drawn = pretrained(widths=(4, 8))
    given = jax.tree.map(lambda a: np.asarray(a) + 1, drawn)
    np.savez(tmp_path / 'vgg.npz', **traverse_util.flatten_dict(given, sep='/'))
    module, read = pretrained(tmp_path / 'vgg.npz', widths=(4, 8))
    jax.tree.map(np.testing.assert_array_equal, read, given)
    assert np.isfinite(module.apply({'params': read}, X, Y)).all()


def test_extractor_gives_features_or_tokens():
    features, tokens = extractor(widths=(4, 6))(X), extractor(widths=(4, 6), side=4)(X)
    assert tokens.shape == (2, 4, 4, 6)
    np.testing.assert_allclose(features, tokens.mean((1, 2)), rtol=1e-5)
    with pytest.raises(StopIteration):
        extractor(widths=(4, 6), side=5)(X)
