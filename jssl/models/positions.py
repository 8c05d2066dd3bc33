"""Position encodings: sine-cosine tables, learned tables and rotations, on grids of any rank."""

import dataclasses
import math
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp


def sincos(t: jax.Array, width: int, *, base: float = 10000.0) -> jax.Array:
    """Encodes real positions or times by sines and cosines of geometric frequencies.

    e(t) = [sin(w_1 t), ..., sin(w_{D/2} t), cos(w_1 t), ..., cos(w_{D/2} t)],
    w_i = base^(-2 (i - 1) / D)

    Args:
      t: [...] positions, or diffusion times.
      width: D, even.
      base: ratio of the slowest to the fastest period.

    Returns:
      [..., D] float32.

    Attention Is All You Need (Vaswani et al., 2017).
    """
    if width % 2:
        raise ValueError(f'width must be even, got {width}')
    phase = _phases(jnp.asarray(t, jnp.float32), width // 2, base)
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


def sincos_table(grid: Sequence[int], width: int, *, base: float = 10000.0) -> jax.Array:
    """Encodes the points of a grid, each axis in its own equal share of the channels.

    Args:
      grid: (T,) for a sequence, (rows, columns) for an image, and so on.
      width: D, divisible by 2 len(grid).
      base: ratio of the slowest to the fastest period.

    Returns:
      [N, D] float32 with N = prod(grid), in row-major order.

    An Empirical Study of Training Self-Supervised Vision Transformers (Chen et al., 2021).
    """
    _check_share(grid, width)
    share = width // len(grid)
    return jnp.concatenate([sincos(axis, share, base=base) for axis in _coordinates(grid)], axis=-1)


def rotary_angles(grid: Sequence[int], width: int, *, base: float = 10000.0) -> jax.Array:
    """Angles by which `rotary` turns the channel pairs at each point of a grid.

    angle(n, i) = p_n base^(-i / M), M pairs for each axis: one axis is RoFormer's, two are axial.

    Args:
      grid: (T,) for a sequence, (rows, columns) for an image, and so on.
      width: d, channels of one attention head, divisible by 2 len(grid).
      base: ratio of the slowest to the fastest period.

    Returns:
      [N, d / 2] float32 with N = prod(grid), in row-major order.

    RoFormer (Su et al., 2021); Rotary Position Embedding for Vision Transformer (Heo et al., 2024).
    """
    _check_share(grid, width)
    pairs = width // (2 * len(grid))
    return jnp.concatenate([_phases(axis, pairs, base) for axis in _coordinates(grid)], axis=-1)


def angles_at(t: jax.Array, width: int, *, base: float = 10000.0) -> jax.Array:
    """Angles by which `rotary` turns the channel pairs at any places of a sequence.

    angle(t, i) = t base^(-2 i / d), those of `rotary_angles` where t = 0 ... T - 1

    Args:
      t: [...] positions.
      width: d, channels of one attention head, even.
      base: ratio of the slowest to the fastest period.

    Returns:
      [..., d / 2] float32.

    RoFormer: Enhanced Transformer with Rotary Position Embedding (Su et al., 2021).
    """
    _check_share((1,), width)
    return _phases(jnp.asarray(t, jnp.float32), width // 2, base)


def rotary(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Turns channel i and channel i + d/2 of every head as a pair, by the position's angle.

    With q and k both turned, their product depends on the positions' difference alone.

    Args:
      x: [B, T, heads, d] queries or keys.
      angles: [T, d / 2], or [B, T, d / 2] where positions differ between examples.

    Returns:
      [B, T, heads, d] in x's dtype.

    RoFormer: Enhanced Transformer with Rotary Position Embedding (Su et al., 2021).
    """
    chex.assert_rank([x, angles], [4, {2, 3}])
    batch, length, _, width = x.shape
    if angles.shape not in ((length, width // 2), (batch, length, width // 2)):
        raise ValueError(f'angles of shape {angles.shape} do not fit x of shape {x.shape}')
    angles = angles.reshape(-1, length, 1, width // 2)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)


class LearnedPositions(nn.Module):
    """A learned table of positions, resized bicubically to any grid other than its own.

    The table takes the grid of the call that initialises it: initialise with full-size images.

    An Image is Worth 16x16 Words (Dosovitskiy et al., 2021).
    """

    width: int
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, grid: Sequence[int], *, train: bool = False) -> jax.Array:
        """Returns [N, width] for the grid's N points in row-major order."""
        if self.has_variable('params', 'table'):
            table = self.get_variable('params', 'table')
        else:
            init = nn.initializers.normal(0.02)
            table = self.param('table', init, (*grid, self.width), jnp.float32)
        if table.ndim != len(grid) + 1:
            raise ValueError(f'grid {tuple(grid)} has not the rank of the table {table.shape}')
        if table.shape[:-1] != tuple(grid):
            table = jax.image.resize(table, (*grid, self.width), 'cubic')
        return jnp.asarray(table.reshape(-1, self.width), self.dtype)


def _phases(t: jax.Array, count: int, base: float) -> jax.Array:
    return t[..., None] * jnp.power(base, -jnp.arange(count) / count).reshape((1,) * t.ndim + (-1,))


def _coordinates(grid: Sequence[int]) -> list[jax.Array]:
    axes = jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in grid), indexing='ij')
    return [axis.reshape(math.prod(grid)) for axis in axes]


def _check_share(grid: Sequence[int], width: int) -> None:
    if width % (2 * len(grid)):
        raise ValueError(f'width {width} must be divisible by {2 * len(grid)} for grid {grid}')
