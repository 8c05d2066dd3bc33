"""Speech networks: loops of their own parts, what padding and masks may not tell, and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from jssl import models

RNG = np.random.default_rng(0)
WAVES = models.WaveFeatures((4, 6), kernels=(5, 3), strides=(3, 2))
ENCODER = models.SpeechEncoder(8, 1, 2, kernel=4, groups=2)


def test_positions_are_the_loop(draw, run):
    x = RNG.normal(size=(1, 7, 6)).astype('f')
    module = models.ConvPositions(4, 3)
    variables = draw(module, x)
    p = variables['params']
    w = np.float64(p['direction'])
    for k in range(4):
        w[k] *= p['length'][k] / np.sqrt((w[k] ** 2).sum())
    wanted = np.zeros((7, 6))
    for t, o, k in np.ndindex(7, 6, 4):
        if 0 <= t + k - 2 < 7:
            group = 2 * (o // 2)
            wanted[t, o] += x[0, t + k - 2, group : group + 2] @ w[k, :, o]
    wanted += p['bias']
    wanted = wanted * (1 + erf(wanted / np.sqrt(2))) / 2
    np.testing.assert_allclose(run(module, variables, x)[0], wanted, rtol=1e-4, atol=1e-5)


def test_what_is_beyond_the_end_of_a_wave_is_not_heard(draw, run):
    x = np.repeat(RNG.normal(size=(1, 40)).astype('f'), 3, 0)
    x[1, 21:] += 1
    module = models.WaveEncoder(WAVES.clone(norm='layer'), ENCODER)
    lengths = jnp.array([21, 21, 40])
    c = run(module, draw(module, x), x, lengths=lengths)
    valid = WAVES.valid(lengths, 5)  # 40 -> 12 -> 5, 21 -> 6 -> 2
    np.testing.assert_array_equal(valid, [[1, 1, 0, 0, 0]] * 2 + [[1] * 5])
    np.testing.assert_allclose(c[1, :2], c[0, :2], atol=1e-6)
    assert abs(c[2] - c[0])[:2].max() > 1e-3


def test_loudness_is_lost_over_time(draw, run):
    x = 10 * RNG.normal(size=(1, 40)).astype('f')
    part = np.where(np.arange(40) < 20, 5, 1).astype('f')
    rows = np.concatenate([x, 5 * x, part * x])
    heard, louder, partly = run(WAVES, draw(WAVES, x), rows)
    np.testing.assert_allclose(louder, heard, atol=1e-3)
    assert abs(partly - heard).max() > 0.1


def test_hidden_frames_are_not_read(draw, run):
    """A row, the same with other frames behind its mask, and both without a mask."""
    mask = np.zeros((4, 9), 'f')
    mask[:2, 3:6] = 1
    frames = np.repeat(RNG.normal(size=(1, 9, 3)).astype('f'), 4, 0)
    frames[1::2, 3:6] += 1
    module = models.HuBERT(ENCODER, models.UnitHead(5, 4))
    variables = draw(module, frames)
    c, taps = run(module, variables, frames, mask=mask, taps=True, method='encode')
    np.testing.assert_allclose(c[1], c[0], atol=1e-6)
    assert abs(c[3] - c[2]).max() > 0.1
    assert [tap.shape for tap in taps] == [(4, 9, 8)]

    p = variables['params']['head']
    z = c @ p['project']['kernel'] + p['project']['bias']
    unit = lambda a: a / np.linalg.norm(a, axis=-1, keepdims=True)
    logits = run(module, variables, frames, mask=mask)
    np.testing.assert_allclose(logits, unit(z) @ unit(p['units']).T / 0.1, rtol=1e-3, atol=1e-3)


def test_codes_are_those_of_the_likeliest_entries_and_draws_follow_the_odds(draw, run):
    z = RNG.normal(size=(1, 3)).astype('f')
    module = models.GumbelQuantiser(2, 3, 4)
    variables = draw(module, z)
    p = variables['params']
    logits = (z @ p['scores']['kernel'] + p['scores']['bias'])[0].reshape(2, 3)
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    coded = run(module, variables, z)
    np.testing.assert_allclose(coded.probabilities[0], odds, rtol=1e-5)
    np.testing.assert_array_equal(coded.indices[0], odds.argmax(1))
    wanted = np.concatenate([p['codes'][g, odds[g].argmax()] for g in range(2)])
    np.testing.assert_allclose(coded.q[0], wanted, rtol=1e-6)

    rows = jnp.tile(z, (4000, 1))

    def total(z):
        options = {'temperature': 0.5, 'train': True, 'rngs': {'gumbel': jax.random.key(0)}}
        coded = module.apply(variables, z, **options)
        return coded.q.sum(), coded

    slope, drawn = jax.jit(jax.grad(total, has_aux=True))(rows)
    shares = np.stack([np.bincount(drawn.indices[:, g], minlength=3) for g in range(2)]) / 4000
    np.testing.assert_allclose(shares, odds, atol=0.03)
    taken = np.stack([p['codes'][g][drawn.indices[:, g]] for g in range(2)], 1).reshape(4000, 4)
    np.testing.assert_allclose(drawn.q, taken, atol=1e-5)
    assert abs(slope).max() > 1e-3  # straight through


def test_wav2vec2_hides_from_the_context_and_not_from_the_codes(draw, run):
    x = RNG.normal(size=(1, 40)).astype('f')
    module = models.Wav2Vec2(WAVES, ENCODER, models.GumbelQuantiser(2, 3, 4), 5)
    mask = jnp.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 0]])
    c, coded = run(module, draw(module, x), np.repeat(x, 2, 0), mask=mask)
    assert c.shape == coded.q.shape == (2, 5, 5)
    assert abs(c[1] - c[0]).max() > 1e-3
    np.testing.assert_allclose(coded.q[1], coded.q[0], atol=1e-6)
    np.testing.assert_array_equal(coded.indices[1], coded.indices[0])


def test_a_published_feature_comes_every_320_samples():
    module, x = models.WaveFeatures(), jax.ShapeDtypeStruct((1, 16_000), 'float32')
    features, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), x)
    assert features.shape == (1, 49, 512)
    assert module.valid(jnp.array([399, 400, 16_000]), 49).sum(1).tolist() == [0, 1, 49]


def test_impossible_groups_are_refused(draw):
    with pytest.raises(ValueError, match='groups 4'):
        draw(models.ConvPositions(4, 4), jnp.zeros((1, 5, 6)))
