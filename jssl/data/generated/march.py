"""Solids by signed distance, and rays that march to them.

One formula draws balls, boxes, capsules, cylinders, cones, pyramids, wedges and rings:

    u = (| |xy| - ring |, -)  if round  else  (|x|, |y|)
    a = (u + taper z - half_xy, |z| - half_z)
    distance = (|max(a, 0)| + min(max a, 0)) / (1 + |taper|) - corner

in the solid's own frame. A solid is a NamedTuple of arrays, so many are one with leading axes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.generated.camera import rotated


class Solid(NamedTuple):
    """Shape and pose of solids; every field [..., its own axes]."""

    half: jax.Array  # [..., 3] half lengths of the core
    taper: jax.Array  # [..., 2] how much narrower per unit of height, along x and y
    corner: jax.Array  # [...] radius that is added all round
    ring: jax.Array  # [...] radius of the circle that the core is bent to
    round: jax.Array  # [...] 1 for solids of revolution about z, else 0
    offset: jax.Array  # [..., 3] the middle
    turn: jax.Array  # [..., 3, 3] from the solid's frame


def solid(half, *, taper=(0.0, 0.0), corner=0.0, ring=0.0, round=False, at=(0, 0, 0), axis=2):
    """One solid as NumPy arrays, its own z axis along `axis`; see the shapes below."""
    frame = np.roll(np.eye(3), axis - 2, axis=0)
    fields = (half, taper, corner, ring, float(round), at, frame)
    return Solid(*(np.asarray(field, np.float32) for field in fields))


def ball(radius, **pose):
    """A ball."""
    return solid((0, 0, 0), corner=radius, **pose)


def box(x, y, z, *, corner=0.0, **pose):
    """A box of half lengths x, y, z, its edges rounded by `corner`."""
    return solid((x - corner, y - corner, z - corner), corner=corner, **pose)


def capsule(radius, z, **pose):
    """A rod with round ends, of half length z."""
    return solid((0, 0, z - radius), corner=radius, **pose)


def cylinder(radius, z, *, corner=0.0, **pose):
    """A cylinder of half length z."""
    return solid((radius - corner, 0, z - corner), corner=corner, round=True, **pose)


def cone(radius, z, **pose):
    """A cone of half height z on a disc."""
    return solid((radius / 2, 0, z), taper=(radius / (2 * z), 0), round=True, **pose)


def pyramid(x, y, z, **pose):
    """A pyramid of half height z on a rectangle."""
    return solid((x / 2, y / 2, z), taper=(x / (2 * z), y / (2 * z)), **pose)


def wedge(x, y, z, **pose):
    """A roof of half height z whose ridge lies along x."""
    return solid((x, y / 2, z), taper=(0, y / (2 * z)), **pose)


def torus(radius, tube, **pose):
    """A ring."""
    return solid((0, 0, 0), ring=radius, corner=tube, round=True, **pose)


def stack(solids) -> Solid:
    """Solids of a list side by side on a new first axis."""
    return Solid(*(np.stack(field) for field in zip(*solids, strict=True)))


def extent(solids: Solid) -> jax.Array:
    """Half lengths of the box around each solid in its own frame.

    Args:
      solids: of shape [...].

    Returns:
      [..., 3].

    Sphere tracing (Hart, 1996), for bounds of implicit surfaces.
    """
    wide = solids.half[..., :2] + jnp.abs(solids.taper) * solids.half[..., 2:]
    # A solid of revolution is as wide along y as along x.
    wide = jnp.where(solids.round[..., None] > 0, wide[..., :1], wide)
    grown = (solids.corner + solids.ring)[..., None]
    high = solids.half[..., 2:] + solids.corner[..., None]
    return jnp.concatenate([wide + grown, high], axis=-1)


def distance(points: jax.Array, solids: Solid) -> jax.Array:
    """Signed distance of points to solids, at most the true one outside; see the module's formula.

    Args:
      points: [..., 3] in the frame that the solids' offsets and turns refer to.
      solids: of shape [...], broadcast against the points.

    Returns:
      [...], negative inside.

    Sphere tracing (Hart, 1996).
    """
    local = rotated(points - solids.offset, jnp.swapaxes(solids.turn, -1, -2))
    return _distance(*jnp.moveaxis(local, -1, 0), solids)


def normal(points: jax.Array, solids: Solid) -> jax.Array:
    """Outward unit normals of solids at points near their surfaces.

    Args:
      points: [..., 3].
      solids: of shape [...].

    Returns:
      [..., 3].

    Sphere tracing (Hart, 1996).
    """
    slope = jax.grad(lambda p: distance(p, solids).sum())(points)
    return slope / jnp.maximum(jnp.linalg.norm(slope, axis=-1, keepdims=True), 1e-12)


def march(origin: jax.Array, direction: jax.Array, solids: Solid, *, steps: int = 20) -> jax.Array:
    """How far rays go before they enter solids: exact where they meet, infinite where they pass.

    Steps as long as the distance bring the ray near; Newton's method then finds the surface.

    Args:
      origin: [..., 3].
      direction: [..., 3] of any length, the unit of the result.
      solids: of shape [...], broadcast against the rays.
      steps: marched from the solid's bounding box on.

    Returns:
      [...], infinite for a miss; zero or more.

    Sphere tracing (Hart, 1996).
    """
    back = jnp.swapaxes(solids.turn, -1, -2)
    start = jnp.moveaxis(rotated(origin - solids.offset, back), -1, 0)
    along = jnp.moveaxis(rotated(direction, back), -1, 0)
    enter, leave = _slabs(start, along, jnp.moveaxis(extent(solids), -1, 0))
    speed = jnp.sqrt((along * along).sum(0))
    size = solids.half.max(-1) + solids.ring + solids.corner

    def measure(t):
        return _distance(*(s + t * v for s, v in zip(start, along, strict=True)), solids)

    def newton(t):
        d, slope = jax.jvp(measure, (t,), (jnp.ones_like(t),))
        # Beyond the far side, or where the ray runs along the surface, it stays where it is.
        return t + jnp.where(slope < 0, -d / jnp.minimum(slope, -1e-6), 0)

    t = jax.lax.fori_loop(0, steps, lambda _, t: t + measure(t) / speed, enter)
    t = jax.lax.fori_loop(0, 3, lambda _, t: newton(t), t)
    met = (enter <= leave) & (t >= 0) & (t <= leave + 1e-4 / speed)
    return jnp.where(met & (jnp.abs(measure(t)) < 1e-4 * size + 1e-6), t, jnp.inf)


def _slabs(start, along, half):
    """Where lines enter and leave boxes around the origin, not before zero."""
    safe = jnp.where(jnp.abs(along) < 1e-9, 1e-9, along)
    one, other = (-half - start) / safe, (half - start) / safe
    enter = jnp.minimum(one, other).max(0)
    return jnp.maximum(enter, 0), jnp.maximum(one, other).min(0)


def _distance(x, y, z, solids):
    half, taper, bend = solids.half, solids.taper, solids.round > 0
    radius = jnp.sqrt(x * x + y * y + 1e-12)
    ax = jnp.where(bend, jnp.abs(radius - solids.ring), jnp.abs(x))
    ax = ax + taper[..., 0] * z - half[..., 0]
    ay = jnp.where(bend, -1e3, jnp.abs(y) + taper[..., 1] * z - half[..., 1])
    az = jnp.abs(z) - half[..., 2]
    # The tiny number keeps the slope of the root finite inside.
    ox, oy, oz = (jnp.maximum(a, 0) for a in (ax, ay, az))
    outside = jnp.sqrt(ox * ox + oy * oy + oz * oz + 1e-14)
    inside = jnp.minimum(jnp.maximum(jnp.maximum(ax, ay), az), 0)
    steep = 1 + jnp.abs(taper[..., 0]) + jnp.abs(taper[..., 1])
    return (outside + inside) / steep - solids.corner
