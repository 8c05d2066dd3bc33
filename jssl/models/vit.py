"""Vision transformers, whole or on the visible patches only, and the masked decoder."""

import dataclasses
from collections.abc import Callable
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.patches import patchify as patchify
from jssl.models.patches import unpatchify as unpatchify
from jssl.models.positions import LearnedPositions, rotary_angles, sincos_table
from jssl.models.transformer import Transformer


class ViT(nn.Module):
    """Vision transformer on square patches, for images of any size that the patch divides.

    tokens = [class, registers, patches W + positions], then a pre-norm transformer

    Positions: 'sincos' is computed for the grid at hand; 'learned' is a table for the grid of the
    initialising call, resized bicubically to any other; 'rotary' turns queries and keys by the
    patch's row and column. The class token and the registers, which are learned, have no position.

    An Image is Worth 16x16 Words (Dosovitskiy et al., 2021); Vision Transformers Need Registers
    (Darcet et al., 2024); keep: Masked Autoencoders Are Scalable Vision Learners (He et al., 2022).
    """

    patch: int
    width: int
    depth: int
    heads: int
    _: dataclasses.KW_ONLY
    positions: str = 'sincos'  # or 'learned', 'rotary'
    class_token: bool = True
    registers: int = 0
    pooling: str | None = 'class'  # or 'mean' of the patch tokens, or None for all tokens
    mlp_ratio: float = 4.0
    activation: Callable = nn.gelu
    layer_scale: float | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    epsilon: float = 1e-6  # of the norms
    stem_norm: bool = False  # of the tokens before the blocks, in place of the patches' bias
    scan: bool = False
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @property
    def prefix(self) -> int:
        """Number of leading tokens that are not patches."""
        return int(self.class_token) + self.registers

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        *,
        keep: jax.Array | None = None,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """Encodes images, or only the patches that `keep` names.

        Args:
          images: [B, H, W, C], H and W divisible by `patch`.
          keep: [B, K] int indices of the visible patches, in row-major order of the grid; None
            encodes all N.
          taps: whether to return the list of every block's tokens too.
          weights: whether to return the list of every block's attention weights
            [B, heads, T, T] too.
          train: whether dropout and drop path act.

        Returns:
          [B, width] features, or with pooling=None the tokens [B, T, width], T = prefix + N or
          prefix + K: class token first, then registers, then patches in the order of `keep`.
          Followed by the taps and the weights where asked for.
        """
        chex.assert_rank(images, 4)
        self._check_options()
        grid = (images.shape[1] // self.patch, images.shape[2] // self.patch)
        patches = patchify(images, self.patch)
        if keep is not None:
            chex.assert_shape(keep, (images.shape[0], None))
            patches = jnp.take_along_axis(patches, keep[..., None], axis=1)
        init = nn.initializers.xavier_uniform()
        embed = partial(nn.Dense, self.width, kernel_init=init, dtype=self.dtype, name='embed')
        x = embed(use_bias=not self.stem_norm)(patches)

        angles = None
        if self.positions == 'rotary':
            # at base 10000 most channel pairs would barely turn over a grid this small
            table = rotary_angles(grid, self.width // self.heads, base=100.0)
            angles = _visible(table, keep, images.shape[0])
            angles = jnp.pad(angles, ((0, 0), (self.prefix, 0), (0, 0)))
        elif self.positions == 'learned':
            table = LearnedPositions(self.width, dtype=self.dtype, name='positions')(grid)
            x = x + _visible(table, keep, images.shape[0])
        else:
            table = sincos_table(grid, self.width).astype(self.dtype)
            x = x + _visible(table, keep, images.shape[0])

        x = jnp.concatenate([*self._prefix_tokens(images.shape[0]), x], axis=1)
        if self.stem_norm:
            x = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name='stem_norm')(x)
        out = Transformer(
            self.width,
            self.depth,
            self.heads,
            mlp_ratio=self.mlp_ratio,
            activation=self.activation,
            layer_scale=self.layer_scale,
            dropout=self.dropout,
            drop_path=self.drop_path,
            epsilon=self.epsilon,
            scan=self.scan,
            remat=self.remat,
            dtype=self.dtype,
            name='transformer',
        )(x, angles=angles, taps=taps, weights=weights, train=train)
        if taps or weights:
            return (self._pool(out[0]), *out[1:])
        return self._pool(out)

    def _prefix_tokens(self, batch: int) -> list[jax.Array]:
        counts = {'class_token': int(self.class_token), 'registers': self.registers}
        tokens = []
        for name, count in counts.items():
            if count:
                init = nn.initializers.normal(0.02)
                token = self.param(name, init, (1, count, self.width), jnp.float32)
                shape = (batch, count, self.width)
                tokens.append(jnp.broadcast_to(token.astype(self.dtype), shape))
        return tokens

    def _pool(self, tokens: jax.Array) -> jax.Array:
        if self.pooling == 'class':
            return tokens[:, 0]
        return tokens[:, self.prefix :].mean(1) if self.pooling == 'mean' else tokens

    def _check_options(self) -> None:
        if self.positions not in ('sincos', 'learned', 'rotary'):
            raise ValueError(f'unknown positions {self.positions!r}: sincos, learned or rotary')
        if self.pooling not in ('class', 'mean', None):
            raise ValueError(f"unknown pooling {self.pooling!r}: 'class', 'mean' or None")
        if self.pooling == 'class' and not self.class_token:
            raise ValueError("pooling='class' needs class_token=True")


class MaskedDecoder(nn.Module):
    """Decodes every patch of an image from the tokens of its visible ones.

    full = mask_token everywhere; full[keep] = W visible; out = head(transformer(full + positions))

    Positions are the sine-cosine table of `grid`. Tokens in front of the visible patches (class,
    registers) take part without a position and are dropped at the end. Several outputs have W and
    the mask token in common, and a transformer and a head each.

    Masked Autoencoders Are Scalable Vision Learners (He et al., 2022); cross: CroCo
    (Weinzaepfel et al., 2022); several outputs: Bootstrap Masked Visual Modeling via Hard Patches
    Mining (Wang et al., 2023).
    """

    width: int
    depth: int
    heads: int
    grid: tuple[int, ...]  # patches along each axis; N is their product
    out: int | tuple[int, ...]  # values predicted for each patch
    _: dataclasses.KW_ONLY
    cross: bool = False
    mlp_ratio: float = 4.0
    scan: bool = False
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        keep: jax.Array,
        *,
        context: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array | tuple[jax.Array, ...]:
        """Predicts all patches.

        Args:
          tokens: [B, P + K, D] output of the encoder, P >= 0 tokens ahead of the K patches.
          keep: [B, K] int indices of the visible patches.
          context: [B, S, E] tokens of another view, with cross=True.
          train: changes nothing.

        Returns:
          [B, N, out], or a tuple of these.
        """
        chex.assert_rank([tokens, keep], [3, 2])
        prefix = tokens.shape[1] - keep.shape[1]
        if prefix < 0:
            raise ValueError(f'tokens {tokens.shape} are fewer than the kept indices {keep.shape}')
        init = nn.initializers.xavier_uniform()
        x = nn.Dense(self.width, kernel_init=init, dtype=self.dtype, name='embed')(tokens)
        table = sincos_table(self.grid, self.width).astype(self.dtype)
        blank = self.param('mask_token', nn.initializers.normal(0.02), (self.width,), jnp.float32)
        blank = jnp.broadcast_to(blank.astype(self.dtype)[None], table.shape)
        full = jax.vmap(lambda indices, visible: blank.at[indices].set(visible))(
            keep, x[:, prefix:]
        )
        x = jnp.concatenate([x[:, :prefix], full + table[None]], axis=1)

        def decode(out, number=''):
            y = Transformer(
                self.width,
                self.depth,
                self.heads,
                mlp_ratio=self.mlp_ratio,
                cross=self.cross,
                scan=self.scan,
                remat=self.remat,
                dtype=self.dtype,
                name=f'transformer{number}',
            )(x, context=context, train=train)
            return nn.Dense(out, dtype=self.dtype, name=f'head{number}')(y[:, prefix:])

        if isinstance(self.out, int):
            return decode(self.out)
        return tuple(decode(out, i) for i, out in enumerate(self.out))


vit_tiny = partial(ViT, width=192, depth=12, heads=3)
vit_small = partial(ViT, width=384, depth=12, heads=6)
vit_base = partial(ViT, width=768, depth=12, heads=12)
vit_large = partial(ViT, width=1024, depth=24, heads=16)


def _visible(table: jax.Array, keep: jax.Array | None, batch: int) -> jax.Array:
    """Rows of a table [N, D] at the visible patches: [B, K, D], or [B, N, D] for all."""
    if keep is None:
        return jnp.broadcast_to(table[None], (batch, *table.shape))
    return table[keep]
