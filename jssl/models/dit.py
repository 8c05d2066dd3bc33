"""Diffusion transformers: a denoiser of patches that time, label and context modulate."""

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.mlp import MLP, FeedForward
from jssl.models.patches import patchify, unpatchify
from jssl.models.positions import sincos, sincos_table
from jssl.models.transformer import Attention, Transformer


class DiT(nn.Module):
    """Transformer from noisy images or latents to what they are asked for: noise, data, velocity.

    c = MLP(sincos(t)) + label;   x = W patches + positions;   blocks, each modulated by c;
    out = W ((1 + scale) norm(x) + shift),   (shift, scale) = W silu(c)

    The output and all modulated branches start at zero. Label `classes` is that of no class, for
    classifier-free guidance.

    Scalable Diffusion Models with Transformers (Peebles and Xie, 2023); cross attention:
    PixArt-alpha (Chen et al., 2024).
    """

    patch: int
    width: int
    depth: int
    heads: int
    _: dataclasses.KW_ONLY
    channels: int  # that come out; twice those of x where variances are predicted too
    classes: int | None = None  # None takes no labels
    label_deviation: float = 0.02  # of what labels add at the start
    cross: bool = False  # blocks attend to a context too
    mlp_ratio: float = 4.0
    base: float = 10000.0  # of the positions, slowest to fastest period; less for a small grid
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        time: jax.Array,
        label: jax.Array | None = None,
        *,
        context: jax.Array | None = None,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """Denoises.

        Args:
          x: [B, H, W, C], H and W divisible by `patch`.
          time: [B], int or float, of the order of 0 to 1000.
          label: int [B] in 0 to `classes`, given exactly when `classes` is.
          context: [B, S, E] tokens, given exactly when `cross` is.
          taps: whether to return the list of every block's tokens [B, N, width] too.
          weights: whether to return the list of every block's attention weights too, each as
            `DiTBlock` returns them.
          train: changes nothing.

        Returns:
          [B, H, W, channels], followed by the taps and the weights where asked for.
        """
        chex.assert_rank([x, time], [4, 1])
        self._check_call(label, context)
        grid = (x.shape[1] // self.patch, x.shape[2] // self.patch)
        c = self._condition(time, label)
        init = nn.initializers.xavier_uniform()
        tokens = nn.Dense(self.width, kernel_init=init, dtype=self.dtype, name='embed')(
            patchify(x, self.patch)
        )
        tokens = tokens + self.positions(grid).astype(self.dtype)[None]
        maps, seen = [], []
        for i in range(self.depth):
            block = DiTBlock(
                self.heads,
                cross=self.cross,
                mlp_ratio=self.mlp_ratio,
                dtype=self.dtype,
                name=f'block{i}',
            )
            tokens = block(tokens, c, context=context, weights=weights, train=train)
            tokens, found = tokens if weights else (tokens, None)
            maps.append(tokens)
            seen.append(found)
        shift, scale = _modulation(c, 2, tokens, name='output_modulation')
        y = _modulate(_norm(tokens, name='norm'), shift, scale)
        out = nn.Dense(
            self.patch**2 * self.channels,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            name='output',
        )
        y = unpatchify(out(y), self.patch, (*x.shape[1:3], self.channels))
        extras = [maps] * taps + [seen] * weights
        return (y, *extras) if extras else y

    def _condition(self, time, label):
        """silu(c) [B, width]: what every modulation is a linear map of."""
        # the published model's width of the sines, whatever its own is
        mlp = MLP((self.width, self.width), activation=nn.silu, dtype=self.dtype, name='time')
        c = mlp(sincos(time, 256))
        if self.classes is not None:
            init = nn.initializers.normal(self.label_deviation)
            embed = nn.Embed(self.classes + 1, self.width, embedding_init=init, name='label')
            c = c + embed(label).astype(self.dtype)
        return nn.silu(c)

    def positions(self, grid: tuple[int, int]) -> jax.Array:
        """What is added to the patches of a grid, in row-major order: [N, width]."""
        # columns have the first half of the channels, as in the weights that were published
        table = sincos_table(grid, self.width, base=self.base)
        return jnp.roll(table, self.width // 2, axis=1)

    def _check_call(self, label, context):
        if (label is None) != (self.classes is None):
            raise ValueError('a label is needed with classes=count, and only then')
        if (context is None) == self.cross:
            raise ValueError('a context is needed with cross=True, and only then')


class DiTBlock(nn.Module):
    """Transformer block whose branches are scaled, shifted and gated by a vector.

    x += g_1 attention(m_1(x)); x += cross_attention(norm(x), context); x += g_2 mlp(m_2(x))
    m_i(x) = (1 + scale_i) norm(x) + shift_i,   (shift_1, scale_1, g_1, shift_2, scale_2, g_2) = W c

    Scalable Diffusion Models with Transformers (Peebles and Xie, 2023), adaLN-Zero.
    """

    heads: int
    _: dataclasses.KW_ONLY
    cross: bool = False
    mlp_ratio: float = 4.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        c: jax.Array,
        *,
        context: jax.Array | None = None,
        weights: bool = False,
        train: bool = False,
    ):
        """Maps x [B, T, D] to [B, T, D], given c [B, E] and, in a cross block, context [B, S, F].

        With `weights`, returns (x, weights [B, heads, T, T]) or, in a cross block, (x, (weights,
        cross weights [B, heads, T, S])).
        """
        chex.assert_rank([x, c], [3, 2])
        x = x.astype(self.dtype)
        shift1, scale1, gate1, shift2, scale2, gate2 = _modulation(c, 6, x, name='modulation')
        y = _modulate(_norm(x, name='attention_norm'), shift1, scale1)
        y = Attention(self.heads, dtype=self.dtype, name='attention')(y, weights=weights)
        y, found = y if weights else (y, None)
        x = x + gate1 * y
        if self.cross:
            y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='cross_norm')(x)
            attend = Attention(self.heads, dtype=self.dtype, name='cross')
            y = attend(y, context=context, weights=weights)
            y, crossed = y if weights else (y, None)
            found = (found, crossed)
            x = x + y
        y = _modulate(_norm(x, name='mlp_norm'), shift2, scale2)
        hidden = int(x.shape[-1] * self.mlp_ratio)
        x = x + gate2 * FeedForward(hidden, dtype=self.dtype, name='mlp')(y)
        return (x, found) if weights else x


class CaptionDiT(nn.Module):
    """A DiT and the reader of the captions that it attends to.

    context = transformer(E words + positions);   out = denoiser(x, t, context=context)

    A caption is words, int [B, L], or vectors in their place, [B, L, D]: prompts that are learned.

    High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022); vectors: An
    Image is Worth One Word (Gal et al., 2023).
    """

    denoiser: DiT  # with cross=True
    words: int  # that there are
    length: int  # of the longest caption
    _: dataclasses.KW_ONLY
    width: int = 64  # D
    depth: int = 1
    heads: int = 2
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        init = nn.initializers.normal(0.02)
        self.embed = nn.Embed(self.words, self.width, embedding_init=init)
        self.positions = self.param('positions', init, (self.length, self.width), jnp.float32)
        self.reader = Transformer(self.width, self.depth, self.heads, dtype=self.dtype)

    def __call__(self, x: jax.Array, time: jax.Array, caption: jax.Array, **options):
        """Denoises x [B, H, W, C] as its caption says; what else there is, as in `DiT`."""
        return self.denoiser(x, time, context=self.encode(caption), **options)

    def vectors(self, words: jax.Array) -> jax.Array:
        """What stands for words [B, L]: [B, L, D]."""
        return self.embed(words)

    def encode(self, caption: jax.Array) -> jax.Array:
        """The context [B, L, D] of a caption."""
        chex.assert_rank(caption, {2, 3})
        vectors = self.vectors(caption) if caption.ndim == 2 else caption
        return self.reader(vectors + self.positions[None, : vectors.shape[1]])


def _modulation(c, parts, x, *, name):
    """W c in equal parts [B, 1, D] for x [B, T, D]; zero at the start."""
    init = nn.initializers.zeros
    dense = nn.Dense(parts * x.shape[-1], kernel_init=init, dtype=x.dtype, name=name)
    return jnp.split(dense(c)[:, None], parts, axis=-1)


def _modulate(y, shift, scale):
    return (1 + scale) * y + shift


def _norm(x, *, name):
    norm = nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False, dtype=x.dtype, name=name)
    return norm(x)
