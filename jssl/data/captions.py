"""Sentences about drawn shapes, and sentences as tokens of a small fixed vocabulary of words.

drawn = shapes.dataset('train', **captions.KNOBS)
known = captions.factors(drawn)                 # {'shape': int [N], 'colour': ..., ...}
texts = captions.describe(known, seed=0)        # 'a photo of a small striped red disc'
tokens = captions.encode(texts)                 # int32 [N, LENGTH]
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jssl.data import shapes
from jssl.data.seeds import generator

SHAPES = tuple(shapes.PLAIN)
COLOURS = tuple(shapes.COLOURS)
TEXTURES = ('plain', 'striped', 'spotted')
SIZES = ('small', 'large')
PLACES = ('at the top left', 'at the top right', 'at the bottom left', 'at the bottom right')
TEMPLATES = (
    '{}',
    'a photo of {}',
    'a picture of {}',
    'a drawing of {}',
    'an image of {}',
    'there is {}',
    'this is {}',
    'one sees {}',
)
SYNONYMS = {
    'disc': 'circle',
    'ring': 'hoop',
    'crescent': 'moon',
    'striped': 'stripy',
    'spotted': 'dotted',
    'small': 'little',
    'large': 'big',
    'turquoise': 'cyan',
}
# Of `shapes.dataset`: every shape in every texture, of sizes and at places that can be told apart.
_IDS = {name: i for i, name in enumerate(shapes.CLASSES)}
KNOBS = {
    'class_ids': tuple(
        _IDS[name if texture == 'plain' else f'{texture}_{name}']
        for name in SHAPES
        for texture in TEXTURES
    ),
    'scale': (0.35, 0.8),
}
_MIDDLE = sum(KNOBS['scale']) / 2

SPARE = 'x'  # a word that says nothing, for learned prompts to take the place of
ANY = 'shape'  # the name of a shape that is not said
LENGTH = 16  # of the longest sentence, with its start and its end
_SPOKEN = (
    ANY,
    SPARE,
    *SHAPES,
    *COLOURS,
    *TEXTURES,
    *SIZES,
    *PLACES,
    *TEMPLATES,
    *SYNONYMS.values(),
)
_DIGITS = 'digit zero one two three four five six seven eight nine'
_TEXT = ' '.join((*_SPOKEN, _DIGITS)).replace('{}', 'a an').replace('_', ' ')
WORDS = ('', 'START', *sorted(set(_TEXT.split())), 'END')
_TOKEN = {word: token for token, word in enumerate(WORDS)}


def factors(drawn: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What of drawn shapes can be said in words.

    Args:
      drawn: columns of `shapes.dataset` with `KNOBS`; [N] items.

    Returns:
      shape, colour, texture, size, place: int32 [N], places in `SHAPES`, `COLOURS`, `TEXTURES`,
      `SIZES` and `PLACES`.

    CLEVR: a diagnostic dataset for compositional language and elementary visual reasoning
    (Johnson et al., 2017).
    """
    place = np.searchsorted(np.sort(KNOBS['class_ids']), drawn['class_id'])
    known = np.argsort(KNOBS['class_ids'])[place]
    right, low = (drawn['position'] > 0).T
    found = {
        'shape': known // len(TEXTURES),
        'colour': drawn['colour_id'],
        'texture': known % len(TEXTURES),
        'size': drawn['scale'] > _MIDDLE,
        'place': 2 * low + right,
    }
    return {name: column.astype(np.int32) for name, column in found.items()}


def phrase(
    *,
    shape: int | None = None,
    colour: int | None = None,
    texture: int | None = None,
    size: int | None = None,
    place: int | None = None,
) -> str:
    """Names a shape by as many of its factors as are given: 'a small striped red disc'.

    CLEVR: a diagnostic dataset for compositional language and elementary visual reasoning
    (Johnson et al., 2017).
    """
    said = [(SIZES, size), (TEXTURES, texture), (COLOURS, colour)]
    words = [names[i] for names, i in said if i is not None]
    words = ' '.join([*words, ANY if shape is None else SHAPES[shape]]).replace('_', ' ')
    article = 'an' if words[0] in 'aeiou' or words.startswith('hour') else 'a'
    return ' '.join([article, words] + ([] if place is None else [PLACES[place]]))


def describe(
    known: Mapping[str, np.ndarray], *, seed: int, colour: float = 0.85, texture: float = 0.5
) -> list[str]:
    """A sentence about each of many shapes, in one of several wordings, some factors left unsaid.

    Args:
      known: of `factors`.
      seed: of the wordings: the template, what is said, and whether a synonym stands for a word, as
        it does in half of the sentences that have one.
      colour, texture: share of the sentences that say it; nine in ten say the shape, half of them
        size or place.

    Returns:
      N sentences.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021),
    for templates.
    """
    rng, count = generator(seed, 'captions'), len(known['shape'])
    shares = {'shape': 0.9, 'colour': colour, 'texture': texture, 'size': 0.5, 'place': 0.5}
    said = {name: rng.random(count) < share for name, share in shares.items()}
    template, other = rng.integers(len(TEMPLATES), size=count), rng.random((count, LENGTH)) < 0.5
    texts = []
    for i in range(count):
        words = phrase(**{name: known[name][i] for name in shares if said[name][i]}).split()
        words = [SYNONYMS.get(w, w) if o else w for w, o in zip(words, other[i], strict=False)]
        texts.append(TEMPLATES[template[i]].format(' '.join(words)))
    return texts


def sentences(*, templates: Sequence[str] = TEMPLATES, **values: Sequence[int]) -> list[list[str]]:
    """Each template about each combination of some factors, for a zero-shot classifier.

        sentences(shape=range(3), colour=[0, 5])

    Args:
      templates: P texts, '{}' standing for the phrase.
      values: of factors as in `factors`; of their combinations the first factor is the slowest.

    Returns:
      P lists of K sentences.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    combinations = itertools.product(*values.values())
    phrases = [phrase(**dict(zip(values, each, strict=True))) for each in combinations]
    return [[template.format(text) for text in phrases] for template in templates]


def encode(texts: Sequence[str], *, length: int = LENGTH) -> np.ndarray:
    """Sentences as tokens, each between 'START' and 'END', filled up with 0.

    Args:
      texts: of words in `WORDS`.
      length: T.

    Returns:
      int32 [N, T]. The token of 'END' is the highest, as `models.TextEncoder` asks.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    tokens = np.zeros((len(texts), length), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        words = ['START', *text.split(), 'END']
        if unknown := [word for word in words if word not in _TOKEN]:
            raise ValueError(f'the vocabulary has no word {unknown[0]!r}')
        if len(words) > length:
            raise ValueError(f'{text!r} is longer than {length - 2} words')
        row[: len(words)] = [_TOKEN[word] for word in words]
    return tokens
