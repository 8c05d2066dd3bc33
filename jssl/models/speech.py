"""Speech read by a masked transformer, from waves or from frames: wav2vec 2.0 and HuBERT."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.losses import gumbel_softmax, normalise
from jssl.models.transformer import Transformer

gelu = functools.partial(nn.gelu, approximate=False)


class WaveFeatures(nn.Module):
    """Waves to features at a low rate, by strided convolutions without padding; and a layer norm.

    As published a feature sees 400 samples and comes every 320. `norm` is 'group', each channel
    over time after the first convolution, or 'layer', over the channels after each.

    wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations (Baevski et al.,
    2020).
    """

    widths: Sequence[int] = (512,) * 7
    _: dataclasses.KW_ONLY
    kernels: Sequence[int] = (10, 3, 3, 3, 3, 2, 2)
    strides: Sequence[int] = (5, 2, 2, 2, 2, 2, 2)
    norm: str = 'group'
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32

    def valid(self, lengths: jax.Array, count: int) -> jax.Array:
        """Which of `count` features saw nothing beyond their wave's length, [B] -> bool [B, N]."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            lengths = (lengths - kernel) // stride + 1
        return jnp.arange(count)[None] < lengths[:, None]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, T] to [B, N, widths[-1]]; `train` changes nothing."""
        chex.assert_rank(x, 2)
        x = x[..., None]
        layers = zip(self.widths, self.kernels, self.strides, strict=True)
        for i, (width, kernel, stride) in enumerate(layers):
            options = {'use_bias': self.use_bias, 'dtype': self.dtype, 'name': f'conv{i}'}
            x = nn.Conv(width, (kernel,), stride, padding='VALID', **options)(x)
            options = {'epsilon': 1e-5, 'dtype': self.dtype, 'name': f'conv{i}_norm'}
            if self.norm == 'layer':
                x = nn.LayerNorm(**options)(x)
            elif i == 0:
                x = nn.GroupNorm(num_groups=None, group_size=1, **options)(x)
            x = gelu(x)
        return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name='norm')(x)


class ConvPositions(nn.Module):
    """Positions told by neighbours: one wide convolution in groups, with weight normalisation.

    gelu(w * x + b),  w_k = length_k direction_k / |direction_k| of each of the K taps

    wav2vec 2.0 (Baevski et al., 2020), section 2; Weight Normalization (Salimans and Kingma, 2016).
    """

    kernel: int = 128
    groups: int = 16
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, N, D] to [B, N, D]; `train` changes nothing."""
        chex.assert_rank(x, 3)
        width = x.shape[-1]
        if width % self.groups:
            raise ValueError(f'width {width} must be divisible by groups {self.groups}')
        shape = (self.kernel, width // self.groups, width)
        start = nn.initializers.normal((4 / (self.kernel * width)) ** 0.5)
        direction = self.param('direction', start, shape)
        size = lambda w: jnp.sqrt(jnp.square(w).sum((1, 2)))
        length = self.param('length', lambda key: size(direction))
        bias = self.param('bias', nn.initializers.zeros, (width,))
        w = direction * (length / size(direction))[:, None, None]
        before = self.kernel // 2
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            w.astype(self.dtype),
            (1,),
            [(before, self.kernel - 1 - before)],
            dimension_numbers=('NWC', 'WIO', 'NWC'),
            feature_group_count=self.groups,
        )
        return gelu(y + bias.astype(self.dtype)[None, None])


class SpeechEncoder(nn.Module):
    """Features to context: projected, some of them replaced by one token, read by a transformer.

    wav2vec 2.0 (Baevski et al., 2020); the large models of 60 000 hours are pre-norm.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    _: dataclasses.KW_ONLY
    mlp_ratio: float = 4.0
    kernel: int = 128  # of the positions
    groups: int = 16
    pre_norm: bool = False
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: jax.Array,
        *,
        mask: jax.Array | None = None,
        valid: jax.Array | None = None,
        taps: bool = False,
        train: bool = False,
    ) -> jax.Array | tuple[jax.Array, list[jax.Array]]:
        """Reads features.

        Args:
          features: [B, N, F].
          mask: [B, N], 1 where a feature is hidden behind the token; None hides none.
          valid: bool [B, N], False where there is padding, which nothing attends to; None is all.
          taps: whether to return the output of every block too.
          train: whether to drop out.

        Returns:
          [B, N, width], or that and the list of [B, N, width].
        """
        chex.assert_rank(features, 3)
        x = nn.Dense(self.width, dtype=self.dtype, name='embed')(features)
        token = self.param('mask_token', nn.initializers.uniform(1.0), (self.width,))
        if mask is not None:
            x = jnp.where(mask[..., None] > 0, token.astype(self.dtype)[None, None], x)
        if valid is not None:
            x = jnp.where(valid[..., None], x, 0)
        x = x + ConvPositions(self.kernel, self.groups, dtype=self.dtype, name='positions')(x)
        if not self.pre_norm:
            x = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name='positions_norm')(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        transformer = Transformer(
            self.width,
            self.depth,
            self.heads,
            mlp_ratio=self.mlp_ratio,
            pre_norm=self.pre_norm,
            activation=gelu,
            epsilon=1e-5,
            dropout=self.dropout,
            dtype=self.dtype,
            name='transformer',
        )
        seen = None if valid is None else valid[:, None, None, :]
        return transformer(x, mask=seen, taps=taps, train=train)


class Coded(NamedTuple):
    """What a product quantiser returns.

    Attributes:
      q: [..., D], the codes, with the straight-through gradient.
      indices: [..., G] int32.
      probabilities: [..., G, V], without the noise of the draw.
    """

    q: jax.Array
    indices: jax.Array
    probabilities: jax.Array


class GumbelQuantiser(nn.Module):
    """A code chosen in each of G small codebooks, drawn by Gumbel softmax in training.

    q = [e_1,k_1, ..., e_G,k_G],  k_g ~ softmax(l_g / temperature), or the most likely

    In training it draws from the stream 'gumbel'.

    wav2vec 2.0 (Baevski et al., 2020), section 2; vq-wav2vec (Baevski et al., 2020).
    """

    groups: int = 2
    codes: int = 320  # V, in each
    width: int = 256  # D
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, z: jax.Array, *, temperature: jax.Array | float = 1.0, train: bool = False
    ) -> Coded:
        """Quantises z [..., F]; the temperature, of the draw in training alone, may be traced."""
        each = (self.groups, self.codes, self.width // self.groups)
        codebook = self.param('codes', nn.initializers.uniform(1.0), each)
        start = nn.initializers.normal(1.0)
        scores = nn.Dense(self.groups * self.codes, kernel_init=start, name='scores')
        logits = scores(z.astype(jnp.float32)).reshape(-1, self.codes)
        chosen = jax.nn.one_hot(logits.argmax(1), self.codes)
        if train:
            key = self.make_rng('gumbel')
            chosen = gumbel_softmax(key, logits, temperature=temperature, hard=True)
        shape = (*z.shape[:-1], self.groups)
        q = jnp.einsum('...gv,gvd->...gd', chosen.reshape(*shape, -1), codebook)
        q = q.reshape(*z.shape[:-1], -1).astype(self.dtype)
        probabilities = jax.nn.softmax(logits).reshape(*shape, -1)
        return Coded(q, chosen.argmax(1).reshape(shape), probabilities)


class UnitHead(nn.Module):
    """Which hidden unit a feature stands for, by its angle with an embedding of each.

    logits_u = cos(A c, e_u) / temperature

    HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units (Hsu
    et al., 2021), equation 3.
    """

    units: int
    width: int = 256
    _: dataclasses.KW_ONLY
    temperature: float = 0.1

    @nn.compact
    def __call__(self, c: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps c [..., D] to logits [..., units] in float32; `train` changes nothing."""
        embeddings = self.param('units', nn.initializers.uniform(1.0), (self.units, self.width))
        z = nn.Dense(self.width, name='project')(c.astype(jnp.float32))
        return normalise(z) @ normalise(embeddings).T / self.temperature


class WaveEncoder(nn.Module):
    """Waves to context: the trunk of wav2vec 2.0 and of HuBERT.

    wav2vec 2.0 (Baevski et al., 2020); HuBERT (Hsu et al., 2021).
    """

    features: WaveFeatures
    encoder: SpeechEncoder

    def __call__(
        self,
        x: jax.Array,
        *,
        lengths: jax.Array | None = None,
        mask: jax.Array | None = None,
        taps: bool = False,
        train: bool = False,
    ) -> jax.Array | tuple[jax.Array, list[jax.Array]]:
        """Reads waves x [B, T], of which the first `lengths` [B] samples are sound.

        The mask [B, N], the taps and what comes back are those of `SpeechEncoder`.
        """
        features = self.features(x)
        valid = None if lengths is None else self.features.valid(lengths, features.shape[1])
        return self.encoder(features, mask=mask, valid=valid, taps=taps, train=train)


class Wav2Vec2(nn.Module):
    """What hidden features should be told by, and the codes of what was there.

    c = A encoder(masked features),  q = B quantiser(features); `losses.wav2vec2` compares them

    wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations (Baevski et al.,
    2020).
    """

    features: WaveFeatures
    encoder: SpeechEncoder
    quantiser: GumbelQuantiser
    width: int = 256

    def setup(self):
        self.project, self.project_code = nn.Dense(self.width), nn.Dense(self.width)

    def __call__(
        self,
        x: jax.Array,
        *,
        lengths: jax.Array | None = None,
        mask: jax.Array | None = None,
        temperature: jax.Array | float = 1.0,
        train: bool = False,
    ) -> tuple[jax.Array, Coded]:
        """Reads waves x [B, T] as `WaveEncoder`; the temperature is the quantiser's.

        Returns (c [B, N, width], `Coded` with q [B, N, width]).
        """
        features = self.features(x)
        valid = None if lengths is None else self.features.valid(lengths, features.shape[1])
        coded = self.quantiser(features, temperature=temperature, train=train)
        c = self.encoder(features, mask=mask, valid=valid, train=train)
        return self.project(c), coded._replace(q=self.project_code(coded.q))


class HuBERT(nn.Module):
    """Which hidden unit each frame is of, also where the frame was masked.

    HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units (Hsu
    et al., 2021).
    """

    encoder: nn.Module  # a `WaveEncoder`, or a `SpeechEncoder` of frames
    head: nn.Module  # a `UnitHead`, or a dense layer

    def __call__(self, x: jax.Array, **options) -> jax.Array:
        """Maps x to logits [B, N, units]; options are the encoder's."""
        return self.head(self.encoder(x, **options))

    def encode(self, x: jax.Array, **options):
        """What the encoder returns."""
        return self.encoder(x, **options)
