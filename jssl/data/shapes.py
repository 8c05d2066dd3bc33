"""Drawn objects on photographs, with every factor known: images that stand in for CIFAR.

An image is a function of (seed, split, index) and of the options. Splits differ in their draws and
in the photographs behind the objects. The class is a silhouette, a fill pattern or a composition of
parts; its colours are drawn apart from it, and so are place, size, turn, backdrop and clutter.

Three families of classes:
  CLASSES    48 figures, then 8 stars and polygons that differ in their corners alone. The first 12
             are plain; then compositions, striped and spotted figures alternate, so that
             range(24), range(24, 32), range(32, 44) are base, validation and novel classes.
  UPRIGHT    10 objects that know where down is. Backdrops are turned at random, so the object
             is the only sign of how an image is turned.
  SYMMETRIC  10 figures that a quarter turn maps onto themselves, the control: no quarter turn
             of the image can be told from another.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data import photos
from jssl.data.rasterise import (
    Transform,
    arrow,
    bake,
    box,
    circle,
    composite,
    coverage,
    crescent,
    cross,
    dots,
    heart,
    intersection,
    look_up,
    move,
    outline,
    pixel_grid,
    place,
    polygon,
    regular,
    ring,
    star,
    stripes,
    subtract,
    tight_box,
    transform_from,
    union,
)
from jssl.errors import Refusal

# All brighter than most backdrops, so that an outline has one sign of contrast.
COLOURS = {
    'red': (1.0, 0.5, 0.5),
    'orange': (1.0, 0.7, 0.4),
    'yellow': (0.95, 0.95, 0.45),
    'green': (0.5, 0.95, 0.5),
    'turquoise': (0.45, 0.95, 0.95),
    'blue': (0.5, 0.7, 1.0),
    'pink': (1.0, 0.6, 0.9),
    'white': (0.97, 0.97, 0.97),
}

# A class is a list of layers, back to front: functions from points to signed distances. Each layer
# has a colour of its own.
PLAIN = {
    'disc': lambda p: circle(p, 0.85),
    'square': lambda p: box(p, 0.75, 0.75),
    'triangle': lambda p: regular(move(p, 0, 0.15), 3, radius=1.05),
    'star': star,
    'ring': ring,
    'cross': cross,
    'heart': heart,
    'crescent': crescent,
    'arrow': arrow,
    'letter_t': lambda p: union(
        box(move(p, 0, -0.6), 0.85, 0.25), box(move(p, 0, 0.1), 0.25, 0.85)
    ),
    'hourglass': lambda p: polygon(
        p, [(-0.75, -0.9), (0.75, -0.9), (0.12, 0), (0.75, 0.9), (-0.75, 0.9), (-0.12, 0)]
    ),
    'letter_l': lambda p: union(
        box(move(p, -0.4, 0), 0.27, 0.9), box(move(p, 0.05, 0.63), 0.7, 0.27)
    ),
}
COMPOSED = {
    'disc_in_frame': [
        lambda p: outline(box(p, 0.7, 0.7), width=0.25),
        lambda p: circle(p, 0.35),
    ],
    'dumbbell': [
        lambda p: box(p, 0.6, 0.14),
        lambda p: union(circle(move(p, -0.6), 0.38), circle(move(p, 0.6), 0.38)),
    ],
    'target': [lambda p: ring(p, 0.75, 0.3), lambda p: circle(p, 0.3)],
    'square_on_disc': [lambda p: circle(p, 0.9), lambda p: box(p, 0.42, 0.42)],
    'two_peaks': [
        lambda p: regular(move(p, 0, 0.45), 3, radius=0.75),
        lambda p: regular(move(p, 0, -0.3), 3, radius=0.65),
    ],
    'three_bars': [
        lambda p: union(*(box(move(p, x), 0.17, 0.85) for x in (-0.62, 0.62))),
        lambda p: box(p, 0.17, 0.85),
    ],
    'disc_in_corner': [
        lambda p: union(box(move(p, -0.65, 0), 0.2, 0.85), box(move(p, 0, 0.65), 0.85, 0.2)),
        lambda p: circle(move(p, 0.2, -0.2), 0.42),
    ],
    'letter_h': [
        lambda p: union(box(move(p, -0.6), 0.22, 0.85), box(move(p, 0.6), 0.22, 0.85)),
        lambda p: box(p, 0.45, 0.2),
    ],
    'key': [
        lambda p: union(box(move(p, 0.3), 0.6, 0.14), box(move(p, 0.75, 0.25), 0.13, 0.3)),
        lambda p: ring(move(p, -0.5), 0.32, 0.24),
    ],
    'star_on_disc': [lambda p: circle(p, 0.95), lambda p: star(1.5 * p) / 1.5],
    'cross_in_ring': [lambda p: ring(p, 0.8, 0.26), lambda p: cross(p, half=0.5, width=0.3)],
    'pawn': [
        lambda p: regular(move(p, 0, 0.35), 3, radius=0.85),
        lambda p: circle(move(p, 0, -0.5), 0.4),
    ],
}
CORNERS = {
    **{f'star_{n}': [functools.partial(star, tips=n)] for n in (3, 4, 6, 7, 8)},
    **{
        name: [functools.partial(regular, sides=n)]
        for name, n in {'pentagon': 5, 'hexagon': 6, 'octagon': 8}.items()
    },
}


def _filled(figure, pattern):
    return [figure, lambda p: intersection(figure(p), pattern(p))]


def _classes():
    plain = {name: [figure] for name, figure in PLAIN.items()}
    striped = [(f'striped_{name}', _filled(figure, stripes)) for name, figure in PLAIN.items()]
    spotted = [(f'spotted_{name}', _filled(figure, dots)) for name, figure in PLAIN.items()]
    half = len(PLAIN) // 2  # a figure's two patterns lie far apart: one is base, one novel
    rows = zip(COMPOSED.items(), striped, spotted[half:] + spotted[:half], strict=True)
    return {**plain, **dict(entry for row in rows for entry in row), **CORNERS}


CLASSES = _classes()
UPRIGHT = {
    'house': [
        lambda p: box(move(p, 0, 0.4), 0.65, 0.5),
        lambda p: polygon(p, [(-0.9, -0.1), (0.0, -0.9), (0.9, -0.1)]),
        lambda p: box(move(p, 0.2, 0.57), 0.18, 0.33),
    ],
    'tree': [
        lambda p: box(move(p, 0, 0.65), 0.16, 0.3),
        lambda p: polygon(p, [(-0.75, 0.4), (0.0, -0.95), (0.75, 0.4)]),
    ],
    'mushroom': [
        lambda p: box(move(p, 0, 0.4), 0.25, 0.55, corner=0.1),
        lambda p: intersection(circle(move(p, 0, 0.05), 0.95), p[..., 1] - 0.05),
        lambda p: union(*(circle(move(p, x, y), 0.15) for x, y in [(-0.45, -0.2), (0.3, -0.4)])),
    ],
    'cup': [
        lambda p: ring(move(p, 0.5, -0.05), 0.35, 0.2),
        lambda p: polygon(p, [(-0.75, -0.6), (0.55, -0.6), (0.35, 0.7), (-0.55, 0.7)]),
        lambda p: box(move(p, -0.1, -0.6), 0.7, 0.12),
    ],
    'lamp': [
        lambda p: union(box(move(p, 0, 0.3), 0.1, 0.6), box(move(p, 0, 0.8), 0.5, 0.13)),
        lambda p: polygon(p, [(-0.35, -0.9), (0.35, -0.9), (0.75, 0.05), (-0.75, 0.05)]),
    ],
    'person': [
        lambda p: union(
            *(box(move(p, 0.22 * s, 0.6, turn=-8 * s), 0.14, 0.4) for s in (-1, 1)),
        ),
        lambda p: union(
            box(move(p, 0, -0.02), 0.3, 0.36), box(move(p, 0, -0.2), 0.75, 0.13, corner=0.1)
        ),
        lambda p: circle(move(p, 0, -0.65), 0.28),
    ],
    'boat': [
        lambda p: box(move(p, 0, 0), 0.07, 0.7),
        lambda p: polygon(p, [(-0.95, 0.35), (0.95, 0.35), (0.55, 0.85), (-0.55, 0.85)]),
        lambda p: polygon(p, [(0.1, -0.9), (0.8, 0.2), (0.1, 0.2)]),
    ],
    'rocket': [
        lambda p: polygon(p, [(-0.65, 0.8), (0.0, 0.0), (0.65, 0.8)]),
        lambda p: box(move(p, 0, 0.1), 0.28, 0.6),
        lambda p: polygon(p, [(-0.36, -0.4), (0.0, -1.0), (0.36, -0.4)]),
    ],
    'umbrella': [
        lambda p: union(
            box(move(p, 0, 0.2), 0.08, 0.65),
            intersection(ring(move(p, -0.2, 0.75), 0.2, 0.16), 0.75 - p[..., 1]),
        ),
        lambda p: subtract(
            intersection(circle(move(p, 0, 0.1), 0.95), p[..., 1] - 0.1),
            *(circle(move(p, x, 0.1), 0.2) for x in (-0.63, 0, 0.63)),
        ),
    ],
    'car': [
        lambda p: polygon(p, [(-0.6, -0.1), (-0.4, -0.55), (0.35, -0.55), (0.6, -0.1)]),
        lambda p: box(move(p, 0, 0.15), 0.95, 0.3, corner=0.1),
        lambda p: union(*(circle(move(p, x, 0.45), 0.27) for x in (-0.5, 0.5))),
    ],
}
SYMMETRIC = {
    'disc': [PLAIN['disc']],
    'square': [PLAIN['square']],
    'ring': [ring],
    'cross': [cross],
    'star_4': [functools.partial(star, tips=4, inner=0.35)],
    'star_8': [functools.partial(star, tips=8, inner=0.6)],
    'clover': [
        lambda p: union(
            *(circle(move(p, x, y), 0.42) for x, y in [(0, 0.5), (0.5, 0), (0, -0.5), (-0.5, 0)])
        )
    ],
    'square_on_disc': COMPOSED['square_on_disc'],
    'target': COMPOSED['target'],
    'four_squares': [
        lambda p: union(*(box(move(p, x, y), 0.33, 0.33) for x in (-0.5, 0.5) for y in (-0.5, 0.5)))
    ],
}

FAMILIES = {'classes': CLASSES, 'upright': UPRIGHT, 'symmetric': SYMMETRIC}

COUNTS = {'train': 4000, 'validation': 1000, 'test': 1000}
_ROTATION = {'classes': 15.0, 'upright': 10.0, 'symmetric': 40.0}
_CHUNK = 250  # images drawn at once: layers of one chunk stay in a few MB
_BANK = 512  # photograph patches behind the images of a split, wider than an image by a half
_FAR = 9.0  # the distance of what is not there


def dataset(
    split: str, *, count: int | None = None, seed: int = 0, **options
) -> dict[str, np.ndarray]:
    """A split of drawn images with labels, masks, boxes and factors.

    Args:
      split: train, validation or test.
      count: N; None is 4000 for training and 1000 for the others.
      seed: item i depends on split, seed, options and i, not on the count.
      **options: what to draw,
        size=32: side of an image in pixels, 8 to 128.
        classes=10: K, the first K classes of the family.
        class_ids=None: or K places in the family; label k is the k-th of them.
        upright=False: the family `UPRIGHT` in place of `CLASSES`.
        symmetric=False: the family `SYMMETRIC`.
        objects=1: how many, the last in front; or (least, most); 0 leaves all else as it was.
        background='photo': or texture (random waves) or plain.
      and how much else varies,
        scale=(0.55, 0.8): radius of an object, 1 being half the image.
        shift=1.0: share of the free room that places use; 0 is the centre.
        rotation=None: degrees to either side; None is 15, 10 upright, 40 symmetric.
        colours=None: places in `COLOURS` that objects may have; None is all.
        tint=0.1: how far a colour's channels stray.
        contrast=(0.2, 0.5): of the backdrop.
        light=0.1: how far a backdrop's channels stray as a whole.
        clutter=1: rounded bars behind the objects.
        occluder=0.0: probability of a bar in front.
        noise=0.03: standard deviation of the pixels' uniform noise.

    Returns:
      image uint8 [N, H, W, 3]; background int32 [N], place in `photos.NAMES`, -1 if none; and of
      the object:
        label int32 [N], place among the chosen classes, once in every K images from the first;
        class_id int32 [N], place in the family;
        mask bool [N, H, W], what is seen of it; box float32 [N, 4] around the mask: left, top,
        right, bottom in pixels, right and bottom exclusive;
        position float32 [N, 2], x and y in -1 to 1; scale [N]; angle [N], radians clockwise;
        colour float32 [N, 3] of the first layer; colour_id int32 [N], place in `COLOURS`.
      With several objects these are [N, O, ...], with present bool [N, O]. All are read-only.

    dSprites: disentanglement testing sprites (Matthey et al., 2017), for factors of drawn shapes.
    """
    _check_split(split)
    count = COUNTS[split] if count is None else count
    frozen = tuple(sorted((name, _frozen(value)) for name, value in options.items()))
    return dict(_dataset(split, count, seed, frozen))


def sample(
    key: jax.Array, label: jax.Array | int | None = None, *, split: str = 'train', **options
) -> dict[str, jax.Array]:
    """Draws one image and tells all that it was made of; vmap draws many.

    Args:
      key: random key.
      label: class of the (first) object, a place among the chosen classes; None draws one.
      split: train, validation or test: which photographs lie behind.
      **options: those of `dataset`.

    Returns:
      The entries of `dataset` without their first axis; image is float32 in [0, 1].

    dSprites: disentanglement testing sprites (Matthey et al., 2017), for factors of drawn shapes.
    """
    _check_split(split)
    tables, static = _scene(split, **options)
    return _draw(key, label, tables, **static)


@functools.lru_cache(maxsize=16)
def _dataset(split, count, seed, options):
    tables, static = _scene(split, **dict(options))
    place = list(photos.SPLITS).index(split)
    key = jax.random.fold_in(jax.random.key(seed), place)
    labels = _labels(np.random.default_rng([seed, place]), count, len(tables['class_id']))
    chunks = [
        jax.device_get(
            _draw_chunk(key, np.uint32(start), labels[start:][:_CHUNK], tables, **static)
        )
        for start in range(0, count, _CHUNK)
    ]
    whole = {name: np.concatenate([chunk[name] for chunk in chunks])[:count] for name in chunks[0]}
    for array in whole.values():
        array.setflags(write=False)
    return whole


def _labels(rng, count, classes):
    """Labels of whole chunks, every class once in each run of `classes`."""
    padded = count + -count % _CHUNK
    return rng.random((-(-padded // classes), classes)).argsort(1).astype(np.int32).ravel()[:padded]


@functools.partial(jax.jit, static_argnames=('size', 'objects', 'background', 'clutter'))
def _draw_chunk(key, start, labels, tables, **static):
    """Items start, start + 1, ... of a split, their images as bytes."""
    indices = start + jnp.arange(_CHUNK, dtype=jnp.uint32)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
    drawn = jax.vmap(lambda key, label: _draw(key, label, tables, **static))(keys, labels)
    return drawn | {'image': jnp.round(255 * drawn['image']).astype(jnp.uint8)}


def _scene(
    split,
    *,
    size=32,
    classes=10,
    class_ids=None,
    upright=False,
    symmetric=False,
    objects=1,
    background='photo',
    scale=(0.55, 0.8),
    shift=1.0,
    rotation=None,
    colours=None,
    tint=0.1,
    contrast=(0.2, 0.5),
    light=0.1,
    clutter=1,
    occluder=0.0,
    noise=0.03,
):
    """Tables of arrays and static options for `_draw`."""
    if upright and symmetric:
        raise Refusal('upright and symmetric are two families of classes: choose one')
    if background not in ('photo', 'texture', 'plain'):
        raise Refusal(f'background {background!r} is unknown: choose photo, texture, plain')
    if not 8 <= size <= 128:
        raise Refusal(f'size must be between 8 and 128 pixels, not {size}')
    family = 'upright' if upright else 'symmetric' if symmetric else 'classes'
    class_ids = tuple(range(classes) if class_ids is None else class_ids)
    known = len(FAMILIES[family])
    if not class_ids or not set(class_ids) <= set(range(known)):
        raise Refusal(f'classes of {family} are 0 to {known - 1}, not {class_ids}')
    tables = {
        'layers': np.stack([_baked(family, i) for i in class_ids]),
        'class_id': np.array(class_ids, np.int32),
        'colours': np.array(range(len(COLOURS)) if colours is None else colours, np.int32),
        'rotation': _ROTATION[family] if rotation is None else rotation,
        **{'scale': scale, 'shift': shift, 'tint': tint, 'contrast': contrast},
        'light': 2 * light,
        **{'occluder': occluder, 'noise': noise},
    }
    if background == 'photo':
        tables['patches'], tables['photographs'] = _bank(split, size)
    counts = (objects, objects) if isinstance(objects, int) else tuple(objects)
    static = {'size': size, 'objects': counts, 'background': background, 'clutter': clutter}
    return tables, static


def _draw(key, label, tables, *, size, objects, background, clutter):
    """One image and its factors; each thing drawn has a row of uniform numbers of its own."""
    # One call of the generator: each further one would add half a second of compilation.
    things = 2 + clutter + objects[1]
    numbers = jax.random.uniform(key, (3 * size**2 + 32 * things,))
    grain, numbers = numbers[: 3 * size**2], numbers[3 * size**2 :].reshape(-1, 32)
    points = pixel_grid(size)
    canvas, source = _backdrop(numbers[0], tables, points, background)
    front, front_colours = _occluder(numbers[1], tables, points)
    behind, behind_colours = _clutter(numbers[2 : 2 + clutter], points)
    layers, colours, factors = _objects(numbers[2 + clutter :], label, tables, points, objects)
    distances = [behind, layers.reshape(-1, size, size), front]
    colours = [behind_colours, colours.reshape(-1, 3), front_colours]
    alphas = coverage(jnp.concatenate(distances), 2 / size)
    image, seen = composite(canvas, jnp.concatenate(colours), alphas)
    image += 12**0.5 * tables['noise'] * (grain.reshape(image.shape) - 0.5)
    drawn = {'image': jnp.clip(image, 0, 1), 'background': source}
    if objects == (0, 0):
        return drawn
    mask = seen[clutter:-1].reshape(layers.shape).sum(1) > 0.5
    factors |= {'mask': mask, 'box': jax.vmap(tight_box)(mask)}
    if objects == (1, 1):
        factors = {name: value[0] for name, value in factors.items() if name != 'present'}
    return drawn | factors


def _backdrop(numbers, tables, points, background):
    """Image [H, W, 3] behind everything, turned and mirrored at random, and its photograph."""
    light, (gain, *turns), numbers = numbers[:3], numbers[3:7], numbers[7:]
    source = jnp.int32(-1)
    if background == 'plain':
        return jnp.broadcast_to(light, (*points.shape[:2], 3)), source
    if background == 'texture':
        image = _waves(numbers, points)
    else:
        image, source = _photograph(numbers, tables, points.shape[0])
    across, over, swap = (number < 0.5 for number in turns)
    image = jnp.where(across, image[:, ::-1], image)
    image = jnp.where(over, image[::-1], image)
    image = jnp.where(swap, image.swapaxes(0, 1), image)
    light = tables['light'] * (light - 0.5)
    image = 0.35 + _between(gain, *tables['contrast']) * (image - 0.5) + light[None, None]
    return jnp.clip(image, 0, 1), source


def _photograph(numbers, tables, size):
    count, side = tables['patches'].shape[:2]
    patch = _below(numbers[0], count)
    row, column = (_below(number, side - size + 1) for number in numbers[1:3])
    corner, shape = (patch, row, column, 0), (1, size, size, 3)
    window = jax.lax.dynamic_slice(jnp.asarray(tables['patches']), corner, shape)[0]
    return window.astype(jnp.float32) / 255, jnp.asarray(tables['photographs'])[patch]


def _waves(numbers, points):
    """Two random colours mixed by four waves of random directions, none of them preferred."""
    one, other = numbers[:6].reshape(2, 1, 1, 3)
    frequency, angle, phase = numbers[6:18].reshape(3, 4)
    frequency, angle = 2 + 12 * frequency, 2 * jnp.pi * angle
    wave = frequency[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    phase = 2 * jnp.pi * phase[:, None, None]
    height = jnp.cos(jnp.einsum('hwi,ki->khw', points, wave) + phase).mean(0)[..., None]
    return one + (other - one) * jax.nn.sigmoid(4 * height)


def _objects(numbers, label, tables, points, objects):
    """Distances [O, P, H, W], colours [O, P, 3] and factors [O, ...] of all objects."""
    least, most = objects
    labels = _below(numbers[:, 0], len(tables['class_id']))
    if label is not None and most:
        labels = labels.at[0].set(label)
    present = jnp.arange(most) < least + _below(numbers[:1, 1], most + 1 - least)
    draw = functools.partial(_object, tables, points)
    layers, colours, factors = jax.vmap(draw)(numbers[:, 2:], labels)
    layers = jnp.where(present[:, None, None, None], layers, _FAR)
    return layers, colours, factors | {'label': labels, 'present': present}


def _object(tables, points, numbers, label):
    ranges = {name: tables[name] for name in ('scale', 'shift', 'rotation')}
    transform = transform_from(numbers[:4], **ranges)
    layers = jnp.asarray(tables['layers'])[label]
    count, others = len(layers), len(COLOURS) - 1
    look = functools.partial(look_up, points=place(points, transform))
    colour_id = jnp.asarray(tables['colours'])[_below(numbers[4], len(tables['colours']))]
    # A first step and equal ones on: all accents differ, since their number is a prime.
    first, step = _below(numbers[5], others), 1 + _below(numbers[6], others - 1)
    accents = colour_id + 1 + (first + step * jnp.arange(count - 1)) % others
    colour_ids = jnp.concatenate([colour_id[None], accents % len(COLOURS)])
    shades = numbers[-3 * count :].reshape(count, 3)
    colours = _shades(shades, colour_ids, tables['tint'])
    factors = {'class_id': jnp.asarray(tables['class_id'])[label]}
    factors |= {'colour': colours[0], 'colour_id': colour_id, **transform._asdict()}
    return transform.scale * jax.vmap(look)(layers), colours, factors


def _clutter(numbers, points):
    """Distances [M, H, W] and colours [M, 3] of small rounded bars anywhere."""
    return jax.vmap(functools.partial(_bar, points, (0.1, 0.35), (0.05, 0.15)))(numbers)


def _occluder(numbers, tables, points):
    """Distance [1, H, W] and colour [1, 3] of a thin bar from side to side, or of nothing."""
    distance, colour = _bar(points, (3.0, 3.0), (0.08, 0.15), numbers[1:])
    return jnp.where(numbers[0] < tables['occluder'], distance, _FAR)[None], colour[None]


def _bar(points, half_length, half_width, numbers):
    position, angle = 2 * numbers[:2] - 1, 2 * jnp.pi * numbers[2]
    points = place(points, Transform(position, jnp.ones(()), angle))
    length, width = _between(numbers[3], *half_length), _between(numbers[4], *half_width)
    colour = _shades(numbers[6:9], _below(numbers[5], len(COLOURS)), 0.15)
    return box(points, length, width, corner=width / 2), colour


def _shades(numbers, colour_ids, tint):
    """Colours [..., 3] near those of the palette."""
    colours = jnp.array(list(COLOURS.values()))[colour_ids]
    return jnp.clip(colours + tint * (2 * numbers - 1), 0, 1)


def _between(number, low, high):
    return low + (high - low) * number


def _below(number, count):
    """An integer in 0 to count - 1; the minimum guards against a product rounded up."""
    return jnp.minimum((number * count).astype(jnp.int32), count - 1)


@functools.cache
def _baked(family, class_id):
    """Distances [P, R, R] of the layers of a class, padded to the most of any in its family."""
    classes = list(FAMILIES[family].values())
    spare = max(map(len, classes)) - len(classes[class_id])
    with jax.ensure_compile_time_eval():  # `sample` may be the first to ask, inside a trace
        layers = [np.asarray(bake(layer)) for layer in classes[class_id]]
    return np.stack([*layers, *[np.full_like(layers[0], _FAR)] * spare])


@functools.cache
def _bank(split, size):
    return photos.crops(split, _BANK, size + size // 2)


def _frozen(value):
    return value if isinstance(value, int | float | str | None) else tuple(value)


def _check_split(split):
    if split not in photos.SPLITS:
        raise Refusal(f'split {split!r} is unknown: choose {", ".join(photos.SPLITS)}')
