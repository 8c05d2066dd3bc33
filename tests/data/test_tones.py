"""Tones: their pitch can be heard, their splits differ, their items stay."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from jssl.data import tones


@pytest.fixture(scope='module')
def columns():
    return tones.dataset('train', count=60)


def test_columns_are_those_of_the_spec(columns):
    for name, shape in tones.spec(60).items():
        assert columns[name].shape == shape.shape
        assert columns[name].dtype == shape.dtype
        assert not columns[name].flags.writeable
    assert set(columns) == set(tones.spec(60))
    assert abs(columns['sound']).max() <= 1
    assert (abs(columns['sound']).max(1) > 0.2).all()
    assert set(columns['label']) == {0, 1, 2, 3}
    assert ((columns['pitch'] >= 80) & (columns['pitch'] <= 640)).all()


def test_the_pitch_is_the_spacing_of_partials(columns):
    sound, pitch = columns['sound'].astype(np.float64), columns['pitch']
    power = abs(np.fft.rfft(sound * np.hanning(4096))) ** 2
    frequencies = np.fft.rfftfreq(4096, 1 / 8000)
    for row, f in zip(power, pitch, strict=True):
        partials = f * np.arange(1, 13)
        # Vibrato sways by one per cent, and a window of half a second blurs by some hertz.
        near = abs(frequencies[:, None] - partials) < 6 + 0.012 * partials
        assert row[near.any(1)].sum() > 0.95 * row.sum()


def partials(sound, pitch, numbers):
    """Amplitudes of partials relative to the first, read where the pitch says they are."""
    power = abs(np.fft.rfft(sound * np.hanning(4096))) ** 2
    frequencies = np.fft.rfftfreq(4096, 1 / 8000)
    band = lambda p: power[abs(frequencies - p * pitch) < 0.02 * p * pitch + 4].sum()
    return [np.sqrt(band(p) / band(1)) for p in numbers]


def test_an_oracle_hears_the_timbre_and_a_line_on_samples_does_not():
    found = tones.dataset('train', count=400)
    guesses = []
    for sound, pitch in zip(found['sound'], found['pitch'], strict=True):
        second, third = partials(sound, pitch, (2, 3))
        bright = third > 3**-1.15  # between slopes of 0.7 and 1.6
        guesses.append(2 * (second < 0.05) + bright)
    assert (np.array(guesses) == found['label']).mean() > 0.99
    line = RidgeClassifier(1.0).fit(found['sound'][:300], found['label'][:300])
    assert line.score(found['sound'][300:], found['label'][300:]) < 0.45  # a quarter by chance


def test_items_do_not_depend_on_the_count(columns):
    few = tones.dataset('train', count=5)
    for name in columns:
        np.testing.assert_array_equal(columns[name][:5], few[name])
    assert (tones.dataset('train', count=5, seed=1)['pitch'] != few['pitch']).all()


def test_splits_are_disjoint_and_known():
    sets = [tones.dataset(split, count=20, length=64)['pitch'] for split in tones.SPLITS]
    assert len(np.unique(np.concatenate(sets))) == 60
    assert len(tones.dataset('test', length=64)['pitch']) == 500
    with pytest.raises(ValueError, match='split'):
        tones.dataset('all')


def test_nothing_sounds_above_half_the_rate():
    low = tones.dataset('test', count=40, length=4096, rate=1300)
    power = abs(np.fft.rfft(low['sound'] * np.hanning(4096))) ** 2
    folded = abs(np.fft.rfftfreq(4096, 1 / 1300)[None] - low['pitch'][:, None]) > 30
    # Of a tone of 500 Hz one partial is left; an alias of the second would lie at 300 Hz.
    high = low['pitch'] > 450
    assert ((power * folded).sum(1) < 0.05 * power.sum(1))[high].all()
