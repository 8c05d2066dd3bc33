"""Drawn surfaces of materials, sound ones and ones with a defect whose outline is exact.

Five textures of random scale, turn and colours, five defects. A training split holds sound surfaces
alone, as inspection does; half of the others are defective, and each is told how it looked before.
"""

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 600, 'validation': 100, 'test': 150}
TEXTURES = ('woven', 'tiles', 'wood', 'mottled', 'mesh')
DEFECTS = ('blotch', 'scratch', 'dent', 'missing', 'stain')


def sample(
    generator: np.random.Generator,
    *,
    size: int = 48,
    textures: tuple[str, ...] = TEXTURES,
    defects: tuple[str, ...] = DEFECTS,
    rate: float = 0.5,
    radius: tuple[float, float] = (0.08, 0.25),
    strength: tuple[float, float] = (0.5, 1.0),
    turn: float = 10.0,
    noise: float = 0.015,
) -> dict[str, np.ndarray]:
    """Draws one surface.

    Args:
      generator: of random numbers, see `draw.generator`.
      size: H = W in pixels.
      textures: names of TEXTURES to draw from.
      defects: names of DEFECTS to draw from.
      rate: probability of a defect.
      radius: of a defect, 1 being the side of the image; of a scratch half the length.
      strength: of a defect, least and greatest; 1 is plain to see.
      turn: of the texture, degrees to either side.
      noise: standard deviation of the pixels' noise, the same with and without the defect.

    Returns:
      image uint8 [H, W, 3]; clean uint8 [H, W, 3], the same without defect and equal to it outside
      the mask; mask bool [H, W]; label int32, 1 for a defect; texture int32, place in TEXTURES;
      defect int32, 1 + place in DEFECTS or 0; radius, strength float32, 0 for none.

    MVTec AD: a comprehensive real-world dataset for unsupervised anomaly detection
    (Bergmann et al., 2019), for kinds of textures and defects.
    """
    for what, names, known in (('textures', textures, TEXTURES), ('defects', defects, DEFECTS)):
        for name in names:
            if name not in known:
                raise Refusal(f'{what}: {name!r} is unknown, choose of {", ".join(known)}')
    texture = textures[generator.integers(len(textures))]
    defect = defects[generator.integers(len(defects))]
    broken = generator.random() < rate
    reach, force = generator.uniform(*radius), generator.uniform(*strength)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    material = _Material(generator, texture, turn)
    grain = noise * generator.standard_normal((size, size, 3))
    clean = material.paint(x, y)
    image, mask = clean, np.zeros((size, size), bool)
    if broken:
        middle = generator.uniform(0.15, 0.85, 2)
        image, mask = _DEFECTS[defect](generator, material, clean, x, y, middle, reach, force)
    ids = {'label': broken, 'texture': TEXTURES.index(texture)}
    ids['defect'] = broken * (1 + DEFECTS.index(defect))
    item = {'image': _bytes(image + grain), 'clean': _bytes(clean + grain), 'mask': mask}
    item |= {name: np.int32(value) for name, value in ids.items()}
    return item | {'radius': np.float32(broken * reach), 'strength': np.float32(broken * force)}


def dataset(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """A split of drawn surfaces; unless `rate` says otherwise, training ones are sound.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`.

    Returns:
      The entries of `sample`, each with a first axis [N].
    """
    count = COUNTS[split] if count is None else count
    return draw.columns(sample, split, count, seed, **_rate(split) | knobs)


def source(split: str, *, count: int, seed: int = 0, **knobs) -> draw.Drawn:
    """The same, each item drawn when it is asked for.

    Args: as `dataset`.
    Returns: `draw.Drawn` of dicts.
    """
    return draw.Drawn(sample, split, count, seed, **_rate(split) | knobs)


def _rate(split):
    return {'rate': 0.0} if split == 'train' else {}


# Textures


class _Material:
    """One piece of material: its random numbers, so that any part of it can be painted."""

    def __init__(self, generator, texture, turn):
        self.texture = texture
        self.angle = np.deg2rad(turn) * generator.uniform(-1, 1)
        self.often = generator.uniform(0.85, 1.15)
        self.shift = generator.uniform(0, 10, 2)
        tone = generator.uniform(0.35, 0.7)
        self.one = np.clip(tone + 0.18 * generator.uniform(-1, 1, 3), 0.1, 0.9)
        self.two = 0.5 * self.one + 0.08 * generator.uniform(-1, 1, 3)
        self.backing = 0.25 * self.one
        way = generator.standard_normal((10, 2))
        self.ways = way / np.linalg.norm(way, axis=1, keepdims=True)
        self.long = generator.uniform(1, 3, 10)
        self.phase = generator.uniform(0, 2 * np.pi, 10)
        self.hue = generator.integers(1 << 30)

    def turned(self, x, y):
        """Coordinates in the material's own directions."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = cos * x + sin * y, cos * y - sin * x
        return self.often * u + self.shift[0], self.often * v + self.shift[1]

    def field(self, u, v, often):
        """A smooth field of standard deviation one, of about `often` spots to the side."""
        total = 0.0
        for way, long, phase in zip(self.ways, self.long, self.phase, strict=True):
            total = total + np.cos(3 * often * long * (u * way[0] + v * way[1]) + phase)
        return total / 5**0.5

    def threads(self, x, y):
        """How much of threads covers each place, 0 to 1, and how light they are there."""
        u, v = self.turned(x, y)
        if self.texture == 'woven':
            u, v = 7 * u, 7 * v
            over = (np.floor(u) + np.floor(v)) % 2 == 0
            across, along = np.abs(np.sin(np.pi * u)), np.abs(np.sin(np.pi * v))
            return np.maximum(across, along) > 0.45, np.where(over, across, 0.75 * along)
        near = np.minimum(_near(6 * u), _near(6 * v))
        return near < 0.17, 1 - near / 0.17

    def paint(self, x, y):
        """Colours [H, W, 3] of the sound material."""
        u, v = self.turned(x, y)
        if self.texture in ('woven', 'mesh'):
            there, light = self.threads(x, y)
            amount = np.where(there, 0.35 + 0.65 * light, 0)[..., None]
            return self.backing + amount * (1.25 * self.one - self.backing)
        if self.texture == 'tiles':
            wide, high = 4 * u, 4 * v
            grout = np.minimum(_near(wide), _near(high)) < 0.06
            cells = _hash(np.floor(wide), np.floor(high), self.hue)
            tile = (0.85 + 0.3 * cells + 0.03 * self.field(u, v, 6))[..., None] * self.one
            return np.where(grout[..., None], 0.45 * self.two, tile)
        if self.texture == 'wood':
            rings = 0.5 + 0.5 * np.sin(40 * v + 2.2 * self.field(0.5 * u, 1.5 * v, 1))
            fibre = self.field(0.3 * u, 6 * v, 3)
            mix = np.clip(0.75 * rings**2 + 0.08 * fibre, 0, 1)[..., None]
            return self.one + mix * (self.two - self.one)
        rough = 0.6 * self.field(u, v, 3) + 0.4 * self.field(v, u, 8)
        mix = np.clip(0.5 + 0.35 * rough, 0, 1)[..., None]
        return self.one + mix * (self.two - self.one)


def _near(places):
    """Distance to the nearest whole number."""
    return np.abs(places - np.round(places))


def _hash(i, j, seed):
    """Numbers in 0 to 1 that depend on a cell and the seed alone."""
    mixed = np.sin(12.9898 * i + 78.233 * j + seed % 1000) * 43758.5453
    return mixed - np.floor(mixed)


# Defects: each returns the image and the mask, outside of which nothing changed


def _blob(generator, x, y, middle, reach):
    """How far out places lie in a roundish, uneven spot: below 1 within."""
    round = np.arctan2(y - middle[1], x - middle[0])
    edge = 1.0
    for k in (2, 3, 5):
        edge = edge + 0.3 / k * np.cos(k * round + generator.uniform(0, 2 * np.pi))
    stretch = generator.uniform(0.75, 1.3)
    away = np.hypot((x - middle[0]) * stretch, (y - middle[1]) / stretch)
    return away / (reach * edge)


def _over(clean, mask, colour, amount):
    """A colour laid over the mask, more or less."""
    laid = np.where(mask, amount, 0)[..., None]
    return clean + laid * (colour - clean)


def _blotch(generator, material, clean, x, y, middle, reach, force):
    mask = _blob(generator, x, y, middle, reach) < 1
    colour = np.array([0.1, 0.1, 0.12]) if clean.mean() > 0.35 else np.array([0.9, 0.88, 0.8])
    return _over(clean, mask, colour, 0.85 * force), mask


def _stain(generator, material, clean, x, y, middle, reach, force):
    deep = _blob(generator, x, y, middle, reach)
    mask = deep < 1
    tint = np.array([0.55, 0.4, 0.2])
    return _over(clean, mask, clean * tint, force * np.clip(1.4 - deep, 0.4, 0.9)), mask


def _scratch(generator, material, clean, x, y, middle, reach, force):
    angle, bend = generator.uniform(0, np.pi), generator.uniform(-0.6, 0.6)
    u = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
    v = (y - middle[1]) * np.cos(angle) - (x - middle[0]) * np.sin(angle)
    line = np.abs(v - bend * (u * u / reach - reach / 3))
    wide = max(0.75 / len(x), 0.012)
    mask = (line < wide) & (np.abs(u) < reach)
    colour = 0.95 if clean.mean() < 0.5 else 0.05
    return _over(clean, mask, np.full(3, colour), 0.9 * force), mask


def _dent(generator, material, clean, x, y, middle, reach, force):
    away = np.hypot(x - middle[0], y - middle[1]) / reach
    mask = away < 1
    # The material is drawn together towards the middle, and lit from one side.
    pull = np.where(mask, 0.6 * force * (1 - away**2) ** 2, 0)
    bent = material.paint(x + pull * (x - middle[0]), y + pull * (y - middle[1]))
    light = generator.uniform(0, 2 * np.pi)
    slope = ((x - middle[0]) * np.cos(light) + (y - middle[1]) * np.sin(light)) / reach
    shade = 1 + 1.2 * force * slope * (1 - away**2)
    return np.where(mask[..., None], bent * shade[..., None], clean), mask


def _missing(generator, material, clean, x, y, middle, reach, force):
    u, v = material.turned(x, y)
    ends = material.turned(*middle)
    # Along the material's directions: threads are gone, or a piece has broken off.
    half = reach * material.often * generator.uniform(0.7, 1.3, 2)
    if material.texture in ('woven', 'mesh'):
        half[generator.integers(2)] *= 0.45
    mask = (np.abs(u - ends[0]) < half[0]) & (np.abs(v - ends[1]) < half[1])
    if material.texture in ('woven', 'mesh'):
        mask = mask & material.threads(x, y)[0]
    return _over(clean, mask, material.backing, force), mask


_DEFECTS = dict(zip(DEFECTS, (_blotch, _scratch, _dent, _missing, _stain), strict=True))


def _bytes(colour):
    return np.uint8(np.round(255 * np.clip(colour, 0, 1)))
