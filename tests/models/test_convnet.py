"""Convolutions against a loop; taps, sizes and the decoder's scale."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)


class Layer(nn.Module):
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x):
        return models.convolve(x, 4, self.kernel, stride=self.stride, use_bias=True, name='conv')


@pytest.mark.parametrize(('kernel', 'stride'), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 2)])
def test_convolve_against_a_loop(kernel, stride, draw, run):
    x = RNG.normal(size=(2, 6, 5, 3)).astype('f')
    variables = draw(Layer(kernel, stride), x)
    weight = np.asarray(variables['params']['conv']['kernel'], np.float64)
    weight = weight.reshape(kernel, kernel, 3, 4)
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = range(0, 6, stride), range(0, 5, stride)
    want = np.zeros((2, len(rows), len(columns), 4))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            window = padded[:, r : r + kernel, c : c + kernel]
            want[:, i, j] = np.einsum('buvc,uvcd->bd', window, weight)
    want += variables['params']['conv']['bias']
    np.testing.assert_allclose(run(Layer(kernel, stride), variables, x), want, atol=1e-5)


def shapes(module, *shape, **options):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    call = lambda key, x: module.init_with_output(key, x, **options)
    out, variables = jax.eval_shape(call, jax.random.key(0), x)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    return jax.tree.map(lambda leaf: leaf.shape, out), count


def test_convnet_taps():
    (features, maps), _ = shapes(models.ConvNet((4, 6, 8)), 2, 28, 28, 1, taps=True)
    assert features == (2, 8)
    assert maps == [(2, 14, 14, 4), (2, 7, 7, 6), (2, 4, 4, 8)]
    (_, maps), _ = shapes(models.ConvNet((4, 6), strides=(1, 2)), 2, 8, 8, 3, taps=True)
    assert maps == [(2, 8, 8, 4), (2, 4, 4, 6)]
    with pytest.raises(ValueError, match='strides'):
        shapes(models.ConvNet((4, 6), strides=(1,)), 2, 8, 8, 3)


def test_features_are_the_mean_of_the_last_map(draw, run):
    x = RNG.normal(size=(2, 8, 8, 3)).astype('f')
    module = models.ConvNet((4, 6))
    features, maps = run(module, draw(module, x), x, taps=True)
    np.testing.assert_allclose(features, maps[-1].mean((1, 2)), rtol=1e-5)


def test_network_in_network_is_rotnets():
    (features, maps), count = shapes(models.NetworkInNetwork(4), 2, 32, 32, 3, taps=True)
    assert features == (2, 192)
    assert maps == [(2, 16, 16, 96), (2, 8, 8, 192), (2, 4, 4, 192), (2, 4, 4, 192)]
    layers = [(25 * 3, 192), (192, 160), (160, 96), (25 * 96, 192)]
    layers += 2 * [(192, 192)] + 2 * [(9 * 192, 192), (192, 192), (192, 192)]
    assert count == sum(a * b + 2 * b for a, b in layers)
    (_, maps), _ = shapes(models.NetworkInNetwork(3, width=12), 2, 32, 32, 1, taps=True)
    assert [m[1] for m in maps] == [16, 8, 8]
    with pytest.raises(ValueError, match='blocks'):
        shapes(models.NetworkInNetwork(2), 2, 8, 8, 3)


def test_decoder_doubles_at_every_stage():
    out, _ = shapes(models.Decoder((8, 6, 4), channels=3), 2, 2, 3, 5)
    assert out == (2, 16, 24, 3)


def test_patch_mlp_mixes_tokens(draw):
    x = RNG.normal(size=(2, 8, 8, 1)).astype('f')
    module = models.PatchMLP(4, width=8, depth=1)
    apply = jax.jit(partial(module.apply, draw(module, x), taps=True))
    features, maps = jax.device_get(apply(x))
    assert features.shape == (2, 8)
    assert maps[0].shape == (2, 4, 8)
    changed = x.copy()
    changed[:, :4, :4] += 1.0
    other = np.asarray(apply(changed)[1][0])
    assert np.abs(other[:, 3] - maps[0][:, 3]).max() > 1e-3
