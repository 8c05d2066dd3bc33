"""Small worlds: mazes as tokens, a point that walks through rooms, sprites that are pushed.

FAMILIES
  levels        walls, start and goal on a grid, with the length of the shortest way
  trajectories  a point mass in a maze of `MAZES`, moved by someone, without reward
  sprites       objects of shapes and colours that an agent pushes from cell to cell
"""

import functools
from collections import deque

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 1000, 'validation': 100, 'test': 200}
LICENCE = 'Apache-2.0'
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # up, right, down, left

# Levels made by hand, start S and goal G, that no drawing is likely to give.
HELD_OUT = """
S..#...|...#...|...#...|.......|...#...|...#...|...#..G
S......|.#####.|.#...#.|.#.G.#.|.#...#.|.##.##.|.......
S#...#.|.#.#.#.|.#.#.#.|.#.#.#.|.#.#.#.|.#.#.#.|...#..G
S......|######.|.......|.######|.......|######.|G......
...#...|.S.#.G.|...#...|.......|.......|.......|.......
S.#.#..|.......|#.#.#.#|.......|.#.#.#.|.......|#.#.#.G
.......|.##.##.|.#S..#.|.......|.#...#.|.##.##.|......G
S.....G|.#####.|.#####.|.#####.|.#####.|.#####.|.......
..#.#..|S.#.#.G|..#.#..|..#.#..|..#.#..|..#.#..|.......
S......|.......|..###..|..#G...|..###..|.......|.......
G..#...|.#.#.#.|.#...#.|.###.#.|...#.#.|##.#.#.|S..#...
.......|.#####.|.#...#.|.#.S.#.|.#...#.|.###.#.|......G
""".strip().splitlines()
MAZES = {
    'open': ['.' * 11] * 11,
    'u': ['.' * 11] * 3 + ['########...'] * 5 + ['.' * 11] * 3,
    'rooms': [*['.....#.....'] * 2, '...........', *['.....#.....'] * 2, '##.#####.##',
              *['.....#.....'] * 2, '...........', *['.....#.....'] * 2],
}  # fmt: skip
_FINE = 3  # points to a cell's side, between which ways are sought
SHAPES = {
    'square': '####|####|####|####',
    'disc': '.##.|####|####|.##.',
    'cross': '#..#|.##.|.##.|#..#',
    'bars': '####|....|####|....',
}
COLOURS = np.array([(230, 60, 60), (70, 200, 70), (80, 110, 240), (235, 215, 60), (210, 90, 220),
                    (80, 220, 220)], np.uint8)  # fmt: skip


def level(
    random: np.random.Generator, *, side: int = 7, walls: int = 12, solvable: bool = False
) -> dict[str, np.ndarray]:
    """A level: zero to `walls` walls, a start and a goal on different free cells.

    Args:
      random: NumPy generator.
      side: S.
      walls: at most.
      solvable: draw until there is a way.

    Returns:
      wall bool [S, S]; start, goal int32 [2], row and column; tokens int32 [walls + 2], places
      1 to S^2 of the walls in order, 0 after them, then start and goal; distance int32, moves of
      the shortest way, -1 if there is none; image uint8 [S, S, 3].

    CLUTR: Curriculum Learning via Unsupervised Task Representation Learning (Azad et al., 2023).
    """
    while True:
        count = int(random.integers(walls + 1))
        places = random.permutation(side**2)[: count + 2]
        wall = np.zeros(side**2, bool)
        wall[places[2:]] = True
        found = _level(wall.reshape(side, side), *(np.divmod(p, side) for p in places[:2]), walls)
        if found['distance'] >= 0 or not solvable:
            return found


def held_out_levels(*, walls: int = 49) -> dict[str, np.ndarray]:
    """The levels that were made by hand: the columns of `level`, [12, ...].

    CLUTR: Curriculum Learning via Unsupervised Task Representation Learning (Azad et al., 2023).
    """
    items = []
    for text in HELD_OUT:
        cells = np.array([list(row) for row in text.split('|')])
        start, goal = (np.argwhere(cells == letter)[0] for letter in 'SG')
        items.append(_level(cells == '#', start, goal, walls))
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def _level(wall, start, goal, walls):
    start, goal = (np.array(place, np.int32) for place in (start, goal))
    image = np.full((*wall.shape, 3), 235, np.uint8)
    image[wall] = 40
    image[tuple(start)], image[tuple(goal)] = COLOURS[2], COLOURS[1]
    ends = [1 + place[0] * len(wall) + place[1] for place in (start, goal)]
    places = 1 + np.flatnonzero(wall)
    return {
        'wall': wall,
        'start': start,
        'goal': goal,
        'tokens': np.array([*places, *[0] * (walls - len(places)), *ends], np.int32),
        'distance': moves(wall, goal)[tuple(start)],
        'image': image,
    }


def moves(wall: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Least moves from every cell to a goal, int32 [S, S], -1 where there is no way.

    Args:
      wall: bool [S, S].
      goal: row and column [2].

    Introduction to Algorithms (Cormen et al., 2009), breadth-first search.
    """
    distance = np.full(wall.shape, -1, np.int32)
    distance[tuple(goal)] = 0
    pending = deque([tuple(int(v) for v in goal)])
    while pending:
        row, column = pending.popleft()
        for down, right in MOVES:
            near = row + int(down), column + int(right)
            inside = 0 <= near[0] < wall.shape[0] and 0 <= near[1] < wall.shape[1]
            if inside and not wall[near] and distance[near] < 0:
                distance[near] = distance[row, column] + 1
                pending.append(near)
    return distance


def trajectory(
    random: np.random.Generator,
    *,
    maze: str = 'rooms',
    steps: int = 100,
    stride: float = 0.04,
    planned: float = 0.5,
    noise: float = 0.5,
    size: int = 0,
) -> dict[str, np.ndarray]:
    """A point that walks through a maze of [0, 1]^2, along planned ways or at random.

        x' = x + stride a,  coordinate by coordinate where a wall would be entered

    Args:
      random: NumPy generator.
      maze: one of `MAZES`.
      steps: T.
      stride: the longest step of a coordinate.
      planned: p(the way leads to goals, one after the other, each by the shortest way).
      noise: standard deviation of what is added to a planned action; others sway slowly.
      size: side of images, 0 for none.

    Returns:
      position float32 [T + 1, 2], x and y; action float32 [T, 2] in [-1, 1]; goal float32 [T, 2]
      that was sought, NaN for a random walk; planned bool; and image uint8 [T + 1, S, S, 3].

    Foundation Policies with Hilbert Representations (Park et al., 2024), for such data.
    """
    if maze not in MAZES:
        raise Refusal(f'no maze {maze!r}: choose {", ".join(MAZES)}')
    free, number, places, _, after = _ways(maze)
    position = places[random.integers(len(places))].copy()
    seeks = bool(random.random() < planned)
    aim, sway = None, random.standard_normal(2)
    walk, actions, goals = [position.copy()], [], []
    for push in random.standard_normal((steps, 2)):
        sway = 0.9 * sway + 0.44 * push  # stays of variance one
        action = sway
        if seeks:
            here = _place(position, number)
            while aim is None or here == aim:
                aim = int(random.integers(len(places)))
            action = places[after[aim, here]] - position
            action = action / max(abs(action).max(), 1e-6) + noise * push
        actions.append(np.clip(action, -1, 1))
        goals.append(places[aim] if seeks else np.full(2, np.nan))
        position = _moved(position, stride * actions[-1], free)
        walk.append(position)
    item = {
        'position': np.array(walk, np.float32),
        'action': np.array(actions, np.float32),
        'goal': np.array(goals, np.float32),
        'planned': np.bool_(seeks),
    }
    if size:
        item['image'] = np.stack([_seen(maze, p, size) for p in item['position']])
    return item


@functools.cache
def _ways(maze):
    """Free cells [S, S], and a finer grid of points in them: numbers [3 S, 3 S] (-1 in a wall),
    places [P, 2], lengths of the ways between two [P, P], and [a, b] the one after b towards a."""
    free = np.array([list(row) for row in MAZES[maze]]) == '.'
    fine = np.kron(free, np.ones((_FINE, _FINE), bool))
    number = np.full(fine.shape, -1)
    number[fine] = np.arange(fine.sum())
    edges = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, columns = np.nonzero(fine)
        ends = rows + down, columns + right
        inside = (ends[0] < len(fine)) & (ends[1] >= 0) & (ends[1] < fine.shape[1])
        rows, columns, ends = rows[inside], columns[inside], [end[inside] for end in ends]
        # A diagonal step may not cut a corner.
        clear = fine[tuple(ends)] & fine[rows, ends[1]] & fine[ends[0], columns]
        length = np.full(clear.sum(), np.hypot(down, right) / len(fine))
        edges.append((number[rows, columns][clear], number[ends[0], ends[1]][clear], length))
    i, j, length = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    graph = coo_array((length, (i, j)), shape=(fine.sum(),) * 2).tocsr()
    places = (np.argwhere(fine)[:, ::-1] + 0.5) / len(fine)
    return free, number, places, *dijkstra(graph, directed=False, return_predecessors=True)


def _moved(position, step, free):
    for axis in range(2):
        new = position.copy()
        new[axis] += step[axis]
        cell = np.floor(new * len(free)).astype(int)
        if (new >= 0).all() and (new < 1).all() and free[cell[1], cell[0]]:
            position = new
    return position


def _place(position, number):
    """Number of the point of the finer grid around a position."""
    column, row = (np.asarray(position) * len(number)).astype(int)
    return number[row, column]


def geodesic(maze: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Lengths [N] of the shortest ways between points a and b, [N, 2], on a grid of 33 x 33.

    A Note on Two Problems in Connexion with Graphs (Dijkstra, 1959).
    """
    _, number, _, way, _ = _ways(maze)
    return np.array([way[_place(p, number), _place(q, number)] for p, q in zip(a, b, strict=True)])


def _seen(maze, position, size):
    """The maze from above, with the point as a disc."""
    free = _ways(maze)[0]
    centre = (np.arange(size) + 0.5) / size
    cell = (centre * len(free)).astype(int)
    image = np.where(free[np.ix_(cell, cell)], 235, 40).astype(np.uint8)[..., None].repeat(3, 2)
    away = np.hypot(centre[:, None] - position[1], centre - position[0])
    image[away < 0.05] = COLOURS[0]
    return image


def pushing(
    random: np.random.Generator,
    *,
    objects: int = 3,
    cells: int = 6,
    steps: int = 10,
    colours: tuple[int, ...] = (0, 1, 2, 3),
    shapes: tuple[str, ...] = tuple(SHAPES),
) -> dict[str, np.ndarray]:
    """An agent that wanders among objects and pushes what stands in its way.

    The objects share their colour or their shape but for one; in the other respect all differ, or
    where there are too few values, all are alike.

    Args:
      random: NumPy generator.
      objects: K.
      cells: C, side of the world in cells of 4 x 4 pixels.
      steps: T.
      colours: places in `COLOURS` that objects may have; others are for tests.
      shapes: of `SHAPES`.

    Returns:
      video uint8 [T + 1, 4 C, 4 C, 3]; mask int32 [T + 1, 4 C, 4 C], 0 ground, 1 agent, 2 + k
      object k; position int32 [T + 1, K + 1, 2], row and column, the agent first; action int32
      [T], place in `MOVES`; pushed int32 [T], which object was moved, -1 for none; colour, shape
      int32 [K], places in `COLOURS` and `SHAPES`; label int32, the odd object; rule int32, 0 odd
      in colour, 1 odd in shape.

    Pre-Training Object-Centric Representations for Reinforcement Learning (Yoon et al., 2023).
    """
    names = list(SHAPES)
    pools = [np.array(colours), np.array([names.index(name) for name in shapes])]
    rule, odd = int(random.integers(2)), int(random.integers(objects))
    common, other = random.choice(pools[rule], 2, replace=False)
    told = np.where(np.arange(objects) == odd, other, common)
    pool = pools[1 - rule]
    free = random.permutation(pool)[:objects]
    if len(pool) < objects:
        free = np.full(objects, random.choice(pool))
    colour, shape = (told, free) if rule == 0 else (free, told)
    places = random.permutation(cells**2)[: objects + 1]
    position = [np.stack(np.divmod(places, cells), 1)]
    action = random.integers(len(MOVES), size=steps)
    pushed = []
    for move in action:
        now, which = position[-1].copy(), -1
        target = now[0] + MOVES[move]
        met = np.flatnonzero((now[1:] == target).all(1))
        if len(met):
            beyond = target + MOVES[move]
            if _inside(beyond, cells) and not (now == beyond).all(1).any():
                which = int(met[0])
                now[1 + which] = beyond
        if _inside(target, cells) and (which >= 0 or not len(met)):
            now[0] = target
        position.append(now)
        pushed.append(which)
    position = np.stack(position)
    video, mask = _painted(position, colour, shape, cells)
    return {
        'video': video,
        'mask': mask,
        'position': position.astype(np.int32),
        'action': action.astype(np.int32),
        'pushed': np.array(pushed, np.int32),
        'colour': colour.astype(np.int32),
        'shape': shape.astype(np.int32),
        'label': np.int32(odd),
        'rule': np.int32(rule),
    }


def _inside(place, cells):
    return bool((place >= 0).all() and (place < cells).all())


_BITMAPS = [
    np.array([list(row) for row in rows.split('|')]) == '#'
    for rows in ('.##.|.##.|####|#..#', *SHAPES.values())  # the agent, then the objects
]


def _painted(position, colour, shape, cells):
    frames, count, _ = position.shape
    video = np.full((frames, 4 * cells, 4 * cells, 3), 25, np.uint8)
    mask = np.zeros(video.shape[:3], np.int32)
    bitmaps = [_BITMAPS[0], *(_BITMAPS[1 + i] for i in shape)]
    paints = [np.full(3, 245, np.uint8), *COLOURS[colour]]
    for t in range(frames):
        for k in range(count):
            row, column = 4 * position[t, k]
            window = np.s_[t, row : row + 4, column : column + 4]
            video[window][bitmaps[k]] = paints[k]
            mask[window][bitmaps[k]] = k + 1
    return video, mask


FAMILIES = {'levels': level, 'trajectories': trajectory, 'sprites': pushing}


def source(
    split: str = 'train',
    *,
    family: str = 'levels',
    count: int | None = None,
    seed: int = 0,
    **knobs,
) -> draw.Drawn:
    """Items that are drawn when they are asked for; the knobs are those of the family's function.

    CLUTR: Curriculum Learning via Unsupervised Task Representation Learning (Azad et al., 2023).
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of grids: choose {", ".join(FAMILIES)}')
    count = COUNTS[split] if count is None else count
    return draw.Drawn(FAMILIES[family], split, count, seed, **knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The items of `source` in memory: the columns of the family's function, [N, ...].

    CLUTR: Curriculum Learning via Unsupervised Task Representation Learning (Azad et al., 2023).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
