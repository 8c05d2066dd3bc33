"""A sparse autoencoder against its formula, and what stays as it is while it trains."""

import jax
import numpy as np

from jssl import models

RNG = np.random.default_rng(0)


def test_codes_and_reconstructions_are_those_of_the_formula():
    model = models.SparseAutoencoder(5, 7)
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    params = model.init(jax.random.key(0), x)['params']
    rows = np.asarray(params['directions'], np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(params['encoder'], unit.T, rtol=1e-5)

    params |= {'bias': RNG.normal(size=7).astype(np.float32), 'directions': 3 * rows}
    params |= {'center': RNG.normal(size=5).astype(np.float32)}
    apply = lambda *args, **kwargs: model.apply({'params': params}, *args, **kwargs)
    z = np.maximum((x - params['center']) @ unit.T + params['bias'], 0)
    np.testing.assert_allclose(apply(x, method='encode'), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(apply(x), z @ unit + params['center'], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(apply(z, method='combine'), z @ unit, rtol=1e-4, atol=1e-5)
