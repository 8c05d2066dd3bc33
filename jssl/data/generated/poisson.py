"""Poisson's equation as a fluid meets it: vessels with obstacles, and right-hand sides.

A vessel is closed on all sides but the top, which is open; `algorithms.poisson_matrix` is its
matrix.
"""

import numpy as np
from scipy import ndimage
from scipy.sparse.linalg import splu

from jssl.algorithms import poisson_matrix
from jssl.algorithms.poisson import FLUID, OPEN, SOLID


def vessel(
    random: np.random.Generator, *, size: int = 32, dimensions: int = 2, obstacles: int = 0
) -> np.ndarray:
    """Draws balls and boxes into a vessel.

    Args:
      random: NumPy generator.
      size: cells along a side.
      dimensions: of the grid; the first axis points down.
      obstacles: solid ones, which may overlap; fluid that they cut off is solid too.

    Returns:
      Kinds of the cells with a frame around them, int8 [size + 2, ...].

    A Deep Conjugate Direction Method for Iteratively Solving Linear Systems (Kaneda et al., 2023).
    """
    kind = np.pad(np.full((size,) * dimensions, FLUID, np.int8), 1, constant_values=SOLID)
    kind[0] = OPEN
    inside = kind[(slice(1, -1),) * dimensions]
    cells = np.stack(np.indices(inside.shape), axis=-1) + 0.5
    for _ in range(obstacles):
        apart = np.abs(cells - size * random.uniform(0.2, 0.8, dimensions))
        half = size * random.uniform(0.06, 0.16, dimensions)
        ball = random.random() < 0.5
        inside[np.linalg.norm(apart, axis=-1) < half[0] if ball else (apart < half).all(-1)] = SOLID
    part, _ = ndimage.label(inside == FLUID)
    inside[~np.isin(part, np.unique(part[0][part[0] > 0]))] = SOLID
    return kind


def right_sides(random: np.random.Generator, kind: np.ndarray, count: int) -> np.ndarray:
    """Draws right-hand sides of length one: smooth ones, noise, and points, in turn.

    Args:
      random: NumPy generator.
      kind: of a vessel [S + 2 ...].
      count: B.

    Returns:
      float64 [B, *S], zero outside the fluid.

    A Deep Conjugate Direction Method for Iteratively Solving Linear Systems (Kaneda et al., 2023).
    """
    fluid = kind[(slice(1, -1),) * kind.ndim] == FLUID
    b = random.standard_normal((count, *fluid.shape)) * fluid
    for i in range(0, count, 3):
        b[i] = ndimage.gaussian_filter(b[i], len(fluid) / 8) * fluid
    for i in range(2, count, 3):
        places = random.choice(np.flatnonzero(fluid), 2, replace=False)
        b[i] = 0
        b[i].flat[places] = 1, -1
    return b / np.linalg.norm(b.reshape(count, -1), axis=1).reshape(-1, *[1] * fluid.ndim)


def plume(kind: np.ndarray, frames: int, *, skip: int = 5) -> np.ndarray:
    """The divergences that must be projected away while smoke rises through a plane vessel.

        v += buoyancy of smoke;  A p = -div v;  v -= grad p;  smoke and v drift along v

    Args:
      kind: of a vessel [H + 2, W + 2].
      frames: how many are kept, T.
      skip: frames before the first.

    Returns:
      Right-hand sides, float64 [T, H, W], of length one.

    Stable Fluids (Stam, 1999).
    """
    height, width = (n - 2 for n in kind.shape)
    pressure = splu(poisson_matrix(kind).tocsc())
    # Velocities live on faces: `down` [H + 1, W] and `right` [H, W + 1]. Walls stop them.
    free = (
        (kind[:-1, 1:-1] != SOLID) & (kind[1:, 1:-1] != SOLID),
        ((kind[1:-1, :-1] != SOLID) & (kind[1:-1, 1:] != SOLID)),
    )
    down, right = (np.zeros(part.shape) for part in free)
    smoke, found = np.zeros((height, width)), []
    for _ in range(skip + frames):
        smoke[-height // 6 :, 2 * width // 5 : 3 * width // 5] = 1
        down[1:-1] -= 0.1 * (smoke[1:] + smoke[:-1])
        down, right = down * free[0], right * free[1]
        b = -(np.diff(down, axis=0) + np.diff(right, axis=1)) * (kind[1:-1, 1:-1] == FLUID)
        found.append(b / np.linalg.norm(b))
        p = np.pad(pressure.solve(b.ravel()).reshape(b.shape), 1)
        down -= np.diff(p[:, 1:-1], axis=0) * free[0]
        right -= np.diff(p[1:-1], axis=1) * free[1]
        down, right, smoke = (_drifted(x, down, right) for x in (down, right, smoke))
    return np.stack(found[skip:])


def _drifted(x, down, right):
    """Values on cells or faces, taken from where the flow of one step comes from."""
    height, width = right.shape[0], down.shape[1]
    place = np.indices(x.shape) + 0.0
    offset = [(n - m) / 2 for n, m in zip((height, width), x.shape, strict=True)]
    y, z = place[0] + offset[0], place[1] + offset[1]  # in units of cells, cell 0 at 0
    moved = [
        ndimage.map_coordinates(down, [y + 0.5, z], order=1, mode='nearest'),
        ndimage.map_coordinates(right, [y, z + 0.5], order=1, mode='nearest'),
    ]
    return ndimage.map_coordinates(x, place - moved, order=1, mode='nearest')
