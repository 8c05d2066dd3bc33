"""Drawn 3D scenes: objects on a ground, seen by cameras, with every truth that vision asks for.

A scene is drawn as numbers (`arrange`) and rendered by rays (`render`); `sample` does both for one
item. Objects are solids of `march`, one for each of the first six classes, several
parts for furniture and what stands in a street. Lengths are in units of about an object's radius
on a table and of metres in a street; z points up and the ground is z = 0.

What can be had beside the image is named in `TRUTH`; what is not asked for is not computed.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.generated import camera, draw
from jssl.data.generated.march import (
    Solid,
    ball,
    box,
    capsule,
    cone,
    cylinder,
    extent,
    march,
    normal,
    pyramid,
    stack,
    torus,
    wedge,
)
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 2000, 'validation': 500, 'test': 500}

# A part is (solid, group): parts of a group belong together, a table's legs for instance.
SHAPES = {
    'ball': [(ball(0.7, at=(0, 0, 0.7)), 0)],
    'cube': [(box(0.6, 0.6, 0.6, corner=0.06, at=(0, 0, 0.6)), 0)],
    'cylinder': [(cylinder(0.55, 0.65, corner=0.04, at=(0, 0, 0.65)), 0)],
    'cone': [(cone(0.75, 0.75, at=(0, 0, 0.75)), 0)],
    'ring': [(torus(0.55, 0.2, at=(0, 0, 0.75), axis=0), 0)],
    'capsule': [(capsule(0.38, 0.85, at=(0, 0, 0.85)), 0)],
}
FURNITURE = {
    'table': [
        (box(0.9, 0.7, 0.07, at=(0, 0, 0.95)), 0),
        *(
            (box(0.07, 0.07, 0.45, at=(x, y, 0.45)), 1)
            for x in (-0.75, 0.75)
            for y in (-0.55, 0.55)
        ),
    ],
    'chair': [
        (box(0.45, 0.45, 0.07, at=(0, 0, 0.6)), 0),
        (box(0.06, 0.45, 0.5, at=(-0.4, 0, 1.1)), 2),
        (box(0.06, 0.4, 0.28, at=(-0.36, 0, 0.28)), 1),
        (box(0.06, 0.4, 0.28, at=(0.36, 0, 0.28)), 1),
    ],
    'lamp': [
        (cylinder(0.4, 0.06, at=(0, 0, 0.06)), 0),
        (cylinder(0.06, 0.6, at=(0, 0, 0.7)), 1),
        (cone(0.5, 0.3, at=(0, 0, 1.5)), 2),
    ],
    'shelf': [
        (box(0.06, 0.3, 0.8, at=(-0.6, 0, 0.8)), 0),
        (box(0.06, 0.3, 0.8, at=(0.6, 0, 0.8)), 0),
        *((box(0.56, 0.28, 0.05, at=(0, 0, z)), 1) for z in (0.2, 0.85, 1.5)),
    ],
    'box': [(box(0.55, 0.45, 0.4, at=(0, 0, 0.4)), 0)],
    'bin': [(cylinder(0.4, 0.5, at=(0, 0, 0.5)), 0)],
}
STREET = {
    'car': [
        (box(2.0, 0.85, 0.45, corner=0.15, at=(0, 0, 0.6)), 0),
        (box(1.0, 0.75, 0.35, corner=0.15, at=(-0.2, 0, 1.3)), 1),
        *((cylinder(0.35, 0.95, at=(x, 0, 0.35), axis=1), 2) for x in (-1.2, 1.2)),
    ],
    'lorry': [
        (box(4.4, 1.2, 1.3, at=(-1.1, 0, 1.9)), 0),
        (box(0.9, 1.1, 1.0, corner=0.15, at=(4.5, 0, 1.5)), 1),
        *((cylinder(0.5, 1.15, at=(x, 0, 0.5), axis=1), 2) for x in (-4.0, -2.6, 4.3)),
    ],
    'person': [
        (capsule(0.28, 0.45, at=(0, 0, 1.05)), 0),
        (ball(0.2, at=(0, 0, 1.65)), 1),
        *((capsule(0.13, 0.42, at=(0, y, 0.42)), 2) for y in (-0.14, 0.14)),
    ],
    'tree': [
        (cylinder(0.25, 1.0, at=(0, 0, 1.0)), 0),
        (cone(1.4, 1.5, at=(0, 0, 3.4)), 1),
    ],
    'house': [
        (box(2.2, 1.8, 1.5, at=(0, 0, 1.5)), 0),
        (wedge(2.4, 2.0, 0.7, at=(0, 0, 3.7)), 1),
    ],
    'lamp_post': [
        (cylinder(0.12, 2.2, at=(0, 0, 2.2)), 0),
        (ball(0.35, at=(0, 0, 4.6)), 1),
    ],
    'kiosk': [
        (box(0.9, 0.9, 1.1, at=(0, 0, 1.1)), 0),
        (pyramid(1.1, 1.1, 0.4, at=(0, 0, 2.6)), 1),
    ],
}
CLASSES = {**SHAPES, **FURNITURE, **STREET}
# How fast a class goes along its own x axis, and how far from the middle of a street it stands.
SPEED = {**dict.fromkeys(SHAPES, 1.0), 'car': 1.0, 'lorry': 0.7, 'person': 0.2}
ASIDE = {'car': (1.4, 2.2), 'lorry': (1.6, 2.0), 'person': (3.8, 5.5), 'house': (7.5, 8.5)}
ASIDE |= dict.fromkeys(('tree', 'lamp_post', 'kiosk'), (4.6, 6.5))

COLOURS = {
    'red': (0.85, 0.15, 0.15),
    'green': (0.2, 0.65, 0.2),
    'blue': (0.15, 0.3, 0.85),
    'yellow': (0.95, 0.85, 0.15),
    'purple': (0.55, 0.2, 0.7),
    'cyan': (0.2, 0.75, 0.8),
    'orange': (0.95, 0.5, 0.1),
    'grey': (0.55, 0.55, 0.55),
}
TEXTURES = ('plain', 'striped', 'chequered', 'dotted', 'mottled')
GROUNDS = {  # two colours, texture, patches to the unit
    'sand': ((0.8, 0.7, 0.5), (0.7, 0.58, 0.38), 4, 1.5),
    'tiles': ((0.75, 0.75, 0.78), (0.45, 0.5, 0.55), 2, 0.7),
    'grass': ((0.35, 0.55, 0.25), (0.25, 0.4, 0.15), 4, 2.5),
    'boards': ((0.6, 0.42, 0.27), (0.45, 0.3, 0.18), 1, 0.9),
    'felt': ((0.55, 0.55, 0.55), (0.55, 0.55, 0.55), 0, 1.0),
}
STUFF = (*GROUNDS, 'road', 'wall', 'sky')  # semantic ids after those of the classes


class Layout(NamedTuple):
    """Where things stand and whence they are seen; each a range that a knob of `sample` may set."""

    azimuth: tuple[float, float]  # of the camera around its target, degrees
    elevation: tuple[float, float]  # above the ground, degrees
    distance: tuple[float, float]
    target: tuple[float, float, float]
    area: tuple[float, float]  # half lengths of where objects stand
    field: float  # of view, degrees
    walls: tuple[tuple[int, float], ...]  # axis and place of upright planes
    reach: float  # side of the bird's-eye view


LAYOUTS = {
    'table': Layout((-180, 180), (20, 50), (6.2, 7.2), (0, 0, 0.5), (1.7, 1.7), 40, (), 8),
    'room': Layout(
        (-75, -15), (15, 40), (6.5, 8), (0, 0, 0.7), (1.9, 1.9), 42, ((0, -2.8), (1, 2.8)), 8
    ),
    'street': Layout(
        (176, 184), (9, 14), (12, 14), (0, 0, 0.5), (9, 8), 45, ((1, -11.0), (1, 11.0)), 32
    ),
}
PATHS = ('still', 'orbit', 'stereo', 'drive')
TRUTH = (
    'depth', 'normal', 'semantic', 'part', 'flow', 'disparity', 'amodal', 'order', 'shadow',
    'box3d', 'birdseye', 'lidar', 'without', 'twin', 'text',
)  # fmt: skip
_FAR = 1e4  # where the sky is
_TRIES = 24  # at finding a free place
_CHUNK = 64  # scenes that are drawn by one call


class Scene(NamedTuple):
    """Everything that a scene is made of; O objects, the first axis of most."""

    label: jax.Array  # [O] place among the chosen classes, -1 for none
    position: jax.Array  # [O, 3] of the middle of the foot
    angle: jax.Array  # [O] radians about z
    scale: jax.Array  # [O]
    velocity: jax.Array  # [O, 3] per view
    colour_id: jax.Array  # [O, 2] of even and odd parts
    colour: jax.Array  # [O, 2, 3]
    texture: jax.Array  # [O] place in TEXTURES
    shiny: jax.Array  # [O] bool
    ground: jax.Array  # [] place in GROUNDS
    backdrop: jax.Array  # [2, 3] colours of walls and sky
    sun: jax.Array  # [3] unit vector towards the light
    brightness: jax.Array  # []
    companion: jax.Array  # [] bool: rails lie under the first object


def arrange(
    key: jax.Array,
    *,
    layout: str = 'table',
    classes: tuple[str, ...] = tuple(SHAPES),
    objects: tuple[int, int] = (1, 4),
    weights: tuple[float, ...] | None = None,
    textures: tuple[str, ...] = TEXTURES,
    colours: tuple[str, ...] = tuple(COLOURS)[:6],
    grounds: tuple[str, ...] = tuple(GROUNDS)[:3],
    spurious: float = 0.0,
    scale: tuple[float, float] = (0.65, 1.1),
    area: tuple[float, float] | None = None,
    touching: float = 0.0,
    companion: tuple[float, float] = (0.0, 0.0),
    moving: float = 0.0,
    movers: float = 1.0,
    dusk: float = 0.0,
) -> Scene:
    """Draws a scene.

    Args:
      key: random key.
      layout: table, room or street.
      classes: K names of CLASSES.
      objects: least and most; the most is O.
      weights: probabilities of the classes; None is all alike.
      textures: names of TEXTURES to draw from.
      colours: names of COLOURS to draw from.
      grounds: names of GROUNDS to draw from.
      spurious: probability that the ground is that of the first object's class, not any.
      scale: least and greatest, 1 in a street.
      area: half lengths along x and y of where objects stand; None is the layout's.
      touching: probability that an object is of its predecessor's class and stands close to it.
      companion: probability of rails under an object of the first class, and of another class.
      moving: length of the way from view to view of what moves fastest.
      movers: share of such objects that do move.
      dusk: 0 for white light from above to 1 for dim red light from the side.

    Returns:
      `Scene`.

    CLEVR: a diagnostic dataset for compositional language and elementary visual reasoning
    (Johnson et al., 2017), for objects without collisions.
    """
    _check('layout', layout, LAYOUTS)
    for name, chosen, known in (
        ('classes', classes, CLASSES),
        ('textures', textures, TEXTURES),
        ('colours', colours, COLOURS),
        ('grounds', grounds, GROUNDS),
    ):
        for one in chosen:
            _check(name, one, known)
    most, street = objects[1], layout == 'street'
    numbers = jax.random.uniform(key, (13 + most * (10 + 6 + 3 * _TRIES),))
    v, u = numbers[:13], numbers[13:].reshape(most, -1)
    tint, tries = u[:, 10:16].reshape(most, 2, 3), u[:, 16:].reshape(most, _TRIES, 3)
    present = jnp.arange(most) < objects[0] + _below(v[0], objects[1] + 1 - objects[0])
    share = jnp.ones(len(classes)) if weights is None else jnp.asarray(weights)
    label = (u[:, :1] >= jnp.cumsum(share / share.sum())[:-1]).sum(-1)
    near = jnp.concatenate([jnp.zeros(1, bool), u[1:, 1] < touching])
    for k in range(1, most if touching else 0):
        label = label.at[k].set(jnp.where(near[k], label[k - 1], label[k]))
    table = _classes(classes)
    bounds, speed, aside = (
        jnp.asarray(known)[label] for known in (table.bounds, table.speed, table.aside)
    )
    size = jnp.ones(most) if street else _between(u[:, 2], *scale)
    angle = 2 * jnp.pi * u[:, 3]
    if street:  # along the street, either way
        angle = jnp.where(u[:, 3] < 0.5, 0, jnp.pi) + 0.1 * (u[:, 4] - 0.5)
    half = LAYOUTS[layout].area if area is None else area
    foot = size[:, None] * jnp.abs(bounds[..., :2]).max(1)
    spot = _places(tries, foot, near, half, aside if street else None)
    go = speed * moving * (u[:, 5] < movers)
    ahead = jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.zeros(most)], -1)
    first = _below(u[:, 6], len(colours))
    other = (first + 1 + _below(u[:, 7], max(len(colours) - 1, 1))) % len(colours)
    colour_id = _chosen(colours, COLOURS)[jnp.stack([first, other], -1)]
    ground = _below(v[1], len(grounds))
    ground = jnp.where(v[2] < spurious, label[0] % len(grounds), ground)
    rails = v[3] < jnp.where(label[0] == 0, *companion)
    # The sun stands at 40 to 70 degrees, at dusk at 15.
    height = jnp.deg2rad(_between(v[4], 40, 70) * (1 - dusk) + 15 * dusk)
    around = 2 * jnp.pi * v[5]
    sun = jnp.stack(
        [
            jnp.cos(height) * jnp.cos(around),
            jnp.cos(height) * jnp.sin(around),
            jnp.sin(height),
        ]
    )
    sky = jnp.array([0.6, 0.75, 0.9]) if street else 0.35 + 0.4 * v[6:9]
    wall = 0.45 + 0.4 * v[9:12]
    return Scene(
        label=jnp.where(present, label, -1).astype(jnp.int32),
        position=jnp.concatenate([spot, jnp.zeros((most, 1))], -1),
        angle=angle,
        scale=size,
        velocity=go[:, None] * ahead,
        colour_id=colour_id,
        colour=jnp.clip(jnp.array(list(COLOURS.values()))[colour_id] + 0.06 * (2 * tint - 1), 0, 1),
        texture=_chosen(textures, TEXTURES)[_below(u[:, 8], len(textures))],
        shiny=u[:, 9] < 0.4,
        ground=_chosen(grounds, GROUNDS)[ground],
        backdrop=jnp.stack([wall, sky]),
        sun=sun,
        brightness=_between(v[12], 0.85, 1.1) * (1 - 0.45 * dusk),
        companion=rails & present[0],
    )


def cameras(
    key: jax.Array,
    *,
    layout: str = 'table',
    views: int = 1,
    path: str = 'orbit',
    arc: float = 25.0,
    step: float = 0.5,
    azimuth: tuple[float, float] | None = None,
    elevation: tuple[float, float] | None = None,
    distance: tuple[float, float] | None = None,
) -> jax.Array:
    """Draws the poses from which a scene is seen.

    Args:
      key: random key.
      layout: of the scene, whose ranges stand in for None.
      views: V.
      path: still; orbit, around the target, each view within the arc of the first; stereo, each
        `step` to the right of the one before; drive, each `step` ahead of it over the ground.
      arc: degrees of azimuth to either side; of elevation a quarter of it.
      step: length between views.
      azimuth, elevation: degrees of the first camera as its target sees it.
      distance: from the target.

    Returns:
      extrinsics [V, 4, 4].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    _check('path', path, PATHS)
    base = LAYOUTS[layout]
    u = jax.random.uniform(key, (views, 3))
    ranges = [azimuth or base.azimuth, elevation or base.elevation, distance or base.distance]
    first = jnp.stack([_between(u[0, i], *r) for i, r in enumerate(ranges)])
    target = jnp.array(base.target, jnp.float32)
    pose = camera.look_at(target + _around(first), target)
    number = jnp.arange(views)
    if path == 'orbit':
        away = (2 * u - 1) * jnp.array([arc, arc / 4, 0]) * (number > 0)[:, None]
        around = first + away
        # Never below the ground nor straight above the target.
        around = around.at[:, 1].set(jnp.clip(around[:, 1], 5, 80))
        return jax.vmap(lambda a: camera.look_at(target + _around(a), target))(around)
    ahead = pose[2, :2] / jnp.linalg.norm(pose[2, :2])
    ways = {
        'still': jnp.zeros(3),
        'stereo': pose[0, :3],
        'drive': jnp.concatenate([ahead, jnp.zeros(1)]),
    }
    eye = target + _around(first)
    return jax.vmap(lambda n: camera.rigid(pose[:3, :3], centre=eye + n * step * ways[path]))(
        number
    )


def sample(
    key: jax.Array,
    *,
    size: int | tuple[int, int] = 48,
    layout: str = 'table',
    classes: tuple[str, ...] = tuple(SHAPES),
    truth: tuple[str, ...] = (),
    views: int = 1,
    path: str = 'orbit',
    field: float | None = None,
    shadows: bool = True,
    supersample: int = 1,
    noise: float = 0.01,
    cells: int = 32,
    beams: tuple[int, int] = (16, 64),
    **knobs,
) -> dict[str, jax.Array]:
    """Draws a scene and what was asked for of its truth; vmap draws many.

    Args:
      key: random key.
      size: H = W, or (H, W), in pixels.
      layout: table, room or street.
      classes: K names of CLASSES.
      truth: names of TRUTH, what to return beside the image.
      views: V; with more than one, what is seen has a first axis [V], its names end in * below.
      path: of the cameras from view to view: still, orbit, stereo or drive. Each view is also one
        unit of time later, see `moving` of `arrange`.
      field: of view along the shorter side in degrees; None is the layout's.
      shadows: whether objects cast them.
      supersample: rays along either side of a pixel that its colour is the mean of.
      noise: standard deviation of the pixels' noise.
      cells: G of the bird's-eye view.
      beams: E rows from 20 degrees below the horizon to 5 above and A columns all around, of lidar.
      **knobs: those of `arrange`, and arc, step, azimuth, elevation, distance of `cameras`.

    Returns:
      always
        image uint8* [H, W, 3]; mask int32* [H, W], 1 + the object's place or 0;
        box float32* [O, 4] around what is seen, left, top, right, bottom in 0 to 1;
        intrinsics [3, 3]; extrinsics* [4, 4]; and of `Scene` label, position (at the first view),
        angle, scale, velocity, colour_id (of even and odd parts), texture, shiny, ground, sun;
        rails bool* [H, W] where a companion may lie;
      if asked for
        depth float32* [H, W], along the axis, infinite in the sky; normal float32* [H, W, 3], in
        the world; semantic int32* [H, W], class or K + place in STUFF (with mask: panoptic);
        part int32* [H, W, 2], 1 + group and 1 + part of the object, or 0;
        flow float32 [V - 1, H, W, 2], pixels to the next view, and flow_seen bool [V - 1, H, W],
        whether the surface is seen there; disparity float32 [V - 1, H, W], pixels to the left in
        the next stereo view; amodal bool* [O, H, W], as if nothing stood in front;
        order bool* [O, O], whether one hides some of another; shadow bool* [H, W] and unshadowed
        uint8* [H, W, 3]; box3d float32* [O, 7], middle, length, width, height, angle in the world;
        birdseye int32* [G, G], as mask, from above, rows going away from the camera, columns to
        its right; lidar float32* [E, A], lengths of rays from 2 above the ground below the camera
        or 0, columns counter-clockwise from the camera's heading, with lidar_mask int32*;
        without uint8* [H, W, 3], the image without the first object; twin uint8* [H, W, 3], with
        the first two objects' places exchanged.

    CLEVR: a diagnostic dataset for compositional language and elementary visual reasoning
    (Johnson et al., 2017).
    """
    for name in truth:
        _check('truth', name, TRUTH)
    if 'disparity' in truth and path != 'stereo':
        raise Refusal('disparity is that of cameras side by side: path="stereo"')
    if views < 2 and {'flow', 'disparity'} & set(truth):
        raise Refusal('flow and disparity lead to a next view: views=2 or more')
    height, width = (size, size) if isinstance(size, int) else size
    look = {name: knobs.pop(name) for name in _CAMERA if name in knobs}
    keys = jax.random.split(key, 3)
    scene = arrange(keys[0], layout=layout, classes=classes, **knobs)
    extrinsics = cameras(keys[1], layout=layout, views=views, path=path, **look)
    intrinsics = camera.pinhole(height, width, field=field or LAYOUTS[layout].field)
    rails = any(knobs.get('companion', ()))
    stage = Stage(layout, classes, rails)
    pixel = camera.pixels(height, width)
    times = jnp.arange(views, dtype=jnp.float32)
    grain = jax.random.uniform(keys[2], (views, height, width, 3)) - 0.5
    grain = 12**0.5 * noise * grain

    def shoot(scene, pixel, extrinsics):
        return render(scene, pixel, intrinsics, extrinsics, stage=stage, shadows=shadows)

    def view(extrinsics, time, grain):
        now = scene._replace(position=scene.position + time * scene.velocity)
        shot = shoot(now, pixel, extrinsics)
        others = {}
        if 'without' in truth:
            others['without'] = now._replace(label=now.label.at[0].set(-1))
        if 'twin' in truth:
            others['twin'] = now._replace(position=now.position[_swapped(len(now.label))])

        def picture(scene):
            if supersample == 1:
                return shoot(scene, pixel, extrinsics)['colour']
            inner = (jnp.arange(supersample) + 0.5) / supersample - 0.5
            inner = jnp.stack(jnp.meshgrid(inner, inner), -1)[:, None]
            fine = shoot(scene, pixel[:, None, :, None] + inner, extrinsics)
            return fine['colour'].mean((1, 3))

        seen = {'image': _bytes((picture(now) if supersample > 1 else shot['colour']) + grain)}
        if others:  # one after the other: the program holds what draws them once
            stacked = jax.tree.map(lambda *values: jnp.stack(values), *others.values())
            drawn = jax.lax.map(picture, stacked)
            seen |= {name: _bytes(drawn[k] + grain) for k, name in enumerate(others)}
        mask = jnp.where(shot['owner'] < len(now.label), shot['owner'] + 1, 0)
        seen |= {'mask': mask, 'box': _boxes(mask, len(now.label))}
        if rails:
            seen['rails'] = shot['owner'] == len(now.label)
        seen |= {name: shot[name] for name in ('depth', 'normal', 'semantic', 'part')}
        deep = shot['object_depth']
        seen['amodal'] = jnp.isfinite(deep)
        seen['order'] = ((deep[:, None] < deep) & jnp.isfinite(deep)).any((2, 3))
        seen['shadow'] = shot['shadow']
        if 'shadow' in truth:
            seen['unshadowed'] = _bytes(shot['unshadowed'] + grain)
        seen['box3d'] = _boxes3d(now, classes)
        if 'birdseye' in truth:
            seen['birdseye'] = _birdseye(seen['box3d'], now, extrinsics, layout, cells)
        if 'lidar' in truth:
            seen['lidar'], seen['lidar_mask'] = _lidar(now, extrinsics, stage, beams)
        kept = {'image', 'mask', 'box', 'rails', 'unshadowed', 'lidar_mask', *truth}
        return {name: seen[name] for name in seen if name in kept}, shot

    item, shots = jax.vmap(view)(extrinsics, times, grain)
    if 'flow' in truth:
        item['flow'], item['flow_seen'] = jax.vmap(
            lambda shot, time, next: _flow(scene, shot, pixel, intrinsics, next, time + 1, stage)
        )(jax.tree.map(lambda a: a[:-1], shots), times[:-1], extrinsics[1:])
    if 'disparity' in truth:
        apart = extrinsics[0, 0, 3] - extrinsics[1, 0, 3]
        item['disparity'] = intrinsics[0, 0] * apart / shots['depth'][:-1]
    item['extrinsics'] = extrinsics
    if views == 1:
        item = {name: value[0] for name, value in item.items()}
    factors = scene._asdict()
    for name in ('colour', 'backdrop', 'brightness', 'companion'):
        del factors[name]
    return item | factors | {'intrinsics': intrinsics}


def dataset(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """A split of drawn scenes.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`; truth may name 'text' too, and relation=0.3 is then the share of
        captions that say where the first object is from the second.

    Returns:
      The entries of `sample`, each with a first axis [N]; text str [N].

    CLEVR: a diagnostic dataset for compositional language and elementary visual reasoning
    (Johnson et al., 2017).
    """
    count = COUNTS[split] if count is None else count
    relation = knobs.pop('relation', 0.3)
    drawn = draw.compiled(sample, tuple(sorted(knobs.items())))
    found = draw.chunked(lambda keys, _: drawn(keys), split, count, seed, chunk=_CHUNK)
    if 'text' in knobs.get('truth', ()):
        classes = knobs.get('classes', tuple(SHAPES))
        rows = ({name: found[name][i] for name in _SPOKEN} for i in range(count))
        chance = [draw.generator(seed, split, i).random() for i in range(count)]
        found['text'] = np.array(
            [
                caption(row, classes, relation=c < relation)
                for row, c in zip(rows, chance, strict=True)
            ]
        )
    return found


def caption(item: dict, classes: tuple[str, ...] = tuple(SHAPES), *, relation: bool = False) -> str:
    """Tells in words what a scene holds: 'a red striped cube and a large blue ball on sand'.

    Args:
      item: one of `sample`, as NumPy arrays.
      classes: that it was drawn with.
      relation: whether to add on which side of the second object the first is seen.

    Returns:
      The caption; objects that are wholly hidden are left out.

    CLEVR: a diagnostic dataset for compositional language and elementary visual reasoning
    (Johnson et al., 2017).
    """
    box = item['box'] if item['box'].ndim == 2 else item['box'][0]
    shown = [o for o in range(len(box)) if item['label'][o] >= 0 and box[o, 2] > 0]
    names = [_name(item, o, classes) for o in shown]
    said = [f'{_article(name)} {name}' for name in names] or ['nothing']
    text = ' and '.join(filter(None, [', '.join(said[:-1]), said[-1]]))
    text += f' on {tuple(GROUNDS)[int(item["ground"])]}'
    if relation and len(shown) > 1:
        one, two = (box[o, 0] + box[o, 2] for o in shown[:2])
        text += f', the {names[0]} {"left" if one < two else "right"} of the {names[1]}'
    return text


def _name(item, o, classes):
    words = [
        'large' if item['scale'][o] > 0.95 else 'small' if item['scale'][o] < 0.8 else '',
        tuple(COLOURS)[item['colour_id'][o, 0]],
        TEXTURES[item['texture'][o]] if item['texture'][o] else '',
        classes[item['label'][o]].replace('_', ' '),
    ]
    return ' '.join(filter(None, words))


def _article(name):
    return 'an' if name[0] in 'aeiou' else 'a'


# Rendering


class Stage(NamedTuple):
    """What of a scene is fixed when it is compiled."""

    layout: str
    classes: tuple[str, ...]
    rails: bool = False


def render(
    scene: Scene, pixel: jax.Array, intrinsics, extrinsics, *, stage, shadows: bool = True
) -> dict[str, jax.Array]:
    """All that is seen through pixels.

    Args:
      scene: of O objects.
      pixel: places [..., 2].
      intrinsics: [3, 3].
      extrinsics: [4, 4].
      stage: layout, classes and whether there are rails.
      shadows: whether objects cast them.

    Returns:
      colour and unshadowed [..., 3], not clipped; depth [...]; normal and point [..., 3];
      owner int32 [...]: an object's place, or O rails, O + 1 ground, O + 2 wall, O + 3 sky;
      semantic [...]; part [..., 2]; shadow bool [...]; object_depth [O, ...].

    Ray casting for modeling solids (Roth, 1982).
    """
    table = _classes(stage.classes)
    count, classes = len(scene.label), len(stage.classes)
    solids, owner = _solids(scene, stage)
    origin, direction = camera.rays(pixel, intrinsics, extrinsics)
    lengths, surface, depth = _cast(scene, solids, origin, direction, stage)
    parts = len(owner)
    point = origin + jnp.minimum(depth, _FAR)[..., None] * direction
    # What the ground, each wall and the sky are; after the parts of objects and rails.
    walls = LAYOUTS[stage.layout].walls
    owners = jnp.concatenate([owner, count + 1 + jnp.array([0, *(1 for _ in walls), 2])])[surface]
    mine = jax.tree.map(lambda a: a[jnp.minimum(surface, parts - 1)], solids)
    upright = jnp.zeros((len(walls) + 2, 3)).at[0, 2].set(1)
    for k, (axis, place) in enumerate(walls):
        upright = upright.at[k + 1, axis].set(-np.sign(place))
    flat = upright[jnp.maximum(surface - parts, 0)]
    facing = jnp.where((surface < parts)[..., None], normal(point, mine), flat)
    colour, shiny = _paint(scene, owners, surface, point, depth / intrinsics[0, 0], stage)
    dark = jnp.zeros(depth.shape, bool)
    if shadows:
        away = march(point + 2e-3 * facing, scene.sun, _spread(solids, depth.ndim), steps=10)
        there = _there(scene, table, owner).reshape(-1, *[1] * depth.ndim)
        dark = (jnp.isfinite(away) & there).any(0) & (owners != count + 3)
    light = scene.brightness * jnp.array([1.0, 1.0, 1.0])
    # Low light is red: the last tenth of white goes with the sun's height.
    light = light * jnp.stack([1.0, 0.8 + 0.2 * _up(scene), 0.6 + 0.4 * _up(scene)])
    straight = jnp.maximum((facing * scene.sun).sum(-1), 0)
    mirror = 2 * (facing * scene.sun).sum(-1, keepdims=True) * facing - scene.sun
    toward = -direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    gloss = 0.5 * shiny * jnp.maximum((mirror * toward).sum(-1), 0) ** 20
    ambient = 0.38 + 0.12 * facing[..., 2]

    def shade(lit):
        body = colour * (ambient + 0.62 * straight * lit)[..., None] + (gloss * lit)[..., None]
        return jnp.where((owners == count + 3)[..., None], colour, body) * light

    label = jnp.where(owners < count, scene.label[jnp.minimum(owners, count - 1)], 0)
    road = (stage.layout == 'street') & (jnp.abs(point[..., 1]) < 3.2)
    stuff = jnp.where(road, len(GROUNDS), scene.ground)
    stuff = jnp.where(owners > count + 1, len(GROUNDS) + owners - count - 1, stuff)
    semantic = jnp.where(owners < count, label, classes + stuff)
    place = jnp.asarray(table.group)[label, surface % table.group.shape[1]]
    part = jnp.stack([place + 1, surface % table.group.shape[1] + 1], -1)
    near = lengths[: count * table.group.shape[1]].reshape(count, -1, *depth.shape).min(1)
    return {
        'colour': shade(jnp.where(dark, 0.0, 1.0)),
        'unshadowed': shade(1.0),
        'depth': depth,
        'normal': facing,
        'point': point,
        'owner': owners,
        'semantic': semantic.astype(jnp.int32),
        'part': jnp.where((owners < count)[..., None], part, 0).astype(jnp.int32),
        'shadow': dark,
        'object_depth': near,
    }


def _up(scene):
    return jnp.clip(scene.sun[2] / 0.64, 0, 1)


def _solids(scene, stage):
    """Solids [S] of all objects' parts and of the rails, in the world, and whose each is [S]."""
    table = _classes(stage.classes)
    count, parts = len(scene.label), table.group.shape[1]
    local = jax.tree.map(lambda a: jnp.asarray(a)[scene.label], table.solids)
    size = scene.scale[:, None]
    frame = camera.turn(scene.angle)[:, None]
    shift = camera.rotated(local.offset * size[..., None], frame)
    whole = Solid(
        half=local.half * size[..., None],
        taper=local.taper,
        corner=local.corner * size,
        ring=local.ring * size,
        round=local.round,
        offset=scene.position[:, None] + shift,
        turn=(frame[..., None] * local.turn[..., None, :, :]).sum(-2),
    )
    whole = jax.tree.map(lambda a: a.reshape(count * parts, *a.shape[2:]), whole)
    owner = jnp.repeat(jnp.arange(count), parts)
    if not stage.rails:
        return whole, owner
    bars = jax.tree.map(
        jnp.asarray, stack([box(1.5, 0.07, 0.07, at=(0, y, 0.07)) for y in (-0.45, 0.45)])
    )
    frame = camera.turn(scene.angle[0])
    bars = bars._replace(
        offset=scene.position[0] + camera.rotated(bars.offset, frame), turn=jnp.stack([frame] * 2)
    )
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), whole, bars)
    return joined, jnp.concatenate([owner, jnp.full(2, count)])


def _there(scene, table, owner):
    """Which solids exist [S]."""
    count, parts = len(scene.label), table.group.shape[1]
    exists = (jnp.asarray(table.group)[scene.label] >= 0) & (scene.label >= 0)[:, None]
    rails = jnp.broadcast_to(scene.companion, (len(owner) - count * parts,))
    return jnp.concatenate([exists.ravel(), rails])


def _spread(solids, axes):
    """Solids [S, 1, ...] to broadcast against rays with so many axes."""
    return jax.tree.map(lambda a: a.reshape(a.shape[0], *[1] * axes, *a.shape[1:]), solids)


def _cast(scene, solids, origin, direction, stage):
    """Lengths of rays to parts, ground and walls [S + 1 + walls, ...]; the nearest, its length."""
    shape = direction.shape[:-1]
    there = _there(scene, _classes(stage.classes), jnp.zeros(solids.corner.shape[0]))
    lengths = march(origin, direction, _spread(solids, len(shape)))
    lengths = jnp.where(there.reshape(-1, *[1] * len(shape)), lengths, jnp.inf)
    planes = [_plane(origin, direction, 2, 0.0)]
    for axis, place in LAYOUTS[stage.layout].walls:
        length = _plane(origin, direction, axis, place)
        if stage.layout == 'street':  # its fronts have an end
            top = origin[..., 2] + jnp.minimum(length, _FAR) * direction[..., 2]
            length = jnp.where(top < 6, length, jnp.inf)
        planes.append(length)
    lengths = jnp.concatenate([lengths, jnp.stack(planes)])
    depth, nearest = lengths.min(0), lengths.argmin(0)
    return lengths, jnp.where(jnp.isfinite(depth), nearest, len(lengths)), depth


def _plane(origin, direction, axis, place):
    """Length of rays to the plane where a coordinate is `place`."""
    slope = direction[..., axis]
    length = (place - origin[..., axis]) / jnp.where(jnp.abs(slope) < 1e-9, 1e-9, slope)
    return jnp.where(length > 1e-4, length, jnp.inf)


def _paint(scene, owner, surface, point, footprint, stage):
    """Colours [..., 3] of surfaces without light, and whether they are shiny."""
    count, parts = len(scene.label), _classes(stage.classes).group.shape[1]
    o = jnp.minimum(owner, count - 1)
    thing, ground, wall, sky = (
        owner < count,
        owner == count + 1,
        owner == count + 2,
        owner == count + 3,
    )
    frame = camera.turn(-scene.angle)[o]
    local = camera.rotated(point - scene.position[o], frame) / scene.scale[o][..., None]
    grounds = [np.array([g[k] for g in GROUNDS.values()]) for k in range(4)]
    one, two, pattern, often = (jnp.asarray(g)[scene.ground] for g in grounds)
    place = jnp.where(thing[..., None], local, point)
    rate = jnp.where(thing, 2.3 / scene.scale[o], jnp.where(ground, often, 0.6))
    kind = jnp.where(thing, scene.texture[o], jnp.where(ground, pattern, 4 * (owner != count)))
    rate_here = jnp.where(thing, 2.3, rate)
    mix = _pattern(kind, place * rate_here[..., None], footprint * rate)
    accent = (surface % parts) % 2
    pair = jnp.stack([scene.colour[o, accent], 0.45 * scene.colour[o, accent] + 0.1], -2)
    if stage.layout == 'street':
        lane = jnp.abs(point[..., 1])
        dash = (lane < 0.12) & (jnp.mod(point[..., 0], 3) < 1.5)
        asphalt = jnp.where(dash[..., None], jnp.array([0.9] * 3), jnp.array([0.33, 0.33, 0.36]))
        paved = (lane < 3.2)[..., None]
        one, two = jnp.where(paved, asphalt, one), jnp.where(paved, asphalt, two)
    else:
        one, two = (jnp.broadcast_to(c, point.shape) for c in (one, two))
    base = jnp.where(ground[..., None, None], jnp.stack([one, two], -2), 0.4)
    plain = jnp.stack([scene.backdrop[0], 0.75 * scene.backdrop[0]])
    base = jnp.where(wall[..., None, None], plain, base)
    base = jnp.where(thing[..., None, None], pair, base)
    colour = base[..., 0, :] + mix[..., None] * (base[..., 1, :] - base[..., 0, :])
    return jnp.where(sky[..., None], scene.backdrop[1], colour), thing & scene.shiny[o]


def _pattern(kind, place, blur):
    """How much of the second colour, 0 to 1 [...], in patterns of one patch to the unit."""
    x, y, z = place[..., 0], place[..., 1], place[..., 2] + 0.5
    wave = lambda t: jnp.sin(2 * jnp.pi * t)
    soft = jnp.maximum(0.2, 4 * blur)
    hard = lambda t: jnp.clip(t / soft, -1, 1)
    striped = hard(wave(z + 0.5 * x + 0.2 * y))
    chequered = hard(wave(x / 2 + 0.1)) * hard(wave(y / 2 + 0.1)) * hard(wave(z / 2))
    middle = [t - jnp.floor(t) - 0.5 for t in (x, y, z)]
    dotted = hard(3 * (0.36 - jnp.sqrt(sum(t * t for t in middle) + 1e-9)))
    bent = x + 0.35 * wave(0.31 * y + 0.2 * z), y + 0.35 * wave(0.37 * x + 0.11 * z)
    mottled = wave(0.53 * bent[0] + 0.23 * z) * wave(0.47 * bent[1] + 0.31 * z) / (1 + 2 * blur)
    flat = -jnp.ones_like(x)
    choice = jnp.stack([flat, striped, chequered, dotted, mottled])
    pick = (kind == jnp.arange(5).reshape(-1, *[1] * x.ndim)) * choice
    return 0.5 + 0.5 * pick.sum(0)


def _flow(scene, shot, pixel, intrinsics, extrinsics, time, stage):
    """Where the surface of each pixel went [H, W, 2], and whether it is seen there."""
    count = len(scene.label)
    o = jnp.minimum(shot['owner'], count - 1)
    rode = shot['owner'] < count
    if stage.rails:
        o, rode = jnp.where(shot['owner'] == count, 0, o), shot['owner'] <= count
    point = shot['point'] + jnp.where(rode[..., None], scene.velocity[o], 0)
    place, depth = camera.project(point, intrinsics, extrinsics)
    height, width = pixel.shape[:2]
    then = scene._replace(position=scene.position + time * scene.velocity)
    eye = camera.inverse(extrinsics)[:3, 3]
    solids, _ = _solids(then, stage)
    # A ray of length one ends at the point: nothing may stand before it.
    _, _, length = _cast(then, solids, eye, point - eye, stage)
    inside = (place > -0.5).all(-1) & (place[..., 0] < width - 0.5) & (place[..., 1] < height - 0.5)
    return place - pixel, inside & (depth > 0) & (length > 1 - 2e-3)


def _boxes(mask, count):
    """[O, 4] around each object's pixels, left, top, right, bottom in 0 to 1; zeros for none."""
    mine = mask == jnp.arange(1, count + 1)[:, None, None]
    ends = []
    for axis in (1, 2):
        used, n = mine.any(3 - axis), mask.shape[axis - 1]
        low, high = used.argmax(1), n - used[:, ::-1].argmax(1)
        ends.append(jnp.where(used.any(1), jnp.stack([low, high]) / n, 0.0))
    (top, bottom), (left, right) = ends
    return jnp.stack([left, top, right, bottom], -1).astype(jnp.float32)


def _boxes3d(scene, classes):
    bounds = jnp.asarray(_classes(classes).bounds)[scene.label] * scene.scale[:, None, None]
    middle = camera.rotated(bounds.mean(1), camera.turn(scene.angle)) + scene.position
    found = jnp.concatenate([middle, bounds[:, 1] - bounds[:, 0], scene.angle[:, None]], -1)
    return jnp.where((scene.label >= 0)[:, None], found, 0)


def _heading(extrinsics):
    """Unit vectors [2] over the ground, ahead of and to the right of a camera."""
    ahead = extrinsics[2, :2] / jnp.linalg.norm(extrinsics[2, :2])
    return ahead, jnp.stack([ahead[1], -ahead[0]])


def _birdseye(boxes, scene, extrinsics, layout, cells):
    """Objects' ids [G, G] by their boxes, around the layout's target."""
    ahead, right = _heading(extrinsics)
    step = LAYOUTS[layout].reach * ((jnp.arange(cells) + 0.5) / cells - 0.5)
    over = (
        jnp.array(LAYOUTS[layout].target[:2]) + step[:, None, None] * ahead + step[:, None] * right
    )
    away = over - boxes[:, None, None, :2]
    cos, sin = (f(scene.angle)[:, None, None] for f in (jnp.cos, jnp.sin))
    along, across = cos * away[..., 0] + sin * away[..., 1], cos * away[..., 1] - sin * away[..., 0]
    half = boxes[:, None, None, 3:5] / 2
    covers = (jnp.abs(along) < half[..., 0]) & (jnp.abs(across) < half[..., 1])
    return jnp.where(covers.any(0), covers.argmax(0) + 1, 0).astype(jnp.int32)


def _lidar(scene, extrinsics, stage, beams):
    """Ranges [E, A] of a scanner 2 above the ground, and objects' ids."""
    ahead, right = _heading(extrinsics)
    up = jnp.deg2rad(jnp.linspace(-20, 5, beams[0]))[:, None]
    around = 2 * jnp.pi * jnp.arange(beams[1]) / beams[1]
    flat = jnp.cos(around)[:, None] * ahead - jnp.sin(around)[:, None] * right
    over = jnp.cos(up)[..., None] * flat
    high = jnp.broadcast_to(jnp.sin(up), over.shape[:-1])
    origin = camera.inverse(extrinsics)[:3, 3].at[2].set(2.0)
    solids, owner = _solids(scene, stage)
    direction = jnp.concatenate([over, high[..., None]], -1)
    _, surface, length = _cast(scene, solids, origin, direction, stage)
    owner = jnp.concatenate([owner, jnp.full(4, len(scene.label))])[surface]
    ids = jnp.where(owner < len(scene.label), owner + 1, 0)
    return jnp.where(length < 60, length, 0), ids.astype(jnp.int32)


# Drawing


class _Table(NamedTuple):
    """What is known of K classes with up to P parts."""

    solids: Solid  # [K, P]
    group: np.ndarray  # [K, P], -1 for none
    bounds: np.ndarray  # [K, 2, 3] least and greatest coordinates
    speed: np.ndarray  # [K]
    aside: np.ndarray  # [K, 2]


@functools.lru_cache(maxsize=32)
def _classes(names):
    most = max(len(CLASSES[name]) for name in names)
    solids, groups, bounds = [], [], []
    for name in names:
        parts, group = zip(*CLASSES[name], strict=True)
        with jax.ensure_compile_time_eval():
            half = [np.abs(part.turn) @ np.asarray(extent(part)) for part in parts]
        low = np.min([part.offset - h for part, h in zip(parts, half, strict=True)], 0)
        high = np.max([part.offset + h for part, h in zip(parts, half, strict=True)], 0)
        bounds.append(np.stack([low, high]))
        solids.append(stack([*parts, *[parts[0]] * (most - len(parts))]))
        groups.append([*group, *[-1] * (most - len(parts))])
    speed = np.array([SPEED.get(name, 0.0) for name in names], np.float32)
    aside = np.array([ASIDE.get(name, (0.0, 5.0)) for name in names], np.float32)
    return _Table(stack(solids), np.array(groups), np.float32(bounds), speed, aside)


def _places(tries, foot, near, area, aside):
    """Where objects stand [O, 2]: the first of each one's tries that is free, or the freest."""
    spots = (2 * tries[..., :2] - 1) * jnp.array(area)
    if aside is not None:
        side = jnp.where(tries[..., 1] < 0.5, -1, 1)
        away = _between(tries[..., 2], aside[:, None, 0], aside[:, None, 1])
        spots = spots.at[..., 1].set(side * away)
    round = 2 * jnp.pi * tries[..., 2:]
    beside = jnp.concatenate([jnp.cos(round), jnp.sin(round)], -1)
    disc = foot.max(-1)

    def stand(k, chosen):
        last = jnp.maximum(k - 1, 0)
        spot = jnp.where(near[k], chosen[last] + (disc[k] + disc[last]) * beside[k], spots[k])
        away = jnp.abs(spot[:, None] - chosen)
        if aside is None:  # turned in any way: discs
            free = jnp.linalg.norm(away, axis=-1) - disc[k] - disc
        else:
            free = (away - foot[k] - foot).max(-1)
        free = jnp.where(jnp.arange(len(chosen)) < k, free, jnp.inf).min(1)
        return chosen.at[k].set(spot[jnp.minimum(free, jnp.where(near[k], 0, 0.1)).argmax()])

    return jax.lax.fori_loop(0, len(foot), stand, jnp.zeros((len(foot), 2)))


def _around(polar):
    """From a target to a camera at (azimuth, elevation, distance), degrees."""
    azimuth, elevation = jnp.deg2rad(polar[0]), jnp.deg2rad(polar[1])
    flat = jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)]) * jnp.cos(elevation)
    return polar[2] * jnp.concatenate([flat, jnp.sin(elevation)[None]])


def _swapped(count):
    """The order of objects in which the first two change places."""
    return jnp.array([*range(count)[:2][::-1], *range(2, count)])


def _bytes(colour):
    return jnp.round(255 * jnp.clip(colour, 0, 1)).astype(jnp.uint8)


def _between(number, low, high):
    return low + (high - low) * number


def _below(number, count):
    """An integer in 0 to count - 1; the minimum guards against a product rounded up."""
    return jnp.minimum((number * count).astype(jnp.int32), count - 1)


def _chosen(names, known):
    """Places of names among those known."""
    return jnp.array([list(known).index(name) for name in names], jnp.int32)


def _check(what, name, known):
    if name not in known:
        raise Refusal(f'{what}: {name!r} is unknown, choose of {", ".join(known)}')


_CAMERA = ('arc', 'step', 'azimuth', 'elevation', 'distance')
_SPOKEN = ('box', 'label', 'ground', 'scale', 'colour_id', 'texture')
