"""Utterances: what is heard is what is written, at the pitch and by the voice that it says."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import utterances
from jssl.errors import Refusal

HOP = utterances.HOP


@pytest.fixture(scope='module')
def spoken():
    return utterances.dataset(count=24)


@pytest.fixture(scope='module')
def sentences():
    return utterances.dataset(count=30, kind='sentence', seconds=4.0)


def test_utterances_depend_on_seed_split_and_index_alone(spoken):
    few = utterances.dataset(count=3)
    for name in spoken:
        np.testing.assert_array_equal(few[name], spoken[name][:3])
    assert utterances.source(count=10**6)[2]['text'] == few['text'][2]
    for other in ({'split': 'test'}, {'seed': 1}):
        assert (utterances.dataset(count=3, **other)['wave'] != few['wave']).any(1).all()


@pytest.mark.parametrize('kind', utterances.KINDS)
def test_phones_by_frame_and_in_order_are_those_of_the_words(kind):
    found = utterances.dataset(count=6, kind=kind, seconds=2.0)
    for i in range(6):
        sequence, end = (found[name][i] for name in ('sequence', 'end'))
        sequence, end = sequence[sequence >= 0], end[sequence >= 0]
        assert (np.diff(end) > 0).all()
        assert end[-1] == found['length'][i] <= 16000
        phone = found['phone'][i, : end[-1] // HOP]
        np.testing.assert_array_equal(phone, np.repeat(sequence, np.diff(end, prepend=0) // HOP))
        said = found['text'][i].replace('(', '').replace(')', '').split()
        spelt = said if kind == 'song' else [utterances.WORDS[word] for word in said]
        written = ''.join(utterances.NAMES[p] for p in sequence).replace('_', '')
        assert written == ''.join(spelt)
        if kind != 'song':
            assert [utterances.SPELT[w] for w in found['word'][i] if w >= 0] == said
        for w, word in enumerate(spelt):
            inside = phone[found['spoken'][i, : len(phone)] == w]
            heard = [utterances.NAMES[p] for p in inside[np.diff(inside, prepend=-1) != 0]]
            assert ''.join(heard) == word  # no word has a phone twice in a row


@pytest.mark.parametrize('kind', ['words', 'song'])
def test_the_pitch_is_the_period_of_the_wave(kind):
    found = utterances.dataset(count=8, kind=kind, seconds=2.0)
    errors = []
    for wave, phone, pitch in zip(found['wave'], found['phone'], found['pitch'], strict=True):
        vowel = np.isin(phone, [utterances.NAMES.index(v) for v in 'aeo'])
        for t in range(3, len(phone) - 3):
            if not vowel[t - 2 : t + 3].all():
                continue
            piece = wave[(t - 2) * HOP : (t + 3) * HOP] * np.hanning(5 * HOP)
            # The spectrum's comb: power at multiples of the pitch against that half way between.
            power = abs(np.fft.rfft(piece, 8192)) ** 2
            at = lambda f: power[np.round(f * np.arange(1, 6) * 8192 / 8000).astype(int)].sum()
            errors.append(at(0.93 * pitch[t]) > at(pitch[t]) or at(1.07 * pitch[t]) > at(pitch[t]))
    assert len(errors) > 40
    assert np.mean(errors) < 0.1


@pytest.mark.parametrize('vowel', utterances.VOWELS)
def test_vowels_resonate_at_their_formants(vowel):
    random, frames = np.random.default_rng(0), 40
    voice = utterances.Speaker(1.1, 100.0, 0.0, 0.0, 0.0, 1.0)
    phone = np.full(frames, utterances.NAMES.index(vowel))
    wave = utterances.synthesise(random, phone, np.full(frames, 100.0), np.ones(frames), voice)
    power = abs(np.fft.rfft(wave[800:] * np.hanning(2400), 8000)) ** 2  # a bin is one hertz
    found, slow = [], []
    for hertz in range(100, 3800, 100):
        gain = 1.0
        for formant, width in zip(utterances.PHONES[vowel][:3], (60, 90, 120), strict=True):
            pole = 1.1 * formant
            gain *= pole**2 / abs(pole**2 - hertz**2 + 1j * width * hertz)
        slow.append(20 * np.log10(gain))
        found.append(10 * np.log10(power[hertz]))
    np.testing.assert_allclose(found - np.mean(found), slow - np.mean(slow), atol=1.0)


def test_pauses_and_stops_are_silent_and_nothing_else_is(spoken):
    level = np.sqrt(np.square(spoken['wave'].reshape(24, -1, HOP)).mean(2))
    silent = spoken['phone'] == 0
    inside = silent.copy()  # silence whose neighbours are silent too
    for shift in (1, 2, 3, -1, -2, -3):
        inside &= np.roll(silent, shift, 1)
    loud = np.isin(spoken['phone'], [utterances.NAMES.index(p) for p in 'aeiou'])
    assert level[inside].max() < 0.02 * np.median(level[loud])
    assert (level[loud] > 0.1 * np.median(level[loud])).mean() > 0.97
    assert (spoken['pitch'][loud] > 60).all()
    assert not spoken['pitch'][silent].any()
    assert abs(spoken['wave']).max() <= 1


def test_sentences_break_at_brackets_and_end_as_they_mean(sentences):
    assert set(sentences['contour']) == {0, 1, 2}
    np.testing.assert_array_equal(sentences['label'], sentences['contour'])
    for i in range(30):
        words = sentences['text'][i].split()
        pause = sentences['pause'][i][: len(words)]
        if particle := (None, 'ka', 'ni')[sentences['contour'][i]]:
            assert words.pop() == particle
        closed = [word.endswith(')') for word in words[:-1]]
        np.testing.assert_array_equal(pause[: len(closed)] > 0, closed)
        assert not pause[len(closed) :].any()
        voiced = sentences['pitch'][i][sentences['pitch'][i] > 0]
        before, middle, final = voiced[-24:-20].mean(), voiced[-14:-10].mean(), voiced[-3:].mean()
        if sentences['contour'][i] == 1:
            assert final > middle
        elif sentences['contour'][i] == 0:
            assert final < before
        else:
            assert final > voiced[-20:-6].min()
    pauses = sentences['pause'][sentences['pause'] > 0]
    assert ((pauses > 0.24) | (pauses < 0.18)).all()
    assert len(set(pauses > 0.2)) == 2


def test_commands_are_their_slots():
    found = utterances.dataset(count=60, kind='command')
    for text, slot, intent in zip(found['text'], found['slot'], found['intent'], strict=True):
        names = (utterances.ACTIONS, utterances.OBJECTS, utterances.PLACES)
        assert text.split()[-3:] == [row[i] for row, i in zip(names, slot, strict=True)]
        assert intent == slot[0] * 4 + slot[1] * 2 + slot[2]
    assert len(set(found['intent'])) == utterances.INTENTS == 12


def test_songs_keep_to_their_range_and_scale():
    found = utterances.dataset(count=12, kind='song', seconds=3.0, notes=(-3, 9))
    for i in range(12):
        own = utterances.speaker(0, int(found['speaker'][i])).pitch
        steps = 12 * np.log2(found['note'][i][found['note'][i] > 0] / own)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
        assert steps.min() > -3.01
        assert steps.max() < 9.01
        assert set(np.round(steps).astype(int) % 12) <= set(utterances._SCALE)
        for w, note in enumerate(found['note'][i][found['note'][i] > 0]):
            held = found['pitch'][i][found['spoken'][i] == w]
            assert abs(np.log2(np.median(held) / note)) < 0.02


def test_arousal_lifts_the_voice_and_new_voices_are_new():
    calm, eager = (utterances.dataset(count=12, arousal=(a, a)) for a in (-1.0, 1.0))
    mean = lambda d: np.array([np.mean(p[p > 0]) for p in d['pitch']])
    assert (mean(eager) > 1.2 * mean(calm)).all()
    assert (eager['length'] <= calm['length']).all()
    new = utterances.dataset(count=12, speakers=(6, 7))
    assert set(new['speaker']) == {6, 7}
    np.testing.assert_array_equal(new['label'], new['speaker'])
    tracts = [utterances.speaker(0, i).tract for i in range(20)]
    assert len(set(tracts)) == 20
    assert max(tracts) / min(tracts) > 1.2


def test_noise_has_its_level_and_spoilt_ones_are_marked():
    clean, noisy = (utterances.dataset(count=5, snr=snr) for snr in (None, (10.0, 10.0)))
    np.testing.assert_array_equal(clean['phone'], noisy['phone'])
    ratio = np.square(clean['wave']).sum(1) / np.square(noisy['wave'] - clean['wave']).sum(1)
    np.testing.assert_allclose(10 * np.log10(ratio), 10, atol=0.5)
    found = utterances.dataset(count=40, spoilt=0.8)
    assert set(found['spoilt']) == set(range(5))
    np.testing.assert_allclose((found['spoilt'] > 0).mean(), 0.8, atol=0.2)
    assert ((found['word'] >= 0).sum(1)[found['spoilt'] == 1] == 1).all()
    assert np.isfinite(found['wave']).all()
    assert abs(found['wave']).max() <= 1


def test_keywords_are_in_the_spectrum_and_not_in_the_samples():
    """The phones tell the word to who reads them; a line on the wave does not."""
    words = ('up', 'down', 'left', 'right')
    knobs = {'kind': 'keyword', 'vocabulary': words, 'seconds': 0.8, 'speakers': (0, 1)}
    train, test = (utterances.dataset(split, count=80, **knobs) for split in ('train', 'test'))
    table = {utterances.WORDS[w]: utterances.SPELT.index(w) for w in words}
    for sequence, label in zip(test['sequence'], test['label'], strict=True):
        assert table[''.join(utterances.NAMES[p] for p in sequence if p > 0)] == label

    def spectrum(d):
        pieces = d['wave'].reshape(len(d['wave']), 8, -1)
        bands = abs(np.fft.rfft(pieces)).reshape(len(pieces), 8, -1)[..., :400]
        return np.log(1e-3 + bands.reshape(len(pieces), 8, 20, 20).mean(3)).reshape(len(pieces), -1)

    fit = lambda f: LogisticRegression(max_iter=200).fit(f(train), train['label'])
    raw = lambda d: d['wave'][:, ::2]
    assert fit(spectrum).score(spectrum(test), test['label']) > 0.9
    assert fit(raw).score(raw(test), test['label']) < 0.6


def test_kinds_that_are_not_known_are_refused():
    with pytest.raises(Refusal, match='choose'):
        utterances.dataset(count=1, kind='sigh')
