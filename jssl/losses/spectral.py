"""Distances of sounds by their spectrograms."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jssl.losses.arrays import check_axes, widen

FLOOR = 1e-7  # of power; below it lies silence, which has no gradient


def magnitudes(x: jax.Array, *, window: int, hop: int | None = None) -> jax.Array:
    """Magnitude spectrogram, Hann windows, no padding.

        |STFT|_nk = sqrt(max(|sum_t w_t x_{n hop + t} exp(-2 pi i k t / W)|^2, 1e-7))

    Args:
        x: waveforms [B, T].
        window: W samples, at most T.
        hop: samples between windows; None is a quarter of the window.

    Returns:
        Magnitudes [B, 1 + (T - W) // hop, W // 2 + 1].

    Reference: Signal estimation from modified short-time Fourier transform (Griffin and Lim, 1984).
    """
    chex.assert_rank(x, 2)
    if x.shape[1] < window:
        raise ValueError(f'x has {x.shape[1]} samples, fewer than the window of {window}')
    hop = hop or window // 4
    starts = jnp.arange(0, x.shape[1] - window + 1, hop)
    frames = widen(x)[:, starts[:, None] + jnp.arange(window)[None, :]]
    hann = jnp.asarray(np.hanning(window + 1)[:-1], frames.dtype)
    spectrum = jnp.fft.rfft(frames * hann[None, None, :])
    return jnp.sqrt(jnp.maximum(jnp.square(spectrum.real) + jnp.square(spectrum.imag), FLOOR))


def multi_resolution_stft(
    prediction: jax.Array, target: jax.Array, *, windows: Sequence[int] = (512, 1024, 2048)
) -> jax.Array:
    """Distance of two sounds in spectrograms of several resolutions, whatever their phases.

        L_b = 1/R sum_r [|S - S'|_F / |S|_F + mean |log S - log S'|],   S = magnitudes of target

    Args:
        prediction, target: waveforms [B, T].
        windows: W_r in samples, none longer than T.

    Returns:
        Distances [B].

    Reference: Parallel WaveGAN (Yamamoto et al., 2020).
    """
    check_axes(prediction=(prediction, 'B T'), target=(target, 'B T'))
    total = 0.0
    for window in windows:
        made, true = (magnitudes(x, window=window) for x in (prediction, target))
        error, size = (jnp.square(s).sum((1, 2)) for s in (made - true, true))
        # The root of zero has no gradient.
        convergence = jnp.sqrt(jnp.maximum(error, FLOOR) / size)
        total += convergence + jnp.abs(jnp.log(made) - jnp.log(true)).mean((1, 2))
    return total / len(windows)
