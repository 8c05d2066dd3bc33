"""Perceptual distance: images compared in the maps of a network trained for another end."""

import dataclasses
import functools
import os
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jssl.losses import normalise
from jssl.models.convnet import convolve

# Of ImageNet's pixels in [0, 1], which the published weights expect.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG(nn.Module):
    """VGG-16's convolutions: stages of 3 x 3 with rectifiers, max pooling between stages.

    There are as many stages as widths: fewer than five give the network's beginning.

    Very Deep Convolutional Networks for Large-Scale Image Recognition (Simonyan and Zisserman,
    2015).
    """

    widths: Sequence[int] = (64, 128, 256, 512, 512)
    _: dataclasses.KW_ONLY
    depths: Sequence[int] = (2, 2, 3, 3, 3)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps x [B, H, W, 1 or 3] in [0, 1] to the mean of the last map [B, widths[-1]].

        With `taps` the list of every stage's map comes too. Grey images are repeated.
        """
        chex.assert_rank(x, 4)
        x = (jnp.broadcast_to(x, (*x.shape[:-1], 3)) - jnp.array(MEAN)) / jnp.array(DEVIATION)
        maps = []
        for i, (width, depth) in enumerate(zip(self.widths, self.depths, strict=False)):
            if i:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for j in range(depth):
                name = f'conv{i}_{j}'
                x = nn.relu(convolve(x, width, 3, use_bias=True, dtype=self.dtype, name=name))
            maps.append(x)
        features = x.mean((1, 2))
        return (features, maps) if taps else features


class LPIPS(nn.Module):
    """Distance of two images in the maps of a network, every place a direction over channels.

    d(x, y) = sum_l mean_hw sum_c w_lc (f_lhwc(x) - f_lhwc(y))^2, f_lhw of unit length

    The weights start at one, the uncalibrated form. With the published weights (`pretrained`) it is
    LPIPS; with a network that was only drawn it is a distance of random features.

    The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018).
    """

    network: nn.Module  # (x, taps=True) -> features, maps

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Maps two batches of images [B, H, W, C] in [0, 1] to distances [B]."""
        chex.assert_equal_shape([x, y])
        total = 0.0
        maps = (self.network(a, taps=True)[1] for a in (x, y))
        for i, pair in enumerate(zip(*maps, strict=True)):
            f, g = (normalise(a) for a in pair)
            weights = self.param(f'weights{i}', nn.initializers.ones, f.shape[-1:])
            total += (jnp.square(f - g) @ weights).mean((1, 2))
        return total


@functools.lru_cache
def pretrained(path: str | os.PathLike = '', *, widths: Sequence[int] = VGG.widths):
    """LPIPS on VGG, with the weights of a file; without one they are drawn, and always the same.

    The npz file names its arrays by their paths in the tree: 'network/conv0_0/kernel' [3, 3, 3,
    64], 'network/conv0_0/bias' [64], ..., 'weights0' [64], ...

    Args:
      path: of the file; '' draws.
      widths: of VGG's stages, a tuple.

    Returns:
      The module `LPIPS(VGG(widths))`, and its parameters.

    The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018).
    """
    module = LPIPS(VGG(widths))
    if path:
        with np.load(path) as arrays:
            return module, traverse_util.unflatten_dict(dict(arrays), sep='/')
    x = jnp.zeros((1, 32, 32, 3))
    return module, jax.jit(module.init)(jax.random.key(0), x, x)['params']


@functools.lru_cache
def extractor(
    path: str | os.PathLike = '', *, widths: Sequence[int] = VGG.widths, side: int | None = None
) -> jax.tree_util.Partial:
    """The network of `pretrained` as a function, for `evaluate.features`.

    Args:
      path, widths: as in `pretrained`.
      side: of the map to return; None returns the mean of the last map.

    Returns:
      x [B, H, W, C] -> features [B, F], or tokens [B, side, side, F].

    The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018).
    """
    module, params = pretrained(path, widths=widths)

    def forward(params, x):
        features, maps = module.network.apply({'params': params}, x, taps=True)
        return features if side is None else next(m for m in maps if m.shape[1] == side)

    return jax.tree_util.Partial(forward, params['network'])
