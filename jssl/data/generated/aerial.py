"""Towns from above and from the street: land cover, heights, and panoramas at the same places.

A town is a function of places in metres and of its number: streets between blocks, houses on lots,
trees, cars, and seldom a pool. The map is never stored, so a town has no edge.
"""

import numpy as np

from jssl.data.generated import draw
from jssl.data.generated.geo import fractal, hashed

LICENCE = 'Apache-2.0'
COUNTS = {'train': 1500, 'validation': 400, 'test': 400}
CLASSES = ('ground', 'road', 'marking', 'vehicle', 'vegetation', 'building', 'pool')
BLOCK = 48.0  # metres from street to street, on average
_ROAD, _MARKING, _VEHICLE, _PLANTS, _BUILDING, _POOL = range(1, 7)
_EYE, _FLOOR, _SIGHT = 2.5, 3.0, 60.0  # metres: of the camera, of a storey, as far as it sees


def sample(
    generator: np.random.Generator,
    *,
    size: int = 32,
    metres: float = 48.0,
    town: int = 0,
    extent: float = 800.0,
    panorama: tuple[int, int] = (16, 64),
    turn: float = 0.0,
    light: float = 0.15,
    noise: float = 0.02,
) -> dict[str, np.ndarray]:
    """A place on a street, seen from above and all round.

    Args:
      generator: NumPy generator.
      size: S in pixels, of the view from above.
      metres: its side; 16 shows the markings of roads.
      town: its number.
      extent: places lie in a square of this side, metres.
      panorama: height and width (P, Q) of the view from the street, a full turn wide.
      turn: degrees to either side by which the panorama's middle may miss north.
      light: by which the two views differ in brightness and colour.
      noise: standard deviation of pixels.

    Returns:
      image uint8 [S, S, 3], from above, north up; panorama uint8 [P, Q, 3], north in the middle,
      east to the right; mask int32 [S, S], place in CLASSES; height float32 [S, S] in metres;
      position float32 [2] in metres, east and south; heading float32, degrees clockwise that the
      panorama's middle is off north; town int32.

    Sample4Geo: Hard Negative Sampling For Cross-View Geo-Localisation (Deuser et al., 2023), for
    the task.
    """
    along = extent * generator.random()
    line = float(_street(generator.integers(round(extent / BLOCK)), 0, town))
    position = np.array([line, along])
    if generator.random() < 0.5:
        line = float(_street(generator.integers(round(extent / BLOCK)), 1, town))
        position = np.array([along, line])
    v, u = metres / 2 * (2 * np.mgrid[:size, :size] + 1 - size) / size
    mask, height, colour = plan(position[0] + u, position[1] + v, town)
    heading = turn * generator.uniform(-1, 1)
    views = {'image': colour, 'panorama': _panorama(position, heading, panorama, town)}
    for name, view in views.items():
        view = view * (1 + light * generator.uniform(-1, 1, 3))
        view = view + noise * generator.standard_normal(view.shape)
        views[name] = np.uint8(np.round(255 * np.clip(view, 0, 1)))
    return views | {
        'mask': mask.astype(np.int32),
        'height': height.astype(np.float32),
        'position': position.astype(np.float32),
        'heading': np.float32(heading),
        'town': np.int32(town),
    }


def plan(x: np.ndarray, y: np.ndarray, town: int = 0) -> tuple[np.ndarray, ...]:
    """What a town is at places.

    Args:
      x, y: metres east and south [...].
      town: its number.

    Returns:
      Places in CLASSES int [...], heights in metres [...], colours from above [..., 3].

    Procedural Modeling of Cities (Parish and Müller, 2001).
    """
    seed = 100 * town
    fine = fractal(x, y, seed + 1, octaves=2)
    green = 0.5 + fractal(x / 30, y / 30, seed + 2, octaves=2)
    # The block that a place lies in: its number, and how far along it is, 0 to 1 within.
    block, within, off, reach = [], [], [], []
    for axis, a in enumerate((x, y)):
        near = np.round(a / BLOCK)
        off.append(a - _street(near, axis, town))
        block.append(near - (off[-1] < 0))
        reach.append(_half(near, axis, town))
        low, high = (_street(block[-1] + k, axis, town) for k in (0, 1))
        low, high = low + 4.5, high - 4.5
        within.append((a - low) / (high - low))
    lot = [2 * b + (w > 0.5) for b, w in zip(block, within, strict=True)]
    inner = [2 * w % 1 - 0.5 for w in within]
    some = lambda k, cells=lot: hashed(*cells, seed + k)

    mask, height = np.zeros(x.shape, int), np.zeros(x.shape)
    colour = np.array([0.45, 0.5, 0.3]) + np.multiply.outer(
        0.5 * fine + 0.1 * (green - 0.5), [-1, 0.5, -0.5]
    )

    def lay(where, what, high, paint):
        nonlocal mask, height, colour
        mask, height = np.where(where, what, mask), np.where(where, high, height)
        colour = np.where(where[..., None], paint, colour)

    swim = np.hypot(inner[0] / 0.28, inner[1] / 0.2) < 1
    lay(swim & (some(3) > 0.93), _POOL, 0, np.array([0.2, 0.65, 0.85]))
    cell = [np.floor(a / 7) for a in (x, y)]
    root = [7 * (c + 0.35 + 0.3 * some(4 + k, cell)) for k, c in enumerate(cell)]
    crown = 1.5 + 1.2 * some(6, cell)
    shape = 1 - (np.square(x - root[0]) + np.square(y - root[1])) / crown**2
    tree = (shape > 0) & (some(7, cell) < 0.9 * green)
    leaf = np.multiply.outer(0.7 + 0.3 * some(8, cell) + fine, [0.15, 0.38, 0.14])
    lay(tree, _PLANTS, 3 + 3 * np.sqrt(np.maximum(shape, 0)), leaf)
    half = [0.26 + 0.16 * some(k) for k in (9, 10)]
    house = (np.abs(inner[0]) < half[0]) & (np.abs(inner[1]) < half[1])
    roofs = np.array([[0.62, 0.3, 0.22], [0.4, 0.4, 0.44], [0.75, 0.7, 0.62], [0.35, 0.22, 0.2]])
    roof = roofs[(4 * some(11)).astype(int)] * (0.9 + 0.2 * some(12))[..., None]
    ridge = np.where(some(13) < 0.5, inner[0], inner[1]) > 0
    roof = roof * np.where(ridge, 0.82, 1)[..., None]
    lay(house & (some(14) < 0.75), _BUILDING, 4 + 14 * some(15) ** 2, roof)
    for axis in (0, 1):
        side, way = np.abs(off[axis]), (y, x)[axis]
        tar = 0.36 + 0.2 * fine
        lay(side < reach[axis], _ROAD, 0, np.repeat(tar[..., None], 3, -1))
    for axis in (0, 1):
        crossing = np.abs(off[1 - axis]) < reach[1 - axis] + 1
        side, way = np.abs(off[axis]), (y, x)[axis]
        dash = (side < 0.4) & (way % 6 < 3) & ~crossing
        lay(dash, _MARKING, 0, np.array([0.92, 0.92, 0.88]))
        lane = [
            np.round(off[axis] / 4 - 0.5) + 50 * np.round((x, y)[axis] / BLOCK),
            np.floor(way / 9),
        ]
        car = (np.abs(side - 2) < 0.95) & (np.abs(way % 9 - 4.5) < 2.1) & (side < reach[axis])
        paint = np.stack([some(k, lane) for k in (16, 17, 18)], -1) ** 0.6
        lay(car & ~crossing & (some(19 + axis, lane) < 0.2), _VEHICLE, 1.5, paint)
    return mask, height, colour


def _street(i, axis, town):
    """Where the middle of a street lies, metres."""
    return BLOCK * i + 12 * (hashed(i, axis, 100 * town + 21) - 0.5)


def _half(i, axis, town):
    """Half the width of a street."""
    return 3 + 1.2 * hashed(i, axis, 100 * town + 22)


def _panorama(position, heading, shape, town):
    """Rays along the ground in all directions, and what first stands in the way of each row."""
    rows, columns = shape
    azimuth = np.deg2rad(heading) + 2 * np.pi * ((np.arange(columns) + 0.5) / columns - 0.5)
    far = np.geomspace(1.5, _SIGHT, 80)
    x = position[0] + np.multiply.outer(np.sin(azimuth), far)
    y = position[1] - np.multiply.outer(np.cos(azimuth), far)
    mask, height, colour = plan(x, y, town)
    slope = np.tan(np.linspace(0.75, -0.6, rows))
    # A ray of a row meets the first place that reaches up to it.
    meets = (height - _EYE)[:, None] / far >= slope[:, None]
    first = np.where(meets.any(-1), meets.argmax(-1), -1).T
    column = np.arange(columns)
    at, level = far[first], _EYE + far[first] * slope[:, None]
    facade = (mask[column, first] == _BUILDING) & (level < height[column, first] - 0.5)
    across = np.where(np.abs(np.sin(azimuth)) > 0.7, y[column, first], x[column, first])
    pane = facade & (level % _FLOOR > 1) & (across % 3 > 1.2)
    seen = colour[column, first] * np.where(facade, 0.85, 1)[..., None]
    seen = np.where(pane[..., None], np.array([0.25, 0.3, 0.4]), seen)
    haze = np.clip(at / _SIGHT, 0, 1)[..., None] * 0.4
    seen = seen * (1 - haze) + haze * np.array([0.75, 0.82, 0.9])
    sky = np.array([0.55, 0.72, 0.92]) + 0.25 * np.linspace(0, 1, rows)[:, None, None] ** 2
    return np.where((first >= 0)[..., None], seen, sky)


def source(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> draw.Drawn:
    """Places that are drawn when they are asked for; testing is in another town.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`; `town=0` tests where training was.

    Returns:
      `draw.Drawn` of dicts.

    Procedural Modeling of Cities (Parish and Müller, 2001).
    """
    count = COUNTS[split] if count is None else count
    return draw.Drawn(sample, split, count, seed, **_town(split) | knobs)


def dataset(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """The places of `source` in memory: the columns of `sample`, [N, ...].

    Procedural Modeling of Cities (Parish and Müller, 2001).
    """
    count = COUNTS[split] if count is None else count
    return draw.columns(sample, split, count, seed, **_town(split) | knobs)


def _town(split):
    return {'town': 1} if split == 'test' else {}
