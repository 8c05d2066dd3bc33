"""Drawn sets whose classes have names in the vocabulary of `captions`, for models of both.

drawn = described.load('textures', 'test', count=1000)          # {'image': uint8, 'label': int32}
texts = described.sentences('textures')                         # [P][K] sentences

  shades     16 pale and deep colours of any shape; a deep one has its pale one's sentence
  textures   36: 12 shapes plain, striped or spotted; also posterised, sketched, inverted
  outlines   12 shapes as line drawings
  digits     10, of MNIST; their words are in the vocabulary, which does not say what they look like
"""

import functools
from collections.abc import Sequence

import numpy as np

from jssl.data import augment, captions, domains, records, shapes, sources
from jssl.data.forgetting import resized
from jssl.errors import Refusal, nearest

_STYLES = {
    'outlines': domains.sketch,
    'posterised': functools.partial(domains.posterise, levels=3),
    'sketched': domains.sketch,
    'inverted': domains.inverted,
}
NAMES = ('shades', 'textures', 'digits', *_STYLES)
DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
DEEP = 0.55  # brightness of a deep colour


def load(
    name: str, split: str, *, count: int = 1000, size: int = 32, seed: int = 0
) -> dict[str, np.ndarray]:
    """Images and classes of a set.

    Args:
      name: in `NAMES`; the textures in another style have the textures' classes.
      split: train or test.
      count: N, or fewer where there are no more.
      size: side in pixels.
      seed: of what is drawn.

    Returns:
      image uint8 [N, size, size, 3], label int32 [N].

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021),
    for classes that are known by their sentences.
    """
    _check(name)
    if name == 'digits':
        found = records.rows(sources.load('mnist5k', split), slice(count))
        found = resized(found, (size, size, 1))
        image = np.repeat(np.uint8(np.round(255 * np.asarray(found['image']))), 3, axis=3)
        return {'image': image, 'label': np.asarray(found['label'])}
    options = captions.KNOBS | {'clutter': 0}
    drawn = shapes.dataset(split, count=count, seed=seed, size=size, **options)
    known, image = captions.factors(drawn), drawn['image']
    if name == 'shades':
        deep = np.arange(count) % 2
        dark = 1 - (1 - DEEP) * (deep[:, None, None, None] * drawn['mask'][..., None])
        return {'image': np.uint8(image * dark), 'label': np.int32(2 * known['colour'] + deep)}
    if name in _STYLES:
        image = np.asarray(_STYLES[name](augment.to_float(image)))
        image = np.uint8(np.round(255 * image))
    if name == 'outlines':
        return {'image': image, 'label': known['shape']}
    pair = known['shape'] * len(captions.TEXTURES) + known['texture']
    return {'image': image, 'label': np.int32(pair)}


def sentences(name: str, *, templates: Sequence[str] = captions.TEMPLATES) -> list[list[str]]:
    """Each template about each class of a set.

    Args:
      name: in `NAMES`.
      templates: P texts, '{}' standing for the phrase.

    Returns:
      P lists of K sentences.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    _check(name)
    if name == 'digits':
        return [[template.format(f'a digit {d}') for d in DIGITS] for template in templates]
    if name == 'shades':
        values = {'colour': np.repeat(range(len(captions.COLOURS)), 2)}
    else:
        values = {'shape': range(len(captions.SHAPES))}
        values |= {} if name == 'outlines' else {'texture': range(len(captions.TEXTURES))}
    return captions.sentences(templates=templates, **values)


def _check(name):
    if name not in NAMES:
        raise Refusal(f'no described set is called {name!r}{nearest(name, NAMES)}')
