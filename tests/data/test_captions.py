"""Captions against the drawings' own factors; tokens by hand; what is said, and how often."""

import numpy as np
import pytest

from jssl.data import captions, shapes


def test_what_is_said_is_what_was_drawn():
    names, ids = list(shapes.CLASSES), captions.KNOBS['class_ids']
    rng = np.random.default_rng(0)
    drawn = {
        'class_id': rng.permutation(np.repeat(ids, 2)),
        'colour_id': rng.integers(8, size=72),
        'scale': rng.uniform(*captions.KNOBS['scale'], 72),
        'position': rng.uniform(-1, 1, (72, 2)),
    }
    known = captions.factors(drawn)
    for i in range(72):
        name = names[drawn['class_id'][i]]
        texture = name.split('_')[0] if name[:3] in ('str', 'spo') else 'plain'
        said = captions.phrase(**{factor: column[i] for factor, column in known.items()})
        size = 'small' if drawn['scale'][i] < 0.575 else 'large'
        across, down = drawn['position'][i] > 0
        place = f'at the {"bottom" if down else "top"} {"right" if across else "left"}'
        noun = name.removeprefix(f'{texture}_').replace('_', ' ')
        colour = list(shapes.COLOURS)[drawn['colour_id'][i]]
        assert said == f'a {size} {texture} {colour} {noun} {place}'


@pytest.mark.parametrize(
    ('factors', 'text'),
    [
        ({'shape': 8}, 'an arrow'),
        ({'shape': 10}, 'an hourglass'),
        ({'shape': 6}, 'a heart'),
        ({'colour': 1}, 'an orange shape'),
        ({'shape': 9, 'size': 1, 'place': 2}, 'a large letter t at the bottom left'),
    ],
)
def test_phrases(factors, text):
    assert captions.phrase(**factors) == text


def test_sentences_vary_and_fit():
    known = {name: np.zeros(4000, int) for name in ('shape', 'colour', 'texture', 'size', 'place')}
    texts = captions.describe(known, seed=0, colour=0.7)
    assert texts == captions.describe(known, seed=0, colour=0.7)
    share = lambda *words: np.mean([any(w in text.split() for w in words) for text in texts])
    for words, want in [
        (('disc', 'circle'), 0.9),
        (('circle',), 0.45),
        (('red',), 0.7),
        (('plain',), 0.5),
        (('small', 'little'), 0.5),
        (('left',), 0.5),
        (('photo',), 1 / 8),
    ]:
        assert share(*words) == pytest.approx(want, abs=0.03)
    tokens = captions.encode(texts)
    assert tokens.shape == (4000, captions.LENGTH)
    long = captions.phrase(shape=9, colour=5, texture=1, size=1, place=3)
    captions.encode([template.format(long) for template in captions.TEMPLATES])


def test_sentences_about_classes():
    texts = captions.sentences(shape=range(12), colour=[0, 1])
    assert np.shape(texts) == (len(captions.TEMPLATES), 24)
    assert texts[0][2] == 'a red square'
    assert texts[1][1] == 'a photo of an orange disc'
    assert captions.sentences(place=[3], templates=('{} .',)) == [['a shape at the bottom right .']]


def test_tokens():
    tokens = captions.encode(['a red disc', ''], length=6)
    assert [captions.WORDS[t] for t in tokens[0]] == ['START', 'a', 'red', 'disc', 'END', '']
    assert [captions.WORDS[t] for t in tokens[1]] == ['START', 'END', '', '', '', '']
    assert tokens.max() == len(captions.WORDS) - 1
    assert len(set(captions.WORDS)) == len(captions.WORDS)
    with pytest.raises(ValueError, match="no word 'mauve'"):
        captions.encode(['a mauve disc'])
    with pytest.raises(ValueError, match='longer than 2 words'):
        captions.encode(['a red disc'], length=4)
