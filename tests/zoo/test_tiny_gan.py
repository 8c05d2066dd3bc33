"""The recipe at toy size: it trains, averages the generator alone, and is measured."""

import dataclasses
import functools

import jax
import numpy as np

from jssl import train
from jssl.zoo import judging, tiny_gan

TOY = dataclasses.replace(
    tiny_gan.Recipe(), data='digits', options=(), width=8, patch=2, steps=2, batch=4
)


def test_it_trains_draws_inverts_and_is_measured(monkeypatch):
    pixels = lambda recipe, images, method=None: np.float32(images).reshape(len(images), -1)
    monkeypatch.setattr(judging, 'seen', pixels)
    init, step = tiny_gan.build(TOY)
    state, history = train.fit(
        step, init, tiny_gan.batches(TOY), steps=2, key=0, every=1, progress=False
    )
    assert np.isfinite([*history.values()]).all()
    variables = tiny_gan.variables(TOY, state)
    for name, kept in variables['params'].items():
        averaged = name in ('mapping', 'synthesis')
        want = (state.average if averaged else state.params)[name]
        jax.tree.map(np.testing.assert_array_equal, kept, want)
    found = tiny_gan.measure(TOY, variables)
    assert set(found) == set(tiny_gan.NEEDS)
    assert np.isfinite(list(found.values())).all()

    for function, given, shape in (
        (tiny_gan.draw, (3, 8), (3, 8, 8, 1)),
        (tiny_gan.synthesise, (3, 4, 8), (3, 8, 8, 1)),
        (tiny_gan.invert, (3, 8, 8, 1), (3, 8)),
    ):
        made = functools.partial(function, TOY)
        assert jax.eval_shape(made, variables, np.zeros(given, 'f')).shape == shape
