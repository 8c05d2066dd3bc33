"""The Earth in several bands: tiles of a Sentinel-2 scene, and spectra that Landsat 8 measured."""

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

BANDS = ('B02 blue', 'B03 green', 'B04 red', 'B08 near infrared')
COVERS = ('urban', 'vegetation', 'water')
ROWS = {'train': (0, 210), 'validation': (210, 240), 'test': (240, 300)}  # of the scene


def sentinel(split: str, *, size: int = 30, hop: int | None = None) -> dict[str, np.ndarray]:
    """Tiles of one scene of Sentinel-2, ten metres a pixel.

    Args:
      split: train, validation or test: bands of rows of the scene.
      size: side of a tile in pixels, at most 30.
      hop: pixels from one tile to the next; None is `size`.

    Returns:
      image float32 [N, H, W, 4], reflectance in BANDS; corner int32 [N, 2], row and column of the
      tile in the scene.

    SatMAE (Cong et al., 2022), for bands as groups of patches.
    """
    check_split(split, SPLITS, 'sentinel')
    first, last = ROWS[split]
    if not 0 < size <= 30:
        raise ValueError(f'size must be 1 to 30 pixels, the height of a band, got {size}')
    scene, hop = vendored.arrays('sentinel')['scene'], hop or size
    corner = [
        (row, column)
        for row in range(first, last - size + 1, hop)
        for column in range(0, scene.shape[2] - size + 1, hop)
    ]
    tiles = np.stack([scene[:, row : row + size, col : col + size] for row, col in corner])
    image = tiles.transpose(0, 2, 3, 1) / np.float32(10_000)
    return {'image': image, 'corner': np.array(corner, np.int32)}


def spectra(split: str) -> dict[str, np.ndarray]:
    """Spectra of places with one kind of land cover.

    Args:
      split: train, validation or test, in every cover.

    Returns:
      feature float32 [N, 7], reflectance in Landsat 8's bands 1 to 7; temperature float32 [N], of
      the surface in kelvin; label int32 [N], of COVERS.

    Spyndex (Montero et al., 2023), who collected them.
    """
    found = vendored.arrays('sentinel')
    tags = [row.tobytes() for row in found['reflectance']]
    rows = stratified_split(found['label'], tags, split)
    return {
        'feature': found['reflectance'][rows],
        'temperature': found['temperature'][rows],
        'label': found['label'][rows].astype(np.int32),
    }
