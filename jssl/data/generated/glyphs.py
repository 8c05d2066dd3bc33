"""Glyphs: characters of invented alphabets, written by hand again and again.

A character is one to four strokes, each a cubic curve between points of its alphabet's lattice; an
alphabet has a stock of strokes that its characters share. A writing moves the strokes' points,
slants and turns the whole, and has a pen of its own width. Alphabets are disjoint by split, so that
classes are.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.generated import draw
from jssl.data.rasterise import coverage, pixel_grid
from jssl.data.readers import check_split
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
ALPHABETS = {'train': range(24), 'validation': range(24, 30), 'test': range(30, 40)}
CHARACTERS = 20  # of an alphabet
COUNTS = {'train': 9600, 'validation': 2400, 'test': 4000}  # 20 writings of each character
STYLES = ('pen', 'paper', 'outline', 'dashed')
STROKES = 4  # at most
_STOCK = 10  # strokes of an alphabet
_PIECES = 12  # straight ones that a curve is drawn by
_TRIED = 80  # characters that an alphabet is chosen from
_CHUNK = 256  # writings that are drawn by one call


@functools.cache
def alphabet(place: int) -> tuple[np.ndarray, np.ndarray]:
    """The characters of one alphabet, which no seed changes.

    Args:
      place: which one, from 0 on.

    Returns:
      Control points of cubic curves, float32 [C, 4, 4, 2] (strokes, points, x and y in -1 to 1),
      and which strokes a character has, bool [C, 4].

    Human-level concept learning through probabilistic program induction (Lake et al., 2015).
    """
    random = np.random.default_rng([place, 5])
    lattice = np.stack(np.meshgrid(*2 * [np.linspace(-0.7, 0.7, 3)]), -1).reshape(-1, 2)
    lattice = lattice + random.normal(0, 0.1, lattice.shape)
    bend = random.uniform(0.0, 0.9)
    pairs = np.array([(i, j) for i in range(9) for j in range(9)])
    long = np.linalg.norm(lattice[pairs[:, 0]] - lattice[pairs[:, 1]], axis=1) > 0.8
    start, stop = lattice[random.permutation(pairs[long])[:_STOCK].T]
    # Straight for some alphabets, bows and waves for others.
    bow = bend * random.normal(0, 1, (_STOCK, 2, 2))
    inner = [start + (stop - start) / 3 + bow[:, 0], stop - (stop - start) / 3 + bow[:, 1]]
    stock = np.clip(np.stack([start, *inner, stop], 1), -1, 1)
    lengths = random.choice(range(1, STROKES + 1), _TRIED, p=[0.05, 0.3, 0.4, 0.25])
    picked = random.random((_TRIED, _STOCK)).argsort(1)[:, :STROKES]
    points = stock[picked] + random.normal(0, 0.06, (_TRIED, STROKES, 1, 2))
    stroke = np.arange(STROKES) < lengths[:, None]
    points = _filling(points, stroke).astype(np.float32)
    rows = _unlike(points, lengths)
    return points[rows] * stroke[rows][..., None, None], stroke[rows]


def _filling(points, stroke):
    """Characters moved and scaled so that the longer side of each spans -0.75 to 0.75."""
    used = stroke[..., None, None]
    least = np.where(used, points, np.inf).min((1, 2), keepdims=True)
    most = np.where(used, points, -np.inf).max((1, 2), keepdims=True)
    return 1.5 * (points - (least + most) / 2) / (most - least).max(-1, keepdims=True)


def _unlike(points, lengths):
    """Rows of characters that differ most: each the farthest from those before it."""
    curves = np.einsum('pk,cskx->cspx', _weights()[::3], points)
    clouds = np.stack([
        np.resize(curve[:length], curve.shape).reshape(-1, 2)
        for curve, length in zip(curves, lengths, strict=True)
    ])  # fmt: skip
    rows, nearest = [0], np.full(len(points), np.inf)
    while len(rows) < CHARACTERS:
        apart = np.linalg.norm(clouds[:, :, None] - clouds[rows[-1]], axis=-1)
        hausdorff = np.maximum(apart.min(1).mean(1), apart.min(2).mean(1))
        nearest = np.minimum(nearest, hausdorff)
        rows.append(int(nearest.argmax()))
    return rows


def sample(
    key: jax.Array,
    label: jax.Array | int | None = None,
    *,
    alphabets: tuple[int, ...] = tuple(ALPHABETS['train']),
    characters: int = CHARACTERS,
    **knobs,
) -> dict[str, jax.Array]:
    """Writes one character; vmap writes many.

    Args:
      key: random key.
      label: character, a place among those of the alphabets; None draws one.
      alphabets: A places of alphabets.
      characters: C, how many of each, at most 20.
      **knobs: how it is written,
        size=28: side S in pixels.
        style='pen': light on dark; paper, dark on bright grain; outline, hollow; dashed.
        jitter=0.06: standard deviation of the strokes' points; 1 is half the image.
        rotation=12.0: degrees to either side; shear=0.25: greatest slant to either side.
        scale=(0.75, 1.0): along x and y apart; shift=0.1: greatest move.
        thickness=(0.1, 0.18): of the pen; noise=0.02: of pixels, standard deviation.

    Returns:
      image uint8 [S, S, 1]; label int32; character int32, place in its alphabet; alphabet int32,
      its place among all; points float32 [4, 4, 2], control points as written, x and y in -1 to 1,
      and stroke bool [4], which of them there are; thickness, angle, shear float32.

    Human-level concept learning through probabilistic program induction (Lake et al., 2015).
    """
    tables, static = _tables(tuple(alphabets), characters, **knobs)
    return _write(key, label, tables, **static)


def dataset(
    split: str = 'train',
    *,
    count: int | None = None,
    seed: int = 0,
    alphabets: tuple[int, ...] | None = None,
    characters: int = CHARACTERS,
    **knobs,
) -> dict[str, np.ndarray]:
    """A split of writings, every character as often as any other.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count; its label is i mod K.
      alphabets: places of alphabets; None is the split's own of `ALPHABETS`, in no other split.
      characters: C, how many of each, at most 20; K is C for each alphabet.
      **knobs: those of `sample`.

    Returns:
      The entries of `sample`, each with a first axis [N].

    Human-level concept learning through probabilistic program induction (Lake et al., 2015).
    """
    check_split(split, draw.SPLITS, 'glyphs')
    count = COUNTS[split] if count is None else count
    alphabets = tuple(ALPHABETS[split] if alphabets is None else alphabets)
    tables, static = _tables(alphabets, characters, **knobs)

    def write(keys, indices):
        labels = (indices % len(tables['points'])).astype(np.int32)
        return _write_many(keys, labels, tables, **static)

    return draw.chunked(write, split, count, seed, chunk=_CHUNK)


def _tables(
    alphabets,
    characters,
    *,
    size=28,
    style='pen',
    jitter=0.06,
    rotation=12.0,
    shear=0.25,
    scale=(0.75, 1.0),
    shift=0.1,
    thickness=(0.1, 0.18),
    noise=0.02,
):
    """Arrays and static options of `_write`."""
    if style not in STYLES:
        raise Refusal(f'style {style!r} is unknown: choose {", ".join(STYLES)}')
    if not 1 <= characters <= CHARACTERS:
        raise Refusal(f'characters={characters}: an alphabet has 1 to {CHARACTERS}')
    known = [alphabet(place) for place in alphabets]
    numbers = {'jitter': jitter, 'rotation': np.radians(rotation), 'shear': shear, 'scale': scale}
    numbers |= {'shift': shift, 'thickness': thickness, 'noise': noise}
    tables = {name: np.float32(value) for name, value in numbers.items()}
    tables['points'] = np.concatenate([points[:characters] for points, _ in known])
    tables['stroke'] = np.concatenate([stroke[:characters] for _, stroke in known])
    tables['alphabet'] = np.repeat(np.array(alphabets, np.int32), characters)
    tables['character'] = np.tile(np.arange(characters, dtype=np.int32), len(known))
    return tables, {'size': size, 'style': style}


def _write(key, label, tables, *, size, style):
    # One call of the generator: each further one costs half a second of compilation.
    moves = STROKES * 4 * 2
    numbers = jax.random.uniform(key, (size**2 + moves + 8,))
    grain, moves, once = jnp.split(numbers, [size**2, size**2 + moves])
    grain, moves = (12**0.5 * (part - 0.5) for part in (grain, moves))  # of unit variance
    if label is None:
        classes = len(tables['points'])
        label = jnp.minimum((once[7] * classes).astype(jnp.int32), classes - 1)
    either = 2 * once - 1
    angle, shear = tables['rotation'] * either[0], tables['shear'] * either[1]
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    wide, high = tables['scale'][0] + (tables['scale'][1] - tables['scale'][0]) * once[2:4]
    affine = jnp.array([[cosine, -sine], [sine, cosine]]) @ jnp.array([[wide, shear], [0, high]])
    points = jnp.asarray(tables['points'])[label] + tables['jitter'] * moves.reshape(STROKES, 4, 2)
    points = points @ affine.T + tables['shift'] * either[4:6]
    stroke = jnp.asarray(tables['stroke'])[label]
    thickness = tables['thickness'][0] + jnp.ptp(tables['thickness']) * once[6]

    used = jnp.repeat(stroke, _PIECES)
    if style == 'dashed':
        used &= jnp.arange(len(used)) % 4 > 1
    curve = jnp.einsum('pk,skx->spx', jnp.asarray(_weights()), points)
    squares = _squares(pixel_grid(size), curve[:, :-1], curve[:, 1:])
    distance = jnp.sqrt(jnp.where(used[:, None, None], squares, 9.0).min(0)) - thickness / 2
    if style == 'outline':
        distance = jnp.abs(distance) - 0.03
    ink = coverage(distance, 2 / size)
    noise = tables['noise'] * grain.reshape(size, size)
    image = 0.9 - 0.75 * ink + 3 * noise if style == 'paper' else ink + noise
    return {
        'image': jnp.round(255 * jnp.clip(image, 0, 1)).astype(jnp.uint8)[..., None],
        'label': jnp.int32(label),
        'character': jnp.asarray(tables['character'])[label],
        'alphabet': jnp.asarray(tables['alphabet'])[label],
        'points': points,
        'stroke': stroke,
        'thickness': thickness,
        'angle': angle,
        'shear': shear,
    }


@functools.partial(jax.jit, static_argnames=('size', 'style'))
def _write_many(keys, labels, tables, **static):
    write = functools.partial(_write, **static)
    return jax.vmap(write, (0, 0, None))(keys, labels, tables)


def _squares(pixels, start, stop):
    """Squared distances [S P, H, W] of pixels to straight pieces [S, P, 2]."""
    (x0, y0), (x1, y1) = (ends.reshape(-1, 2).T[..., None, None] for ends in (start, stop))
    x, y, across, down = pixels[..., 0] - x0, pixels[..., 1] - y0, x1 - x0, y1 - y0
    share = jnp.clip((x * across + y * down) / jnp.maximum(across**2 + down**2, 1e-9), 0, 1)
    return (x - share * across) ** 2 + (y - share * down) ** 2


@functools.cache
def _weights():
    """Bernstein polynomials [_PIECES + 1, 4], which make a cubic curve of its control points."""
    t = np.linspace(0, 1, _PIECES + 1, dtype=np.float32)[:, None]
    return np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
