"""Two-dimensional drawing by signed distances: figures, their unions, and layers over an image.

Points are [..., 2] with x to the right and y down. A signed distance is negative inside a figure,
zero on its outline, and close to the length of the shortest way there near it. Figures are about
as large as the unit disc; `place` puts them anywhere. All of it is pure: jit, grad and vmap work.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

_TINY = 1e-12  # under square roots, whose slope at zero is infinite


class Transform(NamedTuple):
    """Where an object is drawn: its frame's origin, unit of length and turn in the image."""

    position: jax.Array  # [..., 2] x and y in the units of `pixel_grid`
    scale: jax.Array  # [...]
    angle: jax.Array  # [...] radians, clockwise on the screen


def pixel_grid(height: int, width: int | None = None) -> jax.Array:
    """Centres of an image's pixels; the shorter side spans -1 to 1.

    Args:
      height: rows H.
      width: columns W; None for a square.

    Returns:
      [H, W, 2] float32, x then y.

    A Pixel Is Not a Little Square (Smith, 1995), for samples at centres.
    """
    width = height if width is None else width
    shorter = min(height, width)
    x = (2 * jnp.arange(width, dtype=jnp.float32) + 1 - width) / shorter
    y = (2 * jnp.arange(height, dtype=jnp.float32) + 1 - height) / shorter
    return jnp.stack(jnp.meshgrid(x, y), axis=-1)


def sample_transform(
    key: jax.Array,
    *,
    scale: tuple[float, float] = (0.5, 0.75),
    shift: float = 1.0,
    rotation: float = 25.0,
) -> Transform:
    """Draws a place, size and turn for an object of unit radius, wholly inside the image.

        s ~ U(scale), position ~ shift (1 - s) U(-1, 1)^2, angle ~ U(-rotation, rotation)

    Args:
      key: random key.
      scale: least and greatest radius, 1 being half the image's shorter side.
      shift: share of the free room that is used; 0 is always the centre.
      rotation: greatest turn to either side, in degrees.

    Returns:
      Transform of scalars, position [2].

    Spatial Transformer Networks (Jaderberg et al., 2015).
    """
    numbers = jax.random.uniform(key, (4,))
    return transform_from(numbers, scale=scale, shift=shift, rotation=rotation)


def transform_from(
    numbers: jax.Array, *, scale: tuple[float, float], shift: float, rotation: float
) -> Transform:
    """The transform of `sample_transform` from numbers that were drawn already.

    Args:
      numbers: uniform in 0 to 1 [4].
      scale: least and greatest radius, 1 being half the image's shorter side.
      shift: share of the free room that is used; 0 is always the centre.
      rotation: greatest turn to either side, in degrees.

    Returns:
      Transform of scalars, position [2].

    Spatial Transformer Networks (Jaderberg et al., 2015).
    """
    chex.assert_shape(numbers, (4,))
    size = scale[0] + (scale[1] - scale[0]) * numbers[0]
    room = shift * jnp.maximum(1 - size, 0)
    angle = jnp.deg2rad(rotation) * (2 * numbers[1] - 1)
    return Transform(room * (2 * numbers[2:] - 1), size, angle)


@jax.jit
def place(points: jax.Array, transform: Transform) -> jax.Array:
    """Expresses points of the image in the frame of an object.

        q = R(-angle) (p - position) / scale;  a distance in that frame is times scale in the image

    Args:
      points: [..., 2].
      transform: of one object, position [2].

    Returns:
      [..., 2].

    Spatial Transformer Networks (Jaderberg et al., 2015).
    """
    x = (points[..., 0] - transform.position[0]) / transform.scale
    y = (points[..., 1] - transform.position[1]) / transform.scale
    cos, sin = jnp.cos(transform.angle), jnp.sin(transform.angle)
    return jnp.stack([cos * x + sin * y, cos * y - sin * x], axis=-1)


def move(points: jax.Array, x: float = 0, y: float = 0, *, turn: float = 0) -> jax.Array:
    """Points in the frame of a part that lies at (x, y), turned clockwise by degrees.

    Args:
      points: [..., 2].
      x: to the right.
      y: down.
      turn: degrees.

    Returns:
      [..., 2].

    Spatial Transformer Networks (Jaderberg et al., 2015).
    """
    return place(points, Transform(jnp.array([x, y]), jnp.ones(()), jnp.deg2rad(turn)))


@jax.jit
def circle(points: jax.Array, radius: float = 1.0) -> jax.Array:
    """Signed distance of a disc: |p| - r.

    Args:
      points: [..., 2].
      radius: r.

    Returns:
      [...].

    Sphere tracing (Hart, 1996), for this and the other distances.
    """
    return _norm(points) - radius


def ring(points: jax.Array, radius: float = 0.7, width: float = 0.4) -> jax.Array:
    """Signed distance of a ring: ||p| - r| - w/2.

    Args:
      points: [..., 2].
      radius: r of the middle line.
      width: w.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    return outline(circle(points, radius), width=width)


@jax.jit
def box(points: jax.Array, half_x: float, half_y: float, *, corner: float = 0.0) -> jax.Array:
    """Signed distance of an upright rectangle, its corners rounded.

        q = |p| - half + c;  d = |max(q, 0)| + min(max(q_x, q_y), 0) - c

    Args:
      points: [..., 2].
      half_x: half the width.
      half_y: half the height.
      corner: c, radius of the corners; at most the smaller half.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    x = jnp.abs(points[..., 0]) - half_x + corner
    y = jnp.abs(points[..., 1]) - half_y + corner
    outside = _norm(jnp.stack([jnp.maximum(x, 0), jnp.maximum(y, 0)], axis=-1))
    return outside + jnp.minimum(jnp.maximum(x, y), 0) - corner


def cross(points: jax.Array, *, half: float = 0.95, width: float = 0.6) -> jax.Array:
    """Signed distance of two crossing bars.

    Args:
      points: [..., 2].
      half: half the length of a bar.
      width: of a bar.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    return union(box(points, half, width / 2), box(points, width / 2, half))


def crescent(points: jax.Array, *, radius: float = 0.95, bite: float = 0.45) -> jax.Array:
    """Signed distance of a disc without the disc beside it, open to the right.

    Args:
      points: [..., 2].
      radius: of the disc; the other has 5/6 of it.
      bite: how far to the right the other lies.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    return subtract(circle(points, radius), circle(move(points, bite), radius * 5 / 6))


def polygon(points: jax.Array, vertices) -> jax.Array:
    """Signed distance of any polygon that does not cross itself.

    The distance is the least over the edges; a point is inside when a ray crosses an odd number.

    Args:
      points: [..., 2].
      vertices: [V, 2] in either sense of turning.

    Returns:
      [...].

    Computational Geometry: Algorithms and Applications (de Berg et al., 2008).
    """
    vertices = np.asarray(vertices, np.float32)
    chex.assert_shape(vertices, (None, 2))
    # Repeats of the last corner change nothing, and let most polygons share one compiled program.
    spare = -len(vertices) % 16
    return _polygon(points, np.pad(vertices, ((0, spare), (0, 0)), mode='edge'))


@jax.jit
def _polygon(points, vertices):
    points = points[..., None, :]
    start = vertices.reshape((1,) * (points.ndim - 2) + vertices.shape)
    edge = jnp.roll(start, -1, axis=-2) - start
    way = points - start
    length2 = jnp.maximum((edge**2).sum(-1), _TINY)
    along = jnp.clip((way * edge).sum(-1) / length2, 0, 1)
    distance = _norm(way - along[..., None] * edge).min(-1)
    spans = (start[..., 1] > points[..., 1]) != ((start + edge)[..., 1] > points[..., 1])
    rise = jnp.where(edge[..., 1] == 0, 1, edge[..., 1])
    crossed = spans & (way[..., 0] < way[..., 1] * edge[..., 0] / rise)
    return jnp.where(crossed.sum(-1) % 2 == 1, -distance, distance)


def regular(points: jax.Array, sides: int, *, radius: float = 1.0) -> jax.Array:
    """Signed distance of a regular polygon with one corner at the top.

    Args:
      points: [..., 2].
      sides: at least 3.
      radius: from the middle to a corner.

    Returns:
      [...].

    Computational Geometry: Algorithms and Applications (de Berg et al., 2008).
    """
    return polygon(points, _spokes(sides, np.full(sides, radius)))


def star(points: jax.Array, tips: int = 5, *, inner: float = 0.42) -> jax.Array:
    """Signed distance of a star of unit radius with one tip at the top.

    Args:
      points: [..., 2].
      tips: at least 3.
      inner: from the middle to the corners between two tips.

    Returns:
      [...].

    Computational Geometry: Algorithms and Applications (de Berg et al., 2008).
    """
    return polygon(points, _spokes(2 * tips, np.tile([1.0, inner], tips)))


def heart(points: jax.Array) -> jax.Array:
    """Signed distance of a heart, point down.

        x = 16 sin^3 t, y = -(13 cos t - 5 cos 2t - 2 cos 3t - cos 4t), about unit size

    Args:
      points: [..., 2].

    Returns:
      [...].

    Computational Geometry: Algorithms and Applications (de Berg et al., 2008).
    """
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -13 * np.cos(t) + 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t)
    return polygon(points, np.stack([x, y - 2.5], axis=-1) / 16)


def arrow(points: jax.Array, *, shaft: float = 0.4) -> jax.Array:
    """Signed distance of an arrow that points to the right.

    Args:
      points: [..., 2].
      shaft: thickness of the shaft.

    Returns:
      [...].

    Computational Geometry: Algorithms and Applications (de Berg et al., 2008).
    """
    upper = [(-0.95, -shaft / 2), (0.05, -shaft / 2), (0.05, -0.75), (0.95, 0.0)]
    return polygon(points, upper + [(x, -y) for x, y in upper[2::-1]])


def stripes(points: jax.Array, *, period: float = 0.5) -> jax.Array:
    """Signed distance of level bars that fill half the plane.

    Args:
      points: [..., 2].
      period: from one bar to the next.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    return period * (jnp.abs(points[..., 1] / period % 1 - 0.5) - 0.25)


def dots(points: jax.Array, *, period: float = 0.55, radius: float = 0.18) -> jax.Array:
    """Signed distance of discs on a square grid, one of them at the origin.

    Args:
      points: [..., 2].
      period: from one disc to the next.
      radius: of a disc.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    return circle(period * ((points / period + 0.5) % 1 - 0.5), radius)


def union(*distances: jax.Array) -> jax.Array:
    """Signed distance of what any figure covers: the least.

    Args:
      *distances: [...] each.

    Returns:
      [...].

    A Constructive Geometry for Computer Graphics (Ricci, 1973).
    """
    return functools.reduce(jnp.minimum, distances)


def intersection(*distances: jax.Array) -> jax.Array:
    """Signed distance of what all figures cover: the greatest.

    Args:
      *distances: [...] each.

    Returns:
      [...].

    A Constructive Geometry for Computer Graphics (Ricci, 1973).
    """
    return functools.reduce(jnp.maximum, distances)


def subtract(distance: jax.Array, *others: jax.Array) -> jax.Array:
    """Signed distance of a figure without the others: max(d, -o).

    Args:
      distance: [...].
      *others: [...] each.

    Returns:
      [...].

    A Constructive Geometry for Computer Graphics (Ricci, 1973).
    """
    return jnp.maximum(distance, -union(*others))


@jax.jit
def outline(distance: jax.Array, *, width: float = 0.3) -> jax.Array:
    """Signed distance of a line along the figure's edge: |d| - w/2.

    Args:
      distance: [...].
      width: w.

    Returns:
      [...].

    Sphere tracing (Hart, 1996).
    """
    return jnp.abs(distance) - width / 2


def bake(
    figure: Callable[[jax.Array], jax.Array], *, resolution: int = 96, extent: float = 1.3
) -> jax.Array:
    """Tabulates a figure's signed distance, so that any figure costs one look-up to draw.

    Args:
      figure: points [..., 2] -> distances [...].
      resolution: R.
      extent: the table spans -extent to extent along x and y.

    Returns:
      [R, R].

    Improved Alpha-Tested Magnification for Vector Textures (Green, 2007).
    """
    return figure(extent * pixel_grid(resolution) * resolution / (resolution - 1))


def look_up(table: jax.Array, points: jax.Array, *, extent: float = 1.3) -> jax.Array:
    """Reads a baked figure between its entries; outside, the distance at the table's border.

    Args:
      table: [R, R], of `bake`.
      points: [..., 2] in the figure's frame.
      extent: that of `bake`.

    Returns:
      [...].

    Improved Alpha-Tested Magnification for Vector Textures (Green, 2007).
    """
    chex.assert_rank(table, 2)
    x, y = ((points[..., axis] / extent + 1) * (table.shape[0] - 1) / 2 for axis in (0, 1))
    return jax.scipy.ndimage.map_coordinates(table, [y, x], order=1, mode='nearest')


def coverage(distance: jax.Array, pixel: float) -> jax.Array:
    """Share of a pixel that a figure covers, by the distance of the pixel's centre.

        a = clip(1/2 - d / pixel, 0, 1), exact for a straight edge along the pixel's sides

    Args:
      distance: [...] in the image's units.
      pixel: side of a pixel in the same units: 2 / size.

    Returns:
      [...] in 0 to 1.

    Improved Alpha-Tested Magnification for Vector Textures (Green, 2007).
    """
    return jnp.clip(0.5 - distance / pixel, 0, 1)


def composite(
    canvas: jax.Array, colours: jax.Array, alphas: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Lays flat layers over an image, the last one in front.

        v_k = a_k prod_{j > k} (1 - a_j);  image = canvas prod_j (1 - a_j) + sum_k v_k colour_k

    Args:
      canvas: [H, W, C].
      colours: one of each layer [K, C].
      alphas: coverage by each layer [K, H, W].

    Returns:
      Image [H, W, C], and what is seen of each layer, v [K, H, W].

    Compositing Digital Images (Porter and Duff, 1984).
    """
    chex.assert_rank([canvas, colours, alphas], [3, 2, 3])
    through = jnp.cumprod(1 - alphas[::-1], axis=0)[::-1]
    behind = jnp.concatenate([through[1:], jnp.ones_like(through[:1])])
    seen = alphas * behind
    image = canvas * through[0][..., None] + jnp.einsum('khw,kc->hwc', seen, colours)
    return image, seen


def tight_box(mask: jax.Array) -> jax.Array:
    """The smallest box around a mask.

    Args:
      mask: bool [H, W].

    Returns:
      [4] float32: left, top, right, bottom in pixels, right and bottom exclusive; zeros if empty.

    Microsoft COCO (Lin et al., 2014), for boxes from masks.
    """
    chex.assert_rank(mask, 2)
    ends = [_ends(mask.any(axis)) for axis in (0, 1)]  # along x, along y
    return jnp.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]]).astype(jnp.float32)


def _ends(used: jax.Array) -> tuple[jax.Array, jax.Array]:
    last = used.shape[0] - jnp.argmax(used[::-1])
    return jnp.argmax(used), jnp.where(used.any(), last, 0)


def _norm(vectors: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.maximum((vectors**2).sum(-1), _TINY))


def _spokes(count: int, radii: np.ndarray) -> np.ndarray:
    """Corners [count, 2] at equal angles, the first at the top."""
    angle = 2 * np.pi * np.arange(count) / count
    return radii[:, None] * np.stack([np.sin(angle), -np.cos(angle)], axis=-1)
