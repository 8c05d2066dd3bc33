"""A convolutional network over embedded words."""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp


class TextCNN(nn.Module):
    """Convolutions of several lengths over words, each reduced to its largest response.

    features = [max_l relu(conv_k(x))_l for k in kernels]

    Convolutional Neural Networks for Sentence Classification (Kim, 2014), CNN-static.
    """

    width: int = 100
    _: dataclasses.KW_ONLY
    kernels: Sequence[int] = (3, 4, 5)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, L, D], L at least the longest kernel, to [B, width len(kernels)]."""
        chex.assert_rank(x, 3)
        if x.shape[1] < max(self.kernels):
            raise ValueError(
                f'x has {x.shape[1]} words, fewer than a kernel of {max(self.kernels)}'
            )
        features = []
        for kernel in self.kernels:
            options = {'padding': 'VALID', 'use_bias': False, 'dtype': self.dtype}
            h = nn.Conv(self.width, (kernel,), name=f'conv{kernel}', **options)(x)
            features.append(nn.relu(h).max(1))
        return jnp.concatenate(features, axis=-1)
