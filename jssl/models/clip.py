"""Images and sentences in one space: two towers, and a projection of each."""

import dataclasses
import math
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.losses.similarity import cosine_matrix, normalise
from jssl.models.convnet import convolve
from jssl.models.language import CausalLM
from jssl.models.norms import norm
from jssl.models.positions import LearnedPositions
from jssl.models.transformer import Transformer

LARGEST = math.log(100.0)  # of the log scale, at which CLIP holds it


class TextEncoder(nn.Module):
    """A causal transformer over a sentence; its features are read at the sentence's end.

    h = transformer(words + positions)[end],   end the first place of the highest token there is

    so the vocabulary's last token must be the one that ends a sentence; what follows is not seen.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """

    vocabulary: int
    length: int  # of the longest sentence, with the tokens that begin and end it
    transformer: Transformer  # causal

    def setup(self):
        inner, normal = self.transformer, nn.initializers.normal
        if not inner.causal:
            raise ValueError('the transformer must be causal')
        self.embed = nn.Embed(
            self.vocabulary, inner.width, embedding_init=normal(0.02), dtype=inner.dtype
        )
        shape = (self.length, inner.width)
        self.positions = self.param('positions', normal(0.01), shape, jnp.float32)

    def __call__(
        self,
        tokens: jax.Array,
        *,
        words: jax.Array | None = None,
        taps: bool = False,
        train: bool = False,
    ) -> jax.Array | tuple[jax.Array, list[jax.Array]]:
        """Encodes sentences, given as tokens or as vectors in place of their words.

        Args:
          tokens: int [B, T], T up to `length`.
          words: [B, T, D] in place of `embed(tokens)`; the tokens then say the ends alone.
          taps: whether to return the list of every block's output [B, T, D] too.
          train: changes nothing.

        Returns:
          h [B, D], or (h, taps).
        """
        chex.assert_rank(tokens, 2)
        if tokens.shape[1] > self.length:
            raise ValueError(f'tokens {tokens.shape} are longer than {self.length}')
        words = self.embed(tokens) if words is None else words
        chex.assert_shape(words, (*tokens.shape, self.transformer.width))
        x = words + self.positions[: tokens.shape[1]].astype(words.dtype)[None]
        x, seen = self.transformer(x, taps=True, train=train)
        h = jnp.take_along_axis(x, tokens.argmax(1)[:, None, None], axis=1)[:, 0]
        return (h, seen) if taps else h


class AveragedResNet(nn.Module):
    """CLIP's residual network: three convolutions at first, and averages in place of strides.

    Bottlenecks of width w have 4 w channels. Where others stride, these average 2 x 2 places before
    the last convolution, and before the shortcut's.

    Bag of Tricks for Image Classification (He et al., 2019); Making Convolutional Networks
    Shift-Invariant Again (Zhang, 2019).
    """

    stages: Sequence[int] = (3, 4, 6, 3)
    _: dataclasses.KW_ONLY
    width: int = 64  # of the first stage
    norm: str | None = 'batch'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps images [B, H, W, C] to [B, F], and with `taps` the list of the stages' maps too."""
        chex.assert_rank(images, 4)

        def unit(x, width, kernel, name, *, stride=1, relu=True):
            bias = self.norm is None
            x = convolve(
                x, width, kernel, stride=stride, use_bias=bias, dtype=self.dtype, name=name
            )
            x = norm(self.norm, train, dtype=self.dtype, name=f'{name}_norm')(x)
            return nn.relu(x) if relu else x

        halved = lambda x: nn.avg_pool(x, (2, 2), (2, 2))
        x = unit(images, self.width // 2, 3, 'stem0', stride=2)
        x = unit(x, self.width // 2, 3, 'stem1')
        x, maps = halved(unit(x, self.width, 3, 'stem2')), []
        for i, count in enumerate(self.stages):
            for j in range(count):
                name, width = f'stage{i}_block{j}', self.width * 2**i
                shrink = halved if i and not j else lambda x: x
                y = unit(unit(x, width, 1, f'{name}_conv0'), width, 3, f'{name}_conv1')
                y = unit(shrink(y), 4 * width, 1, f'{name}_conv2', relu=False)
                if not j:
                    x = unit(shrink(x), 4 * width, 1, f'{name}_shortcut', relu=False)
                x = nn.relu(x + y)
            maps.append(x)
        features = x.mean((1, 2))
        return (features, maps) if taps else features


class AttentionPooled(nn.Module):
    """A convolutional backbone whose last map is pooled by attention from its mean.

    h = sum_i a_i v_i,   v_i = W_v x_i,   a = softmax_i((W_q mean_j x_j)' W_k x_i / sqrt(d))

    of each head, over the mean, which has no position, and all places. What CLIP calls the
    pooling's output matrix is its projection here.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021),
    section 2.3; the values as features of places: Extract Free Dense Labels from CLIP (Zhou et al.,
    2022).
    """

    trunk: nn.Module  # images -> (features, [maps]) with taps=True
    heads: int
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    prefix = 1  # tokens that are not places

    @nn.compact
    def __call__(self, images: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps images [B, H, W, C] to tokens [B, 1 + N, D], h and then the values of N places.

        With `taps`, the list of the trunk's maps [B, h, w, F] follows.
        """
        _, maps = self.trunk(images, taps=True, train=train)
        batch, rows, columns, width = maps[-1].shape
        table = LearnedPositions(width, dtype=self.dtype, name='positions')((rows, columns))
        x = maps[-1].reshape(batch, -1, width)
        mean = x.mean(1, keepdims=True)
        x = jnp.concatenate([mean, x + table[None]], axis=1)

        def project(x, name):
            y = nn.Dense(width, dtype=self.dtype, name=name)(x)
            return y.reshape(batch, -1, self.heads, width // self.heads)

        q, k, v = project(mean, 'query'), project(x, 'key'), project(x, 'value')
        h = jax.nn.dot_product_attention(q, k, v)
        tokens = jnp.concatenate([h, v[:, 1:]], axis=1).reshape(batch, -1, width)
        return (tokens, maps) if taps else tokens


class CLIP(nn.Module):
    """An image tower and a text tower, each with one matrix into a joint space, and a scale.

    z_image = W_i image(x),   z_text = W_t text(t),   logits = s cos(z_image, z_text)

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """

    image: nn.Module  # images -> h [B, D], or tokens [B, T, D], the first of which is the image's
    text: nn.Module  # tokens -> h [B, D]
    width: int  # of the joint space
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        project = lambda: nn.Dense(self.width, use_bias=False, dtype=self.dtype)
        self.image_projection, self.text_projection = project(), project()
        start = nn.initializers.constant(math.log(1 / 0.07))
        self.log_scale = self.param('log_scale', start, (), jnp.float32)

    def __call__(
        self, images: jax.Array, tokens: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns z_image [B, width], z_text [B', width], and the scale s, as `losses.clip` asks.

        Neither is normalised. In training log s is to be held at `LARGEST` after every step.
        """
        z_image = self.encode_image(images, train=train)
        return z_image, self.encode_text(tokens, train=train), jnp.exp(self.log_scale)

    def encode_image(self, images: jax.Array, *, taps: bool = False, train: bool = False):
        """z [B, width] of images [B, H, W, C]; with `taps` also the list of the tower's blocks."""
        h, *seen = self._tower(images, taps, train)
        z = self.image_projection(h[:, 0] if h.ndim == 3 else h)
        return (z, *seen) if taps else z

    def encode_patches(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """z [B, N, width] of every patch of images [B, H, W, C], as if it were the whole image.

        Extract Free Dense Labels from CLIP (Zhou et al., 2022), with the last block as it is.
        """
        h, *_ = self._tower(images, False, train)
        chex.assert_rank(h, 3)
        return self.image_projection(h[:, self.image.prefix :])

    def encode_text(
        self,
        tokens: jax.Array,
        *,
        words: jax.Array | None = None,
        taps: bool = False,
        train: bool = False,
    ):
        """z [B, width] of sentences; arguments as in `TextEncoder`."""
        h = self.text(tokens, words=words, taps=taps, train=train)
        h, *seen = h if taps else (h,)
        z = self.text_projection(h)
        return (z, *seen) if taps else z

    def embed_words(self, tokens: jax.Array) -> jax.Array:
        """Vectors [B, T, D] of the words of sentences int [B, T], for `encode_text(words=...)`."""
        return self.text.embed(tokens)

    def _tower(self, images, taps, train):
        if taps:
            return self.image(images, taps=True, train=train)
        return (self.image(images, train=train),)


class Captioner(nn.Module):
    """A language model that goes on from an image's tokens, or from its one vector.

    p(t_i | x, t_<i) = language([image(x) W, embed(t_<i)])

    VirTex: Learning Visual Representations from Textual Annotations (Desai and Johnson, 2021).
    """

    image: nn.Module  # images -> h [B, D], or tokens [B, N, D]
    language: CausalLM

    @nn.compact
    def __call__(self, images: jax.Array, tokens: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [B, T - 1, V] of all tokens int [B, T] of captions but the first."""
        h = self.image(images, train=train)
        h = h if h.ndim == 3 else h[:, None]
        context = nn.Dense(self.language.transformer.width, name='project')(h)
        x = jnp.concatenate([context, self.language.embedded(tokens)], axis=1)
        return self.language(x, train=train)[:, h.shape[1] : -1]


def prompted(words: jax.Array, prompt: jax.Array, *, start: int = 1) -> jax.Array:
    """Puts a learned prompt in place of words.

        words[b, start + p] = prompt[p]

    Args:
      words: [B, T, D] of `CLIP.embed_words`, of sentences with any P words at that place.
      prompt: [P, D] for all sentences, or [B, P, D].
      start: place of the first; 1 is behind the token that begins a sentence.

    Returns:
      [B, T, D].

    Learning to Prompt for Vision-Language Models (Zhou et al., 2022).
    """
    chex.assert_rank([words, prompt], [3, {2, 3}])
    if start + prompt.shape[-2] > words.shape[1]:
        raise ValueError(
            f'prompt {prompt.shape} from {start} on is longer than words {words.shape}'
        )
    prompt = jnp.broadcast_to(prompt, (len(words), *prompt.shape[-2:]))
    return jax.lax.dynamic_update_slice_in_dim(words, prompt.astype(words.dtype), start, axis=1)


def zero_shot(image: jax.Array, text: jax.Array, *, scale: jax.Array | float = 1.0) -> jax.Array:
    """Classifies images by sentences that describe the classes.

        w_k = norm(mean_p norm(text_kp)),   logits_k = s cos(image, w_k)

    Args:
      image: z [B, D] of images.
      text: z [K, D] of one sentence a class, or [P, K, D] of P each.
      scale: s.

    Returns:
      logits [B, K].

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    chex.assert_rank([image, text], [2, {2, 3}])
    weights = normalise(text).mean(0) if text.ndim == 3 else text
    return scale * cosine_matrix(image, weights)
