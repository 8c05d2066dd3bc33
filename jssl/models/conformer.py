"""Conformers: transformer blocks with a convolution between two half perceptrons."""

import dataclasses
import functools
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.audio import per_channel
from jssl.models.mlp import FeedForward
from jssl.models.transformer import Attention


class Subsampling(nn.Module):
    """A spectrogram at a fourth of its rate: two convolutions over time and bands, each by halves.

    Conformer: Convolution-augmented Transformer for Speech Recognition (Gulati et al., 2020).
    """

    width: int
    _: dataclasses.KW_ONLY
    channels: Sequence[int] = (128, 32)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, T, F] to [B, ceil(T / 4), width]; `train` changes nothing."""
        chex.assert_rank(x, 3)
        x = x[..., None]
        for i, channels in enumerate(self.channels):
            conv = nn.Conv(channels, (3, 3), (2, 2), dtype=self.dtype, name=f'conv{i}')
            x = nn.relu(conv(x))
        x = x.reshape(*x.shape[:2], -1)
        return nn.Dense(self.width, dtype=self.dtype, name='embed')(x)


class ConformerBlock(nn.Module):
    """Half a perceptron, attention, a convolution, and the other half, then a norm.

    x += ff(x) / 2;  x += attention(x);  x += conv(x);  x += ff(x) / 2;  x = norm(x)
    conv = W swish(norm(depthwise(glu(V norm(x)))))

    Each branch begins with a layer norm. The norm of the convolution is a layer norm too: batch
    norm would see other utterances and padding. Places are told by the convolution alone, as in the
    large models of Pushing the Limits of Semi-Supervised Learning for Automatic Speech Recognition
    (Zhang et al., 2020).

    Conformer: Convolution-augmented Transformer for Speech Recognition (Gulati et al., 2020).
    """

    heads: int
    _: dataclasses.KW_ONLY
    kernel: int = 5
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, valid: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Maps x [B, T, D] to [B, T, D]; padding, where valid [B, T] is False, is not read."""
        chex.assert_rank(x, 3)
        width = x.shape[-1]
        drop = nn.Dropout(self.dropout, deterministic=not train)
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        normed = lambda name: nn.LayerNorm(dtype=self.dtype, name=name)
        forward = functools.partial(
            FeedForward, round(width * self.mlp_ratio), activation=nn.swish, dtype=self.dtype
        )
        seen = None if valid is None else valid[:, None, None, :]

        x = x + drop(forward(name='mlp_before')(normed('mlp_before_norm')(x))) / 2
        attention = Attention(self.heads, dtype=self.dtype, name='attention')
        x = x + drop(attention(normed('attention_norm')(x), mask=seen))
        y = nn.glu(dense(2 * width, name='conv_in')(normed('conv_norm')(x)))
        y = y if valid is None else jnp.where(valid[..., None], y, 0)
        start = nn.initializers.normal(self.kernel**-0.5)
        kernel = self.param('conv', start, (self.kernel, width))
        y = nn.swish(normed('conv_middle_norm')(per_channel(y, kernel.astype(self.dtype))))
        x = x + drop(dense(width, name='conv_out')(y))
        x = x + drop(forward(name='mlp_after')(normed('mlp_after_norm')(x))) / 2
        return normed('norm')(x)


class Conformer(nn.Module):
    """A stack of conformer blocks.

    Unrolled, they are named block0, block1, ... With `scan`, one block named `blocks` holds every
    parameter with a leading axis of length `depth`, compiles once, and keeps for the backward pass
    its inputs alone.

    Conformer: Convolution-augmented Transformer for Speech Recognition (Gulati et al., 2020).
    """

    depth: int
    heads: int
    _: dataclasses.KW_ONLY
    kernel: int = 5
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    scan: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, valid: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Maps x [B, T, D] to [B, T, D]; `valid` as in `ConformerBlock`."""
        if not self.scan:
            for i in range(self.depth):
                x = self._block(f'block{i}')(x, valid=valid, train=train)
            return x
        layer = lambda block, x, _: (block(x, valid=valid, train=train), None)
        scan = nn.scan(
            nn.remat(layer, prevent_cse=False),  # the loop itself prevents it
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            length=self.depth,
        )
        return scan(self._block('blocks'), x, None)[0]

    def _block(self, name: str) -> ConformerBlock:
        return ConformerBlock(
            self.heads,
            kernel=self.kernel,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
            dtype=self.dtype,
            name=name,
        )
