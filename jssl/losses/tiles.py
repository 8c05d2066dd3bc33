"""A loss of all pairs in tiles of rows: memory grows with B x chunk and not with B x B."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp


def by_rows(function: Callable, arrays: Sequence[jax.Array], chunk: int | None) -> jax.Array:
    """function(*arrays), each of whose rows depends on the same row of the arrays and on constants.

    A tile's intermediate results are computed again for its gradient, which stays exact, and not
    kept.

    Args:
        function: (arrays of n rows) -> [n, ...], or a tree of such; what it closes over is seen
            whole by every tile.
        arrays: [B, ...] each; rows of zeros are added, and taken away from the result.
        chunk: rows of a tile; None for all at once.

    Returns:
        [B, ...], or a tree of such.
    """
    if chunk is None:
        return function(*arrays)
    count = tiles(arrays[0].shape[0], chunk)
    folded = [fold(x, count) for x in arrays]
    out = jax.lax.map(jax.checkpoint(lambda tile: function(*tile)), folded)
    return jax.tree.map(lambda x: unfold(x, arrays[0].shape[0]), out)


def tiles(rows: int, chunk: int) -> int:
    """How many tiles of at most `chunk` rows there are."""
    if chunk < 1:
        raise ValueError(f'chunk must be at least 1, got {chunk}')
    return -(-rows // chunk)


def fold(x: jax.Array, count: int) -> jax.Array:
    """[N, ...] -> [count, N / count, ...], padded with zeros.

    Tile t takes rows t, t + count, ...: when rows are sharded, every device has its share of every
    tile, and nothing moves.
    """
    padding = [(0, -x.shape[0] % count)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding).reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)


def unfold(x: jax.Array, size: int) -> jax.Array:
    """The inverse of `fold`, without the padding."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:size]
