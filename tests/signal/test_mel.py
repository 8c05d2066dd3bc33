"""Log-mel: the loop from its definition, where a sound lies in time and pitch, and silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.signal import log_mel, mel_filters

RNG = np.random.default_rng(0)
FORM = {'rate': 800, 'hop': 4, 'window': 10, 'bands': 3}
heard = jax.jit(lambda x: log_mel(x, **FORM))


def slow(x):
    """One sound, frame by frame and filter by filter."""
    mel = lambda f: 2595 * np.log10(1 + f / 700)
    back = lambda m: 700 * (10 ** (m / 2595) - 1)
    edges = [back(mel(400) * i / 4) for i in range(5)]
    padded = np.concatenate([np.zeros(3), x, np.zeros(3)])
    out = []
    for n in range(len(x) // 4):
        power = []
        for k in range(6):
            z = 0
            for t in range(10):
                hann = np.sin(np.pi * t / 10) ** 2
                z += hann * padded[4 * n + t] * np.exp(-2j * np.pi * k * t / 10)
            power.append(abs(z) ** 2)
        row = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0
            for k, p in enumerate(power):
                up, down = max(centre - low, 80), max(high - centre, 80)
                total += p * max(0, min(1 - (centre - 80 * k) / up, 1 - (80 * k - centre) / down))
            row.append(np.log(max(total, 1e-7)))
        out.append(row)
    return np.array(out)


def test_log_mel_is_the_loop():
    x = RNG.normal(size=(2, 26)).astype('f')
    np.testing.assert_allclose(heard(x), [slow(row[:24]) for row in x], rtol=1e-4, atol=1e-4)


def test_a_click_is_in_its_own_frame_and_a_tone_in_its_own_band():
    click = np.zeros((1, 24), 'f')
    click[0, 13] = 1
    assert np.asarray(heard(click))[0].sum(1).argmax() == 13 // 4
    filters = mel_filters(101, 20, rate=8000)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 22) / 2595) - 1)
    for band in range(20):
        assert filters[round(edges[band + 1] / 40)].argmax() == band
    assert (mel_filters(101, 60, rate=8000).sum(0) > 0).all()
    assert filters.max() <= 1


def test_silence_has_finite_slopes_and_odd_windows_are_refused():
    slope = jax.grad(lambda x: log_mel(x, **FORM).sum())(jnp.zeros((1, 24)))
    assert np.isfinite(slope).all()
    with pytest.raises(ValueError, match='centred'):
        log_mel(jnp.zeros((1, 24)), rate=800, hop=4, window=9)
