"""Detection as the prediction of a set: every query is an object or none."""

import dataclasses
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.dense import last_map
from jssl.models.mlp import MLP
from jssl.models.positions import sincos, sincos_table
from jssl.models.transformer import Block


class Detections(NamedTuple):
    """What every one of N queries found; [L, ...] for the layers of a decoder."""

    logits: jax.Array  # [B, N, K + 1] of the classes and, last, of no object
    boxes: jax.Array  # [B, N, 4] left, top, right, bottom in 0 to 1
    features: jax.Array  # [B, N, D]


class DETR(nn.Module):
    """Queries that look at an image's patches and at each other, and answer with a box each.

    q_l = block(q_(l-1), backbone(x) + positions);  logits = W norm(q_l)
    centre and size = sigmoid(a + mlp(norm(q_l))), a: anchors

    Queries and anchors are learned, from a grid over the image on; a query begins with what the
    backbone says of its cell. So training takes a thousand steps in place of hundreds of epochs.

    End-to-End Object Detection with Transformers (Carion et al., 2020); anchors, here not refined
    from layer to layer: DAB-DETR: Dynamic Anchor Boxes are Better Queries for DETR (Liu et al.,
    2022).
    """

    backbone: nn.Module  # a `ViT` with pooling=None, or a network with `taps` such as `ConvNet`
    classes: int  # K
    _: dataclasses.KW_ONLY
    grid: tuple[int, int] = (4, 4)  # rows and columns of queries
    depth: int = 3
    heads: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, images: jax.Array, *, layers: bool = False, train: bool = False
    ) -> Detections:
        """Maps images [B, H, W, C] to `Detections`, with `layers` those of every layer [L, ...]."""
        chex.assert_rank(images, 4)
        maps = last_map(self.backbone, images, train=train)
        batch, rows, columns, width = maps.shape
        positions = sincos_table((rows, columns), width)[None].astype(self.dtype)
        context = maps.reshape(batch, -1, width) + positions
        seen = jax.image.resize(maps, (batch, *self.grid, width), 'linear')
        start = lambda _: points_encoding(
            jax.nn.sigmoid(cells(self.grid)[:, :2]), (rows, columns), width
        )
        queries = self.param('queries', start).astype(self.dtype)
        anchors = self.param('anchors', lambda _: cells(self.grid))
        classifier = nn.Dense(self.classes + 1, dtype=self.dtype, name='classes')
        regressor = MLP((width, width, 4), activation=nn.relu, dtype=self.dtype, name='boxes')
        norm = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')

        x, found = seen.reshape(batch, -1, width) + queries[None], []
        for i in range(self.depth):
            block = Block(self.heads, cross=True, dtype=self.dtype, name=f'block{i}')
            x = block(x, context=context, train=train)
            h = norm(x)
            box = _corners(jax.nn.sigmoid(anchors[None] + regressor(h).astype(jnp.float32)))
            found.append(Detections(classifier(h), box, h))
        return jax.tree.map(lambda *x: jnp.stack(x), *found) if layers else found[-1]


def points_encoding(points: jax.Array, grid: tuple[int, int], width: int) -> jax.Array:
    """Sines and cosines at any points, equal to `sincos_table` at the middles of patches.

    Args:
      points: x and y in 0 to 1 of the image [..., 2].
      grid: rows and columns of patches.
      width: D, divisible by 4.

    Returns:
      [..., D].

    An Empirical Study of Training Self-Supervised Vision Transformers (Chen et al., 2021).
    """
    places = points * jnp.array([grid[1], grid[0]], jnp.float32) - 0.5
    return jnp.concatenate([sincos(places[..., i], width // 2) for i in (1, 0)], axis=-1)


def cells(grid: tuple[int, int]) -> jax.Array:
    """Boxes at a grid's cells, a little larger, as the logits of their centres and sizes.

    Args:
      grid: rows and columns.

    Returns:
      [N, 4], in row-major order.

    DAB-DETR: Dynamic Anchor Boxes are Better Queries for DETR (Liu et al., 2022).
    """
    rows, columns = ((jnp.arange(n, dtype=jnp.float32) + 0.5) / n for n in grid)
    y, x = jnp.meshgrid(rows, columns, indexing='ij')
    size = jnp.full(x.size, 1.5 / (1 + max(grid)), jnp.float32)
    boxes = jnp.stack([x.ravel(), y.ravel(), size, size], axis=-1)
    return jnp.log(boxes) - jnp.log1p(-boxes)


def _corners(boxes):
    centre, size = jnp.split(boxes, 2, axis=-1)
    return jnp.concatenate([centre - size / 2, centre + size / 2], axis=-1)
