"""Encoders to a grid of tokens, and decoders from it: residual convolutions, and perceptrons."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.convnet import convolve
from jssl.models.mlp import MLP
from jssl.models.norms import norm
from jssl.models.patches import depth_to_space, space_to_depth
from jssl.models.positions import sincos_table
from jssl.models.transformer import Transformer
from jssl.models.unet import ResidualBlock


class Tokeniser(nn.Module):
    """An encoder, a quantiser of `jssl.models.vq` for its tokens, and a decoder.

    Neural Discrete Representation Learning (van den Oord et al., 2017).
    """

    encoder: nn.Module
    quantiser: nn.Module
    decoder: nn.Module

    def __call__(self, x: jax.Array, *, train: bool = False):
        """Maps x to its reconstruction, and `vq.Quantised` of its tokens."""
        found = self.quantiser(self.encoder(x, train=train), train=train)
        return self.decoder(found.q, train=train), found

    def codebook(self) -> jax.Array:
        """The codes [K, D], of quantisers that have them."""
        return self.quantiser.codebook()


@functools.partial(jax.jit, static_argnames='model')
def codebook_motion(
    model: Tokeniser, params: Any, constants: Any, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where a step along the gradient of the quantiser's loss would take every code.

    dQ = (dQ / dparams) (dL / dparams),   L the mean loss of the tokens of x

    The reconstruction has no say in it: z + sg(q - z) has no gradient in the codes.

    Args:
      model: a `Tokeniser` whose quantiser has a codebook that gradients move.
      params: its parameters.
      constants: its other collections.
      x: a batch.

    Returns:
      The codes [K, D], their motion [K, D], and the indices of the batch.

    Addressing Representation Collapse in Vector Quantized Models with One Linear Layer (Zhu et al.,
    2024).
    """

    def loss(params):
        found = model.apply({'params': params, **constants}, x)[1]
        return found.loss.mean(), found.indices

    codebook = lambda params: model.apply({'params': params, **constants}, method='codebook')
    gradient, indices = jax.grad(loss, has_aux=True)(params)
    return *jax.jvp(codebook, (params,), (gradient,)), indices


class KLAutoencoder(nn.Module):
    """An encoder to a Gaussian for every token of a grid, and a decoder from what is drawn.

    (mu, l) = encoder(x);   z = mu + exp(l / 2) e,   e ~ N(0, I);   x' = decoder(z)

    Auto-Encoding Variational Bayes (Kingma and Welling, 2014); High-Resolution Image Synthesis with
    Latent Diffusion Models (Rombach et al., 2022).
    """

    encoder: nn.Module  # to [B, h, w, 2 D]
    decoder: nn.Module  # from [B, h, w, D]

    def __call__(self, x: jax.Array, noise: jax.Array | None = None, *, train: bool = False):
        """Maps x to x', mu and l [B, h, w, D], given noise e of that shape or, without it, mu."""
        mean, log_variance = self.encode(x, train=train)
        z = mean if noise is None else mean + jnp.exp(log_variance / 2) * noise
        return self.decode(z, train=train), mean, log_variance

    def encode(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """mu and l [B, h, w, D]."""
        mean, log_variance = jnp.split(self.encoder(x, train=train), 2, axis=-1)
        return mean, jnp.clip(log_variance, -20, 10)

    def decode(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """x' for z [B, h, w, D]."""
        return self.decoder(z, train=train)


class PatchEncoder(nn.Module):
    """A transformer from the patches of an image to a grid of tokens: matrix products only.

    An Image is Worth 16x16 Words (Dosovitskiy et al., 2021).
    """

    patch: int
    width: int
    depth: int
    heads: int
    tokens: int  # width of a token
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] to [B, H / patch, W / patch, tokens]."""
        grid = space_to_depth(x, self.patch)
        return _transformed(grid, self, self.tokens, train)


class PatchDecoder(nn.Module):
    """The mirror of `PatchEncoder`.

    An Image is Worth 16x16 Words (Dosovitskiy et al., 2021).
    """

    patch: int
    width: int
    depth: int
    heads: int
    channels: int
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, h, w, D] to [B, patch h, patch w, channels]."""
        chex.assert_rank(x, 4)
        patches = _transformed(x, self, self.patch**2 * self.channels, train)
        return depth_to_space(patches, self.patch)


class ConvEncoder(nn.Module):
    """VQGAN's encoder without attention: residual blocks at every resolution, and in the middle.

    Level l has widths[l] channels at 1 / 2^l of the image's size.

    Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021).
    """

    widths: Sequence[int]
    tokens: int  # width of a token
    _: dataclasses.KW_ONLY
    blocks: int = 2  # at each level, and in the middle
    norm: str = 'group'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] to [B, H / 2^L, W / 2^L, tokens], L = len(widths) - 1."""
        chex.assert_rank(x, 4)
        options = {'use_bias': True, 'dtype': self.dtype}
        x = convolve(x, self.widths[0], 3, name='input', **options)
        for i, width in enumerate((*self.widths, self.widths[-1])):
            if 0 < i < len(self.widths):
                x = convolve(x, x.shape[-1], 3, stride=2, name=f'downsample{i}', **options)
            x = _residual(x, width, self, train, i)
        x = nn.silu(norm(self.norm, train, dtype=self.dtype, name='norm')(x))
        return convolve(x, self.tokens, 1, name='output', **options)


class ConvDecoder(nn.Module):
    """VQGAN's decoder without attention: the encoder's mirror, which upsamples depth to space.

    Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021).
    """

    widths: Sequence[int]  # as the encoder's
    channels: int
    _: dataclasses.KW_ONLY
    blocks: int = 2  # at each level, and in the middle
    norm: str = 'group'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, h, w, D] to [B, 2^L h, 2^L w, channels], L = len(widths) - 1."""
        chex.assert_rank(x, 4)
        options = {'use_bias': True, 'dtype': self.dtype}
        x = convolve(x, self.widths[-1], 3, name='input', **options)
        for i, width in enumerate((self.widths[-1], *self.widths[::-1])):
            if i > 1:
                x = convolve(x, 4 * x.shape[-1], 3, name=f'upsample{i}', **options)
                x = depth_to_space(x, 2)
            x = _residual(x, width, self, train, i)
        x = nn.silu(norm(self.norm, train, dtype=self.dtype, name='norm')(x))
        return convolve(x, self.channels, 3, name='output', **options)


class ShapedMLP(nn.Module):
    """A perceptron from all of an array to all of another: image to tokens, or tokens to image.

    Learning representations by back-propagating errors (Rumelhart et al., 1986).
    """

    widths: Sequence[int]  # hidden
    shape: Sequence[int]  # of what comes out, per example
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, ...] to [B, *shape]."""
        mlp = MLP((*self.widths, math.prod(self.shape)), dtype=self.dtype, name='mlp')
        return mlp(x.reshape(x.shape[0], -1)).reshape(x.shape[0], *self.shape)


def _transformed(grid, module, out, train):
    """[B, h, w, C] through a transformer to [B, h, w, out]."""
    batch, *sides, _ = grid.shape
    options = {'dtype': module.dtype}
    x = nn.Dense(module.width, name='embed', **options)(grid).reshape(batch, -1, module.width)
    x = x + sincos_table(sides, module.width).astype(module.dtype)[None]
    transformer = Transformer(
        module.width, module.depth, module.heads, name='transformer', **options
    )
    y = nn.Dense(out, name='output', **options)(transformer(x, train=train))
    return y.reshape(batch, *sides, out)


def _residual(x, width, module, train, level):
    for j in range(module.blocks):
        name = f'level{level}_block{j}'
        block = ResidualBlock(width, norm=module.norm, dtype=module.dtype, name=name)
        x = block(x, train=train)
    return x
