"""The recipe at toy size: units, what is hidden, and the round before."""

import dataclasses

import jax
import numpy as np
import pytest

from jssl import train
from jssl.data.generated import utterances
from jssl.zoo import recipes, tiny_speech

RECIPE = dataclasses.replace(
    tiny_speech.Recipe(), round=1, count=12, units=5, width=32, depth=2, layer=1, steps=3, batch=4
)


@pytest.fixture(scope='module')
def trained():
    init, step = tiny_speech.build(RECIPE)
    stream = tiny_speech.batches(RECIPE)
    state, _ = train.fit(step, init, stream, steps=3, progress=False)
    return tiny_speech.variables(RECIPE, state)


def test_frames_are_those_of_the_phones():
    drawn = utterances.dataset('train', count=2)
    x = np.asarray(tiny_speech.frames(drawn['wave']))
    assert x.shape == (2, 75, 80)
    loud = x.mean(-1)
    for row, length in zip(loud, drawn['length'], strict=True):
        assert row[: length // 160 - 1].mean() > row[length // 160 + 1 :].mean() + 0.3


def test_units_are_the_nearest_centres(trained):
    x = tiny_speech.load(RECIPE, 'train')['frames'][:3]
    h = jax.jit(lambda v, x: tiny_speech.features(RECIPE, v, x))(trained, x)
    unit = jax.jit(lambda v, x: tiny_speech.units(RECIPE, v, x))(trained, x)
    d = np.square(np.asarray(h)[:, :, None] - np.asarray(trained['units'])).sum(-1)
    assert h.shape == (3, 75, 32)
    np.testing.assert_array_equal(unit, d.argmin(-1))
    assert len(np.unique(unit)) > 1


def test_the_first_units_know_their_neighbours():
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype('f')
    found = tiny_speech._windows(x)
    for b, t in np.ndindex(2, 6):
        wanted = [x[b, min(max(t + i, 0), 5)] for i in range(-2, 3)]
        np.testing.assert_array_equal(found[b, t], np.concatenate(wanted))


def test_noise_is_as_loud_as_is_drawn():
    wave = np.sin(np.arange(12_000) * [[0.1], [0.7], [1.3]]).astype('f') / 10
    loud = tiny_speech._noisy(jax.random.key(0), wave, (6.0, 6.0)) - wave
    decibels = 10 * np.log10(np.square(wave).mean(1) / np.square(loud).mean(1))
    np.testing.assert_allclose(decibels, 6, atol=0.2)
    waves = [tiny_speech.load(RECIPE, split)['wave'][:12] for split in ('train', 'test')]
    faintest = [np.sort(np.abs(w), 1)[:, 600].mean() for w in waves]
    assert faintest[0] < faintest[1] / 2


def test_the_second_round_learns_the_units_of_the_first(trained, monkeypatch):
    asked = []

    def get(name, **fields):
        asked.append((name, tiny_speech.Recipe(**fields)))
        return recipes.Model(name, RECIPE, tiny_speech.network(RECIPE), trained, {}, 0, 0.0)

    monkeypatch.setattr(recipes, 'get', get)
    stream = tiny_speech.batches(dataclasses.replace(RECIPE, round=2))
    assert asked == [('tiny_speech', RECIPE)]
    x = tiny_speech.load(RECIPE, 'train')['frames'][:3]
    unit = tiny_speech.units(RECIPE, trained, x)
    np.testing.assert_array_equal(stream.source['unit'][:3], unit)


def test_what_is_measured(trained):
    found = tiny_speech.measure(RECIPE, trained)
    assert set(tiny_speech.NEEDS) < set(found)
    assert all(np.isfinite(value) for value in found.values())
    assert found['phone_gain'] < found['phone'] < 1
