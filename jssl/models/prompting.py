"""Masks for points and boxes: an image is encoded once and asked as often as one likes."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.detection import points_encoding
from jssl.models.mlp import MLP, FeedForward
from jssl.models.patches import depth_to_space, space_to_depth
from jssl.models.positions import sincos_table
from jssl.models.transformer import Attention
from jssl.models.vit import ViT

ABSENT, OUTSIDE, INSIDE, START, END = range(-1, 4)  # kinds of point; START, END: a box's corners


class Masks(NamedTuple):
    """M masks for each of Q prompts, and the overlap with the truth that each expects of itself."""

    logits: jax.Array  # [B, Q, M, H, W]
    quality: jax.Array  # [B, Q, M] in 0 to 1


class PromptableSegmenter(nn.Module):
    """A ViT, and a decoder in which prompts and patches look at each other.

    tokens = [quality, mask_1 ... mask_M, point_1 ... point_P],   p = position + kind
    tokens, m = blocks(tokens, encoder(x));   logits_k = mlp(mask_k) . upsample(m)
    upsample: m = gelu(depth_to_space(W_i m) + V_i x_i) until m is as fine as x

    A point belongs to several things, a part, the whole, a group of wholes: hence M masks. x_i is
    the image in patches as large as m's: where an edge runs need not pass through the encoder.

    Segment Anything (Kirillov et al., 2023); here norms come first, and positions are sines and
    cosines in place of random Fourier features. V_i x_i: SAM 2: Segment Anything in Images and
    Videos (Ravi et al., 2024), whose encoder has fine maps of its own.
    """

    encoder: ViT  # with pooling=None, its patch a power of two
    _: dataclasses.KW_ONLY
    masks: int = 3
    depth: int = 2
    heads: int = 4
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        width, normal = self.encoder.width, nn.initializers.normal(1.0)
        self.answers = self.param('answers', normal, (1 + self.masks, width))
        self.kinds = self.param('kinds', normal, (4, width))
        self.blocks = [TwoWayBlock(self.heads, dtype=self.dtype) for _ in range(self.depth)]
        steps = range(1, self.encoder.patch.bit_length())
        self.norm = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype)
        self.upsample = [nn.Dense(4 * (width >> i), dtype=self.dtype) for i in steps]
        self.fine = [nn.Dense(width >> i, use_bias=False, dtype=self.dtype) for i in steps]
        self.kernel = MLP((width, width >> steps[-1]), dtype=self.dtype)
        self.confidence = MLP((width, self.masks), dtype=self.dtype)

    def __call__(
        self, images: jax.Array, points: jax.Array, kinds: jax.Array, *, train: bool = False
    ) -> Masks:
        """Maps images [B, H, W, C] and their prompts, as in `decode`, to `Masks`."""
        return self.decode(self.encode(images, train=train), points, kinds)

    def encode(self, images: jax.Array, *, train: bool = False) -> list[jax.Array]:
        """Maps images [B, H, W, C] to features [B, H / patch, W / patch, D] and to finer ones.

        Each is twice the size of the one before it and half as wide, the last [B, H, W, d].
        """
        patch = self.encoder.patch
        rows, columns = (side // patch for side in images.shape[1:3])
        tokens = self.encoder(images, train=train)[:, self.encoder.prefix :]
        fine = [
            layer(space_to_depth(images, patch >> i)) for i, layer in enumerate(self.fine, start=1)
        ]
        return [tokens.reshape(len(images), rows, columns, -1), *fine]

    def decode(self, features: Sequence[jax.Array], points: jax.Array, kinds: jax.Array) -> Masks:
        """Answers Q prompts about each image.

        Args:
          features: of `encode`, the first of them [B, h, w, D].
          points: x and y in 0 to 1 of the image [B, Q, P, 2].
          kinds: int [B, Q, P]: OUTSIDE or INSIDE of what is meant, START or END of a box around it,
            or ABSENT.

        Returns:
          `Masks`, H = h patch.
        """
        features, *fine = features
        chex.assert_rank([features, points, kinds], [4, 4, 3])
        batch, rows, columns, width = features.shape
        queries = points.shape[1]
        grid, count = (rows, columns), batch * queries
        place = points_encoding(points, grid, width) + self.kinds[jnp.maximum(kinds, 0)]
        place = place.reshape(count, -1, width)
        answers = jnp.broadcast_to(self.answers[None], (count, *self.answers.shape))
        tokens = start = jnp.concatenate([answers, place], axis=1).astype(self.dtype)
        there = jnp.pad(
            kinds.reshape(count, -1) >= 0, ((0, 0), (1 + self.masks, 0)), constant_values=True
        )
        x = jnp.repeat(features.reshape(batch, -1, width), queries, axis=0)
        positions = sincos_table(grid, width)[None].astype(self.dtype)
        for block in self.blocks:
            tokens, x = block(tokens, x, start, positions, there[:, None, None])

        tokens, x = self.norm(tokens), x.reshape(count, rows, columns, width)
        for layer, seen in zip(self.upsample, fine, strict=True):
            x = nn.gelu(depth_to_space(layer(x), 2) + jnp.repeat(seen, queries, axis=0))
        logits = jnp.einsum('bmc,bhwc->bmhw', self.kernel(tokens[:, 1 : 1 + self.masks]), x)
        quality = jax.nn.sigmoid(self.confidence(tokens[:, 0]))
        return Masks(*(y.reshape(batch, queries, *y.shape[1:]) for y in (logits, quality)))


class TwoWayBlock(nn.Module):
    """Tokens look at each other and at the patches, then the patches at the tokens.

    t += self(t + t_0);  t += cross(t + t_0, x + e);  t += mlp(t);  x += cross(x + e, t + t_0)

    with norms before each; t_0 are the tokens at the start, e the positions of the patches.

    Segment Anything (Kirillov et al., 2023), appendix A.
    """

    heads: int
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens, x, start, positions, there):
        """tokens, start [B, T, D], x [B, N, D], positions [1, N, D], there [B, 1, 1, T] bool."""
        norm = lambda y, name: nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=name)(y)
        attend = lambda name: Attention(self.heads, dtype=self.dtype, name=name)
        tokens = tokens + attend('attention')(norm(tokens, 'attention_norm') + start, mask=there)
        patches = norm(x, 'patch_norm') + positions
        asked = norm(tokens, 'cross_norm') + start
        tokens = tokens + attend('cross')(asked, context=patches)
        mlp = FeedForward(2 * tokens.shape[-1], dtype=self.dtype, name='mlp')
        tokens = tokens + mlp(norm(tokens, 'mlp_norm'))
        answer = norm(tokens, 'answer_norm') + start
        return tokens, x + attend('back')(patches, context=answer, mask=there)


class Everything(NamedTuple):
    """All that a grid of points finds, surest first."""

    logits: jax.Array  # [B, N, H, W]
    quality: jax.Array  # [B, N]
    kept: jax.Array  # [B, N] bool: sure and stable, and no repetition of a surer one


def segment_everything(
    network: PromptableSegmenter,
    variables: dict,
    images: jax.Array,
    *,
    side: int = 8,
    quality: float = 0.7,
    stability: float = 0.8,
    overlap: float = 0.7,
) -> Everything:
    """Asks at every point of a grid, and drops what is unsure, unstable or found twice.

    Args:
      network: of `variables`.
      images: [B, H, W, C].
      side: points along each side; N = side^2 M.
      quality: least that a mask expects of itself.
      stability: least overlap of the mask at a threshold one higher with that at one lower.
      overlap: with a surer mask above which one is a repetition.

    Returns:
      `Everything`.

    Segment Anything (Kirillov et al., 2023), section 5.
    """
    at = (jnp.arange(side) + 0.5) / side
    points = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(1, -1, 1, 2)
    points = jnp.broadcast_to(points, (len(images), *points.shape[1:]))
    found = network.apply(variables, images, points, jnp.full(points.shape[:3], INSIDE))

    def chosen(logits, sure):
        order = jnp.argsort(-sure)
        logits, sure = logits[order], sure[order]
        flat = logits.reshape(len(sure), -1)
        stable = (flat > 1).sum(1) >= stability * jnp.maximum((flat > -1).sum(1), 1)
        return Everything(logits, sure, distinct(flat > 0, stable & (sure >= quality), overlap))

    return jax.vmap(chosen)(*(y.reshape(len(y), -1, *y.shape[3:]) for y in found))


def distinct(masks: jax.Array, there: jax.Array, overlap: float) -> jax.Array:
    """Greedy suppression: a mask stays if it overlaps no earlier one that stayed by too much.

    Args:
      masks: bool [N, P], best first, each a row of pixels.
      there: bool [N], which take part; empty masks do not.
      overlap: the greatest intersection over union of two that stay.

    Returns:
      bool [N].

    Histograms of Oriented Gradients for Human Detection (Dalal and Triggs, 2005).
    """
    m = masks.astype(jnp.float32)
    shared, area = m @ m.T, m.sum(1)
    union = area[:, None] + area[None] - shared
    repeated = shared > overlap * union

    def visit(i, kept):
        return kept.at[i].set(kept[i] & ~(kept & repeated[i] & (jnp.arange(len(kept)) < i)).any())

    return jax.lax.fori_loop(0, len(masks), visit, there & (area > 0))
