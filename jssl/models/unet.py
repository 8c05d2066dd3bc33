"""U-Nets for segmentation, restoration and diffusion."""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.convnet import convolve
from jssl.models.mlp import MLP
from jssl.models.norms import norm
from jssl.models.patches import space_to_depth
from jssl.models.transformer import Block


class UNet(nn.Module):
    """Encoder and decoder of residual blocks with a skip connection at every resolution.

    Level l has widths[l] channels at 1 / 2^l of the image's size. Downsampling is a matrix product
    over 2 x 2 squares, upsampling repeats pixels. The output layer starts at zero.

    U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015);
    Denoising Diffusion Probabilistic Models (Ho et al., 2020); context: High-Resolution Image
    Synthesis with Latent Diffusion Models (Rombach et al., 2022).
    """

    widths: Sequence[int]
    _: dataclasses.KW_ONLY
    out_channels: int
    blocks: int = 1  # residual blocks at each level, both ways
    attention_at: Sequence[int] = ()  # levels with a transformer block after every residual block
    heads: int = 4
    conditioning: int | None = None  # width into which the condition vector is embedded
    cross: bool = False  # attention levels attend to a context too
    norm: str = 'group'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        condition: jax.Array | None = None,
        context: jax.Array | None = None,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """Maps images to images.

        Args:
          x: [B, H, W, C], H and W divisible by 2^(len(widths) - 1).
          condition: [B, E] vector (embedded time, class ...), given exactly when `conditioning`
            is; every residual block is scaled and shifted by it.
          context: [B, S, E] tokens for cross attention, given exactly when `cross` is.
          taps: whether to return the list of every residual block's map too, after its attention:
            down, then up.
          weights: whether to return the list of attention weights too, in the same order, each as
            `Block` returns them.
          train: whether batch statistics are taken from the batch.

        Returns:
          [B, H, W, out_channels], followed by the taps and the weights where asked for.
        """
        chex.assert_rank(x, 4)
        self._check_call(x, condition, context)
        if condition is not None:
            widths = (self.conditioning, self.conditioning)
            mlp = MLP(widths, activation=nn.silu, dtype=self.dtype, name='condition')
            condition = nn.silu(mlp(condition))
        maps, seen, skips = [], [], []

        def level(x, depth, name):
            for j in range(self.blocks):
                x = ResidualBlock(
                    self.widths[depth], norm=self.norm, dtype=self.dtype, name=f'{name}_block{j}'
                )(x, condition=condition, train=train)
                if depth in self.attention_at:
                    tokens = x.reshape(x.shape[0], -1, x.shape[-1])
                    block = Block(
                        self.heads, cross=self.cross, dtype=self.dtype, name=f'{name}_attention{j}'
                    )
                    tokens = block(tokens, context=context, weights=weights, train=train)
                    if weights:
                        tokens, found = tokens
                        seen.append(found)
                    x = tokens.reshape(x.shape)
                maps.append(x)
            return x

        x = convolve(x, self.widths[0], 3, use_bias=True, dtype=self.dtype, name='input')
        last = len(self.widths) - 1
        for depth in range(last):
            x = level(x, depth, f'down{depth}')
            skips.append(x)
            width = self.widths[depth + 1]
            x = nn.Dense(width, dtype=self.dtype, name=f'downsample{depth}')(space_to_depth(x, 2))
        x = level(x, last, 'middle')
        for depth in reversed(range(last)):
            x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = level(jnp.concatenate([x, skips.pop()], axis=-1), depth, f'up{depth}')
        x = nn.silu(norm(self.norm, train, dtype=self.dtype, name='norm')(x))
        y = convolve(
            x,
            self.out_channels,
            3,
            use_bias=True,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name='output',
        )
        extras = [maps] * taps + [seen] * weights
        return (y, *extras) if extras else y

    def _check_call(self, x, condition, context) -> None:
        multiple = 2 ** (len(self.widths) - 1)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(f'x {x.shape} must have sides divisible by {multiple}')
        if (condition is None) != (self.conditioning is None):
            raise ValueError('a condition is needed with conditioning=width, and only then')
        if (context is None) == self.cross:
            raise ValueError('a context is needed with cross=True, and only then')


class ResidualBlock(nn.Module):
    """Pre-activation residual block, modulated by a vector where one is given.

    x = shortcut(x) + conv(silu((1 + scale) norm(conv(silu(norm(x)))) + shift)), the last conv zero
    at the start and (scale, shift) = W condition

    FiLM: Visual Reasoning with a General Conditioning Layer (Perez et al., 2018).
    """

    width: int
    _: dataclasses.KW_ONLY
    norm: str = 'group'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, condition: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Maps x [B, H, W, C] and an optional condition [B, E] to [B, H, W, width]."""
        y = nn.silu(norm(self.norm, train, dtype=self.dtype, name='norm0')(x))
        y = convolve(y, self.width, 3, use_bias=True, dtype=self.dtype, name='conv0')
        y = norm(self.norm, train, dtype=self.dtype, name='norm1')(y)
        if condition is not None:
            film = nn.Dense(2 * self.width, dtype=self.dtype, name='film')(condition)
            scale, shift = jnp.split(film[:, None, None], 2, axis=-1)
            y = y * (1 + scale) + shift
        y = convolve(
            nn.silu(y),
            self.width,
            3,
            use_bias=True,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name='conv1',
        )
        if x.shape[-1] != self.width:
            x = convolve(x, self.width, 1, use_bias=True, dtype=self.dtype, name='shortcut')
        return x + y
