"""The codec's two halves: lengths, an inverse STFT that inverts, and silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.models.audio import SEANetEncoder, VocosDecoder, inverse_stft

RNG = np.random.default_rng(0)


def slow_inverse(magnitude, phase, hop):
    """One sound, sample by sample."""
    count, bins = magnitude.shape
    window = 2 * (bins - 1)
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    total, weights = np.zeros((2, (count - 1) * hop + window))
    for n in range(count):
        for t in range(window):
            sample = 0.0
            for k in range(bins):
                # All but the first and last frequency stand for their mirror images too.
                twice = 1 if k in (0, bins - 1) else 2
                angle = phase[n, k] + 2 * np.pi * k * t / window
                sample += twice * magnitude[n, k] * np.cos(angle) / window
            total[n * hop + t] += hann[t] * sample
            weights[n * hop + t] += hann[t] ** 2
    cut = (window - hop) // 2
    return (total[cut:-cut] / weights[cut:-cut])[: count * hop]


def test_inverse_stft_is_the_loop():
    magnitude, phase = RNG.random((2, 2, 5, 9))
    found = jax.jit(lambda m, p: inverse_stft(m, p, hop=4))(*jnp.float32([magnitude, phase]))
    expected = [slow_inverse(m, p, 4) for m, p in zip(magnitude, phase, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('hop', [4, 8])
def test_inverse_stft_inverts(hop):
    window, count = 16, 6
    x = RNG.normal(size=count * hop)
    cut = (window - hop) // 2
    padded = np.pad(x, cut)
    hann = np.sin(np.pi * np.arange(window) / window) ** 2
    frames = np.stack([hann * padded[n * hop : n * hop + window] for n in range(count)])
    spectrum = np.fft.rfft(frames)[None]
    found = inverse_stft(jnp.float32(abs(spectrum)), jnp.float32(np.angle(spectrum)), hop=hop)
    np.testing.assert_allclose(found[0], x, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match='hop'):
        inverse_stft(jnp.ones((1, 3, 9)), jnp.ones((1, 3, 9)), hop=16)


def test_decoder_blocks_are_convnext(draw, run):
    """One block, written out, between the same two ends."""
    z = RNG.normal(size=(1, 5, 3)).astype('f')
    module = VocosDecoder(4, width=6, depth=1)
    variables = draw(module, z)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])

    def normed(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return x * p[name]['scale'] + p[name]['bias']

    def dense(x, tree):
        return x @ tree['kernel'] + tree['bias']

    def convolve(x, at):
        padded = np.pad(x, ((3, 3), (0, 0)))
        return np.stack([at(padded[n : n + 7]) for n in range(len(x))])

    embed = lambda rows: np.einsum('kc,kcd->d', rows, p['embed']['kernel']) + p['embed']['bias']
    x = normed(convolve(z[0], embed), 'norm')
    y = normed(convolve(x, lambda rows: (rows * p['block0_conv']).sum(0)), 'block0_norm')
    up = dense(y, p['block0_mlp']['up'])
    gelu = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
    x = x + p['block0_scale'] * dense(gelu, p['block0_mlp']['down'])
    logs, phase = np.split(dense(normed(x, 'norm_out'), p['output']), 2, axis=-1)
    expected = slow_inverse(np.exp(np.minimum(logs, np.log(100))), phase, 4)
    np.testing.assert_allclose(run(module, variables, z)[0], expected, rtol=1e-3, atol=1e-4)


def test_the_published_codec():
    shape = lambda module, *s: (
        jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros(s))[0]).shape
    )
    assert shape(SEANetEncoder(512), 1, 24_000) == (1, 75, 512)
    assert shape(VocosDecoder(320), 1, 75, 512) == (1, 24_000)
    with pytest.raises(ValueError, match='strides'):
        shape(SEANetEncoder(512), 1, 24_001)


@pytest.mark.parametrize('layers', [0, 1])
def test_encoder_tokens_come_in_the_order_of_time(layers, draw, run):
    module = SEANetEncoder(3, strides=(2, 4), width=2, layers=layers)
    x = RNG.normal(size=(2, 128)).astype('f')
    variables = draw(module, x)
    z = run(module, variables, x)
    assert z.shape == (2, 16, 3)
    late = x.copy()
    late[:, 120:] += 1
    changed = abs(run(module, variables, late) - z).max((0, 2))
    assert changed[-1] > 1e-3
    assert changed[:8].max() < 1e-6  # the LSTM too reads forward only


def test_decoder_tokens_sound_in_the_order_of_time(draw, run):
    module = VocosDecoder(8, width=6, depth=1)
    z = RNG.normal(size=(2, 24, 4)).astype('f')
    variables = draw(module, z)
    x = run(module, variables, z)
    assert x.shape == (2, 192)
    late = z.copy()
    late[:, -1] += 1
    changed = abs(run(module, variables, late) - x).reshape(2, 24, 8).max((0, 2))
    assert changed[-1] > 1e-4
    assert changed[:12].max() < 1e-6


@pytest.mark.parametrize('scale', [0.0, 1e4])
def test_finite_gradients(scale, draw):
    for module, shape in ((SEANetEncoder(3, strides=(4,), width=2, layers=1), (1, 16)),
                          (VocosDecoder(4, width=6, depth=1), (1, 5, 3))):  # fmt: skip
        x = jnp.float32(scale * RNG.normal(size=shape))
        variables = draw(module, x)
        total = lambda v, x: module.apply(v, x).sum()
        slopes = jax.grad(total, (0, 1))(variables, x)
        assert all(np.isfinite(s).all() for s in jax.tree.leaves(slopes))
