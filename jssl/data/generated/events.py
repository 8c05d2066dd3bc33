"""What an event camera sees: pixels that report when they grow brighter or darker.

A still picture is moved along three saccades, as for N-MNIST; a pixel reports each time that the
logarithm of its light has changed by a threshold since its last report.
"""

import functools

import numpy as np

from jssl.data import readers, shapes
from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0; digits CC BY-SA 3.0'
COUNTS = {'train': 3500, 'validation': 500, 'test': 1000}  # one for each digit of mnist5k
DARK = 0.1  # light of black, white being one more
_FINE = 2  # moments of a step
_CORNERS = np.array([[0, 0], [1, 0.5], [-0.5, 1], [0, 0]])  # of the triangle of saccades


def sample(
    generator: np.random.Generator,
    *,
    split: str = 'train',
    look: str = 'digits',
    steps: int = 12,
    reach: float = 3.0,
    threshold: float = 0.25,
    uneven: float = 0.05,
    most: int = 2,
    noise: float = 0.002,
    light: float = 1.0,
) -> dict[str, np.ndarray]:
    """Moves one picture before the camera.

    Args:
      generator: NumPy generator.
      split: whose digits are shown.
      look: digits of mnist5k, or shapes, of the grey figures of `shapes`.
      steps: T, into which the reports are counted.
      reach: of a saccade, in pixels.
      threshold: C, change of the logarithm of light that is reported.
      uneven: standard deviation of pixels' thresholds, relative.
      most: reports of a pixel at one of the two moments of a step; the others are lost while it
        rests.
      noise: false reports of a pixel in a step, expected of each sign.
      light: contrast of the picture, 1 by day; by night less.

    Returns:
      video float32 [T, S, S, 2], numbers of reports of brighter and of darker; image uint8
      [S, S, 1], the picture before it moves; frame uint8 [T + 1, S, S, 1], what an ordinary camera
      would see; threshold float32 [S, S]; label int32.

    Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades (Orchard et
    al., 2015).
    """
    pictures, labels = _pictures(look, split)
    index = generator.integers(len(pictures))
    picture = pictures[index].astype(float) / 255
    size = len(picture)
    corner = reach * _CORNERS * generator.uniform(0.8, 1.2) * generator.choice([-1, 1], 2)
    place = np.linspace(0, 3, steps * _FINE + 1)
    path = np.stack([np.interp(place, range(4), axis) for axis in corner.T], -1)
    shown = np.stack([_moved(picture, at) for at in path])
    log = np.log(DARK + light * shown)
    level = threshold * np.maximum(1 + uneven * generator.standard_normal((size, size)), 0.3)
    last, video = log[0], np.zeros((steps, size, size, 2))
    for moment in range(1, len(log)):
        change = np.clip(np.trunc((log[moment] - last) / level), -most, most)
        last = last + change * level
        step = video[(moment - 1) // _FINE]
        step += np.stack([np.maximum(change, 0), np.maximum(-change, 0)], -1)
    video += generator.poisson(noise, video.shape)
    frame = np.uint8(np.round(255 * shown[::_FINE, ..., None]))
    return {
        'video': video.astype(np.float32),
        'image': pictures[index][..., None],
        'frame': frame,
        'threshold': level.astype(np.float32),
        'label': np.int32(labels[index]),
    }


def dataset(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """A split of clips; digits are those of the split.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`.

    Returns:
      The entries of `sample`, each with a first axis [N].

    Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades (Orchard et
    al., 2015).
    """
    count = COUNTS[split] if count is None else count
    return draw.columns(_of(split), split, count, seed, **knobs)


def source(split: str = 'train', *, count: int, seed: int = 0, **knobs) -> draw.Drawn:
    """The same, each item drawn when it is asked for.

    Args: as `dataset`.
    Returns: `draw.Drawn` of dicts.
    """
    return draw.Drawn(_of(split), split, count, seed, **knobs)


def _of(split):
    return functools.partial(sample, split=split)


@functools.lru_cache(maxsize=6)
def _pictures(look, split):
    """Grey pictures on black [N, S, S] and their classes."""
    if look == 'digits':
        found = readers.mnist5k(split)
        return found['image'][..., 0], found['label']
    if look == 'shapes':
        found = shapes.dataset(split, count=500)
        grey = found['image'].astype(float).mean(-1)
        return np.uint8(np.abs(grey - np.median(grey, (1, 2), keepdims=True))), found['label']
    raise Refusal(f'events of {look!r}: choose digits, shapes')


def _moved(picture, shift):
    """A picture moved right and down by parts of a pixel; black comes from outside."""
    whole = np.floor(shift).astype(int)
    right, down = shift - whole
    size, room = len(picture), 1 + int(np.abs(whole).max())
    wide = np.pad(picture, room)
    cut = lambda i, j: wide[room - j :, room - i :][:size, :size]
    across = [
        (1 - right) * cut(whole[0], whole[1] + k) + right * cut(whole[0] + 1, whole[1] + k)
        for k in (0, 1)
    ]
    return (1 - down) * across[0] + down * across[1]
