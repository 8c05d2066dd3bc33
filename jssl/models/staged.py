"""Stages of 3 x 3 convolutions with pooling between them, and dense layers: Conv-2 to VGG."""

import dataclasses
import functools
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.convnet import convolve
from jssl.models.norms import norm

GLOROT = nn.initializers.glorot_normal()


class StagedNet(nn.Module):
    """Convolutions, each with norm and rectifier; every stage ends in max pooling by two.

    h = pool(relu(norm(conv(...)))) for every stage, then relu(dense(h)) for every hidden layer

    Very Deep Convolutional Networks (Simonyan and Zisserman, 2015); The Lottery Ticket Hypothesis
    (Frankle and Carbin, 2019), for the small ones and Glorot's normal law.
    """

    stages: Sequence[Sequence[int]] = ((64, 64),)
    _: dataclasses.KW_ONLY
    hidden: Sequence[int] = (256, 256)
    norm: str | None = None
    scale: float = 1.0  # of all widths
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, dropout: jax.Array | float | None = None, train=False):
        """Maps x [B, H, W, C] to [B, F].

        Args:
          dropout: share of every hidden layer that is set to zero, an array if it is to change
            without compiling again; needs the generator 'dropout'. None drops nothing.
        """
        chex.assert_rank(x, 4)
        scaled = lambda widths: [max(2, round(self.scale * width)) for width in widths]
        options = {'kernel_init': GLOROT, 'use_bias': self.norm is None, 'dtype': self.dtype}
        for i, widths in enumerate(self.stages):
            for j, width in enumerate(scaled(widths)):
                x = convolve(x, width, 3, name=f'conv{i}_{j}', **options)
                x = norm(self.norm, train, dtype=self.dtype, name=f'norm{i}_{j}')(x)
                x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for i, width in enumerate(scaled(self.hidden)):
            x = nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype, name=f'dense{i}')(x)
            x = nn.relu(x)
            if dropout is not None:
                kept = jax.random.bernoulli(self.make_rng('dropout'), 1 - dropout, x.shape)
                x = (x * kept / (1 - dropout)).astype(self.dtype)
        return x


conv2 = functools.partial(StagedNet, ((64, 64),))
conv4 = functools.partial(StagedNet, ((64, 64), (128, 128)))
conv6 = functools.partial(StagedNet, ((64, 64), (128, 128), (256, 256)))
vgg19 = functools.partial(
    StagedNet,
    ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
    hidden=(),
    norm='batch',
)
