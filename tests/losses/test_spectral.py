"""Spectrograms and their distance against sums over time, written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.losses import spectral

from .test_oracles import spectrogram


@pytest.mark.parametrize('hop', [None, 3])
def test_magnitudes_are_the_sums(hop):
    x = np.random.default_rng(0).normal(size=(2, 30))
    found = jax.jit(lambda x: spectral.magnitudes(x, window=8, hop=hop))(jnp.float32(x))
    expected = [spectrogram(row, 8, hop or 2) for row in x]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_peak_is_at_the_frequency():
    time = np.arange(1024) / 1024
    tone = np.float32(np.sin(2 * np.pi * 96 * time)[None])
    found = jax.jit(lambda x: spectral.magnitudes(x, window=256))(tone)
    assert (np.asarray(found).argmax(-1) == 96 * 256 // 1024).all()


def test_distance_hears_no_phase_but_pitch():
    time = np.arange(2048) / 2048
    tone = lambda pitch, phase: np.float32(np.sin(2 * np.pi * pitch * time + phase))
    distance = jax.jit(lambda a, b: spectral.multi_resolution_stft(a, b, windows=(256, 512)))
    tones = np.stack([tone(64, 0), tone(64, 1), tone(80, 0)])
    same, phase, pitch = distance(np.broadcast_to(tones[0], tones.shape), tones)
    assert same < 1e-3
    # Between harmonics there is nearly nothing, of which the logarithm sees everything.
    assert phase < 0.5 * pitch


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_finite_for_silence_equals_and_loud(dtype):
    x = np.random.default_rng(0).normal(size=(2, 64))
    sounds = [scale * x for scale in (1e-6, 1e4)]
    pairs = [pair for x in sounds for pair in ((x, x), (x, 0 * x), (0 * x, x))] + [(0 * x, 0 * x)]
    total = lambda a, b: spectral.multi_resolution_stft(a, b, windows=(16, 32)).sum()
    slopes = jax.jit(jax.vmap(jax.value_and_grad(total, (0, 1))))
    found = slopes(*jnp.asarray(pairs, dtype).swapaxes(0, 1))
    assert found[0].dtype == jnp.float32
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves(found))


def test_nothing_is_promoted_silently():
    x = jnp.zeros((2, 16))
    with jax.numpy_rank_promotion('raise'), jax.numpy_dtype_promotion('strict'):
        jax.eval_shape(lambda x: spectral.multi_resolution_stft(x, x, windows=(8, 16)), x)


def test_too_short_is_refused():
    with pytest.raises(ValueError, match='window'):
        spectral.magnitudes(jnp.zeros((1, 7)), window=8)
    with pytest.raises(ValueError, match='target'):
        spectral.multi_resolution_stft(jnp.zeros((1, 9)), jnp.zeros((1, 8)), windows=(8,))
