"""Modulation against a slow loop over examples' own kernels; what styles and sizes do."""

import jax
import numpy as np

from jssl import models

RNG = np.random.default_rng(0)
SYNTHESIS = models.StyleSynthesis((6, 4), 3, 2, patch=2, convs=2)


def test_modulation_is_a_kernel_for_each_example(draw, run):
    x, w = RNG.normal(size=(2, 3, 4, 5)).astype('f'), RNG.normal(size=(2, 7)).astype('f')
    module = models.ModulatedConv(6)
    variables = draw(module, x, w)
    p = jax.tree.map(np.float64, variables['params'])
    want = np.zeros((2, 3, 4, 6))
    for b in range(2):
        s = w[b] @ p['style']['kernel'] + p['style']['bias']
        kernel = p['kernel'] * s[:, None]
        kernel /= np.sqrt(np.square(kernel).sum((0, 1, 2)) + 1e-8)
        padded = np.pad(x[b], ((1, 1), (1, 1), (0, 0)))
        for i in range(3):
            for j in range(4):
                window = padded[i : i + 3, j : j + 3]
                want[b, i, j] = np.einsum('uvi,uvio->o', window, kernel) + p['bias']
    np.testing.assert_allclose(run(module, variables, x, w), want, rtol=1e-4, atol=1e-4)


def test_every_layer_has_a_style(draw):
    w = RNG.normal(size=(2, 5)).astype('f')
    assert SYNTHESIS.layers == 6
    variables = draw(SYNTHESIS, w)
    apply = jax.jit(lambda w: SYNTHESIS.apply(variables, w, taps=True))
    styles = np.repeat(w[:, None], 6, axis=1)
    image, maps = apply(w)
    assert image.shape == (2, 12, 12, 2)
    assert [tap.shape[1:] for tap in maps] == [(3, 3, 6)] * 2 + [(6, 6, 4)] * 2
    np.testing.assert_allclose(apply(styles)[0], image, atol=1e-5)
    for layer in range(6):
        other = styles.copy()
        other[:, layer] *= -1
        assert np.abs(apply(other)[0] - image).max((1, 2, 3)).min() > 1e-3
    late = styles.copy()
    late[:, 3:] = 0
    for tap, same in zip(apply(late)[1][:2], maps[:2], strict=True):
        np.testing.assert_array_equal(tap, same)


def test_mapping_forgets_the_length_of_z(draw):
    z = RNG.normal(size=(3, 4)).astype('f')
    module = models.StyleMapping(5, 2)
    variables = draw(module, z)
    apply = jax.jit(module.apply)
    w = apply(variables, z)
    assert w.shape == (3, 5)
    np.testing.assert_allclose(apply(variables, 7 * z), w, rtol=1e-4)
    assert np.isfinite(apply(variables, 0 * z)).all()


def test_trunk_sees_every_pixel_and_no_other_example(draw):
    x = RNG.normal(size=(2, 8, 8, 3)).astype('f')
    module = models.StyleTrunk((4, 6), 5, patch=2)
    variables = draw(module, x)
    slopes = jax.jit(jax.jacobian(lambda x: module.apply(variables, x).sum(1)))(x)
    assert (np.abs(slopes[0, 0]).max(-1) > 0).all()
    np.testing.assert_array_equal(slopes[0, 1], 0)
