"""Tiles of the pictures inside scikit-image: textures, a retina, stained tissue, a stereo pair.

A picture is cut into blocks and every block belongs to one split (split/1), the same in every
version of this code; a tile lies inside one block, so that no pixel is in two splits. The licences
are those that scikit-image states in the documentation of its pictures.
"""

import functools
import importlib.util
import pathlib

import numpy as np

from jssl.data import photos
from jssl.data.generated import draw
from jssl.data.readers import check_split, stratified_split
from jssl.errors import Refusal

TEXTURES = {
    'brick': 'brick',
    'grass': 'grass',
    'gravel': 'gravel',
    'print': 'text',
    'stars': 'hubble_deep_field',
    'tissue': 'immunohistochemistry',
}
COUNTS = {'train': 2000, 'validation': 400, 'test': 800}
BLOCK = 64  # side of a block; of the stereo pair, whose matches lie in one row, BAND rows
BAND = 50
# Optical density of haematoxylin and of DAB in red, green and blue.
_STAINS = np.array([[0.650, 0.704, 0.286], [0.268, 0.570, 0.776]])


def textures(split: str, *, count: int | None = None, seed: int = 0, size: int = 32) -> dict:
    """Grey tiles of six textures.

    Args:
      split: train, validation or test; they share no block of any picture.
      count: N; None is 2000 for training, 400 for validation and 800 for testing.
      seed: tile i depends on split, seed, size and i, not on the count.
      size: side in pixels, at most 64.

    Returns:
      image uint8 [N, H, W, 1]; label int32 [N], i mod 6, place in `TEXTURES`; corner int32 [N, 2],
      row and column of the tile in its picture.

    scikit-image: image processing in Python (van der Walt et al., 2014).
    """
    pictures = [_grey(picture) for picture in photos.photographs(TEXTURES.values()).values()]
    label, corner = _corners('textures', split, pictures, count, seed, size)
    return {'image': _cut(pictures, label, corner, size), 'label': label, 'corner': corner}


def retina(split: str, *, count: int | None = None, seed: int = 0, size: int = 32) -> dict:
    """Colour tiles of the back of one healthy eye.

    Args: as `textures`.

    Returns:
      image uint8 [N, H, W, 3]; corner int32 [N, 2], row and column of the tile in the picture, of
      1411 x 1411 pixels. Blocks that show the dark surround are left out.

    Medical gallery of Mikael Haggstrom (Haggstrom, 2014).
    """
    pictures = list(photos.photographs(['retina']).values())
    label, corner = _corners('retina', split, pictures, count, seed, size, darkest=100)
    return {'image': _cut(pictures, label, corner, size), 'corner': corner}


def histology(split: str, *, count: int | None = None, seed: int = 0, size: int = 32) -> dict:
    """Colour tiles of glands of the colon, stained blue, and brown where FHL2 is expressed.

    Args: as `textures`.

    Returns:
      image uint8 [N, H, W, 3]; stain float32 [N, H, W, 2], amounts of haematoxylin and of DAB;
      corner int32 [N, 2], row and column of the tile in the picture, of 512 x 512 pixels.

    Quantification of histochemical staining by color deconvolution (Ruifrok and Johnston, 2001).
    """
    pictures = list(photos.photographs(['immunohistochemistry']).values())
    label, corner = _corners('histology', split, pictures, count, seed, size)
    image = _cut(pictures, label, corner, size)
    density = -np.log10(np.maximum(image, 1) / np.float32(255))
    amounts = np.maximum(density @ np.linalg.pinv(_STAINS), 0)
    return {'image': image, 'stain': amounts.astype(np.float32), 'corner': corner}


def stereo(split: str, *, count: int | None = None, seed: int = 0, size: int = 48) -> dict:
    """Tiles of a motorcycle seen by two cameras, with the true disparity.

        left[row, x] and right[row, x - disparity] show the same point.

    Args:
      split: train, validation or test: bands of 50 rows, so that neither view shows a point of
        another split.
      count, seed: as in `textures`.
      size: side in pixels, at most 50.

    Returns:
      image, right uint8 [N, H, W, 3]; disparity float32 [N, H, W], 0 where it is not known; mask
      bool [N, H, W], whether it is known and its match is inside the right tile; offset int32 [N]:
      the right tile is cut that much further left, by the median disparity, and disparity counts
      from there; corner int32 [N, 2], row and column in the left view.

    High-resolution stereo datasets with subpixel-accurate ground truth (Scharstein et al., 2014).
    """
    left, right = photos.photographs(['motorcycle_left', 'motorcycle_right']).values()
    disparity = _disparity()
    most = int(np.ceil(disparity[np.isfinite(disparity)].max()))  # matches are this far left
    band = (BAND, left.shape[1])
    one, corner = _corners('stereo', split, [left], count, seed, size, block=band, margin=most)
    true = _cut([disparity], one, corner, size)[..., 0]
    known = np.isfinite(true)
    offset = np.array([np.median(d[k]) if k.any() else 0 for d, k in zip(true, known, strict=True)])
    offset = offset.round().astype(np.int32)
    shifted = corner - np.stack([0 * offset, offset], 1)
    relative = np.where(known, true - offset[:, None, None], 0).astype(np.float32)
    match = np.arange(size) - relative
    return {
        'image': _cut([left], one, corner, size),
        'right': _cut([right], one, shifted, size),
        'disparity': relative,
        'mask': known & (match >= 0) & (match <= size - 1),
        'offset': offset,
        'corner': corner,
    }


def _corners(
    name, split, pictures, count, seed, size, *, block=(BLOCK, BLOCK), margin=0, darkest=0
):
    """Picture [N] and upper left corner [N, 2] of every tile: picture i mod K, then evenly."""
    check_split(split, draw.SPLITS, name)
    if not 1 <= size <= min(block):
        raise Refusal(f'size {size} of {name}: a tile has 1 to {min(block)} pixels a side')
    count = COUNTS[split] if count is None else count
    homes = [_blocks(picture, split, block, darkest) for picture in pictures]
    picture = (np.arange(count) % len(pictures)).astype(np.int32)
    corner = np.empty((count, 2), np.int32)
    for i in range(count):
        u = draw.generator(seed, split, i).random(3)
        home = homes[picture[i]]
        room = np.array(block) - size + 1 - (0, margin)
        corner[i] = home[int(u[0] * len(home))] + (0, margin) + (u[1:] * room).astype(int)
    return picture, corner


def _blocks(picture, split, block, darkest) -> np.ndarray:
    """Upper left corners of the blocks of one split, [B, 2]."""
    rows, columns = (side // b for side, b in zip(picture.shape, block, strict=False))
    places = np.indices((rows, columns)).reshape(2, -1).T * block
    tags = [f'{row} {column}'.encode() for row, column in places]
    mine = places[stratified_split(np.zeros(len(places), int), tags, split)]
    light = np.atleast_3d(picture).max(2)
    light = [light[r : r + block[0], c : c + block[1]].min() >= darkest for r, c in mine]
    return mine[light]


def _cut(pictures, picture, corner, size):
    """Tiles [N, size, size, C]."""
    tiles = [
        pictures[k][row : row + size, column : column + size]
        for k, (row, column) in zip(picture, corner, strict=True)
    ]
    return np.stack(tiles).reshape(len(tiles), size, size, -1)


def _grey(image):
    if image.ndim == 2:
        return image
    return (image @ np.float32([0.2125, 0.7154, 0.0721])).round().astype(np.uint8)


@functools.cache
def _disparity() -> np.ndarray:
    """float32 [500, 741], infinite where it is not known."""
    (folder,) = importlib.util.find_spec('skimage').submodule_search_locations
    with np.load(pathlib.Path(folder) / 'data/motorcycle_disp.npz') as found:
        return found['arr_0']
