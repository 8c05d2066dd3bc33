"""Worlds seen from space: climate on a globe, land cover in eight bands, photographs from orbit.

A world is a function of places and of its number, so tiles anywhere in it agree with one another;
items are places in it. `image` holds red, green and blue first, further bands after them.
"""

import functools

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 2000, 'validation': 500, 'test': 500}

# The globe
BIOMES = ('ice', 'tundra', 'desert', 'grassland', 'forest', 'rainforest')
CONTINENTS, COUNTRIES = 6, 60
GLOBE_BANDS = ('red', 'green', 'blue', 'near infra-red', 'thermal')

# Land cover: reflectances of materials in bands, and how they are laid out
MATERIALS = ('water', 'soil', 'grass', 'forest', 'built')
LAYOUTS = ('smooth', 'rows', 'clumps', 'grid')
LAND_BANDS = ('red', 'green', 'blue', 'edge', 'infra-red', 'wide', 'short wave 1', 'short wave 2')
SPECTRA = np.array(
    [
        [0.06, 0.09, 0.12, 0.05, 0.03, 0.03, 0.02, 0.01],
        [0.30, 0.22, 0.15, 0.34, 0.38, 0.40, 0.48, 0.42],
        [0.12, 0.20, 0.08, 0.30, 0.55, 0.56, 0.30, 0.18],
        [0.05, 0.10, 0.05, 0.20, 0.42, 0.44, 0.17, 0.08],
        [0.30, 0.29, 0.28, 0.31, 0.33, 0.34, 0.35, 0.36],
    ]
)

# The planet that orbiters photograph
PLANET = 64.0  # its side, in tiles
YEARS = 4


def globe(
    generator: np.random.Generator,
    *,
    size: int = 16,
    world: int = 0,
    continents: tuple[int, ...] = tuple(range(CONTINENTS)),
    noise: float = 0.03,
) -> dict[str, np.ndarray]:
    """A place on land, drawn evenly over a sphere, its tile, and what its climate is.

        temperature = 30 - 55 sin^2(latitude) - 6 elevation + 3 f,  f smooth

    Args:
      generator: NumPy generator.
      size: S in pixels; a tile is three degrees wide.
      world: number of the globe.
      continents: those that places may lie on.
      noise: standard deviation of pixels.

    Returns:
      image uint8 [S, S, 5], bands as GLOBE_BANDS; location float32 [2], latitude and longitude in
      degrees; temperature (degrees), elevation (kilometres), population (skewed), float32; label
      int32, place in BIOMES; country, continent int32.

    SatCLIP: Global, General-Purpose Location Embeddings with Satellite Imagery (Klemmer et al.,
    2025), for the tasks.
    """
    if not set(continents) & set(range(CONTINENTS)):
        raise Refusal(f'continents {continents}: choose of 0 to {CONTINENTS - 1}')
    while True:
        place = generator.standard_normal(3)
        place /= np.linalg.norm(place)
        here = climate(place, world)
        if here['elevation'] > 0 and here['continent'] in continents:
            break
    latitude, longitude = np.arcsin(place[2]), np.arctan2(place[1], place[0])
    up = np.array([0, 0, 1.0])
    east = np.cross(up, place) / np.cos(latitude)
    y, x = np.deg2rad(1.5) * _grid(size)
    near = place + x[..., None] * east - y[..., None] * np.cross(place, east)
    near /= np.linalg.norm(near, axis=-1, keepdims=True)
    found = climate(near, world)
    u, v = 40 * x + generator.uniform(0, 99), 40 * y + generator.uniform(0, 99)
    rough = fractal(u, v, world + 1)
    image = _globe_colours(found, rough) * generator.uniform(0.85, 1.15)
    image += noise * generator.standard_normal(image.shape)
    item = {'image': _bytes(image), 'label': np.int32(here['biome'])}
    item['location'] = np.rad2deg([latitude, longitude]).astype(np.float32)
    for name in ('temperature', 'elevation', 'population'):
        item[name] = np.float32(here[name])
    return item | {name: np.int32(here[name]) for name in ('country', 'continent')}


def climate(places: np.ndarray, world: int = 0) -> dict[str, np.ndarray]:
    """What a globe is like anywhere.

    Args:
      places: unit vectors [..., 3], z towards the north pole.
      world: number of the globe.

    Returns:
      temperature, elevation (below zero at sea), rain, population float [...]; biome, country,
      continent int [...].

    Das geographische System der Klimate (Köppen, 1936), for biomes by temperature and rain.
    """
    fields = _globe(world)
    smooth = lambda name: np.cos(places @ fields[name][0] + fields[name][1]).mean(-1) * 24**0.5
    elevation = smooth('land') + 0.35 * smooth('hills') + 0.3
    up = np.maximum(elevation, 0)
    temperature = 30 - 55 * places[..., 2] ** 2 - 6 * up + 3 * smooth('warm')
    rain = 0.6 * smooth('rain') + 0.5 * np.cos(6 * np.arcsin(places[..., 2].clip(-1, 1)))
    wet = 2 + (rain > -0.3) + (rain > 0.35) + ((rain > 0.35) & (temperature > 18))
    biome = np.where(temperature < -8, 0, np.where(temperature < 3, 1, wet))
    pleasant = -np.square((temperature - 16) / 14) - np.square(rain - 0.2)
    bent = places + 0.05 * np.stack([smooth('land'), smooth('warm'), smooth('hills')], -1)
    return {
        'temperature': temperature,
        'elevation': elevation,
        'rain': rain,
        'population': 10 * np.exp(1.2 * smooth('people') + 2 * pleasant),
        'biome': biome,
        'country': (bent @ fields['countries'].T).argmax(-1),
        'continent': (places @ fields['continents'].T).argmax(-1),
    }


@functools.lru_cache(maxsize=8)
def _globe(world):
    """Waves [3, 24] and phases [24] of fields, and middles of countries and continents."""
    random, found = np.random.default_rng([world, 7]), {}
    for name, low, high in [
        *(('land', 2, 5), ('hills', 8, 16), ('warm', 2, 4), ('rain', 2, 5), ('people', 6, 14))
    ]:
        ways = random.standard_normal((3, 24))
        ways *= random.uniform(low, high, 24) / np.linalg.norm(ways, axis=0)
        found[name] = ways * 2**0.5, random.uniform(0, 2 * np.pi, 24)
    for name, count in (('countries', COUNTRIES), ('continents', CONTINENTS)):
        middle = random.standard_normal((count, 3))
        found[name] = middle / np.linalg.norm(middle, axis=1, keepdims=True)
    return found


def _globe_colours(found, rough):
    """Bands [S, S, 5] of places: water, soil, plants, snow, and towns where people live."""
    green = _step(found['rain'] + 0.8 * rough, -0.5, 0.6)
    lush = _step(found['temperature'], 2, 20)
    plants = _mix(np.array([0.22, 0.32, 0.14, 0.4]), [0.05, 0.22, 0.07, 0.6], lush)
    land = _mix(np.array([0.55, 0.42, 0.28, 0.45]), plants, green)
    land = _mix(land, [0.92, 0.94, 0.97, 0.8], _step(found['temperature'] - 9 * rough, -3, -12))
    town = _step(rough + 0.12 * np.log(found['population'] / 10 + 1e-6), 0.2, 0.35)
    land = _mix(land, [0.5, 0.48, 0.5, 0.35], 0.8 * town)
    land *= 1 + (0.35 * np.maximum(found['elevation'], 0) * rough)[..., None]
    sea = _step(found['elevation'] + 0.05 * rough, 0.01, -0.03)
    warmth = (found['temperature'] + 30) / 70 + 0.15 * rough
    return np.concatenate([_mix(land, [0.03, 0.1, 0.22, 0.02], sea), warmth[..., None]], -1)


def land(
    generator: np.random.Generator,
    *,
    size: int = 64,
    patches: int = 3,
    period: tuple[float, float] = (3.0, 6.0),
    contrast: float = 0.3,
    regions: tuple[int, ...] = tuple(range(8)),
    shift: float = 0.15,
    noise: float = 0.02,
) -> dict[str, np.ndarray]:
    """A tile of fields, each of a material with a spectrum, laid out in a fine texture.

    Args:
      generator: NumPy generator.
      size: S in pixels.
      patches: P, how many fields, of distinct classes.
      period: of rows, clumps and grids in pixels; what is lost at half the resolution.
      contrast: between a texture's light and dark.
      regions: the tile lies in one of these, drawn evenly.
      shift: by which a region's own light and soil change its bands.
      noise: standard deviation of pixels.

    Returns:
      image uint8 [S, S, 8], bands as LAND_BANDS; mask int32 [S, S], the class of each pixel, which
      is len(LAYOUTS) material + layout; label, material, layout int32, of the class that covers
      most; present bool [20], classes there; cover float32 [5], share of each material; region
      int32.

    EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover
    Classification (Helber et al., 2019), for tiles and bands.
    """
    classes = len(MATERIALS) * len(LAYOUTS)
    if not 1 <= patches <= classes:
        raise Refusal(f'patches={patches}: choose 1 to {classes}')
    kinds = generator.permutation(classes)[:patches]
    region = regions[generator.integers(len(regions))]
    y, x = _grid(size)
    seed = int(generator.integers(2**31))
    warped = [a + 0.5 * fractal(2 * x + 9, 2 * y + 9, seed + k) for k, a in enumerate((x, y))]
    middles = generator.uniform(-1, 1, (patches, 2))
    apart = [np.hypot(warped[0] - a, warped[1] - b) for a, b in middles]
    mask = kinds[np.argmin(apart, 0)]
    tone = np.stack([_texture(generator, size, layout, period) for layout in range(len(LAYOUTS))])
    layout, material = mask % len(LAYOUTS), mask // len(LAYOUTS)
    light = 1 + contrast * np.take_along_axis(tone, layout[None], 0)[0]
    light += 0.15 * fractal(3 * x, 3 * y, seed + 2)
    gains = 1 + shift * np.random.default_rng([region, 8]).standard_normal(SPECTRA.shape)
    image = 1.4 * (SPECTRA * gains)[material] * light[..., None] * generator.uniform(0.9, 1.1)
    image += noise * generator.standard_normal(image.shape)
    shares = np.bincount(mask.ravel(), minlength=classes) / size**2
    most = int(shares.argmax())
    ids = {'label': most, 'material': most // len(LAYOUTS), 'layout': most % len(LAYOUTS)}
    return {
        'image': _bytes(image),
        'mask': mask.astype(np.int32),
        **{name: np.int32(value) for name, value in ids.items()},
        'present': shares > 0,
        'cover': shares.reshape(len(MATERIALS), -1).sum(1).astype(np.float32),
        'region': np.int32(region),
    }


def _texture(generator, size, layout, period):
    """Light and dark of a layout, -1 to 1 [S, S]; all have the same mean."""
    y, x = size / 2 * _grid(size)
    angle, wave = generator.uniform(0, np.pi), 2 * np.pi / generator.uniform(*period)
    u, v = (
        wave * (np.cos(angle) * x + np.sin(angle) * y),
        wave * (np.cos(angle) * y - np.sin(angle) * x),
    )
    seed = int(generator.integers(2**31))
    u, v = u + generator.uniform(0, 2 * np.pi), v + generator.uniform(0, 2 * np.pi)
    if layout == LAYOUTS.index('rows'):
        return np.sin(u)
    if layout == LAYOUTS.index('grid'):
        return 2 * np.sin(u) * np.sin(v)
    if layout == LAYOUTS.index('clumps'):
        return 4 * fractal(u / np.pi, v / np.pi, seed, octaves=1)
    return np.zeros_like(x)


def orbit(
    generator: np.random.Generator,
    *,
    size: int = 32,
    world: int = 0,
    area: tuple[float, float, float, float] = (0.0, 0.0, 0.5, 1.0),
    popular: float = 0.8,
    zoom: tuple[float, float] = (0.7, 1.2),
    turn: float = 180.0,
    tilt: float = 0.25,
    cloud: float = 0.25,
    haze: float = 0.25,
    weak: float = 0.3,
    noise: float = 0.02,
) -> dict[str, np.ndarray]:
    """A photograph from orbit and the tile of the map that its middle lies on.

    Args:
      generator: NumPy generator.
      size: S in pixels, of both.
      world: number of the planet, a square of PLANET tiles a side.
      area: where photographs are taken, left, top, right, bottom as shares of the planet.
      popular: share of photographs that are of the popular fifth of the tiles; others are of any.
      zoom: side of a photograph's ground, in tiles.
      turn: degrees to either side that the camera is turned by.
      tilt: of the camera, the greatest; 1 would see the horizon.
      cloud: greatest share of the photograph that clouds hide.
      haze: the greatest, 1 hides all.
      weak: share of photographs whose middle alone is known, and that roughly.
      noise: standard deviation of the photograph's pixels.

    Returns:
      image uint8 [S, S, 3], the photograph; tile uint8 [4, S, S, 3] of four years, north up; cell
      int32 [2], x and y of the tile; corner float32 [4, 2], where the photograph's corners lie on
      the map, in tiles, clockwise from its upper left; point float32 [2], a tag near its middle;
      weak bool, whether the tag is all that a user may know; cloud bool [S, S]; plain bool, whether
      the tile has hardly any features.

    AstroLoc: Robust Space to Ground Image Localizer (Berton et al., 2025), for the task.
    """
    x0, y0, x1, y1 = (PLANET * a for a in area)
    wanted = generator.random() < popular
    for _ in range(200):
        middle = generator.uniform((x0, y0), (x1, y1))
        cell = np.floor(middle)
        if not wanted or hashed(*cell, world + 90) < 0.2:
            break
    y, x = _grid(size)
    tile = _planet(cell[0] + (x + 1) / 2, cell[1] + (y + 1) / 2, world, np.arange(YEARS))
    angle, side = np.deg2rad(turn) * generator.uniform(-1, 1), generator.uniform(*zoom) / 2
    lean = tilt * generator.uniform(-1, 1, 2) / 2

    def ground(u, v):
        """The plane that a tilted and turned camera sees at (u, v), each -1 to 1."""
        far = 1 + lean[0] * u + lean[1] * v
        a = (np.cos(angle) * u - np.sin(angle) * v) / far
        b = (np.sin(angle) * u + np.cos(angle) * v) / far
        return middle[0] + side * a, middle[1] + side * b

    edge = (size - 1) / size
    corners = np.stack(ground(*edge * np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]])), -1)
    image = _planet(*ground(x, y), world, generator.integers(YEARS, size=1))[0]
    plain = tile[0].std((0, 1)).max() < 0.03
    veil = fractal(1.5 * x + generator.uniform(0, 99), 1.5 * y, int(generator.integers(2**31)))
    hidden = veil > np.quantile(veil, 1 - cloud * generator.random())
    fog = haze * generator.random()
    image = image * (1 - fog) + fog * np.array([0.7, 0.78, 0.9])
    image = np.where(hidden[..., None], 0.9 + 0.1 * veil[..., None], image)
    image = (image - 0.5) * generator.uniform(0.8, 1.2) + 0.5 + generator.uniform(-0.08, 0.08, 3)
    image += noise * generator.standard_normal(image.shape)
    vague = generator.random() < weak
    point = middle + (0.5 if vague else 0.05) * generator.uniform(-1, 1, 2)
    return {
        'image': _bytes(image),
        'tile': _bytes(tile),
        'cell': cell.astype(np.int32),
        'corner': corners.astype(np.float32),
        'point': point.astype(np.float32),
        'weak': np.bool_(vague),
        'cloud': hidden,
        'plain': np.bool_(plain),
    }


def _planet(x, y, world, years):
    """Colours [Y, ..., 3] of the planet at places in tiles, in some years."""
    high = fractal(x / 2, y / 2, world, octaves=5) + 0.08
    wet = fractal(x / 4 + 50, y / 4, world + 1, octaves=3) + 0.06
    fine = fractal(5 * x, 5 * y, world + 2, octaves=2)
    river = np.abs(fractal(x / 2, y / 2 + 70, world + 3))
    across, along = np.floor(5 * x + 0.4 * y), np.floor(4 * y - 0.3 * x)
    field = hashed(across, along, world + 4)
    farmed = (high > 0.02) & (high < 0.2) & (wet > -0.05) & (fractal(x, y, world + 5) > 0)
    green, rock = _step(wet + 0.2 * fine, -0.12, 0.12), _step(high, 0.2, 0.32)
    snow = _step(high + 0.1 * fine, 0.36, 0.42)
    stream = _step(river, 0.03, 0.015) * (high < 0.25) * (wet > -0.1)
    water, deep = np.maximum(stream, _step(high, -0.02, -0.03)), np.clip(0.5 + 2 * high, 0.05, 0.5)
    seen = []
    for year in years:
        bloom = 0.06 * np.sin(2.1 * year + world)
        plants = np.multiply.outer(1 + 0.6 * fine, [0.14 + bloom, 0.34, 0.12])
        desert = np.multiply.outer(1 + 0.1 * fine, [0.78, 0.64, 0.42])
        crop = hashed(across, along, world + 6 + int(year))
        fields = np.stack([0.25 + 0.4 * field, 0.35 + 0.25 * crop, 0.12 + 0.2 * field], -1)
        ground = np.where(farmed[..., None], fields, _mix(desert, plants, green))
        ground = _mix(_mix(ground, (0.42 + 0.5 * fine)[..., None], rock), 0.95, snow)
        seen.append(_mix(ground, np.multiply.outer(deep, [0.25, 0.6, 0.9]), water))
    return np.stack(seen)


def _mix(below, above, share):
    """Colours laid over others, more or less."""
    return below + share[..., None] * (above - below)


FAMILIES = {'globe': globe, 'land': land, 'orbit': orbit}


def source(
    split: str = 'train',
    *,
    family: str = 'land',
    count: int | None = None,
    seed: int = 0,
    **knobs,
) -> draw.Drawn:
    """Places that are drawn when they are asked for.

    Args:
      split: train, validation or test; they share the world, unless knobs say otherwise.
      family: globe, land or orbit.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of the family's function.

    Returns:
      `draw.Drawn` of dicts.

    An image synthesizer (Perlin, 1985), for worlds from noise.
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of geo: choose {", ".join(FAMILIES)}')
    count = COUNTS[split] if count is None else count
    return draw.Drawn(FAMILIES[family], split, count, seed, **knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The places of `source` in memory: the columns of the family's function, [N, ...].

    An image synthesizer (Perlin, 1985).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def hashed(i, j, seed: int) -> np.ndarray:
    """Numbers that depend on a cell of the plane and on a seed alone, evenly in 0 to 1.

    Args:
      i, j: whole numbers [...].
      seed: of all.

    Returns:
      [...].

    Hash functions for GPU rendering (Jarzynski and Olano, 2020), for such mixing.
    """
    i, j = (np.asarray(a).astype(np.int64).astype(np.uint32) for a in (i, j))
    with np.errstate(over='ignore'):
        mixed = i * np.uint32(0x9E3779B1) + j * np.uint32(0x85EBCA77)
        mixed = mixed + np.uint32(seed * 0xC2B2AE3D % 2**32)
        for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39), (15, 1)):
            mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return mixed / 2**32


def fractal(x: np.ndarray, y: np.ndarray, seed: int, *, octaves: int = 4) -> np.ndarray:
    """Smooth noise about zero over the plane, on lattices of side 1, 1/2, 1/4, ...

    Args:
      x, y: [...].
      seed: of the noise.
      octaves: how many lattices, each half as strong as the one before.

    Returns:
      [...] in -1 to 1, of standard deviation about 0.2.

    An image synthesizer (Perlin, 1985).
    """
    total = 0.0
    for octave in range(octaves):
        i, j = np.floor(x), np.floor(y)
        u, v = (a * a * (3 - 2 * a) for a in (x - i, y - j))
        at = lambda down, right, i=i, j=j, s=seed + 131 * octave: hashed(i + down, j + right, s)
        near, far = (at(0, k) * (1 - u) + at(1, k) * u for k in (0, 1))
        total = total + (near * (1 - v) + far * v - 0.5) / 2**octave
        x, y = 2 * x + 17.3, 2 * y + 9.1
    return total


def _grid(size):
    """Centres of pixels, y then x, the image spanning -1 to 1."""
    return (2 * np.mgrid[:size, :size] + 1 - size) / size


def _step(x, low, high):
    """Rises from 0 at `low` to 1 at `high`, smoothly."""
    share = np.clip((x - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def _bytes(colour):
    return np.uint8(np.round(255 * np.clip(colour, 0, 1)))
