"""Spectrograms on the scale of the ear."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jssl.losses.spectral import FLOOR, magnitudes


def mel_filters(bins: int, bands: int, *, rate: int, low: float = 0.0) -> np.ndarray:
    """Triangles whose centres are evenly spaced in mels, each from its neighbour to its neighbour.

        mel(f) = 2595 log10(1 + f / 700)

    A side is never narrower than a bin, so that no filter is empty.

    Args:
      bins: K, of a spectrum from 0 to half the rate.
      bands: M.
      rate: samples per second.
      low: hertz below which no filter begins; the last ends at half the rate.

    Returns:
      Weights float32 [K, M], at most 1.

    Comparison of Parametric Representations for Monosyllabic Word Recognition (Davis and
    Mermelstein, 1980).
    """
    mel = lambda hertz: 2595 * np.log10(1 + hertz / 700)
    edges = 700 * (10 ** (np.linspace(mel(low), mel(rate / 2), bands + 2) / 2595) - 1)
    hertz = np.linspace(0, rate / 2, bins)
    sides = np.maximum(np.diff(edges), hertz[1])
    away = hertz[:, None] - edges[None, 1:-1]
    rising, falling = 1 + away / sides[:-1], 1 - away / sides[1:]
    return np.minimum(rising, falling).clip(0).astype(np.float32)


def log_mel(
    x: jax.Array, *, rate: int, hop: int, window: int, bands: int = 80, low: float = 0.0
) -> jax.Array:
    """Logarithm of the power in bands of the ear, hop by hop.

        y_nm = log max(sum_k |STFT|^2_nk F_km, 1e-7)

    A window is centred on the middle of its hop; beyond both ends of x there is silence.

    Args:
      x: waveforms [B, T].
      rate: samples per second.
      hop: samples of a frame.
      window: samples W of a window, at least a hop and as even or odd as it.
      bands: M.
      low: hertz below which nothing is heard.

    Returns:
      float32 [B, T // hop, M].

    Comparison of Parametric Representations for Monosyllabic Word Recognition (Davis and
    Mermelstein, 1980).
    """
    chex.assert_rank(x, 2)
    if window < hop or (window - hop) % 2:
        raise ValueError(f'a window of {window} cannot be centred on a hop of {hop}')
    beyond = (window - hop) // 2
    length = x.shape[1] // hop * hop
    x = jnp.pad(x[:, :length], ((0, 0), (beyond, beyond)))
    power = jnp.square(magnitudes(x, window=window, hop=hop))
    filters = mel_filters(power.shape[-1], bands, rate=rate, low=low)
    return jnp.log(jnp.maximum(power @ filters, FLOOR))
