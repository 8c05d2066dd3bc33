"""Discriminators of images."""

import dataclasses
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.norms import norm


class PatchDiscriminator(nn.Module):
    """PatchGAN: a logit for every patch, by convolutions of 4 x 4 that halve the map.

    Widths double with every layer up to eight times the first. Three layers see patches of 70 x 70.

    Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2017).
    """

    width: int = 64
    _: dataclasses.KW_ONLY
    layers: int = 3  # that halve; a fourth and the output keep the stride at one
    norm: str | None = 'batch'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] to logits [B, h, w], h = H / 2^layers - 2."""
        chex.assert_rank(x, 4)
        if min(x.shape[1:3]) < 3 * 2**self.layers:
            raise ValueError(f'x {x.shape} is too small for {self.layers} layers')
        conv = partial(
            nn.Conv,
            kernel_size=(4, 4),
            padding=1,
            kernel_init=nn.initializers.normal(0.02),
            dtype=self.dtype,
        )
        for i in range(self.layers + 1):
            strides = 2 if i < self.layers else 1
            # A norm follows every convolution but the first, and has an offset of its own.
            plain = i == 0 or self.norm is None
            width = self.width * min(2**i, 8)
            x = conv(width, strides=strides, use_bias=plain, name=f'conv{i}')(x)
            x = norm(None if plain else self.norm, train, dtype=self.dtype, name=f'norm{i}')(x)
            x = nn.leaky_relu(x, 0.2)
        return conv(1, name='output')(x)[..., 0]
