"""PatchGAN: its map, what a logit sees, its norms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.models.discriminator import PatchDiscriminator

X = np.random.default_rng(0).normal(size=(2, 32, 24, 3)).astype('f')


def test_the_published_network():
    shapes = jax.eval_shape(
        PatchDiscriminator().init, jax.random.key(0), jnp.zeros((1, 256, 256, 3))
    )
    # pix2pix's counts 2 768 705, with six channels of input in place of three.
    assert sum(x.size for x in jax.tree.leaves(shapes['params'])) == 2_768_705 - 4 * 4 * 3 * 64
    made = jax.eval_shape(
        lambda v, x: PatchDiscriminator().apply(v, x), shapes, jnp.zeros((1, 256, 256, 3))
    )
    assert made.shape == (1, 30, 30)


def test_a_logit_sees_70_by_70_pixels():
    module, x = PatchDiscriminator(4, norm=None), jnp.zeros((1, 128, 128, 1))
    variables = module.init(jax.random.key(0), x)
    seen = jax.grad(lambda x: module.apply(variables, x)[0, 7, 7])(x + 0.1)[0, :, :, 0]
    rows, columns = np.nonzero(np.asarray(seen))
    assert rows.max() - rows.min() + 1 == 70
    assert columns.max() - columns.min() + 1 == 70


def convolve(x, kernel, stride):
    """4 x 4 convolution of [H, W, C] with a border of one zero."""
    x = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    height, width = ((n - 4) // stride + 1 for n in x.shape[:2])
    out = np.zeros((height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            patch = x[i * stride : i * stride + 4, j * stride : j * stride + 4]
            out[i, j] = np.einsum('hwc,hwcd->d', patch, kernel)
    return out


def test_against_a_loop(draw, run):
    module = PatchDiscriminator(2, layers=1, norm=None)
    variables = draw(module, X)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])
    expected = []
    for x in X.astype(np.float64):
        for name, stride in (('conv0', 2), ('conv1', 1)):
            x = convolve(x, p[name]['kernel'], stride) + p[name]['bias']
            x = np.where(x > 0, x, 0.2 * x)
        expected.append((convolve(x, p['output']['kernel'], 1) + p['output']['bias'])[..., 0])
    np.testing.assert_allclose(run(module, variables, X), expected, rtol=1e-4, atol=1e-5)


def test_norms_and_refusal():
    module = PatchDiscriminator(4, layers=2)
    variables = module.init(jax.random.key(0), X, train=True)
    assert set(variables) == {'params', 'batch_stats'}
    _, moved = module.apply(variables, X, train=True, mutable=['batch_stats'])
    assert moved['batch_stats']['norm1']['mean'].any()
    assert set(PatchDiscriminator(4, norm='group').init(jax.random.key(0), X)) == {'params'}
    with pytest.raises(ValueError, match='too small'):
        module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
