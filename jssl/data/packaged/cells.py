"""Cells: nuclei under the microscope with a mask of each, and blood cells by their genes."""

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

KINDS = (  # of blood cells
    'CD4+/CD25 T Reg',
    'CD4+/CD45RA+/CD25- Naive T',
    'CD4+/CD45RO+ Memory',
    'CD8+ Cytotoxic T',
    'CD8+/CD45RA+ Naive Cytotoxic',
    'CD14+ Monocyte',
    'CD19+ B',
    'CD34+',
    'CD56+ NK',
    'Dendritic',
)
BANDS = {'train': (0, 352), 'validation': (352, 416), 'test': (416, 512)}  # columns of the image


def nuclei(split: str, *, size: int = 64, hop: int | None = None) -> dict[str, np.ndarray]:
    """Tiles of one fluorescence image of 125 nuclei, each with its own mask.

    Args:
      split: train, validation or test: bands of the image, so a nucleus that lies across their
        border is cut.
      size: side of a tile in pixels, at most 64.
      hop: pixels from one tile to the next; None is `size`.

    Returns:
      image uint8 [N, H, W, 1]; mask int32 [N, H, W], 0 between nuclei, 1 ... count in them; count
      int32 [N]; corner int32 [N, 2], row and column of the tile in the image.

    Cell Detection with Star-convex Polygons (Schmidt et al., 2018).
    """
    check_split(split, SPLITS, 'nuclei')
    first, last = BANDS[split]
    if not 0 < size <= 64:
        raise ValueError(f'size must be 1 to 64 pixels, the width of a band, got {size}')
    found, hop = vendored.arrays('nuclei'), hop or size
    corner = [
        (row, column)
        for row in range(0, len(found['image']) - size + 1, hop)
        for column in range(first, last - size + 1, hop)
    ]
    cut = lambda name: np.stack([found[name][r : r + size, c : c + size] for r, c in corner])
    masks = [np.unique(np.append(0, mask), return_inverse=True)[1][1:] for mask in cut('mask')]
    mask = np.array(masks, np.int32).reshape(-1, size, size)
    count = mask.max((1, 2))
    return {
        'image': cut('image')[..., None],
        'mask': mask,
        'count': count,
        'corner': np.array(corner, np.int32),
    }


def blood_cells(split: str) -> dict[str, np.ndarray]:
    """Cells of human blood by how much they express of 765 genes that vary.

    Args:
      split: train, validation or test, in every kind.

    Returns:
      feature float32 [N, 765], logarithms of normalised counts, to within 1/64; label int32 [N],
      of KINDS, which differ much in number.

    Massively Parallel Digital Transcriptional Profiling of Single Cells (Zheng et al., 2017).
    """
    found = vendored.arrays('blood_cells')
    tags = [row.tobytes() for row in found['expression']]
    rows = stratified_split(found['label'], tags, split)
    feature = found['expression'][rows] / np.float32(32)
    return {'feature': feature, 'label': found['label'][rows].astype(np.int32)}


def genes() -> np.ndarray:
    """Names of the genes that are the features of `blood_cells`: strings (object [765])."""
    return vendored.lines(vendored.arrays('blood_cells')['gene'])
