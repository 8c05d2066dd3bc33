"""The recipe at toy size: it trains, its codes have unit variance, and it is measured."""

import dataclasses

import jax
import numpy as np

from jssl import train
from jssl.zoo import tiny_vae

TOY = dataclasses.replace(
    tiny_vae.Recipe(), data='digits', options=(), width=32, depth=1, steps=30, batch=8
)


def test_codes_are_scaled_and_rebuild_images():
    init, step = tiny_vae.build(TOY)
    state, history = train.fit(
        step, init, tiny_vae.batches(TOY), steps=30, key=0, every=1, progress=False
    )
    assert history['error'][-5:].mean() < 0.8 * history['error'][:5].mean()
    variables = tiny_vae.variables(TOY, state)
    images = tiny_vae.load(TOY, 'test')['image'][:64].astype('f') / 255

    @jax.jit
    def both(variables):
        codes = tiny_vae.encode(TOY, variables, images)
        return codes, tiny_vae.decode(TOY, variables, codes)

    codes, rebuilt = both(variables)
    assert codes.shape == (64, 2, 2, 8)
    assert rebuilt.shape == images.shape
    assert 0 <= rebuilt.min() < rebuilt.max() <= 1
    error = np.square(rebuilt - images).mean((1, 2, 3))
    # the scale is of no consequence but for the codes
    doubled, same = both(variables | {'spread': 2 * variables['spread']})
    np.testing.assert_allclose(2 * doubled, codes, rtol=1e-5)
    np.testing.assert_allclose(same, rebuilt, atol=1e-5)
    found = tiny_vae.measure(TOY, variables)
    assert set(found) == set(tiny_vae.NEEDS)
    assert abs(found['psnr'] - np.mean(-10 * np.log10(error))) < 1.0
