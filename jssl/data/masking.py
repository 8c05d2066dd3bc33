"""Masks over patches. Their numbers are static, so visible patches can be gathered under jit."""

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
    height, width = grid
    masked = _masked(height * width, ratio)
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
    return _lowest(first + jax.random.uniform(k_tie, first.shape), masked)


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


def _inside(key, extent, side):
    """Intervals of about `extent` patches at random places: which of `side` places lie inside."""
    extent = jnp.clip(jnp.round(extent), 1, side)
    start = jnp.floor(jax.random.uniform(key, extent.shape) * (side - extent + 1))
    place = jnp.arange(side, dtype=extent.dtype)[None, None, :]
    return (place >= start[:, :, None]) & (place < (start + extent)[:, :, None])
