"""Sprites that move before photographs: short clips with the truth that video papers ask for.

A sprite is a figure of `shapes`, a digit of mnist5k or a glyph of OpenMoji. What it is and how it
looks are its identity; how it moves is drawn apart from that. A world-fixed photograph lies behind
it, over which the camera pans, wanders and shakes. All positions are functions of time, so flow is
exact for frames in any order and at any playback rate. Pictures that show emoji carry the credit
'Emoji: OpenMoji, CC BY-SA 4.0' and its licence.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data import photos, readers, shapes
from jssl.data.generated import draw
from jssl.data.packaged import emoji
from jssl.data.rasterise import coverage, pixel_grid, tight_box
from jssl.errors import Refusal

LICENCE = 'Apache-2.0; photographs: data/photos.py; emoji CC BY-SA 4.0'
COUNTS = {'train': 1500, 'validation': 300, 'test': 300}
LOOKS = {'shapes': len(shapes.CLASSES), 'digits': 10, 'emoji': len(emoji.SUPERCLASSES)}  # classes
MOTIONS = ('line', 'clockwise', 'counter', 'zigzag', 'hop', 'eight', 'spin', 'pulse')
TEXTURES = ('plain', 'striped', 'chequered')
BANDS = 8  # of the sound
_AMOUNTS = {
    **{'speed': (0.7, 1.4), 'radius': (0.45, 0.65), 'pan': 1.0, 'follow': 1.0, 'noise': 0.02},
    **dict.fromkeys(('tail', 'tied', 'wander', 'shake', 'occluder', 'leave', 'swap'), 0.0),
    **dict.fromkeys(('event', 'busy', 'shuffle', 'drift', 'flicker'), 0.0),
}
_PACE = 0.35  # radians of a path per frame at speed and rate 1
_REACH = 0.35  # half the width of a path; 1 is half the image
_KINDS = 64  # pictures of a class
_CHUNK = 50  # clips that are drawn by one call


def sample(key: jax.Array, *, pictures: str = 'train', **knobs) -> dict[str, jax.Array]:
    """Draws one clip and tells all that it was made of; vmap draws many.

    Args:
      key: random key.
      pictures: split whose photographs, digits, glyphs and identities are used.
      **knobs: what is shown,
        size=32: side S in pixels; frames=8: T.
        look='shapes': or digits, or emoji, whose classes are superclasses.
        classes=10: K, the first of them.
        sprites=1: O, the last in front; distractors=0: smaller ones behind, without truth.
        identities=1000: how many there are in all; identity i is of class i mod K.
        tail=0.0: identity i is drawn in proportion to (i + 1)^-tail.
        scenes=64: photographs behind; tied=0.0: probability that the scene follows the motion.
      how it moves,
        motions=8: the first of `MOTIONS`.
        speed=(0.7, 1.4): of a sprite; rates=(0.5, 1, 2): of playback, one for each clip.
        radius=(0.45, 0.65): of a sprite, 1 being half the image.
        pan=1.0, wander=0.0, shake=0.0: of the camera; pixels a frame, of its sway, of its jitter.
        follow=1.0: share of pan and wander that sprites go along with; at 0 they are world-fixed.
      and what happens, each with a probability,
        occluder=0.0: a pillar that stands in the world, in front.
        leave=0.0: a sprite is there in the first or last part of the clip alone.
        swap=0.0: in the last third, another identity takes a sprite's place, but not its label.
        event=0.0: an interval of fast spin with a burst of sound.
        busy=0.0: an interval of shake and flashes without a sound.
        shuffle=0.0: frames out of order.
      or an amount,
        drift=0.0: by which a sprite's turn and the light change along the clip.
        flicker=0.0: of each frame's light; noise=0.02: of pixels, standard deviation.

    Returns:
      video uint8 [T, S, S, 3]; mask uint8 [T, S, S], 0 behind, o + 1 on sprite o, then distractors,
      last the occluder; flow float32 [T - 1, S, S, 2], x and y in pixels to the next frame, and
      flow_seen bool [T - 1, S, S], whether the point is seen there too;
      rate, scene int32; camera float32 [T, 2], the window's corner in pixels; time float32 [T];
      order int32 [T], true place of every frame; event, busy bool [T]; sound float32 [T, 8],
      energy of bands; and of sprites, without O where it is 1,
        label, identity, motion, direction int32 [O], direction an eighth of a turn; speed [O];
        box float32 [O, T, 4] around what is seen, left, top, right, bottom in [0, 1], zero if
        nothing is; position float32 [O, T, 2] of the centre, x and y in [0, 1] if inside;
        present bool [O, T]; hidden float32 [O, T], share of its pixels that others cover.

    Unsupervised Learning of Video Representations using LSTMs (Srivastava et al., 2015), for
    moving digits.
    """
    tables, static = _setting(pictures, **knobs)
    return _draw(key, jax.tree.map(jnp.asarray, tables), **static)


def dataset(
    split: str = 'train',
    *,
    count: int | None = None,
    seed: int = 0,
    pictures: str | None = None,
    **knobs,
) -> dict[str, np.ndarray]:
    """A split of drawn clips.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      pictures: as `sample`; None is the split's own, so that nothing seen is shared.
      **knobs: those of `sample`.

    Returns:
      The entries of `sample`, each with a first axis [N].

    Unsupervised Learning of Video Representations using LSTMs (Srivastava et al., 2015).
    """
    readers.check_split(split, draw.SPLITS, 'sprite_video')
    count = COUNTS[split] if count is None else count
    tables, static = _setting(split if pictures is None else pictures, **knobs)
    film = lambda keys, _: _draw_many(keys, tables, **static)
    return draw.chunked(film, split, count, seed, chunk=_CHUNK)


def _setting(
    pictures,
    *,
    size=32,
    frames=8,
    look='shapes',
    classes=10,
    sprites=1,
    distractors=0,
    identities=1000,
    scenes=64,
    rates=(0.5, 1.0, 2.0),
    motions=8,
    **amounts,
):
    """Arrays and static options of `_draw`; amounts are arrays, so that one program serves all."""
    readers.check_split(pictures, draw.SPLITS, 'sprite_video')
    if unknown := amounts.keys() - _AMOUNTS.keys():
        raise Refusal(f'sprite_video has no knob {", ".join(sorted(unknown))}')
    if look not in LOOKS:
        raise Refusal(f'look {look!r} is unknown: choose {", ".join(LOOKS)}')
    if not 1 <= classes <= LOOKS[look]:
        raise Refusal(f'classes={classes}: {look} has 1 to {LOOKS[look]}')
    if not 16 <= size <= 64:
        raise Refusal(f'size {size} of sprite_video: choose 16 to 64')
    if not 1 <= motions <= len(MOTIONS):
        raise Refusal(f'motions={motions}: there are 1 to {len(MOTIONS)}')
    if identities < 2 * (sprites + distractors):
        raise Refusal(f'identities={identities}: two for each sprite and distractor at least')
    atlas = _atlas(pictures, look, classes, 32 if size >= 40 else 16)
    tables = {name: np.float32(value) for name, value in (_AMOUNTS | amounts).items()}
    tables |= _identities(pictures, look, identities, classes)
    tables |= {'atlas': atlas.reshape(-1, *atlas.shape[2:]), 'motions': np.int32(motions)}
    tables |= {'photos': photos.patches(pictures, scenes, 2 * size), 'rates': np.float32(rates)}
    static = {'size': size, 'frames': frames, 'sprites': sprites, 'distractors': distractors}
    return tables, static


def _draw(key, tables, *, size, frames, sprites, distractors):
    things, identities = sprites + distractors, len(tables['label'])
    # One call of the generator: each further one costs half a second of compilation.
    lengths = [frames * size**2 * 3, frames * (BANDS + 6), 24, 16 * things, identities]
    numbers = jax.random.uniform(key, (sum(lengths),))
    grain, every, once, each, crowd = jnp.split(numbers, np.cumsum(lengths)[:-1])
    every, each = every.reshape(frames, -1), each.reshape(things, 16)

    clock = _clock(once[:8], every[:, 0], tables)
    moving = {
        'motion': _below(each[:, 0], tables['motions']),
        'direction': _below(each[:, 1], 8),
        'speed': _between(each[:, 2], *tables['speed']),
    }
    count = len(tables['photos'])
    free = _below(once[8], count)
    scene = jnp.where(once[9] < tables['tied'], moving['motion'][0] % count, free)
    camera, carried = _camera(once[10:16], every[:, 1:5], clock, tables, size)

    popular = tables['tail'] * jnp.log(1.0 + jnp.arange(identities))
    drawn = jax.lax.top_k(-jnp.log(-jnp.log(crowd + 1e-9)) - popular, 2 * things)[1]
    mine, next_ones = drawn[:things], drawn[things:]
    swapped = (each[:, 3:4] < tables['swap']) & (clock['order'] >= 2 * frames // 3)
    part = jnp.where(each[:, 4:5] < 0.5, clock['order'], frames - 1 - clock['order'])
    stay = frames * (0.3 + 0.4 * each[:, 5:6])
    present = (each[:, 6:7] >= tables['leave']) | (part < stay)
    identity = jnp.where(swapped, next_ones[:, None], mine[:, None])

    pose = _pose(each[:, 7:], moving, carried, clock, tables, jnp.arange(things) < sprites)
    points = pixel_grid(size)
    local = _local(points, pose)
    layers = _look(local, identity, tables) * present[..., None, None, None]
    pillar = _pillar(once[16:], points, camera, tables, size)
    # Distractors behind, sprites before them, the occluder in front.
    rows = [*range(sprites, things), *range(sprites), things]
    layers = jnp.concatenate([layers, pillar[None]])
    image = _window(tables['photos'][scene], camera, size)
    ids = jnp.zeros((frames, size, size), jnp.int32)
    for row in rows:
        image = image * (1 - layers[row][..., 3:]) + layers[row][..., :3]
        ids = jnp.where(layers[row][..., 3] > 0.5, row + 1, ids)
    light = 1 + tables['flicker'] * (2 * every[:, 5] - 1)
    light += tables['drift'] * (0.6 - 1.2 * once[23]) * clock['order'] / frames
    light += 0.4 * clock['busy'] * (2 * every[:, 5] - 1)
    image = image * light[:, None, None, None]
    image += 12**0.5 * tables['noise'] * (grain.reshape(image.shape) - 0.5)

    solid = layers[:sprites, ..., 3] > 0.5
    seen = ids == 1 + jnp.arange(sprites)[:, None, None, None]
    whole = jnp.maximum(solid.sum((2, 3)), 1)
    flow, flow_seen = _flow(local, pose, ids, identity, camera, size)
    own = {name: value[:sprites] for name, value in moving.items()} | {
        'label': tables['label'][mine[:sprites]],
        'identity': mine[:sprites],
        'box': jax.vmap(jax.vmap(tight_box))(seen) / size,
        'position': (pose['position'][:sprites] + 1) / 2,
        'present': present[:sprites],
        'hidden': (solid & ~seen).sum((2, 3)) / whole,
    }
    if sprites == 1:
        own = {name: value[0] for name, value in own.items()}
    return own | {
        'video': jnp.round(255 * jnp.clip(image, 0, 1)).astype(jnp.uint8),
        'mask': ids.astype(jnp.uint8),
        'flow': flow,
        'flow_seen': flow_seen,
        'scene': scene,
        'camera': camera,
        'sound': _sound(every[:, 6:], clock),
        **{name: clock[name] for name in ('rate', 'time', 'order', 'event', 'busy')},
    }


@functools.partial(jax.jit, static_argnames=('size', 'frames', 'sprites', 'distractors'))
def _draw_many(keys, tables, **static):
    return jax.vmap(functools.partial(_draw, tables=tables, **static))(keys)


def _clock(numbers, ranks, tables):
    """Playback rate, order, time and intervals of a clip."""
    frames = len(ranks)
    in_order = jnp.arange(frames)
    order = jnp.where(numbers[0] < tables['shuffle'], jnp.argsort(ranks), in_order)
    rate = _below(numbers[1], len(tables['rates']))
    length = max(2, frames // 5)
    start = _below(numbers[2], frames - length + 1)
    event = numbers[3] < tables['event']
    since = event * jnp.clip(order - start + 1, 0, length)
    during = event & (start <= order) & (order < start + length)
    first = _below(numbers[4], frames - length + 1)
    busy = (numbers[5] < tables['busy']) & (first <= order) & (order < first + length)
    time = order * tables['rates'][rate]
    clock = {'rate': rate, 'time': time, 'order': order, 'event': during}
    return clock | {'since': since, 'busy': busy & ~during}


def _camera(numbers, jitter, clock, tables, size):
    """Corners [T, 2] of the window, and how far sprites are carried along, grid units [T, 2]."""
    room = size - 1.0
    heading = 2 * jnp.pi * numbers[0]
    pan = tables['pan'] * numbers[1] * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
    time = clock['time'][:, None]
    sway = jnp.sin(time * jnp.array([0.31, 0.23]) + 2 * jnp.pi * numbers[2:4])
    path = room * numbers[4:6] + pan * time + tables['wander'] * sway
    smooth = room - jnp.abs(path % (2 * room) - room)  # turns round at the photograph's edge
    jolt = tables['shake'] * (2 * jitter[:, :2] - 1)
    jolt += 3.0 * clock['busy'][:, None] * (2 * jitter[:, 2:] - 1)
    camera = jnp.clip(smooth + jolt, 0, room)
    carried = smooth - camera - (1 - tables['follow']) * (smooth - smooth.mean(0))
    return camera, 2 * carried / size


def _pose(numbers, moving, carried, clock, tables, main):
    """Position [N, T, 2], scale and angle [N, T] of things."""
    phase = 2 * jnp.pi * numbers[:, :1] + _PACE * moving['speed'][:, None] * clock['time']
    sine, cosine, still = jnp.sin(phase), jnp.cos(phase), jnp.zeros_like(phase)
    paths = jnp.stack([
        jnp.stack([_zigzag(phase), still], -1),
        jnp.stack([cosine, sine], -1),
        jnp.stack([cosine, -sine], -1),
        jnp.stack([_zigzag(phase), 0.6 * _zigzag(4 * phase)], -1),
        jnp.stack([_zigzag(phase), 0.5 - jnp.abs(jnp.sin(2 * phase))], -1),
        jnp.stack([sine, 0.7 * jnp.sin(2 * phase)], -1),
        jnp.stack([still, still], -1),
        jnp.stack([still, still], -1),
    ])  # fmt: skip
    motion = moving['motion']
    path = jnp.take_along_axis(paths, motion[None, :, None, None], 0)[0]
    turn = jnp.pi / 4 * moving['direction'][:, None]
    path = _REACH * _turned(path, turn) + 0.15 * (2 * numbers[:, None, 1:3] - 1) + carried
    tilt = 0.3 * (2 * numbers[:, 3:4] - 1) + clock['since'] * main[:, None]
    drift = tables['drift'] * (2 * numbers[:, 4:5] - 1) * 2 * clock['order'] / len(clock['order'])
    spin = (motion == MOTIONS.index('spin'))[:, None] * 1.5 * phase
    pulse = (motion == MOTIONS.index('pulse'))[:, None] * 0.4 * jnp.sin(1.5 * phase)
    radius = _between(numbers[:, 5:6], *tables['radius']) * jnp.where(main, 1, 0.5)[:, None]
    return {'position': path, 'scale': radius * jnp.exp(pulse), 'angle': tilt + drift + spin}


def _zigzag(phase):
    """Back and forth between -1 and 1 at a constant speed."""
    return 2 / jnp.pi * jnp.arcsin(jnp.sin(phase))


def _turned(vectors, angle):
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return jnp.stack([cosine * x - sine * y, sine * x + cosine * y], -1)


def _local(points, pose):
    """Pixels' places [N, T, H, W, 2] in the frames of things, whose squares span -1 to 1."""
    position = pose['position'][:, :, None, None]
    scale, angle = (pose[name][:, :, None, None] for name in ('scale', 'angle'))
    return _turned(points - position, -angle) / scale[..., None]


def _look(local, identity, tables):
    """Premultiplied colours of things [N, T, H, W, 4] at places in their frames."""
    side = tables['atlas'].shape[1]
    place = jnp.clip((local + 1) / 2 * (side - 2) + 0.5, 0, side - 1.001)
    low = place.astype(jnp.int32)
    share = (place - low)[..., None]
    row = tables['row'][identity][..., None, None]
    first = (row * side + low[..., 1]) * side + low[..., 0]
    texels = tables['atlas'].reshape(-1, 4)
    corner = lambda offset: texels[first + offset].astype(jnp.float32) / 255
    above = corner(0) * (1 - share[..., 0, :]) + corner(1) * share[..., 0, :]
    below = corner(side) * (1 - share[..., 0, :]) + corner(side + 1) * share[..., 0, :]
    colour = above * (1 - share[..., 1, :]) + below * share[..., 1, :]
    wave = jnp.sin(2.5 * jnp.pi * local)
    texture = tables['texture'][identity][..., None, None]
    tone = jnp.where(texture == 1, wave[..., 0], 1.5 * wave[..., 0] * wave[..., 1])
    tone = jnp.where(texture == 0, 1, jnp.clip(0.75 + 0.8 * tone, 0.35, 1))
    tint = tables['tint'][identity][..., None, None, :] * tone[..., None]
    return colour * jnp.concatenate([tint, jnp.ones_like(tint[..., :1])], -1)


def _pillar(numbers, points, camera, tables, size):
    """Premultiplied colours [T, H, W, 4] of a pillar that stands in the world, or of nothing."""
    middle = 0.5 * (2 * numbers[0] - 1) - 2 * (camera - camera.mean(0))[:, :1, None] / size
    alpha = coverage(jnp.abs(points[..., 0] - middle) - _between(numbers[2], 0.1, 0.2), 2 / size)
    alpha = jnp.where(numbers[3] < tables['occluder'], alpha, 0)[..., None]
    return alpha * jnp.concatenate([0.3 * numbers[4:7], jnp.ones(1)])


def _window(photo, camera, size):
    """What the camera sees of a photograph, between its pixels: [T, H, W, 3]."""
    photo = 0.75 / 255 * photo.astype(jnp.float32)
    corner = jnp.minimum(camera, size - 1.001).astype(jnp.int32)

    def seen(corner, share):
        area = jax.lax.dynamic_slice(photo, (corner[1], corner[0], 0), (size + 1, size + 1, 3))
        rows = area[:-1] * (1 - share[1]) + area[1:] * share[1]
        return rows[:, :-1] * (1 - share[0]) + rows[:, 1:] * share[0]

    return jax.vmap(seen)(corner, camera - corner)


def _flow(local, pose, ids, identity, camera, size):
    """Flow [T - 1, H, W, 2] and whether its end shows the same thing, by what is in front."""
    later = {name: value[:, 1:] for name, value in pose.items()}
    scale, angle = (later[name][..., None, None] for name in ('scale', 'angle'))
    moved = later['position'][..., None, None, :]
    moved += scale[..., None] * _turned(local[:, :-1], angle)
    pixel = jnp.stack(jnp.meshgrid(*2 * [jnp.arange(size)]), -1)
    flow = size / 2 * (moved - pixel_grid(size))
    world = jnp.broadcast_to(-jnp.diff(camera, axis=0)[:, None, None], flow.shape[1:])
    same = jnp.ones(ids[1:].shape, bool)
    for thing in range(len(flow)):
        here = ids[:-1] == thing + 1
        world = jnp.where(here[..., None], flow[thing], world)
        stays = identity[thing, 1:] == identity[thing, :-1]
        same &= ~here | stays[:, None, None]
    end = jnp.round(pixel + world).astype(jnp.int32)
    inside = ((end >= 0) & (end < size)).all(-1)
    end = jnp.clip(end, 0, size - 1)
    at_end = jax.vmap(lambda ids, end: ids[end[..., 1], end[..., 0]])(ids[1:], end)
    return world, same & inside & (at_end == ids[:-1])


def _sound(numbers, clock):
    """Energies [T, BANDS]: a low hum, and bursts above it in events."""
    band = jnp.arange(BANDS)
    hum, burst = jnp.exp(-0.8 * band), jnp.exp(-0.1 * (band - 4.0) ** 2)
    return hum + burst * clock['event'][:, None] + 0.2 * numbers[:, :BANDS]


def _between(number, low, high):
    return low + (high - low) * number


def _below(number, count):
    """An integer in 0 to count - 1; the minimum guards against a product rounded up."""
    return jnp.minimum((number * count).astype(jnp.int32), count - 1)


@functools.lru_cache(maxsize=8)
def _identities(pictures, look, count, classes):
    """What the identities of a split look like: places in the atlas, tints and textures."""
    numbers = np.random.default_rng([draw.SPLITS.index(pictures), 11]).random((count, 6))
    label = np.arange(count, dtype=np.int32) % classes
    palette = np.array(list(shapes.COLOURS.values()), np.float32)
    tint = palette[(numbers[:, 1] * len(palette)).astype(int)] + 0.1 * (2 * numbers[:, 3:] - 1)
    texture = (numbers[:, 2] * len(TEXTURES)).astype(np.int32)
    if look == 'emoji':  # painted already
        tint, texture = np.ones_like(tint), np.zeros_like(texture)
    row = label * _KINDS + (numbers[:, 0] * _KINDS).astype(np.int32)
    tint = np.clip(tint, 0, 1).astype(np.float32)
    return {'label': label, 'row': row, 'tint': tint, 'texture': texture}


@functools.lru_cache(maxsize=8)
def _atlas(pictures, look, classes, side):
    """Premultiplied pictures of the classes in a clear frame, uint8 [K, 64, side + 2, side + 2, 4].

    A class with fewer pictures repeats them; figures have one each.
    """
    if look == 'shapes':
        images = _figures(list(shapes.CLASSES.values())[:classes], side)
        label = np.arange(len(images))
    elif look == 'digits':
        found = readers.mnist5k(pictures)
        ink = found['image'][:, 2:26, 2:26].repeat(side // 8, 1).repeat(side // 8, 2)
        ink = ink.reshape(-1, side, 3, side, 3, 1).mean((2, 4))
        images, label = ink.repeat(4, -1), found['label']
    else:
        found = emoji.emoji(pictures, size=side, background=None, tones=False)
        images, label = found['image'].astype(np.float32), found['label']
        images[..., :3] *= images[..., 3:] / 255
    rows = [np.resize(np.flatnonzero(label == k), _KINDS) for k in range(classes)]
    frame = [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)]
    return np.pad(images[np.stack(rows)].round().astype(np.uint8), frame)


def _figures(figures, side):
    """Figures of `shapes` in grey, each layer darker than the one it lies on."""
    points, images = pixel_grid(side), []
    with jax.ensure_compile_time_eval():  # `sample` may be the first to ask, inside a trace
        for layers in figures:
            image = np.zeros((side, side, 4))
            for depth, layer in enumerate(layers):
                alpha = np.asarray(coverage(layer(1.05 * points), 2.1 / side))[..., None]
                image = image * (1 - alpha) + alpha * [*3 * [0.6**depth], 1]
            images.append(image)
    return 255 * np.stack(images)
