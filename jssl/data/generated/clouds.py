"""Drawn point clouds: organs, figures, furniture and rooms, with correspondence and exact truth.

The kinds of item:
  organ      a closed body, one map of the sphere whose modes of variation are known
  figure     a body of capsules with joints: identity, pose, motion, things worn
  furniture  an assembly of boxes, cylinders and balls, inside and outside known
  room       floor, walls and furniture with colours that classes share
Organs and figures are in correspondence: point i lies at the same place of every body. `pair` cuts
two overlapping pieces out of any of them and moves one. z points up.
"""

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 512, 'validation': 128, 'test': 128}
KINDS = ('organ', 'figure', 'furniture', 'room')

# A primitive is (shape, half lengths, middle); group by group, with the part's name as label.
FURNITURE = {
    'table': [('box', (0.6, 0.4, 0.03), (0, 0, 0.72))]
    + [('box', (0.04, 0.04, 0.35), (x, y, 0.35)) for x in (-0.52, 0.52) for y in (-0.32, 0.32)],
    'chair': [
        ('box', (0.22, 0.22, 0.03), (0, 0, 0.45)),
        ('box', (0.03, 0.22, 0.25), (-0.2, 0, 0.72)),
    ]
    + [('box', (0.025, 0.025, 0.21), (x, y, 0.21)) for x in (-0.18, 0.18) for y in (-0.18, 0.18)],
    'lamp': [
        ('cylinder', (0.16, 0.16, 0.02), (0, 0, 0.02)),
        ('cylinder', (0.025, 0.025, 0.6), (0, 0, 0.62)),
        ('cylinder', (0.2, 0.2, 0.14), (0, 0, 1.3)),
    ],
    'box': [('box', (0.22, 0.22, 0.22), (0, 0, 0.22))],
    'shelf': [('box', (0.02, 0.18, 0.8), (x, 0, 0.8)) for x in (-0.42, 0.42)]
    + [('box', (0.4, 0.18, 0.02), (0, 0, z)) for z in (0.05, 0.55, 1.05, 1.55)],
    'bin': [('cylinder', (0.18, 0.18, 0.25), (0, 0, 0.25))],
    'sofa': [
        ('box', (0.35, 0.75, 0.2), (0, 0, 0.22)),
        ('box', (0.1, 0.75, 0.25), (-0.25, 0, 0.67)),
        *(('box', (0.3, 0.08, 0.12), (0.05, y, 0.54)) for y in (-0.67, 0.67)),
    ],
    'globe': [
        ('cylinder', (0.12, 0.12, 0.02), (0, 0, 0.02)),
        ('cylinder', (0.02, 0.02, 0.2), (0, 0, 0.24)),
        ('ball', (0.22, 0.22, 0.22), (0, 0, 0.66)),
    ],
}
ROOM = ('floor', 'wall', *FURNITURE)  # labels of a room's points
# Classes of one row share their colours, so that only the surroundings tell them apart.
SHARED = (('floor', 'table', 'shelf'), ('wall', 'lamp', 'globe'), ('chair', 'box', 'sofa', 'bin'))
_PALETTE = np.array(
    [
        [[0.6, 0.45, 0.3], [0.45, 0.33, 0.22], [0.7, 0.58, 0.42]],
        [[0.85, 0.83, 0.78], [0.75, 0.8, 0.85], [0.8, 0.72, 0.65]],
        [[0.5, 0.2, 0.2], [0.25, 0.3, 0.5], [0.3, 0.45, 0.3]],
    ]
)

# joint: (parent, place at rest in an arms-down figure of height one, radius of the bone to it)
JOINTS = {
    'hip': (None, (0, 0, 0.53), 0.0),
    'chest': ('hip', (0, 0, 0.74), 0.085),
    'neck': ('chest', (0, 0, 0.84), 0.045),
    'head': ('neck', (0, 0, 0.95), 0.062),
    **{
        f'{name}_{side}': (parent and parent.replace('*', side), (x, s * y, z), r)
        for side, s in (('left', 1), ('right', -1))
        for name, parent, (x, y, z), r in (
            ('shoulder', 'chest', (0, 0.13, 0.79), 0.05),
            ('elbow', 'shoulder_*', (0, 0.17, 0.62), 0.037),
            ('hand', 'elbow_*', (0, 0.19, 0.44), 0.03),
            ('thigh', 'hip', (0, 0.08, 0.52), 0.06),
            ('knee', 'thigh_*', (0, 0.09, 0.28), 0.055),
            ('foot', 'knee_*', (0, 0.1, 0.03), 0.042),
        )
    },
}
BONES = tuple(name for name, (parent, *_) in JOINTS.items() if parent)
IDENTITY = ('height', 'girth', 'legs', 'arms', 'shoulders')  # factors, each in -1 to 1
ANGLES = (  # joint, axis, least and greatest angle: what a pose sets, in radians
    ('chest', 1, -0.2, 0.5), ('neck', 2, -0.7, 0.7),
    ('shoulder_left', 0, 0.0, 2.2), ('shoulder_right', 0, -2.2, 0.0),
    ('shoulder_left', 1, -1.2, 0.8), ('shoulder_right', 1, -1.2, 0.8),
    ('elbow_left', 1, -2.0, 0.0), ('elbow_right', 1, -2.0, 0.0),
    ('thigh_left', 1, -1.2, 0.6), ('thigh_right', 1, -1.2, 0.6),
    ('knee_left', 1, 0.0, 1.6), ('knee_right', 1, 0.0, 1.6),
)  # fmt: skip


def sample(
    generator: np.random.Generator, *, kind: str = 'organ', **knobs
) -> dict[str, np.ndarray]:
    """Draws one item of a kind.

    Args:
      generator: of random numbers, see `draw.generator`.
      kind: organ, figure, furniture or room.
      **knobs: of the function of that name, and those of `pair` if `overlap` is among them.

    Returns:
      The entries of that function, or those of `pair`.
    """
    if kind not in KINDS:
        raise Refusal(f'kind: {kind!r} is unknown, choose of {", ".join(KINDS)}')
    if 'overlap' not in knobs:
        return globals()[kind](generator, **knobs)
    cut = {name: knobs.pop(name) for name in _PAIR if name in knobs}
    points = knobs.pop('points', 384)
    if kind in ('organ', 'figure'):
        raise Refusal('pairs are cut from what is sampled at random: kind furniture or room')
    whole = globals()[kind](generator, points=int(np.ceil(points * (2 - cut['overlap']))), **knobs)
    return pair(generator, whole['points'], whole['normal'], points=points, **cut)


def dataset(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """A split of drawn clouds.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`.

    Returns:
      The entries of `sample`, each with a first axis [N].
    """
    count = COUNTS[split] if count is None else count
    return draw.columns(sample, split, count, seed, **knobs)


def source(split: str, *, count: int, seed: int = 0, **knobs) -> draw.Drawn:
    """The same, each item drawn when it is asked for.

    Args: as `dataset`.
    Returns: `draw.Drawn` of dicts.
    """
    return draw.Drawn(sample, split, count, seed, **knobs)


def organ(
    generator: np.random.Generator,
    *,
    points: int = 256,
    modes: int = 3,
    spread: float = 1.0,
    noise: float = 0.0,
    missing: float = 0.0,
) -> dict[str, np.ndarray]:
    """Draws a bent, tapered superellipsoid, one map of the unit sphere: a member of a cohort.

        (x, y, z) = sign(u) |u|^e * size,   taper along z, then bent about y by `bend` radians

    where u is on the sphere and factors move length, bend, bulge and taper, in this order.

    Args:
      generator: of random numbers.
      points: P.
      modes: M, how many factors vary, up to 4.
      spread: standard deviation of the factors.
      noise: standard deviation of the observed points.
      missing: share of the body that is not observed, on one side; its points are drawn again
        from the rest.

    Returns:
      points float32 [P, 3] observed, in any order; index int32 [P], which template point each is;
      surface, normal float32 [P, 3] of all template points, without noise; factors float32 [M].

    Point2SSM: learning morphological variations of anatomies from point cloud
    (Adams and Elhabian, 2024), for cohorts; Superquadrics and angle-preserving transformations
    (Barr, 1981).
    """
    if not 0 <= modes <= 4:
        raise Refusal(f'modes: an organ has 0 to 4, not {modes}')
    factors = spread * generator.standard_normal(modes)
    sphere = _fibonacci(points)
    surface, normal = _organ(sphere, np.pad(factors, (0, 4 - modes)))
    side = generator.standard_normal(3)
    order = np.argsort(surface @ side, kind='stable')
    kept = order[round(missing * points) :]
    again = generator.choice(kept, points - len(kept))
    index = generator.permutation(np.concatenate([kept, again]))
    seen = surface[index] + noise * generator.standard_normal((points, 3))
    found = {'points': seen, 'surface': surface, 'normal': normal, 'factors': factors}
    return {**_float32(found), 'index': index.astype(np.int32)}


def figure(
    generator: np.random.Generator,
    *,
    frames: int = 1,
    grid: tuple[int, int] = (5, 8),
    identity: tuple[float, ...] | None = None,
    pose: tuple[float, ...] | None = None,
    agility: float = 1.0,
    skirt: bool = False,
    worn: tuple[str, ...] = (),
    queries: int = 0,
) -> dict[str, np.ndarray]:
    """Draws a body of capsules, one to a bone, turned at its joints.

    With several frames the angles swing from the first pose to another and back.

    Args:
      generator: of random numbers.
      frames: T.
      grid: rings along and points around each bone; another grid is another connectivity of the
        same body. Faces are those of `figure_faces`.
      identity: the five factors of IDENTITY; None draws them.
      pose: the twelve angles of ANGLES; None draws them.
      agility: share of the joints' ranges that poses use.
      skirt: whether a cone of cloth hangs from the hip and swings behind the legs.
      worn: of backpack and hat.
      queries: Q points around the first frame's body whose place is told.

    Returns:
      points, normal float32 [T, P, 3]; part int32 [P], the bone, then skirt, then what is worn;
      joint float32 [T, J, 3] (hip first, see JOINTS); turn float32 [T, J, 3, 3], the motions that
      skin follows; identity float32 [5]; pose float32 [T, 12]; and with queries, query float32
      [Q, 3], inside bool [Q] of the body and worn_inside bool [Q]. Without frames=1's T.

    SMPL: a skinned multi-person linear model (Loper et al., 2015), for bodies of identity and pose.
    """
    who = generator.uniform(-1, 1, len(IDENTITY)) if identity is None else np.array(identity)
    low, high = np.array([row[2:] for row in ANGLES]).T
    ends = low + (high - low) * (0.5 + agility * (generator.random((2, len(ANGLES))) - 0.5))
    start = ends[0] if pose is None else np.array(pose)
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / max(frames, 2))
    poses = start + swing[:, None] * (ends[1] - start)
    rest, radius = _skeleton(who)
    template, outward, part, rigid = _skin(rest, radius, grid, skirt, worn)
    turns, joints = zip(*(_forward(rest, angles) for angles in poses), strict=True)
    turns, joints = np.stack(turns), np.stack(joints)
    names = list(JOINTS)
    bend = turns[:, rigid]
    local = template - rest[rigid]
    points = np.einsum('tpij,pj->tpi', bend, local) + joints[:, rigid]
    normal = np.einsum('tpij,pj->tpi', bend, outward)
    if skirt:  # cloth follows half of what each leg does, more the lower it hangs
        cloth = part == len(BONES)
        fall = np.clip((rest[0, 2] - template[cloth, 2]) / 0.3, 0, 1)[:, None]
        for side, sign in (('left', 1), ('right', -1)):
            near = np.clip(0.5 + sign * template[cloth, 1:2] / 0.2, 0, 1)
            knee = names.index(f'knee_{side}')
            shift = joints[:, knee] - joints[:, 0] - (rest[knee] - rest[0])
            points[:, cloth] += 0.5 * fall * near * shift[:, None]
    found = {'points': points, 'normal': normal, 'joint': joints, 'turn': turns, 'pose': poses}
    if frames == 1:
        found = {name: value[0] for name, value in found.items()}
    found['identity'] = who
    item = {**_float32(found), 'part': part.astype(np.int32)}
    if queries:
        first = points[0]
        query = first[generator.integers(len(first), size=queries)]
        query = query + 0.05 * generator.standard_normal((queries, 3))
        wide = generator.random(queries) < 0.3
        box = first.min(0) - 0.1, first.max(0) + 0.1
        query[wide] = generator.uniform(*box, (wide.sum(), 3))
        item['query'] = query.astype(np.float32)
        item['inside'] = _in_body(query, joints[0], radius)
        item['worn_inside'] = _in_worn(query, rest, turns[0], joints[0], worn)
    return item


def figure_faces(*, grid: tuple[int, int] = (5, 8), skirt: bool = False) -> np.ndarray:
    """Triangles of `figure`'s points without what is worn: each bone a closed tube.

    Args:
      grid: as in `figure`.
      skirt: as in `figure`.

    Returns:
      int32 [F, 3], outward when counter-clockwise.

    SMPL: a skinned multi-person linear model (Loper et al., 2015), for one mesh of all bodies.
    """
    rings, around = grid
    i, j = np.mgrid[: rings - 1, :around]
    a, b = i * around + j, i * around + (j + 1) % around
    tube = [np.stack([a, b, b + around], -1), np.stack([a, b + around, a + around], -1)]
    fan = np.arange(1, around - 1)
    ends = [np.stack([0 * fan, fan + 1, fan], -1)]
    last = (rings - 1) * around
    ends.append(last + np.stack([0 * fan, fan, fan + 1], -1))
    tube = np.concatenate([t.reshape(-1, 3) for t in tube])
    closed = np.concatenate([tube, *ends])
    parts = [closed + k * rings * around for k in range(len(BONES))]
    if skirt:  # hangs from the top ring down: the other way round
        parts.append(tube[:, ::-1] + len(BONES) * rings * around)
    return np.concatenate(parts).astype(np.int32)


def furniture(
    generator: np.random.Generator,
    *,
    points: int = 512,
    classes: tuple[str, ...] = tuple(FURNITURE),
    stretch: float = 0.25,
    noise: float = 0.0,
    queries: int = 0,
) -> dict[str, np.ndarray]:
    """Draws a piece of furniture of random proportions on the ground.

    Args:
      generator: of random numbers.
      points: P, spread evenly over what is not inside of other parts.
      classes: names of FURNITURE.
      stretch: greatest relative change of its size along each axis.
      noise: standard deviation of the points.
      queries: Q points in the box around it whose place is told.

    Returns:
      points, normal float32 [P, 3]; part int32 [P], the primitive; label int32, place in classes;
      size float32 [3]; with queries query float32 [Q, 3] and inside bool [Q].

    ShapeNet: an information-rich 3D model repository (Chang et al., 2015).
    """
    label = int(generator.integers(len(classes)))
    size = 1 + generator.uniform(-stretch, stretch, 3)
    shape, half, middle = _primitives(FURNITURE[classes[label]], size)
    place, normal, part = _surface(generator, shape, half, middle, points)
    item = {'points': place + noise * generator.standard_normal(place.shape), 'normal': normal}
    item = _float32(item | {'size': size})
    item |= {'part': part.astype(np.int32), 'label': np.int32(label)}
    if queries:
        low, high = (middle - half).min(0) - 0.1, (middle + half).max(0) + 0.1
        query = generator.uniform(low, high, (queries, 3))
        item['query'] = query.astype(np.float32)
        item['inside'] = _within(query, shape, half, middle).any(1)
    return item


def room(
    generator: np.random.Generator,
    *,
    points: int = 2048,
    objects: tuple[int, int] = (4, 7),
    classes: tuple[str, ...] = tuple(FURNITURE),
    structure: float = 0.6,
    noise: float = 0.005,
) -> dict[str, np.ndarray]:
    """Draws a room: floor, two walls and furniture that does not collide.

    Args:
      generator: of random numbers.
      points: P.
      objects: least and most; O is the most.
      classes: names of FURNITURE.
      structure: share of the points that lie on floor and walls.
      noise: standard deviation of the points.

    Returns:
      points, normal, colour float32 [P, 3]; label int32 [P], place in ROOM; instance int32 [P], 0
      for floor and walls or 1 + the object's place; box float32 [O, 7], middle, lengths and angle;
      box_label int32 [O], place in ROOM or -1.

    ScanNet: richly-annotated 3D reconstructions of indoor scenes (Dai et al., 2017).
    """
    wide = generator.uniform(1.8, 2.4, 2)
    high = generator.uniform(2.2, 2.6)
    count = int(generator.integers(objects[0], objects[1] + 1))
    inner = points - round(structure * points)
    colours = _PALETTE[:, generator.integers(3, size=len(ROOM))]
    tint = {n: colours[row, ROOM.index(n)] for row, names in enumerate(SHARED) for n in names}
    pieces, boxes, spots, kinds = [], [], [], np.full(objects[1], -1)
    for k in range(count):
        name = classes[generator.integers(len(classes))]
        size = 1 + generator.uniform(-0.2, 0.2, 3)
        shape, half, middle = _primitives(FURNITURE[name], size)
        low, top = (middle - half).min(0), (middle + half).max(0)
        reach = np.abs([low, top]).max(0)
        reach = np.hypot(reach[0], reach[1])
        tries = generator.uniform(-1, 1, (40, 2)) * np.maximum(wide - reach, 0.1)
        away = [np.linalg.norm(tries - at, axis=1) - reach - r for at, r in spots]
        free = np.min(away, 0) if spots else np.full(40, 0.0)
        best = int(np.minimum(free, 0).argmax())
        if free[best] < 0:
            continue  # no room is left for it
        angle = generator.uniform(-np.pi, np.pi)
        turn = _turn(2, angle)
        spots.append((tries[best], reach))
        kinds[k] = ROOM.index(name)
        place = np.append(tries[best], 0)
        pieces.append((shape, half, middle, turn, place, k, kinds[k]))
        lengths = top - low
        boxes.append((k, *(turn @ ((low + top) / 2) + place), *lengths, angle))
    area = np.array([_areas(shape, half).sum() for shape, half, *_ in pieces])
    share = generator.multinomial(inner, area / area.sum())
    found = []
    for (shape, half, middle, turn, place, k, label), n in zip(pieces, share, strict=True):
        at, normal, _ = _surface(generator, shape, half, middle, n)
        rows = np.full(n, label), np.full(n, k + 1)
        found.append((at @ turn.T + place, normal @ turn.T, *rows))
    found.append(_shell(generator, wide, high, points - inner))
    at, normal, label, instance = (np.concatenate(column) for column in zip(*found, strict=True))
    colour = np.array([tint[ROOM[i]] for i in label])
    # Planks and tiles: light and dark by place, on all alike.
    colour = colour * (1 + 0.08 * np.sign(np.sin(12 * at[:, :1])))
    colour = np.clip(colour + 0.04 * generator.standard_normal(colour.shape), 0, 1)
    at = at + noise * generator.standard_normal(at.shape)
    order = generator.permutation(points)
    item = {'points': at[order], 'normal': normal[order], 'colour': colour[order]}
    item['box'] = np.zeros((objects[1], 7))
    for k, *box in boxes:
        item['box'][k] = box
    ids = {'label': label[order], 'instance': instance[order], 'box_label': kinds}
    return {**_float32(item), **{name: value.astype(np.int32) for name, value in ids.items()}}


def pair(
    generator: np.random.Generator,
    cloud: np.ndarray,
    normal: np.ndarray,
    *,
    points: int,
    overlap: float = 0.5,
    rotation: float = 180.0,
    upright: bool = False,
    shift: float = 1.0,
    jitter: float = 0.005,
) -> dict[str, np.ndarray]:
    """Cuts two pieces out of a cloud and moves the second: registration with known truth.

        target = R source + t   for the `overlap` of the points that both hold

    Args:
      generator: of random numbers.
      cloud, normal: of the whole [N, 3].
      points: P of each piece; N of P (2 - overlap) uses them all.
      overlap: share of either piece's points that the other has too.
      rotation: greatest angle in degrees.
      upright: whether the axis is z, not any.
      shift: standard deviation of t.
      jitter: standard deviation of either piece's own noise.

    Returns:
      source, target, source_normal, target_normal float32 [P, 3]; motion float32 [4, 4], target
      from source; match int32 [P], where in the target each source point is, or -1.

    3DMatch: learning local geometric descriptors from RGB-D reconstructions (Zeng et al., 2017).
    """
    common = round(overlap * points)
    total = 2 * points - common
    if len(cloud) < total:
        raise Refusal(f'points: {total} are needed for the overlap, the cloud has {len(cloud)}')
    chosen = generator.permutation(len(cloud))[:total]
    chosen = chosen[np.argsort(cloud[chosen] @ generator.standard_normal(3), kind='stable')]
    one, two = chosen[:points], chosen[-points:]
    one, two = generator.permutation(one), generator.permutation(two)
    axis = np.array([0.0, 0, 1]) if upright else generator.standard_normal(3)
    turn = _rotation(axis, np.deg2rad(rotation) * generator.uniform(-1, 1))
    if rotation >= 180 and not upright:
        turn = _any_rotation(generator)
    move = shift * generator.standard_normal(3)
    noisy = [cloud[rows] + jitter * generator.standard_normal((points, 3)) for rows in (one, two)]
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = turn, move
    where = np.full(len(cloud), -1)
    where[two] = np.arange(points)
    item = {'source': noisy[0], 'target': noisy[1] @ turn.T + move, 'motion': motion}
    item |= {'source_normal': normal[one], 'target_normal': normal[two] @ turn.T}
    return {**_float32(item), 'match': where[one].astype(np.int32)}


def _fibonacci(count):
    """Points [P, 3] spread evenly over the unit sphere."""
    k = np.arange(count) + 0.5
    z, around = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(around), flat * np.sin(around), z], -1)


def _organ(sphere, factors):
    """Surface and normals [P, 3] of the organ of four factors."""

    def place(u):
        length, bend, bulge, taper = factors * [0.12, 0.25, 0.1, 0.12]
        power = np.sign(u) * np.abs(u) ** 0.85 * [0.55, 0.45, 1.0 + length]
        x, y, z = power[..., 0], power[..., 1], power[..., 2]
        swell = (1 + (0.1 + bulge) * 2 * np.exp(-8 * (z - 0.35) ** 2)) * (1 - (0.15 + taper) * z)
        x, y = x * swell, y * swell
        curve = 0.5 + bend  # radians over a unit of length
        radius = 1 / curve - x
        return np.stack([1 / curve - radius * np.cos(curve * z), y, radius * np.sin(curve * z)], -1)

    # Two directions along the sphere, carried over to the surface.
    pole = np.where(np.abs(sphere[:, 2:]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]])
    one = np.cross(sphere, pole)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    two = np.cross(sphere, one)
    slopes = [place(sphere + 1e-4 * d) - place(sphere - 1e-4 * d) for d in (one, two)]
    normal = np.cross(*slopes)
    return place(sphere), normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _skeleton(who):
    """Joints at rest [J, 3] and radii of the bones to them [J]."""
    height, girth, legs, arms, shoulders = who
    rest = np.array([place for _, place, _ in JOINTS.values()], float)
    radius = np.array([r for *_, r in JOINTS.values()]) * (1 + 0.3 * girth)
    names = np.array(list(JOINTS))
    arm = np.isin([name.split('_')[0] for name in names], ['shoulder', 'elbow', 'hand'])
    low = rest[:, 2] < 0.53
    hang = rest[arm] - np.where(rest[arm, 1:2] > 0, [0, 0.13, 0.79], [0, -0.13, 0.79])
    rest[arm] += 0.15 * arms * hang
    rest[arm, 1] += 0.03 * shoulders * np.sign(rest[arm, 1])
    rest[low, 2] -= 0.15 * legs * (0.53 - rest[low, 2])
    return rest * (1 + 0.12 * height), radius * (1 + 0.12 * height)


def _bones():
    names = list(JOINTS)
    return [(names.index(JOINTS[bone][0]), names.index(bone)) for bone in BONES]


def _skin(rest, radius, grid, skirt, worn):
    """Points and normals at rest [P, 3], their parts [P], and the joints that move them [P]."""
    rings, around = grid
    phi = 2 * np.pi * np.arange(around) / around
    circle = np.cos(phi), np.sin(phi)
    found = []
    for part, (parent, child) in enumerate(_bones()):
        along = rest[child] - rest[parent]
        length = np.linalg.norm(along)
        axis = along / length
        one = np.cross(axis, [1.0, 0, 0] if abs(axis[0]) < 0.9 else [0, 1.0, 0])
        one /= np.linalg.norm(one)
        radial = circle[0][:, None] * one + circle[1][:, None] * np.cross(axis, one)
        # A ring on either round end, the others along the bone.
        lean = np.deg2rad([-50, *[0] * (rings - 2), 50])[:, None, None]
        at = np.array([0, *np.linspace(0, length, rings - 2), length])[:, None, None]
        normal = np.cos(lean) * radial + np.sin(lean) * axis
        place = rest[parent] + at * axis + radius[child] * normal
        found.append((place, normal, part, parent))
    names = list(JOINTS)
    if skirt:
        fall = np.linspace(0, 1, rings)[:, None, None]
        out = np.stack([*circle, np.zeros(around)], -1)
        place = rest[0] + (0.11 + 0.1 * fall) * out - [0, 0, 0.3] * fall
        normal = np.broadcast_to(out + np.array([0, 0, 0.33]), place.shape) / np.hypot(1, 0.33)
        found.append((place, normal, len(BONES), 0))
    for k, name in enumerate(('backpack', 'hat')):
        if name in worn:
            joint, shape, half, shift = _WORN[name]
            here = names.index(joint)
            rng = np.random.default_rng(0)  # the same places on every body
            rows = np.array([shape]), np.array([half]), rest[here] + np.array([shift])
            place, normal, _ = _surface(rng, *rows, 60)
            found.append((place, normal, len(BONES) + 1 + k, here))
    unknown = set(worn) - set(_WORN)
    if unknown:
        raise Refusal(f'worn: {sorted(unknown)} is unknown, choose of {", ".join(_WORN)}')
    counts = [place.size // 3 for place, *_ in found]
    place, normal = (np.concatenate([row[k].reshape(-1, 3) for row in found]) for k in (0, 1))
    part, rigid = (np.repeat([row[k] for row in found], counts) for k in (2, 3))
    return place, normal, part, rigid


def _forward(rest, angles):
    """Turns [J, 3, 3] and places [J, 3] of the joints in a pose."""
    names, turns, places = list(JOINTS), [], []
    local = {name: np.eye(3) for name in names}
    for (joint, axis, *_), angle in zip(ANGLES, angles, strict=True):
        local[joint] = local[joint] @ _turn(axis, angle)
    for k, name in enumerate(names):
        parent = JOINTS[name][0]
        if parent is None:
            turns.append(local[name])
            places.append(rest[k])
            continue
        p = names.index(parent)
        turns.append(turns[p] @ local[name])
        places.append(places[p] + turns[p] @ (rest[k] - rest[p]))
    return np.stack(turns), np.stack(places)


def _in_body(query, joints, radius):
    """Whether points [Q, 3] lie within any bone's capsule."""
    inside = np.zeros(len(query), bool)
    for parent, child in _bones():
        along = joints[child] - joints[parent]
        t = np.clip((query - joints[parent]) @ along / (along @ along), 0, 1)
        inside |= (
            np.linalg.norm(query - joints[parent] - t[:, None] * along, axis=1) < radius[child]
        )
    return inside


def _in_worn(query, rest, turns, joints, worn):
    inside = np.zeros(len(query), bool)
    for name in worn:
        joint, shape, half, shift = _WORN[name]
        k = list(JOINTS).index(joint)
        local = (query - joints[k]) @ turns[k]
        rows = np.array([shape]), np.array([half]), np.array([shift])
        inside |= _within(local, *rows)[:, 0]
    return inside


def _primitives(rows, size):
    """Shapes [n], half lengths and middles [n, 3] of stretched parts."""
    shape, half, middle = zip(*rows, strict=True)
    return np.array(shape), np.array(half) * size, np.array(middle) * size


def _areas(shape, half):
    """Surfaces [n] of primitives; that of a stretched ball is near."""
    x, y, z = half.T
    boxes = 8 * (x * y + y * z + z * x)
    round = 2 * np.pi * x * y + 4 * np.pi * np.sqrt((x * x + y * y) / 2) * z
    ball = 4 * np.pi * (((x * y) ** 1.6 + (y * z) ** 1.6 + (z * x) ** 1.6) / 3) ** (1 / 1.6)
    return np.select([shape == 'box', shape == 'cylinder'], [boxes, round], ball)


def _surface(generator, shape, half, middle, count):
    """Points and normals [P, 3] on the outside of a union of primitives, and whose each is [P]."""
    area = _areas(shape, half)
    found, kept = [], 0
    while not found or kept < count:
        part = generator.choice(len(area), 2 * count, p=area / area.sum())
        local, normal = _on(generator, shape[part], half[part])
        place = local + middle[part]
        free = ~_within(place + 2e-3 * normal, shape, half, middle).any(1)
        found.append((place[free], normal[free], part[free]))
        kept += free.sum()
    return tuple(np.concatenate(column)[:count] for column in zip(*found, strict=True))


def _on(generator, shape, half):
    """One even point and normal [P, 3] on each of many primitives around the origin."""
    count = len(shape)
    u = generator.uniform(-1, 1, (count, 3))
    x, y, z = half.T
    # Boxes: the axis of a face in the share of its area.
    faces = np.stack([y * z, z * x, x * y], -1)
    edge = faces.cumsum(1) / faces.sum(1, keepdims=True)
    axis = (generator.random((count, 1)) > edge[:, :2]).sum(1)
    sign = np.where(generator.random(count) < 0.5, -1.0, 1.0)
    rows = np.arange(count)
    box, box_normal = u.copy(), np.zeros((count, 3))
    box[rows, axis] = box_normal[rows, axis] = sign
    # Cylinders: on a cap, or on the side.
    phi = np.pi * u[:, 0]
    side = generator.random(count) < 2 * np.sqrt((x * x + y * y) / 2) * z / (
        x * y + 2 * np.sqrt((x * x + y * y) / 2) * z
    )
    reach = np.where(side, 1, np.sqrt(np.abs(u[:, 1])))
    round = np.stack([reach * np.cos(phi), reach * np.sin(phi), np.where(side, u[:, 2], sign)], -1)
    zero = np.zeros(count)
    out = np.stack([np.cos(phi) / x, np.sin(phi) / y, zero], -1)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    cap = np.stack([zero, zero, sign], -1)
    round_normal = np.where(side[:, None], out, cap)
    ball = generator.standard_normal((count, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    ball_normal = ball / half
    ball_normal /= np.linalg.norm(ball_normal, axis=1, keepdims=True)
    kinds = [(shape == name)[:, None] for name in ('box', 'cylinder')]
    place = half * np.select(kinds, [box, round], ball)
    return place, np.select(kinds, [box_normal, round_normal], ball_normal)


def _within(query, shape, half, middle):
    """Whether points [Q, 3] lie inside primitives [n]: [Q, n]."""
    local = np.abs(query[:, None] - middle) / half
    flat = (local[..., :2] ** 2).sum(-1)
    cylinder = (flat < 1) & (local[..., 2] < 1)
    ball = flat + local[..., 2] ** 2 < 1
    return np.select([shape == 'box', shape == 'cylinder'], [(local < 1).all(-1), cylinder], ball)


def _shell(generator, wide, high, count):
    """Points, normals, labels and instances of a floor and two walls."""
    x, y = wide
    areas = np.array([4 * x * y, 2 * y * high, 2 * x * high])
    plane = generator.choice(3, count, p=areas / areas.sum())
    u = generator.uniform(-1, 1, (count, 2))
    up = high * (u[:, 1] + 1) / 2
    places = [
        np.stack([x * u[:, 0], y * u[:, 1], np.zeros(count)], -1),
        np.stack([np.full(count, -x), y * u[:, 0], up], -1),
        np.stack([x * u[:, 0], np.full(count, y), up], -1),
    ]
    at = np.select([(plane == k)[:, None] for k in range(3)], places)
    normal = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])[plane]
    return at, normal, (plane > 0).astype(int), np.zeros(count, int)


def _turn(axis, angle):
    """Rotation [3, 3] about a coordinate axis."""
    return _rotation(np.eye(3)[axis], angle)


def _rotation(axis, angle):
    """Rotation [3, 3] about an axis of any length, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _any_rotation(generator):
    """A rotation drawn evenly from all."""
    frame, upper = np.linalg.qr(generator.standard_normal((3, 3)))
    frame = frame * np.sign(np.diag(upper))
    return frame * np.linalg.det(frame)


def _float32(item):
    return {name: np.asarray(value, np.float32) for name, value in item.items()}


_WORN = {  # joint it follows, shape, half lengths, place from the joint at rest
    'backpack': ('hip', 'box', (0.07, 0.1, 0.13), (-0.16, 0, 0.16)),
    'hat': ('neck', 'ball', (0.075, 0.075, 0.05), (0, 0, 0.16)),
}
_PAIR = ('overlap', 'rotation', 'upright', 'shift', 'jitter')
