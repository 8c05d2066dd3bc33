"""Persons seen by cameras: who they are, how they stand and walk, and what each camera adds.

An identity is hair, skin, build, clothes and a bag, the same in all pictures of it; a camera is a
cast of colour, blur, a background and a place of the person in the picture. Cameras of a higher
number are farther from the first.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.generated import draw
from jssl.data.rasterise import Transform, box, composite, coverage, pixel_grid, place
from jssl.data.readers import check_split
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 1800, 'validation': 300, 'test': 600}
IDENTITIES = {'train': (0, 60), 'validation': (1000, 20), 'test': (2000, 60)}  # first and number
CAMERAS = {'train': (0, 3), 'validation': (0, 3), 'test': (3, 5)}
_LOOK, _VIEW, _POSE = 26, 12, 9  # numbers that each is made of
# Rounded boxes from the back to the front; the head's top is at -1.6, soles are at 1.6. A joint and
# how the part swings about it; the part's middle from there, half its sides, corners; a colour and
# when it is there.
_PARTS = (
    *(((0.2 * s, 0.2), s, (0, 0.7), (0.16, 0.6), 0.05, 'bottom', 'always') for s in (-1, 1)),
    *(((0.2 * s, 0.2), s, (0, 0.95), (0.14, 0.35), 0.05, 'skin', 'shorts') for s in (-1, 1)),
    *(((0.2 * s, 0.2), s, (0.04, 1.32), (0.2, 0.09), 0.05, 'shoe', 'always') for s in (-1, 1)),
    ((0, -1.0), 0, (0, 0), (0.28, 0.45), 0.2, 'hair', 'long'),
    ((0, -0.35), 0, (0, 0), (0.4, 0.6), 0.12, 'top', 'always'),
    ((0, -0.35), 0, (0, 0), (0.4, 0.6), 0.12, 'second', 'banded'),
    *(((0.5 * s, -0.85), -1.3 * s, (0, 0.35), (0.1, 0.4), 0.08, 'top', 'always') for s in (-1, 1)),
    *(((0.5 * s, -0.85), -1.3 * s, (0, 0.82), (0.1, 0.1), 0.1, 'skin', 'always') for s in (-1, 1)),
    ((0, -1.25), 0, (0, 0), (0.3, 0.3), 0.3, 'skin', 'always'),
    ((0, -1.45), 0, (0, 0), (0.31, 0.16), 0.14, 'hair', 'always'),
    ((0, -1.27), 0, (0, 0), (0.31, 0.28), 0.2, 'hair', 'back'),
    ((-0.55, 0.05), 0, (0, 0), (0.2, 0.24), 0.06, 'bag', 'left'),
    ((0.55, 0.05), 0, (0, 0), (0.2, 0.24), 0.06, 'bag', 'right'),
    # What may stand in front: a bush, a post.
    ((0, 1.8), 0, (0, 0), (3, 1), 0.0, 'other', 'bush'),
    ((0.7, 0), 0, (0, 0), (0.35, 3), 0.0, 'other', 'post'),
)
_COLOURS = ('hair', 'top', 'second', 'bottom', 'shoe', 'bag', 'skin', 'other')
_WHEN = ('always', 'shorts', 'long', 'banded', 'back', 'left', 'right', 'bush', 'post')
_BANDED, _TORSO = 8, (7, 8)
_SKIN = np.array([[0.95, 0.8, 0.68], [0.35, 0.22, 0.15]])
_AMOUNTS = {'shift': 1.0, 'pose': 1.0, 'occluded': 0.2, 'noise': 0.02}
_CLIP = {'leave': 0.25, 'cut': 0.3, 'drift': 0.15, 'missed': 0.05}
_CHUNK = 128  # pictures that are drawn by one call


def sample(
    generator: np.random.Generator,
    *,
    identities: tuple[int, int] = IDENTITIES['train'],
    cameras: tuple[int, int] = CAMERAS['train'],
    height: int = 32,
    **amounts,
) -> dict[str, np.ndarray]:
    """Draws one picture of one person.

    Args:
      generator: NumPy generator.
      identities: first and number of those that are drawn from.
      cameras: likewise.
      height: H in pixels; the width is half of it.
      **amounts: shift=1.0: by which cameras differ; pose=1.0: by which persons turn and stride;
        occluded=0.2: share of pictures in which something hides the legs or a side; noise=0.02: of
        pixels, standard deviation.

    Returns:
      image uint8 [H, W, 3]; mask bool [H, W], what is seen of the person; label, camera int32, the
      identity and the camera by their numbers; facing float32, degrees from the camera, 180 the
      back.

    Dissecting Person Re-identification from the Viewpoint of Viewpoint (Sun and Zheng, 2019), for
    drawn persons and their factors.
    """
    amounts = _amounts(_AMOUNTS, amounts)
    plan = _picture(generator, identities, cameras, amounts)
    return _drawn([plan], [generator], height, amounts, 'image')[0]


def clip(
    generator: np.random.Generator,
    *,
    identities: tuple[int, int] = IDENTITIES['train'],
    cameras: tuple[int, int] = CAMERAS['train'],
    height: int = 32,
    frames: int = 4,
    people: int = 6,
    **amounts,
) -> dict[str, np.ndarray]:
    """Draws what a detector cuts out of the frames of a video, in no order.

    Args:
      generator: NumPy generator.
      identities, cameras, height: as `sample`.
      frames: T.
      people: O, how many there are in all.
      **amounts: those of `sample` and, as probabilities, leave=0.25: a person is there in the first
        or last frames alone; cut=0.3: another camera takes over at some frame; missed=0.05: a
        person is not detected; and drift=0.15: by which the light changes.

    Returns:
      crop uint8 [T, O, H, W, 3]; mask bool [T, O, H, W], label int32 [T, O], the identity of each,
      -1 where a crop shows the background alone; camera int32 and facing float32 [T, O].

    Identity-Seeking Self-Supervised Representation Learning for Generalizable Person
    Re-identification (Dou et al., 2023), for the task.
    """
    amounts = _amounts(_AMOUNTS | _CLIP, amounts)
    plan = _walk(generator, identities, cameras, frames, people, amounts)
    return _drawn([plan], [generator], height, amounts, 'crop')[0]


FAMILIES = {'picture': sample, 'clip': clip}


def dataset(
    split: str = 'train',
    *,
    family: str = 'picture',
    count: int | None = None,
    seed: int = 0,
    height: int = 32,
    frames: int = 4,
    people: int = 6,
    **knobs,
) -> dict[str, np.ndarray]:
    """A split of pictures or clips; splits share no identity, and testing has cameras of its own.

    Args:
      split: train, validation or test.
      family: picture or clip.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      height: H.
      frames, people: of clips.
      **knobs: the others of `sample` or `clip`.

    Returns:
      The entries of `sample` or `clip`, each with a first axis [N].

    Dissecting Person Re-identification from the Viewpoint of Viewpoint (Sun and Zheng, 2019).
    """
    check_split(split, draw.SPLITS, 'persons')
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of persons: choose {", ".join(FAMILIES)}')
    count = COUNTS[split] if count is None else count
    ranges = knobs.pop('identities', IDENTITIES[split]), knobs.pop('cameras', CAMERAS[split])
    generators = [draw.generator(seed, split, i) for i in range(count)]
    if family == 'picture':
        amounts = _amounts(_AMOUNTS, knobs)
        plans = [_picture(generator, *ranges, amounts) for generator in generators]
        items = _drawn(plans, generators, height, amounts, 'image')
    else:
        amounts = _amounts(_AMOUNTS | _CLIP, knobs)
        plans = [_walk(generator, *ranges, frames, people, amounts) for generator in generators]
        items = _drawn(plans, generators, height, amounts, 'crop')
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def _amounts(known, given):
    if unknown := given.keys() - known.keys():
        raise Refusal(f'persons has no knob {", ".join(sorted(unknown))}')
    return known | given


@functools.lru_cache(maxsize=4096)
def _numbers(kind, place):
    """What an identity or a camera is made of, 0 to 1 each."""
    return np.random.default_rng([place, {'identity': 17, 'camera': 18}[kind]]).random(_LOOK)


def _picture(generator, identities, cameras, amounts):
    """Who, by which camera, in which pose."""
    label, camera = (first + generator.integers(count) for first, count in (identities, cameras))
    pose = generator.random(_POSE)
    return {
        'label': np.int32(label),
        'camera': np.int32(camera),
        **_stance(pose, amounts),
        'there': np.bool_(True),
        'light': np.float32(1),
    }


def _walk(generator, identities, cameras, frames, people, amounts):
    """The same of all people in all frames, [T, O] each."""
    if people > identities[1]:
        raise Refusal(f'people={people}: there are {identities[1]} identities')
    label = identities[0] + generator.permutation(identities[1])[:people]
    one, other = cameras[0] + generator.integers(cameras[1], size=2)
    time = np.arange(frames)
    cut = generator.integers(1, frames) if generator.random() < amounts['cut'] else frames
    stay = np.where(
        generator.random(people) < amounts['leave'], generator.integers(1, frames, people), frames
    )
    since = np.where(generator.random(people) < 0.5, time[:, None], frames - 1 - time[:, None])
    there = (since < stay) & (generator.random((frames, people)) >= amounts['missed'])
    # A person turns a little and strides on; something may step in front at any time.
    pose = np.tile(generator.random((people, _POSE)), (frames, 1, 1))
    pose[..., 0] = np.abs((2 * pose[..., 0] + 0.1 * time[:, None] + 1) % 2 - 1)
    pose[..., 1] += 0.15 * time[:, None]
    pose[..., 5] = generator.random((frames, people))
    light = 1 + amounts['drift'] * generator.uniform(-1, 1, (frames, 1))
    plan = {
        'label': np.broadcast_to(label, there.shape).astype(np.int32),
        'camera': np.broadcast_to(np.where(time < cut, one, other)[:, None], there.shape).astype(
            np.int32
        ),
        **_stance(pose, amounts),
        'there': there,
        'light': np.broadcast_to(light, there.shape).astype(np.float32),
    }
    order = generator.random((frames, people)).argsort(1)
    rows = time[:, None]
    return {name: column[rows, order] for name, column in plan.items()}


def _stance(pose, amounts):
    """Numbers [..., 9] as degrees of facing and stride, place, and what stands in front."""
    facing = 180 * min(amounts['pose'], 1) * pose[..., 0]
    stride = 22 * amounts['pose'] * np.sin(2 * np.pi * pose[..., 1])
    hidden = pose[..., 5] < amounts['occluded']
    columns = [facing, stride, *np.moveaxis(pose[..., 2:5], -1, 0), hidden]
    pose = np.stack([*columns, *np.moveaxis(pose[..., 6:], -1, 0)], -1)
    return {'facing': facing.astype(np.float32), 'pose': pose.astype(np.float32)}


def _drawn(plans, generators, height, amounts, name):
    """The items of plans, whose pictures are drawn by one program, a chunk at a time."""
    shape = plans[0]['there'].shape
    flat = {
        k: np.concatenate([p[k].reshape(-1, *p[k].shape[len(shape) :]) for p in plans])
        for k in plans[0]
    }
    look = np.float32([_numbers('identity', int(i)) for i in flat['label']])
    view = np.float32([_numbers('camera', int(i))[:_VIEW] for i in flat['camera']])
    far = amounts['shift'] * (0.3 + 0.2 * flat['camera'])  # from the first camera
    columns = [look, np.c_[view, far].astype(np.float32), flat['pose'], flat['there']]
    count, images, masks = len(look), [], []
    for start in range(0, count, _CHUNK):
        rows = (start + np.arange(_CHUNK)) % count  # the last chunk is filled up
        image, mask = jax.device_get(
            _draw_many(*(column[rows] for column in columns), height=height)
        )
        images.append(image[: count - start])
        masks.append(mask[: count - start])
    image = np.concatenate(images) * flat['light'][:, None, None, None]
    image = image.reshape(len(plans), *shape, *image.shape[1:])
    mask = np.concatenate(masks).reshape(*image.shape[:-1])
    return [
        {
            name: _bytes(
                image[i] + amounts['noise'] * generators[i].standard_normal(image[i].shape)
            ),
            'mask': mask[i],
            'label': np.where(plan['there'], plan['label'], np.int32(-1)),
            'camera': plan['camera'],
            'facing': plan['facing'],
        }
        for i, plan in enumerate(plans)
    ]


@functools.partial(jax.jit, static_argnames='height')
def _draw_many(looks, views, poses, there, *, height):
    return jax.vmap(functools.partial(_seen, height=height))(looks, views, poses, there)


def _seen(look, view, pose, there, *, height):
    """A person before a camera's background, or that alone: image [H, W, 3], mask [H, W]."""
    grid, far = pixel_grid(height, height // 2), view[-1]
    angle = jnp.deg2rad(pose[0])
    back, wide = jnp.cos(angle) < 0, 0.65 + 0.35 * jnp.abs(jnp.cos(angle))
    wide = wide * (0.85 + 0.35 * look[0])
    size = 1 + 0.12 * (2 * pose[2] - 1) + 0.1 * far * (view[11] - 0.5)
    offset = 0.25 * (2 * pose[3:5] - 1) * jnp.array([1.0, 0.5])
    points = place(grid, Transform(offset, size, jnp.zeros(())))

    joint, swing, middle, half, corner, colour, when = map(np.array, zip(*_PARTS, strict=True))
    frame = Transform(
        joint * jnp.stack([wide, 1.0]), jnp.ones(len(swing)), jnp.deg2rad(swing * pose[1])
    )
    local = jax.vmap(place, (None, 0))(points, frame) - middle[:, None, None]
    half = jnp.where(
        np.isin(np.arange(len(half)), _TORSO)[:, None], half * jnp.stack([wide, 1.0]), half
    )
    distance = jax.vmap(lambda p, h, c: box(p, h[0], h[1], corner=c))(
        local, half, jnp.asarray(corner)
    )
    wave = jnp.where(look[23] < 0.66, points[..., 1], points[..., 0])
    bands = 0.3 * (jnp.abs((wave / 0.3) % 1 - 0.5) - 0.25)
    distance = distance.at[_BANDED].set(jnp.maximum(distance[_BANDED], bands))

    left = (look[24] < 0.5) ^ back
    bag, hidden = look[25] < 0.6, pose[5] > 0
    flags = [look[23] >= 0, look[22] < 0.3, (look[21] < 0.4) & back, look[23] > 0.33, back]
    flags += [bag & left, bag & ~left, hidden & (pose[7] < 0.5), hidden & (pose[7] >= 0.5)]
    shown = jnp.stack(flags)[np.array([_WHEN.index(name) for name in when])] & there
    alphas = shown[:, None, None] * coverage(size * distance, 4 / height)
    skin = _SKIN[0] + (_SKIN[1] - _SKIN[0]) * look[2]
    painted = 0.05 + 0.9 * look[3:21].reshape(6, 3)
    painted = painted.at[0].multiply(jnp.array([0.7, 0.5, 0.35]))  # hair is brown or black
    palette = jnp.concatenate([painted, skin[None], 0.2 + 0.3 * pose[None, 6:9]])
    colours = palette[np.array([_COLOURS.index(name) for name in colour])]
    image, seen = composite(_behind(grid, view), colours, alphas)
    return _through(image, view, far), seen[:-2].sum(0) > 0.5


def _behind(grid, view):
    """A wall above a floor [H, W, 3], in the camera's own colours."""
    wall, floor = 0.55 + 0.3 * (view[:3] - 0.5), 0.4 + 0.3 * (view[3:6] - 0.5)
    edge = jax.nn.sigmoid(8 * (grid[..., 1:] - 0.9 - 0.5 * (view[6] - 0.5)))
    return wall + edge * (floor - wall) + 0.08 * jnp.sin((3 + 6 * view[7]) * grid[..., :1])


def _through(image, view, far):
    """An image as a camera renders it: contrast, cast of colour and blur."""
    image = (image - 0.5) * (1 - 0.3 * far * view[11]) + 0.5
    image = image * jnp.exp(0.6 * far * (view[8:11] - 0.5))
    blur = jnp.clip(0.8 * far * view[7], 0, 0.66)
    for axis in (0, 1):
        around = (jnp.roll(image, 1, axis) + jnp.roll(image, -1, axis)) / 2
        image = image + blur * (around - image)
    return image


def _bytes(image):
    return np.uint8(np.round(255 * np.clip(image, 0, 1)))
