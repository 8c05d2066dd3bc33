"""Encoders and decoders: the published shapes, and what they keep apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.models import vq
from jssl.models.autoencoder import (
    ConvDecoder,
    ConvEncoder,
    KLAutoencoder,
    PatchDecoder,
    PatchEncoder,
    ShapedMLP,
    Tokeniser,
    codebook_motion,
)

RNG = np.random.default_rng(0)


def test_the_published_encoder_and_decoder():
    x = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
    widths = (128, 256, 256, 512)
    made = lambda module, x: jax.eval_shape(module.init_with_output, jax.random.key(0), x)
    z, variables = made(ConvEncoder(widths, 128), x)
    assert z.shape == (1, 16, 16, 128)
    blocks = [name for name in variables['params'] if 'block' in name]
    assert len(blocks) == 2 * (4 + 1)  # two at each of four levels, and in the middle
    y, variables = made(ConvDecoder(widths, 3), z)
    assert y.shape == x.shape
    assert len([name for name in variables['params'] if 'block' in name]) == 10


@pytest.mark.parametrize(
    ('module', 'shape', 'out'),
    [
        (ConvEncoder((4, 6), 5, blocks=1), (8, 4, 2), (4, 2, 5)),
        (ConvDecoder((4, 6), 2, blocks=1), (4, 2, 5), (8, 4, 2)),
        (ShapedMLP((7,), (2, 2, 3)), (4, 4, 1), (2, 2, 3)),
        (PatchEncoder(2, 8, 1, 2, 5), (4, 6, 1), (2, 3, 5)),
        (PatchDecoder(2, 8, 1, 2, 3), (2, 3, 5), (4, 6, 3)),
    ],
    ids=lambda a: type(a).__name__ if not isinstance(a, tuple) else '',
)
def test_rows_do_not_see_each_other(module, shape, out, draw, run):
    x = RNG.normal(size=(3, *shape)).astype('f')
    variables = draw(module, x)
    found = run(module, variables, x)
    assert found.shape == (3, *out)
    np.testing.assert_allclose(run(module, variables, x[::-1])[::-1], found, rtol=1e-4, atol=1e-5)
    changed = run(module, variables, x * np.array([1, 2, 1], 'f').reshape(3, 1, 1, 1))
    assert abs(changed[1] - found[1]).max() > 1e-3
    np.testing.assert_allclose(changed[[0, 2]], found[[0, 2]], rtol=1e-4, atol=1e-5)
    assert run(module.clone(dtype=jnp.bfloat16), variables, x).dtype == jnp.bfloat16


def test_shaped_mlp_is_the_perceptron_of_all_numbers(draw, run):
    x = RNG.normal(size=(3, 2, 5)).astype('f')
    module = ShapedMLP((), (2, 2))
    variables = draw(module, x)
    p = variables['params']['mlp']['dense0']
    expected = (x.reshape(3, 10).astype(np.float64) @ p['kernel'] + p['bias']).reshape(3, 2, 2)
    np.testing.assert_allclose(run(module, variables, x), expected, rtol=1e-4, atol=1e-5)


def test_kl_autoencoder_draws_around_its_mean(draw, run):
    x, noise = RNG.normal(size=(2, 4, 4, 1)).astype('f'), RNG.normal(size=(2, 2, 2, 3)).astype('f')
    module = KLAutoencoder(ShapedMLP((), (2, 2, 6)), ShapedMLP((), (4, 4, 1)))
    variables = draw(module, x)
    p = {part: variables['params'][part]['mlp']['dense0'] for part in ('encoder', 'decoder')}
    dense = lambda part, x: x.reshape(2, -1) @ p[part]['kernel'] + p[part]['bias']
    mean, log_variance = np.split(dense('encoder', x).reshape(2, 2, 2, 6), 2, axis=-1)
    z = mean + np.exp(log_variance / 2) * noise
    want = dense('decoder', z).reshape(x.shape), mean, log_variance
    for found, value in zip(run(module, variables, x, noise), want, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
    plain = run(module, variables, x)[0]
    np.testing.assert_allclose(plain, dense('decoder', mean).reshape(x.shape), rtol=1e-4, atol=1e-5)


def test_tokeniser_is_its_three_parts():
    x = RNG.normal(size=(2, 4, 4, 1)).astype('f')
    coders = ShapedMLP((), (2, 2, 3)), ShapedMLP((), (4, 4, 1))
    module = Tokeniser(coders[0], vq.SimVQ(8, 3), coders[1])
    variables = module.init(jax.random.key(0), x)
    made, found = module.apply(variables, x)
    p = variables['params']
    z = coders[0].apply({'params': p['encoder']}, x)
    codes = module.apply(variables, method='codebook')
    np.testing.assert_array_equal(found.indices, vq.nearest(z, codes))
    expected = coders[1].apply({'params': p['decoder']}, codes[found.indices])
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_codebook_motion_is_the_gradient_of_rows_and_of_the_map():
    """Vanilla: dQ of the chosen rows; SimVQ: C C' dQ plus the bias's share, for all."""
    x = RNG.normal(size=(2, 4, 4, 1)).astype('f')
    coders = ShapedMLP((), (2, 2, 3)), ShapedMLP((), (4, 4, 1))
    for inner in (vq.VectorQuantiser(8, 3, codebook_init=vq.gaussian), vq.SimVQ(8, 3)):
        model = Tokeniser(coders[0], inner, coders[1])
        variables = model.init(jax.random.key(0), x)
        params = variables['params']
        constants = {k: v for k, v in variables.items() if k != 'params'}
        codes, motion, indices = map(np.asarray, codebook_motion(model, params, constants, x))
        z = np.asarray(coders[0].apply({'params': params['encoder']}, x), np.float64)
        slope = np.zeros((8, 3))
        for row, k in zip(z.reshape(-1, 3), indices.ravel(), strict=True):
            slope[k] += 2 / 3 * (codes[k] - row) / indices.size
        if isinstance(inner, vq.SimVQ):
            basis = np.asarray(constants['constants']['quantiser']['basis'], np.float64)
            slope = basis @ (basis.T @ slope) + slope.sum(0)
        np.testing.assert_allclose(motion, slope, rtol=1e-3, atol=1e-6)
