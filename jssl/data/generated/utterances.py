"""Voices that nobody has: speech and song from a source and a filter, with the truth about both.

A voice is a sum of harmonics of a pitch, weighted by the resonances (formants) of a vocal tract,
and of noise in a band; a phone is a row of `PHONES`. Every ten milliseconds the phone, the pitch
and the word are known.
"""

import functools
from typing import NamedTuple

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 600, 'validation': 100, 'test': 200}
LICENCE = 'Apache-2.0'
RATE = 8000
HOP = 80  # samples of a frame: ten milliseconds
KINDS = ('words', 'keyword', 'command', 'sentence', 'song')
CONTOURS = ('fall', 'rise', 'fall_rise')
SPOILT = ('clean', 'silence', 'music', 'babble', 'reverb')

# Three formants in hertz, loudness of the voice and of the noise, the noise's centre and width in
# hertz, and seconds. Stops are silent before they burst. Formants: Peterson and Barney (1952).
PHONES = {
    '_': (500, 1500, 2500, 0.0, 0.00, 1000, 1000, 0.10),
    'a': (730, 1090, 2440, 1.0, 0.00, 1000, 1000, 0.12),
    'e': (530, 1840, 2480, 1.0, 0.00, 1000, 1000, 0.11),
    'i': (270, 2290, 3010, 0.9, 0.00, 1000, 1000, 0.11),
    'o': (570, 840, 2410, 1.0, 0.00, 1000, 1000, 0.12),
    'u': (300, 870, 2240, 0.9, 0.00, 1000, 1000, 0.11),
    'm': (250, 1000, 2200, 0.4, 0.00, 1000, 1000, 0.07),
    'n': (250, 1600, 2600, 0.4, 0.00, 1000, 1000, 0.07),
    'l': (360, 1200, 2700, 0.5, 0.00, 1000, 1000, 0.07),
    'r': (400, 1100, 1600, 0.5, 0.00, 1000, 1000, 0.07),
    's': (300, 1700, 2600, 0.0, 0.30, 3500, 500, 0.10),
    'x': (300, 1800, 2500, 0.0, 0.35, 2300, 500, 0.10),
    'f': (300, 1000, 2300, 0.0, 0.12, 1500, 3000, 0.09),
    'h': (500, 1500, 2500, 0.0, 0.15, 700, 900, 0.06),
    'p': (300, 900, 2200, 0.0, 0.30, 700, 500, 0.08),
    't': (300, 1700, 2600, 0.0, 0.40, 3300, 700, 0.08),
    'k': (300, 2000, 2300, 0.0, 0.40, 1800, 400, 0.08),
    'b': (300, 900, 2200, 0.3, 0.15, 700, 500, 0.07),
    'd': (300, 1700, 2600, 0.3, 0.20, 3300, 700, 0.07),
    'g': (300, 2000, 2300, 0.3, 0.20, 1800, 400, 0.07),
}
NAMES = tuple(PHONES)
VOWELS, STOPS = 'aeiou', 'ptkbdg'
_TABLE = np.array(list(PHONES.values()))

# Spelt in phones: ten digits, ten commands, slots of intents, and others.
WORDS = {
    'zero': 'siro', 'one': 'uan', 'two': 'tu', 'three': 'fri', 'four': 'for', 'five': 'faif',
    'six': 'siks', 'seven': 'sefen', 'eight': 'eit', 'nine': 'nain',
    'yes': 'ies', 'no': 'no', 'up': 'ap', 'down': 'daun', 'left': 'left', 'right': 'rait',
    'on': 'on', 'off': 'of', 'go': 'go', 'halt': 'holt',
    'start': 'start', 'stop': 'stop', 'find': 'faind', 'music': 'musik', 'lamp': 'lamp',
    'kitchen': 'kixen', 'garden': 'garden', 'please': 'plis', 'ka': 'ka', 'ni': 'ni',
}  # fmt: skip
SPELT = tuple(WORDS)
ACTIONS, OBJECTS, PLACES = ('start', 'stop', 'find'), ('music', 'lamp'), ('kitchen', 'garden')
INTENTS = len(ACTIONS) * len(OBJECTS) * len(PLACES)
_PARTICLES = (None, 'ka', 'ni')  # last words that mean a question, and a list that goes on
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])  # semitones of the major scale


class Speaker(NamedTuple):
    """A voice.

    tract: shortness of the vocal tract, a factor of all formants.
    pitch: in hertz.
    tilt: how fast harmonics fall, as an exponent of their number.
    jitter: standard deviation of the pitch from one frame to the next, relative.
    breath: loudness of the noise that is in the voice.
    pace: a factor of all durations.
    """

    tract: float
    pitch: float
    tilt: float
    jitter: float
    breath: float
    pace: float


@functools.lru_cache(maxsize=256)
def speaker(seed: int, number: int) -> Speaker:
    """Invents a voice; small tracts have high pitches, as a rule.

    Acoustic Theory of Speech Production (Fant, 1960).
    """
    random = np.random.default_rng([seed, number, 8])
    tract = random.uniform(0.88, 1.22)
    pitch = 140 * (tract / 1.05) ** 3 * np.exp(0.15 * random.standard_normal())
    tilt, jitter, breath, pace = random.uniform((0.4, 0.002, 0.0, 0.85), (1.2, 0.012, 0.03, 1.2))
    return Speaker(tract, float(np.clip(pitch, 80, 280)), tilt, jitter, breath, pace)


def synthesise(
    random: np.random.Generator,
    phone: np.ndarray,
    pitch: np.ndarray,
    energy: np.ndarray,
    voice: Speaker,
) -> np.ndarray:
    """A wave from phones, pitch and energy by frame.

        x = sum_h a_h |H(h f0)| sin(h phi) + noise,  |H|^2 = prod_k resonance of formant k

    Args:
      random: NumPy generator, of jitter and noise.
      phone: int [F], places in `NAMES`.
      pitch: hertz [F], also where the voice is silent.
      energy: factors [F].
      voice: whose formants, tilt, jitter and breath.

    Returns:
      float32 [80 F] at 8 kHz, of no particular loudness.

    Software for a cascade/parallel formant synthesizer (Klatt, 1980).
    """
    track = _TABLE[phone].copy()
    burst = _bursts(phone)
    track[:, 3] *= np.where(np.isin(phone, [NAMES.index(p) for p in STOPS]), 0.3 + 0.7 * burst, 1)
    track[:, 4] *= burst
    # What moves in a mouth moves slowly; noise and voice begin more abruptly.
    track[:, :3] = _smooth(track[:, :3], 5) * voice.tract
    track[:, 3:5] = _smooth(track[:, 3:5], 2) * energy[:, None]
    pitch = pitch * (1 + voice.jitter * random.standard_normal(len(pitch)))
    number = np.arange(1, int(RATE / 2 / pitch.min()) + 1)
    hertz = pitch[:, None] * number
    weight = track[:, 3:4] * _resonance(hertz, track[:, :3]) * number**-voice.tilt
    weight *= hertz < 0.48 * RATE
    turn = np.exp(2j * np.pi * np.cumsum(_between(pitch)) / RATE)
    harmonic, wave = np.ones_like(turn), np.zeros(len(turn))
    for column in weight.T:
        harmonic *= turn
        wave += _between(column) * harmonic.imag
    return (wave + _hiss(random, track, voice)).astype(np.float32)


def _smooth(track, frames):
    """Averages over neighbouring frames."""
    kernel = np.ones(2 * frames + 1) / (2 * frames + 1)
    padded = np.pad(track, ((frames, frames), (0, 0)), mode='edge')
    return np.stack([np.convolve(column, kernel, 'valid') for column in padded.T], 1)


def _between(track):
    """Samples of what is given at the starts of frames, by straight lines; [F] -> [80 F]."""
    later = np.append(track[1:], track[-1])
    share = np.arange(HOP) / HOP
    return (track[:, None] * (1 - share) + later[:, None] * share).ravel()


def _bursts(phone):
    """1 where a phone may sound: everywhere but in the first three fifths of a stop."""
    starts = np.flatnonzero(np.diff(phone, prepend=-1))
    ends = np.append(starts[1:], len(phone))
    sounds = np.ones(len(phone))
    for start, end in zip(starts, ends, strict=True):
        if NAMES[phone[start]] in STOPS:
            sounds[start : start + round(0.6 * (end - start))] = 0
    return sounds


def _resonance(hertz, formants):
    """Gain of three resonances, one at low frequencies; [F, H] and [F, 3] -> [F, H]."""
    gain = 1.0
    for k, formant in enumerate(formants.T):
        width, formant = 60 + 30 * k, formant[:, None]
        apart = (formant**2 - hertz**2) ** 2 + (width * hertz) ** 2
        gain = gain * formant**2 / np.sqrt(apart)
    return gain


def _hiss(random, track, voice):
    """Noise in the band of each frame, and breath through the formants."""
    frames = len(track)
    white = random.standard_normal((frames + 1) * HOP)
    pieces = np.lib.stride_tricks.sliding_window_view(white, 2 * HOP)[::HOP]
    hertz = np.fft.rfftfreq(2 * HOP, 1 / RATE)[None]
    band = np.exp(-0.5 * ((hertz - track[:, 5:6]) / track[:, 6:7]) ** 2) * track[:, 4:5]
    breath = voice.breath * track[:, 3:4] * _resonance(np.maximum(hertz, 1), track[:, :3])
    shaped = np.fft.irfft(np.fft.rfft(pieces) * (3 * band + breath))
    shaped *= np.hanning(2 * HOP)
    wave = np.zeros((frames + 1, HOP))
    wave[:-1] += shaped[:, :HOP]
    wave[1:] += shaped[:, HOP:]
    return wave[:-1].ravel()


def sample(
    random: np.random.Generator,
    *,
    kind: str = 'words',
    seconds: float = 1.5,
    words: tuple[int, int] | None = None,
    vocabulary: tuple[str, ...] = SPELT[:20],
    speakers: tuple[int, ...] = tuple(range(6)),
    voices: int = 0,
    arousal: tuple[float, float] = (0.0, 0.0),
    notes: tuple[int, int] = (-5, 12),
    snr: tuple[float, float] | None = None,
    spoilt: float = 0.0,
) -> dict[str, np.ndarray]:
    """One utterance or song, and everything about it.

    Args:
      random: NumPy generator.
      kind: 'words', any of them; 'keyword', one; 'command', an action, an object and a place;
        'sentence', words in brackets with breaks between and a contour at the end, which its last
        word means: 'ka' asks, 'ni' goes on with a list, any other tells; 'song', held vowels.
      seconds: of the wave; what does not fit is said faster.
      words: least and most, or None for the kind's own; of a song syllables. An utterance that is
        spoilt by silence has one.
      vocabulary: of words, keywords and sentences.
      speakers: numbers of the voices; others are for tests.
      voices: seed of the voices.
      arousal: range in [-1, 1] of what makes speech higher, livelier, louder and quicker.
      notes: semitones of songs above and below the voice's own pitch.
      snr: range in decibels of white noise, or none.
      spoilt: p(an utterance is mostly silence, or under music or babble, or in an echo).

    Returns:
      wave float32 [T]; length int32, samples before the silence at the end.
      By frame of 80 samples: phone int32 [F], place in `NAMES`; pitch float32 [F] in hertz, 0 where
        there is no voice; spoken int32 [F], which word of the utterance, -1 for none.
      By phone: sequence int32 [P], place in `NAMES`, -1 after the last; end int32 [P], where it
        ends, in samples.
      By word: word int32 [W], place in `SPELT`, -1 for none; pause float32 [W], seconds after it;
        note float32 [W], hertz of a song's syllable, 0 for none.
      Of the whole: speaker int32; label int32, the keyword, intent or contour, else the speaker;
        intent, contour int32 (place in `CONTOURS`), -1 for none; slot int32 [3], places in
        `ACTIONS`, `OBJECTS` and `PLACES`; arousal, snr float32; spoilt int32, place in `SPOILT`;
        text str.

    Software for a cascade/parallel formant synthesizer (Klatt, 1980).
    """
    if kind not in KINDS:
        raise Refusal(f'no utterances of kind {kind!r}: choose {", ".join(KINDS)}')
    number = int(random.choice(speakers))
    voice, excited = speaker(voices, number), float(random.uniform(*arousal))
    fault = int(random.integers(1, len(SPOILT))) if random.random() < spoilt else 0
    least, most = words or _COUNT[kind]
    count = int(random.integers(least, most + 1))
    if SPOILT[fault] == 'silence':
        count = least if kind == 'command' else 1
    said, pauses, facts = _said(random, kind, count, vocabulary)
    hertz = np.zeros(len(said))
    if kind == 'song':
        hertz = voice.pitch * 2 ** (_melody(random, len(said), notes) / 12)

    plan = _timed(random, said, pauses, voice.pace * (1 - 0.15 * excited), song=kind == 'song')
    phone, spoken, stops = _framed(plan, round(seconds * RATE / HOP))
    total = stops[-1]
    if kind == 'song':
        pitch = _tune(hertz, spoken)
    else:
        pitch = _speech(random, phone, spoken, total, voice, excited, facts['contour'])
    energy = np.full(len(phone), 1 + 0.4 * excited)
    clean = synthesise(random, phone, pitch, energy, voice)
    loud = random.uniform(0.3, 0.6) * (1 + 0.4 * excited)
    crowd = {'speakers': tuple(s for s in speakers if s != number) or speakers, 'voices': voices}
    wave, decibels = _recorded(random, clean * loud / abs(clean).max(), fault, snr, crowd)

    room = most + (kind == 'sentence')
    wide = lambda row, fill, size: np.pad(row, (0, size - len(row)), constant_values=fill)
    sequence = np.array([NAMES.index(p) for p, _, _ in plan], np.int32)
    spelt = [SPELT.index(w) if w in WORDS else -1 for w in said]
    voiced = _TABLE[phone, 3] * (_bursts(phone) > 0) > 0
    return {
        'wave': wave,
        'length': np.int32(total * HOP),
        'phone': phone.astype(np.int32),
        'pitch': np.where(voiced, pitch, 0).astype(np.float32),
        'spoken': spoken.astype(np.int32),
        'sequence': wide(sequence, -1, 8 * room + 2),
        'end': wide(stops.astype(np.int32) * HOP, 0, 8 * room + 2),
        'word': wide(np.array(spelt, np.int32), -1, room),
        'pause': wide(np.array(pauses, np.float32), 0, room),
        'note': wide(hertz.astype(np.float32), 0, room),
        'speaker': np.int32(number),
        'label': np.int32({'keyword': spelt[0], **facts}.get(_LABEL.get(kind), number)),
        'intent': np.int32(facts['intent']),
        'contour': np.int32(facts['contour']),
        'slot': np.array(facts['slot'], np.int32),
        'arousal': np.float32(excited),
        'snr': np.float32(decibels),
        'spoilt': np.int32(fault),
        'text': np.str_(facts['text']),
    }


_COUNT = {'words': (1, 4), 'keyword': (1, 1), 'command': (3, 4), 'sentence': (4, 8), 'song': (4, 8)}
_LABEL = {'keyword': 'keyword', 'command': 'intent', 'sentence': 'contour'}


def _said(random, kind, count, vocabulary):
    """Words (of a song syllables), the pauses after them, and what they mean."""
    facts = {'intent': -1, 'contour': -1, 'slot': [-1] * 3}
    pauses = np.zeros(count)
    if kind == 'song':
        said = ['l' + VOWELS[random.integers(5)] for _ in range(count)]
    elif kind == 'command':
        intent = int(random.integers(INTENTS))
        sizes = len(ACTIONS), len(OBJECTS), len(PLACES)
        slot = [int(i) for i in np.unravel_index(intent, sizes)]
        slots = [names[i] for names, i in zip((ACTIONS, OBJECTS, PLACES), slot, strict=True)]
        said = ['please'] * (count - 3) + slots
        facts |= {'intent': intent, 'slot': slot}
    else:
        said = [str(w) for w in random.choice(vocabulary, count)]
        pauses = random.uniform(0, 0.12, count) * (kind == 'words')
    facts['text'] = ' '.join(said)
    if kind == 'sentence':
        contour = int(random.integers(len(CONTOURS)))
        tree, pauses = _bracketed(random, said, 0)
        particle = _PARTICLES[contour]
        said, pauses = said + [particle] * (contour > 0), pauses + [0.0] * (contour > 0)
        facts |= {'contour': contour, 'text': f'{tree} {particle}' if particle else tree}
    return said, pauses, facts


def _bracketed(random, words, depth):
    """Words in brackets of two or more, at most two deep, and pauses that tell the depth."""
    if len(words) < 4 or depth == 2:
        return f'({" ".join(words)})', [0.0] * len(words)
    cut = int(random.integers(2, len(words) - 1))
    (one, first), (two, second) = (
        _bracketed(random, part, depth + 1) for part in (words[:cut], words[cut:])
    )
    first[-1] = (0.3, 0.15)[depth] * random.uniform(0.8, 1.2)
    return f'({one} {two})', first + second


def _melody(random, count, notes):
    """Semitones of a walk on the major scale that stays in a range."""
    scale = np.array([12 * octave + step for octave in range(-4, 5) for step in _SCALE])
    scale = scale[(scale >= notes[0]) & (scale <= notes[1])]
    place, walk = int(random.integers(len(scale))), []
    for step in random.integers(-3, 4, count):
        place = int(np.clip(place + step, 0, len(scale) - 1))
        walk.append(scale[place])
    return np.array(walk)


def _timed(random, said, pauses, pace, song):
    """Phones as [phone, seconds, word]; what precedes a pause is drawn out."""
    plan = [['_', random.uniform(0.04, 0.1), -1]]
    for w, (word, pause) in enumerate(zip(said, pauses, strict=True)):
        phones = list(word if song else WORDS[word])
        for i, phone in enumerate(phones):
            length = PHONES[phone][-1] * pace * np.exp(0.12 * random.standard_normal())
            if song and phone in VOWELS:
                length = random.choice([0.2, 0.4])
            elif i >= len(phones) - 2 and (pause > 0.1 or w == len(said) - 1):
                length *= 1.4
            plan.append([phone, length, w])
        if pause:
            plan.append(['_', pause, -1])
    return [*plan, ['_', 0.06, -1]]


def _framed(plan, frames):
    """Phones and words by frame, and where each phone ends; faster if there is no room."""
    lengths = np.array([length for _, length, _ in plan])
    stops = np.cumsum(lengths) * RATE / HOP
    stops = np.round(stops * min(1, (frames - 1) / stops[-1])).astype(int)
    which = np.searchsorted(stops, np.arange(frames), 'right').clip(max=len(plan) - 1)
    phone = np.array([NAMES.index(p) for p, _, _ in plan])[which]
    return phone, np.array([w for _, _, w in plan])[which], stops


def _tune(hertz, spoken):
    """Pitch by frame of a song: notes that glide into each other, with vibrato."""
    held = np.maximum.accumulate(spoken).clip(0)
    second = np.arange(len(spoken)) * HOP / RATE
    vibrato = 1 + 0.008 * np.sin(2 * np.pi * 5.5 * second)
    return np.exp(_smooth(np.log(hertz[held])[:, None], 2)[:, 0]) * vibrato


def _speech(random, phone, spoken, total, voice, excited, contour):
    """Pitch by frame of speech: it declines, rises on each word, and ends as it means to."""
    place = np.arange(len(phone))
    shape = 0.12 * (0.5 - place / total)
    for word in range(spoken.max() + 1):
        inside = np.flatnonzero((spoken == word) & (_TABLE[phone, 3] == _TABLE[phone, 3].max()))
        peak = inside[0] if len(inside) else np.flatnonzero(spoken == word)[0]
        height = random.uniform(0.06, 0.16)
        shape = shape + height * np.exp(-0.5 * ((place - peak - 4) / 6) ** 2)
    last = np.flatnonzero(spoken >= 0)[-1]
    late = np.clip((place - last + 28) / 28, 0, 1)
    ending = [-0.3 * late, 0.5 * late**2, -0.35 * np.sin(np.pi * late) + 0.3 * late**2]
    shape = shape * (1 + 0.8 * excited) + (ending[contour] if contour >= 0 else -0.15 * late)
    return voice.pitch * (1 + 0.15 * excited) * np.exp(shape)


def _recorded(random, wave, fault, snr, crowd):
    """The wave with what spoils it and with noise, and the noise's decibels."""
    level = np.sqrt(np.square(wave).mean())
    second = np.arange(len(wave)) / RATE
    if SPOILT[fault] == 'music':
        chord = random.uniform(110, 330) * 2 ** (np.array([0, 4, 7, 12]) / 12)
        tones = [np.sin(2 * np.pi * h * f * second) / h for f in chord for h in range(1, 6)]
        wave = wave + level * 0.6 * sum(tones)
    elif SPOILT[fault] == 'babble':
        crowd |= {'seconds': len(wave) / RATE, 'words': (4, 4)}
        wave = wave + 0.8 * sum(sample(random, **crowd)['wave'] for _ in range(3))
    elif SPOILT[fault] == 'reverb':
        echo = random.standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / (0.12 * RATE))
        size = len(wave) + len(echo)
        late = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(echo, size), size)[: len(wave)]
        wave = 0.3 * wave + late * level / np.sqrt(np.square(late).mean())
    decibels = np.inf
    if snr is not None:
        decibels = random.uniform(*snr)
        wave = wave + level * 10 ** (-decibels / 20) * random.standard_normal(len(wave))
    return np.clip(wave, -1, 1).astype(np.float32), decibels


def source(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> draw.Drawn:
    """Utterances that are drawn when they are asked for. See `sample`.

    Software for a cascade/parallel formant synthesizer (Klatt, 1980).
    """
    return draw.Drawn(sample, split, COUNTS[split] if count is None else count, seed, **knobs)


def dataset(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> dict:
    """The first utterances of a split in memory: the columns of `sample`, [N, ...].

    Software for a cascade/parallel formant synthesizer (Klatt, 1980).
    """
    return draw.columns(sample, split, COUNTS[split] if count is None else count, seed, **knobs)
