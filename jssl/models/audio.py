"""Encoder and decoder of a sound codec: waveforms to tokens at a low rate, and back."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jssl.models.mlp import FeedForward


class SEANetEncoder(nn.Module):
    """Waveforms to tokens: per stage a residual unit and a strided convolution to twice the width.

    Convolutions are padded with zeros on both sides, and have no weight normalisation.

    High Fidelity Neural Audio Compression (Défossez et al., 2023).
    """

    tokens: int  # width of a token
    _: dataclasses.KW_ONLY
    strides: Sequence[int] = (2, 4, 5, 8)
    width: int = 32  # of the first stage
    layers: int = 2  # of the LSTM before the last convolution
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, T] to [B, T / prod(strides), tokens]."""
        chex.assert_rank(x, 2)
        if x.shape[1] % math.prod(self.strides):
            raise ValueError(f'strides {self.strides} do not divide the length of x {x.shape}')
        conv = functools.partial(nn.Conv, padding='SAME', dtype=self.dtype)
        x = conv(self.width, (7,), name='input')(x[..., None])
        for i, stride in enumerate(self.strides):
            width = x.shape[-1]
            y = conv(width // 2, (3,), name=f'stage{i}_conv0')(nn.elu(x))
            y = conv(width, (1,), name=f'stage{i}_conv1')(nn.elu(y))
            x = conv(width, (1,), name=f'stage{i}_shortcut')(x) + y
            x = conv(2 * width, (2 * stride,), stride, name=f'downsample{i}')(nn.elu(x))
        y = x
        for i in range(self.layers):
            y = nn.RNN(nn.OptimizedLSTMCell(y.shape[-1], dtype=self.dtype), name=f'lstm{i}')(y)
        x = x + y if self.layers else x
        return conv(self.tokens, (7,), name='output')(nn.elu(x))


class VocosDecoder(nn.Module):
    """Tokens to waveforms: ConvNeXt blocks at the rate of the tokens, then one inverse STFT.

    Windows are four hops long, and a hop is what one token lasts.

    Vocos: Closing the Gap between Time-Domain and Fourier-Based Neural Vocoders (Siuzdak, 2024).
    """

    hop: int  # samples of a token
    _: dataclasses.KW_ONLY
    width: int = 768
    depth: int = 12
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps z [B, N, D] to [B, N hop]."""
        chex.assert_rank(z, 3)
        options = {'kernel_init': nn.initializers.truncated_normal(0.02), 'dtype': self.dtype}
        normed = lambda name: nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=name)
        x = normed('norm')(nn.Conv(self.width, (7,), name='embed', **options)(z))
        for i in range(self.depth):
            kernel = self.param(f'block{i}_conv', options['kernel_init'], (7, self.width))
            y = normed(f'block{i}_norm')(per_channel(x, kernel.astype(self.dtype)))
            y = FeedForward(3 * self.width, dtype=self.dtype, name=f'block{i}_mlp')(y)
            scale = nn.initializers.constant(1 / self.depth)
            x = x + y * self.param(f'block{i}_scale', scale, (self.width,))
        window = 4 * self.hop
        x = nn.Dense(window + 2, name='output', **options)(normed('norm_out')(x))
        logs, phase = jnp.split(x.astype(jnp.float32), 2, axis=-1)
        # A magnitude above a hundred is a mistake that would only grow.
        return inverse_stft(jnp.exp(jnp.minimum(logs, math.log(100))), phase, hop=self.hop)


def inverse_stft(magnitude: jax.Array, phase: jax.Array, *, hop: int) -> jax.Array:
    """Waveform of spectra whose windows are centred on the middles of its N hops.

        x = sum_n w irfft(m_n exp(i p_n)) shifted by n hop / sum_n w^2 shifted by n hop

    Args:
      magnitude: m [B, N, W / 2 + 1].
      phase: p in radians, of the same shape.
      hop: samples between windows, a half of W or less that divides it.

    Returns:
      x [B, N hop]: (W - hop) / 2 samples are cut off at either end.

    Signal estimation from modified short-time Fourier transform (Griffin and Lim, 1984).
    """
    chex.assert_rank(magnitude, 3)
    chex.assert_equal_shape([magnitude, phase])
    window = 2 * (magnitude.shape[2] - 1)
    if window % hop or window < 2 * hop:
        raise ValueError(f'hop {hop} must divide half of the window {window} or less')
    hann = jnp.asarray(np.hanning(window + 1)[:-1], magnitude.dtype)
    frames = jnp.fft.irfft(jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase)))
    weights = jnp.broadcast_to(jnp.square(hann), (1, *frames.shape[1:]))
    cut = (window - hop) // 2
    x, weights = (_overlap(a, hop)[:, cut:-cut] for a in (frames * hann, weights))
    return x / weights


def per_channel(x, kernel):
    """Convolves every channel of [B, N, C] with a column of [K, C]; XLA's own is slow on a CPU."""
    length, half = x.shape[1], len(kernel) // 2
    x = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
    return sum(x[:, i : i + length] * row for i, row in enumerate(kernel))


def _overlap(frames, hop):
    """Adds frames [B, N, W], each `hop` samples later than the one before: [B, (N - 1) hop + W]."""
    parts = jnp.split(frames, frames.shape[2] // hop, axis=2)
    last = len(parts) - 1
    shifted = [jnp.pad(p, ((0, 0), (i, last - i), (0, 0))) for i, p in enumerate(parts)]
    return sum(shifted).reshape(frames.shape[0], -1)
