"""The photographs and textures that arrive inside scikit-image and scikit-learn, cut into patches.

The files are read from the installed packages; nothing is downloaded. Each photograph belongs to
one split, so that no pixel is seen in training and again in testing. Halved sizes of a photograph
are shared by all patches: a patch covers a half, a quarter or an eighth of the shorter side.

Licences, as the two packages state them:
  CC0 or public domain   astronaut, brick, camera, chelsea, coffee, grass, gravel,
                         hubble_deep_field, retina, rocket, text
  no known restrictions  coins, immunohistochemistry
  CC BY 2.0              china (danielbuechele), flower (vultilion)
  none stated            motorcycle_left, motorcycle_right (Middlebury stereo datasets, 2014)
"""

import functools
import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jssl.errors import Refusal

FILES = {
    'astronaut': ('skimage', 'data/astronaut.png'),
    'brick': ('skimage', 'data/brick.png'),
    'camera': ('skimage', 'data/camera.png'),
    'chelsea': ('skimage', 'data/chelsea.png'),
    'china': ('sklearn', 'datasets/images/china.jpg'),
    'coffee': ('skimage', 'data/coffee.png'),
    'coins': ('skimage', 'data/coins.png'),
    'flower': ('sklearn', 'datasets/images/flower.jpg'),
    'grass': ('skimage', 'data/grass.png'),
    'gravel': ('skimage', 'data/gravel.png'),
    'hubble_deep_field': ('skimage', 'data/hubble_deep_field.jpg'),
    'immunohistochemistry': ('skimage', 'data/ihc.png'),
    'motorcycle_left': ('skimage', 'data/motorcycle_left.png'),
    'motorcycle_right': ('skimage', 'data/motorcycle_right.png'),
    'retina': ('skimage', 'data/retina.jpg'),
    'rocket': ('skimage', 'data/rocket.jpg'),
    'text': ('skimage', 'data/text.png'),
}
SPLITS = {
    'train': (
        *('astronaut', 'brick', 'camera', 'china'),
        *('coffee', 'coins', 'immunohistochemistry', 'rocket'),
    ),
    'validation': ('flower', 'grass', 'hubble_deep_field'),
    'test': ('chelsea', 'gravel', 'retina'),
}
NAMES = tuple(sorted(name for names in SPLITS.values() for name in names))
ROOM = 1.5  # shorter side of a photograph over the side of a patch, so that patches differ
ZOOMS = 3


def photographs(names: Sequence[str] = NAMES) -> dict[str, np.ndarray]:
    """Reads the packaged photographs and textures.

    Args:
      names: keys of `FILES`; those of the splits if not given.

    Returns:
      {name: uint8 [H, W, 3] in colour or [H, W] in grey}, in the order of `names`; read-only.

    scikit-image: image processing in Python (van der Walt et al., 2014).
    """
    return {name: _read(name) for name in names}


def patches(split: str, count: int, size: int, *, seed: int = 0) -> np.ndarray:
    """Cuts square colour patches at random places and zooms out of one split's photographs.

    Args:
      split: train, validation or test; they share no photograph.
      count: N.
      size: side of a patch in pixels, at most 200.
      seed: patch i depends on split, size, seed and i, not on the count.

    Returns:
      uint8 [N, size, size, 3]; grey photographs have three equal channels.

    scikit-image: image processing in Python (van der Walt et al., 2014).
    """
    return crops(split, count, size, seed=seed)[0]


def crops(split: str, count: int, size: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cuts `patches` and tells which photograph each of them shows.

    Args:
      split: train, validation or test; they share no photograph.
      count: N.
      size: side of a patch in pixels, at most 200.
      seed: patch i depends on split, size, seed and i, not on the count.

    Returns:
      Patches, uint8 [N, size, size, 3], and places in `NAMES`, int32 [N].

    scikit-image: image processing in Python (van der Walt et al., 2014).
    """
    if split not in SPLITS:
        raise Refusal(f'split {split!r} is unknown: choose {", ".join(SPLITS)}')
    if min(count, size) < 1:
        raise ValueError(f'count and size must be positive, got {count} and {size}')
    sources = [_zooms(name, size) for name in SPLITS[split]]
    draws = np.random.default_rng([seed, list(SPLITS).index(split)]).random((count, 4))
    images = np.empty((count, size, size, 3), np.uint8)
    for image, draw in zip(images, draws, strict=True):
        zooms = sources[int(draw[0] * len(sources))]
        whole = zooms[int(draw[1] * len(zooms))]
        row, column = (
            int(u * (side - size + 1)) for u, side in zip(draw[2:], whole.shape[:2], strict=True)
        )
        image[:] = whole[row : row + size, column : column + size]
    ids = np.array([NAMES.index(name) for name in SPLITS[split]], np.int32)
    return images, ids[(draws[:, 0] * len(sources)).astype(int)]


@functools.cache
def _read(name: str) -> np.ndarray:
    package, path = FILES[name]
    # Found without an import, which would take longer than all the rest.
    (folder,) = importlib.util.find_spec(package).submodule_search_locations
    file = pathlib.Path(folder) / path
    if not file.is_file():
        raise Refusal(f'{package} came without its {path}: install its wheel again')
    with Image.open(file) as image:
        pixels = np.array(image.convert('L' if image.mode == 'L' else 'RGB'))
    pixels.setflags(write=False)
    return pixels


@functools.cache
def _zooms(name: str, size: int) -> list[np.ndarray]:
    """The photograph [H, W, 3] at its last few halvings that leave room for a patch."""
    image = _read(name)
    image = np.broadcast_to(image.reshape(*image.shape[:2], -1), (*image.shape[:2], 3))
    zooms = [image]
    while min(zooms[-1].shape[:2]) >= 2 * ROOM * size:
        zooms.append(_halve(zooms[-1]))
    if min(image.shape[:2]) < ROOM * size:
        raise Refusal(f'size {size} is too large: {name} has {image.shape[0]} x {image.shape[1]}')
    return zooms[-ZOOMS:]


def _halve(image: np.ndarray) -> np.ndarray:
    height, width = (side // 2 for side in image.shape[:2])
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)
