"""Cameras without distortion: poses, rays of pixels, projection, and rigid motions of points.

The world's z axis points up. A camera looks along its z axis, x to the right and y down;
`extrinsics` [4, 4] take points of the world to the camera, `intrinsics` [3, 3] take those to
pixels, where (0, 0) is the centre of the first and (width - 1, height - 1) that of the last.
"""

import chex
import jax
import jax.numpy as jnp


def pinhole(height: int, width: int, *, field: float = 40.0) -> jax.Array:
    """Intrinsics of a camera whose axis meets the middle of the image.

        K = [[f, 0, (W - 1) / 2], [0, f, (H - 1) / 2], [0, 0, 1]]
        f = min(H, W) / (2 tan(field / 2))

    Args:
      height: rows H.
      width: columns W.
      field: of view along the shorter side, in degrees.

    Returns:
      [3, 3].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    focal = min(height, width) / (2 * jnp.tan(jnp.deg2rad(field) / 2))
    return jnp.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def look_at(eye: jax.Array, target: jax.Array) -> jax.Array:
    """Extrinsics of an upright camera at `eye` that looks at `target`, not straight up or down.

    Args:
      eye: [3].
      target: [3].

    Returns:
      [4, 4], camera from world.

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    chex.assert_shape([eye, target], (3,))
    ahead = target - eye
    ahead = ahead / jnp.linalg.norm(ahead)
    right = jnp.stack([ahead[1], -ahead[0], jnp.zeros(())])
    right = right / jnp.linalg.norm(right)
    return rigid(jnp.stack([right, jnp.cross(ahead, right), ahead]), centre=eye)


def rigid(rotation: jax.Array, *, centre: jax.Array) -> jax.Array:
    """The motion x -> R (x - centre) as a matrix.

    Args:
      rotation: R [3, 3].
      centre: [3], what comes to lie in the origin.

    Returns:
      [4, 4].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 3.
    """
    top = jnp.concatenate([rotation, -(rotation @ centre)[:, None]], axis=1)
    return jnp.concatenate([top, jnp.array([[0.0, 0, 0, 1]])])


def inverse(motion: jax.Array) -> jax.Array:
    """The rigid motion that undoes one.

    Args:
      motion: [..., 4, 4].

    Returns:
      [..., 4, 4].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 3.
    """
    back = motion[..., :3, :3].swapaxes(-1, -2)
    shift = -back @ motion[..., :3, 3:]
    return jnp.concatenate([jnp.concatenate([back, shift], axis=-1), motion[..., 3:, :]], axis=-2)


def moved(points: jax.Array, motion: jax.Array) -> jax.Array:
    """Points after a rigid motion.

    Args:
      points: [..., 3].
      motion: [4, 4].

    Returns:
      [..., 3].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 3.
    """
    return rotated(points, motion[:3, :3]) + motion[:3, 3]


def rotated(vectors: jax.Array, rotation: jax.Array) -> jax.Array:
    """R v for each of many vectors, in full precision on every device.

    Args:
      vectors: v [..., 3].
      rotation: R [..., 3, 3], broadcast against the vectors.

    Returns:
      [..., 3].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 3.
    """
    return (rotation * vectors[..., None, :]).sum(-1)


def turn(angle: jax.Array, axis: int = 2) -> jax.Array:
    """Rotation about an axis, counter-clockwise to someone whom the axis points at.

    Args:
      angle: radians [...].
      axis: 0, 1 or 2.

    Returns:
      [..., 3, 3].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 3.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    one, nil = jnp.ones_like(cos), jnp.zeros_like(cos)
    rows = [[cos, -sin, nil], [sin, cos, nil], [nil, nil, one]]
    # Axis 2 moves to `axis`, the other two follow in their cyclic order.
    places = [(k - 1 - axis) % 3 for k in range(3)]
    return jnp.stack([jnp.stack([rows[i][j] for j in places], -1) for i in places], -2)


def pixels(height: int, width: int) -> jax.Array:
    """Places of all pixels.

    Args:
      height: H.
      width: W.

    Returns:
      float32 [H, W, 2], column then row.

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    grid = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    return jnp.stack(grid, axis=-1).astype(jnp.float32)


def rays(pixel: jax.Array, intrinsics: jax.Array, extrinsics: jax.Array):
    """Rays through pixels; depth d along the camera's axis lies at origin + d direction.

    Args:
      pixel: places [..., 2].
      intrinsics: [3, 3].
      extrinsics: [4, 4].

    Returns:
      (origin [3], direction [..., 3]) in the world; directions have length one along the axis.

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    x = (pixel[..., 0] - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (pixel[..., 1] - intrinsics[1, 2]) / intrinsics[1, 1]
    pose = inverse(extrinsics)
    return pose[:3, 3], rotated(jnp.stack([x, y, jnp.ones_like(x)], -1), pose[:3, :3])


def unproject(pixel: jax.Array, depth: jax.Array, intrinsics: jax.Array, extrinsics: jax.Array):
    """Points of the world that pixels of known depth show.

    Args:
      pixel: places [..., 2].
      depth: along the camera's axis [...].
      intrinsics: [3, 3].
      extrinsics: [4, 4].

    Returns:
      [..., 3].

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    origin, direction = rays(pixel, intrinsics, extrinsics)
    return origin + depth[..., None] * direction


def project(points: jax.Array, intrinsics: jax.Array, extrinsics: jax.Array):
    """Where points of the world are seen.

    Args:
      points: [..., 3].
      intrinsics: [3, 3].
      extrinsics: [4, 4].

    Returns:
      (places of pixels [..., 2], depth [...]); a point with depth <= 0 is not seen.

    Multiple View Geometry in Computer Vision (Hartley and Zisserman, 2004), chapter 6.
    """
    seen = moved(points, extrinsics)
    depth = seen[..., 2]
    safe = jnp.where(jnp.abs(depth) < 1e-6, 1e-6, depth)
    focal = jnp.stack([intrinsics[0, 0], intrinsics[1, 1]])
    return seen[..., :2] / safe[..., None] * focal + intrinsics[:2, 2], depth
