"""Conv-2 and VGG-19 have the paper's sizes; a small one against NumPy; what dropout drops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ('module', 'features', 'count'),
    [
        (models.conv2(), 256, 4_299_072),  # with the last layer 4.3 million (figure 2)
        (models.conv4(), 256, 2_423_360),  # 2.4 million
        (models.conv6(), 256, 2_260_032),
        (models.vgg19(), 512, 20_029_888),  # 20.0 million
        (models.StagedNet((), hidden=(300, 100), scale=0.1), 10, 3072 * 30 + 30 + 310),
    ],
)
def test_paper_sizes(module, features, count):
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), x)
    assert out.shape == (2, features)
    assert sum(p.size for p in jax.tree.leaves(variables['params'])) == count


def test_against_numpy(draw, run):
    x = RNG.normal(size=(2, 4, 4, 2)).astype('f')
    module = models.StagedNet(((3,),), hidden=(5,))
    variables = draw(module, x)
    conv, dense = (jax.tree.map(np.float64, variables['params'][n]) for n in ('conv0_0', 'dense0'))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h = np.empty((2, 4, 4, 3))
    for b, r, c in np.ndindex(2, 4, 4):
        h[b, r, c] = np.einsum('uvi,uvio->o', padded[b, r : r + 3, c : c + 3], conv['kernel'])
    h = np.maximum(h + conv['bias'], 0)
    pooled = np.empty((2, 2, 2, 3))
    for r, c in np.ndindex(2, 2):
        pooled[:, r, c] = h[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].max((1, 2))
    want = np.maximum(pooled.reshape(2, -1) @ dense['kernel'] + dense['bias'], 0)
    np.testing.assert_allclose(run(module, variables, x), want, rtol=1e-4, atol=1e-5)


def test_dropout_drops_a_share_and_keeps_the_mean(draw):
    x = np.ones((64, 2, 2, 1), 'f')
    module = models.StagedNet((), hidden=(50,))
    variables = draw(module, x)
    h = module.apply(variables, x)
    rngs = {'dropout': jax.random.key(1)}
    dropped = module.apply(variables, x, dropout=jnp.float32(0.25), rngs=rngs)
    alive = h[0] > 0
    kept = dropped[:, alive] > 0
    assert abs(kept.mean() - 0.75) < 0.03
    np.testing.assert_allclose(dropped[:, alive][kept], (h / 0.75)[:, alive][kept], rtol=1e-5)
    np.testing.assert_array_equal(module.apply(variables, x, dropout=0.0, rngs=rngs), h)
