"""Masks over patches, frames and pixels.

Where `keep` comes back, its length is static, so that what is visible can be gathered under jit.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


def random_mask(
    key: jax.Array, batch: int, patches: int, *, ratio: float = 0.75
) -> tuple[jax.Array, jax.Array]:
    """Masks the same number of patches of each image, every set of them equally likely.

        M = round(ratio N),   masked: the M smallest of N independent uniform numbers

    Args:
      key: random key.
      batch: B.
      patches: N.
      ratio: share of patches that is masked.

    Returns:
      mask float32 [B, N], 1 where masked; keep int32 [B, N - M], places of the visible patches in
      ascending order: `jnp.take_along_axis(x, keep[..., None], 1)` gathers them.

    Masked Autoencoders Are Scalable Vision Learners (He et al., 2021).
    """
    masked = _masked(patches, ratio)
    return _lowest(jax.random.uniform(key, (batch, patches)), masked)


def block_mask(
    key: jax.Array,
    batch: int,
    grid: tuple[int, int],
    *,
    ratio: float = 0.4,
    area: tuple[float, float] = (0.08, 0.4),
    aspect: float = 0.3,
    blocks: int = 64,
) -> tuple[jax.Array, jax.Array]:
    """Masks rectangles of patches one after the other, until enough are masked.

        s ~ U(area) H W,   log r ~ U(log aspect, -log aspect),   block sqrt(s r) x sqrt(s / r)

    Of the block that reaches the number, as many patches are masked as are needed.

    Args:
      key: random key.
      batch: B.
      grid: (H, W), patches down and across.
      ratio: share of patches that is masked.
      area: range of a block's area, as a share of all patches.
      aspect: the smallest height over width; its inverse is the largest.
      blocks: how many are drawn; what they do not cover is masked at random.

    Returns:
      mask float32 [B, H W], 1 where masked, row by row; keep int32 [B, visible], ascending.

    BEiT: BERT Pre-Training of Image Transformers (Bao et al., 2021), algorithm 1.
    """
    masked = _masked(grid[0] * grid[1], ratio)
    return _lowest(_block_order(key, batch, grid, area, aspect, blocks), masked)


def tube_mask(mask: jax.Array, keep: jax.Array, frames: int) -> tuple[jax.Array, jax.Array]:
    """Extends masks of one frame through time: what is hidden stays hidden in every frame.

        mask'[b, t N + n] = mask[b, n]

    Args:
      mask: [B, N], as of `random_mask` or `block_mask`.
      keep: places of its visible patches int32 [B, K].
      frames: T.

    Returns:
      mask [B, T N], frame by frame; keep int32 [B, T K], ascending.

    VideoMAE: Masked Autoencoders are Data-Efficient Learners (Tong et al., 2022); of blocks,
    V-JEPA (Bardes et al., 2024).
    """
    chex.assert_rank([mask, keep], 2)
    starts = mask.shape[1] * jnp.arange(frames, dtype=keep.dtype)
    through = starts[None, :, None] + keep[:, None, :]
    return jnp.tile(mask, (1, frames)), through.reshape(len(keep), -1)


def hard_patch_mask(
    key: jax.Array, scores: jax.Array, *, ratio: float = 0.75, hard_share: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Masks the patches that are hardest to reconstruct, and others at random.

        M = round(ratio N);  the round(hard_share M) highest scores, and uniformly among the rest

    Args:
      key: random key.
      scores: predicted loss of each patch [B, N].
      ratio: share of patches that is masked.
      hard_share: share of the masked ones that is chosen by score; the paper raises it from 0 to
        0.5 over training. May be traced.

    Returns:
      mask float32 [B, N], 1 where masked; keep int32 [B, N - M], ascending.

    Hard Patches Mining for Masked Image Modeling (Wang et al., 2023).
    """
    chex.assert_rank(scores, 2)
    masked = _masked(scores.shape[1], ratio)
    rank = jnp.argsort(jnp.argsort(-scores, axis=1), axis=1)
    hard = rank < jnp.round(hard_share * masked)
    noise = jax.random.uniform(key, scores.shape)
    return _lowest(jnp.where(hard, -1.0, noise), masked)


def span_mask(
    key: jax.Array,
    batch: int,
    length: int,
    *,
    ratio: float = 0.49,
    span: int = 10,
    stop: float = 0.0,
    lengths: jax.Array | None = None,
    logits: jax.Array | None = None,
) -> jax.Array:
    """Masks runs of a sequence one after the other, until the number asked for is reached.

        M_b = round(ratio T_b),   run t .. t + l - 1,   l = span, or P(l) ~ (1 - stop)^l up to span

    Runs may touch and overlap, and end where the sequence ends; the last one is cut to reach M_b.

    Args:
      key: random key.
      batch: B.
      length: T.
      ratio: share of what is masked. Of wav2vec 2.0's draw, 6.5 % of all places as starts of runs
        of 10, 49 % is the expected share; SpanBERT masks 15 %.
      span: longest run.
      stop: probability that a run ends after each of its elements; SpanBERT's is 0.2.
      lengths: T_b int [B], beyond which there is padding, which is never masked; None is T.
      logits: [B, T]; starts are drawn without replacement, in proportion to exp(logits). None is
        uniform; the log of a recogniser's confidence guides the masks to what can be understood.

    Returns:
      float32 [B, T], 1 where masked, M_b in row b.

    wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations (Baevski et al.,
    2020); SpanBERT: Improving Pre-training by Representing and Predicting Spans (Joshi et al.,
    2019); Ask2Mask: Guided Data Selection for Masked Speech Modeling (Baskar et al., 2022).
    """
    _masked(length, ratio)
    k_start, k_extent = jax.random.split(key)
    shape, place = (batch, length), jnp.arange(length)
    lengths = jnp.full(batch, length) if lengths is None else lengths
    inside = place[None, :] < lengths[:, None]
    noise = jax.random.gumbel(k_start, shape) + (0 if logits is None else logits)
    turn = _ranks(jnp.where(inside, -noise, jnp.inf))
    extent = jnp.full(shape, span)
    if stop:
        u = jax.random.uniform(k_extent, shape) * (1 - (1 - stop) ** span)
        extent = 1 + jnp.floor(jnp.log1p(-u) / jnp.log1p(-stop)).clip(0, span - 1)
    # A place comes with the first run that covers it, and in it from left to right.
    last = length * span
    first = jnp.full(shape, last)
    for offset in range(min(span, length)):
        run = jnp.where(extent > offset, turn * span + offset, last)
        first = jnp.minimum(
            first, jnp.pad(run, ((0, 0), (offset, 0)), constant_values=last)[:, :length]
        )
    order = _ranks(jnp.where(inside, first, last))
    return (order < jnp.round(ratio * lengths)[:, None]).astype(jnp.float32)


def region_mask(
    key: jax.Array,
    batch: int,
    grid: tuple[int, int],
    *,
    ratios: tuple[float, float] = (0.1, 0.5),
    masked: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
    blocks: int = 64,
) -> jax.Array:
    """Masks some images by rectangles, each image by another share, and leaves the others whole.

        the first round(masked B) images of a random order: share r_i evenly spread over `ratios`

    Args:
      key: random key.
      batch: B.
      grid: (H, W), patches down and across.
      ratios: the smallest and the largest share of an image's patches that is masked.
      masked: share of the images that are masked at all.
      area, aspect, blocks: of the rectangles, as in `block_mask`.

    Returns:
      float32 [B, H W], 1 where masked; round(r_i H W) in each masked image, exactly.

    iBOT: Image BERT Pre-Training with Online Tokenizer (Zhou et al., 2021); DINOv2: Learning Robust
    Visual Features without Supervision (Oquab et al., 2023).
    """
    k_order, k_blocks = jax.random.split(key)
    count = round(masked * batch)
    share = jnp.linspace(*ratios, max(count, 1))
    share = jnp.where(jnp.arange(batch) < count, share[jnp.arange(batch) % len(share)], 0.0)
    share = jax.random.permutation(k_order, share)
    order = _ranks(_block_order(k_blocks, batch, grid, area, aspect, blocks))
    return (order < jnp.round(share * grid[0] * grid[1])[:, None]).astype(jnp.float32)


class Blocks(NamedTuple):
    """Places on a grid, row by row, ascending within a block."""

    context: jax.Array  # int32 [B, K]
    targets: jax.Array  # int32 [B, blocks, h w]


def context_and_targets(
    key: jax.Array,
    batch: int,
    grid: tuple[int, int],
    *,
    target: tuple[int, int] = (6, 6),
    blocks: int = 4,
    context: tuple[int, int] = (13, 13),
    keep: int = 64,
) -> Blocks:
    """Draws rectangles to predict, and a large one without them from which they are predicted.

    Args:
      key: random key.
      batch: B.
      grid: (H, W), patches down and across.
      target: (h, w) of a target; the paper draws its area from 15 to 20 % and its shape from 3:4 to
        4:3 for each batch, here it is static.
      blocks: targets of an image; they may overlap.
      context: (h, w) of the context before the targets are cut out; the paper takes 85 to 100 %.
      keep: K, patches of the context that are kept, at random; of an image that has fewer, some
        come again. The paper cuts to the fewest in the batch.

    Returns:
      `Blocks`; no context patch lies in a target.

    Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (Assran et
    al., 2023).
    """
    if max(target[0], context[0]) > grid[0] or max(target[1], context[1]) > grid[1]:
        raise ValueError(f'target {target} and context {context} must fit into a grid of {grid}')
    if context[0] * context[1] <= blocks * target[0] * target[1]:
        raise ValueError(f'{blocks} targets of {target} may cover a context of {context}')
    k_target, k_context, k_keep = jax.random.split(key, 3)
    hidden = _rectangles(k_target, (batch, blocks), target, grid)
    room = _rectangles(k_context, (batch, 1), context, grid)[:, 0]
    free = room & ~hidden.any(1)
    noise = jax.random.uniform(k_keep, free.shape)
    ranked = jnp.argsort(jnp.where(free, noise, jnp.inf), axis=1)
    turn = jnp.arange(keep)[None, :] % free.sum(1)[:, None]
    kept = jnp.sort(jnp.take_along_axis(ranked, turn, 1), axis=1)
    places = jnp.argsort(~hidden, axis=-1, stable=True)[..., : target[0] * target[1]]
    return Blocks(kept.astype(jnp.int32), places.astype(jnp.int32))


def scribble_mask(
    key: jax.Array,
    batch: int,
    size: tuple[int, int],
    *,
    strokes: int = 4,
    corners: int = 5,
    length: tuple[float, float] = (0.1, 0.4),
    width: tuple[float, float] = (0.05, 0.15),
) -> jax.Array:
    """Hides pixels under thick strokes that wander, as irregular masks for inpainting do.

        corner p_{n+1} = p_n + l (cos a, sin a),   l ~ U(length),  a ~ U(0, 2 pi)

    Args:
      key: random key.
      batch: B.
      size: (H, W).
      strokes: of an image.
      corners: of a stroke; it is made of one segment less, and turns at the border.
      length: range of a segment, in sides.
      width: range of a stroke's width, in sides; strokes end in half disks.

    Returns:
      float32 [B, H, W], 1 where hidden.

    Free-Form Image Inpainting with Gated Convolution (Yu et al., 2019), algorithm 1.
    """
    k_start, k_length, k_angle, k_width = jax.random.split(key, 4)
    shape = (batch, strokes, corners - 1, 1)
    uniform = lambda k, shape, ends: jax.random.uniform(k, shape, minval=ends[0], maxval=ends[1])
    angle = uniform(k_angle, shape, (0, 2 * jnp.pi))
    move = uniform(k_length, shape, length) * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], -1)
    start = jax.random.uniform(k_start, (batch, strokes, 1, 2))
    path = start + jnp.concatenate([jnp.zeros_like(start), move.cumsum(2)], 2)
    path = 1 - jnp.abs(1 - path % 2)  # the border mirrors
    half = uniform(k_width, (batch, strokes, 1), width) / 2
    one, step = path[:, :, :-1], jnp.diff(path, axis=2)
    rows, columns = ((jnp.arange(n) + 0.5) / n for n in size)
    pixels = jnp.stack(jnp.meshgrid(rows, columns, indexing='ij'), -1).reshape(-1, 2)

    def hides(one, step, half):
        """Whether a segment comes nearer than `half` to each pixel."""
        apart = pixels - one[None]
        along = jnp.clip(apart @ step / jnp.maximum(step @ step, 1e-12), 0, 1)
        return jnp.square(apart - along[:, None] * step[None]).sum(-1) <= jnp.square(half)

    half = jnp.broadcast_to(half, one.shape[:3])
    hidden = jax.vmap(jax.vmap(jax.vmap(hides)))(one, step, half).any((1, 2))
    return hidden.reshape(batch, *size).astype(jnp.float32)


def _masked(patches, ratio):
    if not 0 <= ratio <= 1:
        raise ValueError(f'ratio must lie in [0, 1], got {ratio}')
    return round(ratio * patches)


def _lowest(order, masked):
    """Masks the `masked` lowest entries of each row; stable, so the number is exact under ties."""
    ranked = jnp.argsort(order, axis=1)
    keep = jnp.sort(ranked[:, masked:], axis=1)
    mask = jnp.argsort(ranked, axis=1) < masked
    return mask.astype(jnp.float32), keep.astype(jnp.int32)


def _ranks(order):
    """Place of each entry of a row in ascending order, ties from left to right."""
    return jnp.argsort(jnp.argsort(order, axis=1), axis=1)


def _block_order(key, batch, grid, area, aspect, blocks):
    """The order [B, H W] in which random rectangles cover the patches of a grid."""
    height, width = grid
    k_area, k_aspect, k_top, k_left, k_tie = jax.random.split(key, 5)
    shape = (batch, blocks)
    low, high = area
    size = jax.random.uniform(k_area, shape, minval=low, maxval=high) * (height * width)
    tall = jnp.exp(jax.random.uniform(k_aspect, shape, minval=-1, maxval=1) * -jnp.log(aspect))
    rows = _inside(k_top, jnp.sqrt(size * tall), height)
    columns = _inside(k_left, jnp.sqrt(size / tall), width)
    covered = rows[:, :, :, None] & columns[:, :, None, :]
    # A patch comes with the first block that covers it; noise below 1 orders patches of one block.
    first = jnp.where(covered.any(1), covered.argmax(1), blocks).reshape(batch, -1)
    return first + jax.random.uniform(k_tie, first.shape)


def _rectangles(key, shape, extent, grid):
    """Patches [*shape, H W] inside rectangles of one extent at random places."""
    down, across = jax.random.split(key)
    rows = _inside(down, jnp.full(shape, extent[0]), grid[0])
    columns = _inside(across, jnp.full(shape, extent[1]), grid[1])
    return (rows[..., :, None] & columns[..., None, :]).reshape(*shape, -1)


def _inside(key, extent, side):
    """Intervals of about `extent` patches at random places: which of `side` places lie inside."""
    extent = jnp.clip(jnp.round(extent), 1, side)
    start = jnp.floor(jax.random.uniform(key, extent.shape) * (side - extent + 1))
    place = jnp.arange(side, dtype=extent.dtype)[None, None, :]
    return (place >= start[:, :, None]) & (place < (start + extent)[:, :, None])
