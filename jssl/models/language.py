"""Language models: the next token, masked tokens, one text from another.

The transformer inside is given whole, `CausalLM(512, Transformer(64, 2, 4, causal=True))`, and sets
the width, the dropout and the compute dtype. Tokens may come embedded, [B, T, D] instead of
[B, T]: method='embedded' gives these, and learned prompts go among them.
"""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.positions import angles_at
from jssl.models.transformer import KeyValues, Transformer


class CausalLM(nn.Module):
    """Predicts each token from those before it.

    p(x_t | x_<t) = softmax(W h_{t-1}), h = transformer(embed(x)), causal, W = embed if tied

    Llama's transformer has gated layers, RMS norms and no biases, and rotary positions; GPT-2's
    has biases, layer norms and learned positions.

    Language Models are Unsupervised Multitask Learners (Radford et al., 2019); LLaMA: Open and
    Efficient Foundation Language Models (Touvron et al., 2023).
    """

    vocabulary: int
    transformer: Transformer
    _: dataclasses.KW_ONLY
    learned_positions: int = 0  # rows of their table; 0 is rotary positions instead
    base: float = 10000.0  # of rotary positions
    tied: bool = True

    def setup(self):
        inner = self.transformer
        if not inner.causal:
            raise ValueError('the transformer must be causal')
        self.embed = _embed(self.vocabulary, inner)
        if self.learned_positions:
            self.positions = _embed(self.learned_positions, inner)
        if not self.tied:
            self.head = nn.Dense(self.vocabulary, use_bias=False, dtype=inner.dtype)
        self.drop = nn.Dropout(inner.dropout)

    def __call__(self, tokens: jax.Array, **given):
        """Predicts the token after each one.

        Args:
          tokens: int [B, T], or embedded [B, T, D].
          given: as in `features`.

        Returns:
          Logits [B, T, V] float32, of the token at t + 1 in row t; followed by what `features`
          has besides.
        """
        h, *found = _listed(self.features(tokens, **given))
        return (self.logits(h), *found) if found else self.logits(h)

    def features(
        self,
        tokens: jax.Array,
        *,
        mask: jax.Array | None = None,
        prefix: Sequence[KeyValues] | None = None,
        cache: Sequence[KeyValues] | None = None,
        start: jax.Array | int = 0,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """What the logits are a linear function of.

        Args:
          tokens: int [B, T], or embedded [B, T, D].
          start: position of the first, int or [B].
          mask, prefix, cache, taps, weights: as in `Transformer`.
          train: whether dropout acts.

        Returns:
          [B, T, D], normalised; followed by taps, weights and the cache as in `Transformer`.
        """
        x, angles = self.embedded(tokens), None
        if self.learned_positions:
            places = _places(x.shape[1], start)
            x = x + self.positions(places)
        else:
            angles = _angles(self.transformer, x.shape[1], start, self.base)
        return self.transformer(
            self.drop(x, deterministic=not train),
            mask=mask,
            angles=angles,
            prefix=prefix,
            cache=cache,
            start=start,
            taps=taps,
            weights=weights,
            train=train,
        )

    def embedded(self, tokens: jax.Array) -> jax.Array:
        """Embeds tokens [B, T] as [B, T, D], without positions; what is embedded stays."""
        return _embedded(self.embed, tokens)

    def logits(self, h: jax.Array) -> jax.Array:
        """Logits [..., V] float32 of features [..., D]."""
        logits = self.embed.attend(h) if self.tied else self.head(h)
        return logits.astype(jnp.float32)


class MaskedLM(nn.Module):
    """Predicts tokens from all those around them.

    h = transformer(norm(embed(x) + positions + segments)),
    p(x_t | x) = softmax(embed norm(activation(W h_t)) + b)

    BERT: Pre-training of Deep Bidirectional Transformers (Devlin et al., 2019); rotary positions:
    Smarter, Better, Faster, Longer (Warner et al., 2024).
    """

    vocabulary: int
    transformer: Transformer
    _: dataclasses.KW_ONLY
    length: int = 512  # rows of the table of positions; 0 is rotary positions instead
    base: float = 10000.0  # of rotary positions
    segments: int = 0  # kinds of parts that a text may have

    def setup(self):
        inner = self.transformer
        self.embed = _embed(self.vocabulary, inner)
        if self.length:
            self.positions = _embed(self.length, inner)
        if self.segments:
            self.segment = _embed(self.segments, inner)
        self.embed_norm = inner.norm(epsilon=inner.epsilon, dtype=inner.dtype)
        self.drop = nn.Dropout(inner.dropout)
        self.head = nn.Dense(inner.width, dtype=inner.dtype)
        self.head_norm = inner.norm(epsilon=inner.epsilon, dtype=inner.dtype)
        self.bias = self.param('bias', nn.initializers.zeros, (self.vocabulary,), jnp.float32)

    def __call__(self, tokens: jax.Array, **given):
        """Predicts the token at each place.

        Args:
          tokens: int [B, T], or embedded [B, T, D].
          given: as in `features`.

        Returns:
          Logits [B, T, V] float32, of the token at t in row t; followed by what `features` has
          besides.
        """
        h, *found = _listed(self.features(tokens, **given))
        return (self.logits(h), *found) if found else self.logits(h)

    def features(
        self,
        tokens: jax.Array,
        *,
        segments: jax.Array | None = None,
        mask: jax.Array | None = None,
        prefix: Sequence[KeyValues] | None = None,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """Represents every token by what is around it.

        Args:
          tokens: int [B, T], or embedded [B, T, D].
          segments: int [B, T], which part of the text a token is of; None is part 0.
          mask: bool, broadcastable to [B, heads, T, T]: valid[:, None, None] where `valid` [B, T]
            is False for padding.
          prefix, taps, weights: as in `Transformer`.
          train: whether dropout acts.

        Returns:
          [B, T, D], followed by taps and weights as in `Transformer`.
        """
        x, angles = self.embedded(tokens), None
        if self.length:
            x = x + self.positions(_places(x.shape[1], 0))
        else:
            angles = _angles(self.transformer, x.shape[1], 0, self.base)
        if self.segments:
            x = x + self.segment(jnp.zeros(x.shape[:2], int) if segments is None else segments)
        x = self.drop(self.embed_norm(x), deterministic=not train)
        given = {'mask': mask, 'prefix': prefix, 'taps': taps, 'weights': weights}
        return self.transformer(x, angles=angles, **given, train=train)

    def embedded(self, tokens: jax.Array) -> jax.Array:
        """Embeds tokens [B, T] as [B, T, D], without positions; what is embedded stays."""
        return _embedded(self.embed, tokens)

    def logits(self, h: jax.Array) -> jax.Array:
        """Logits [..., V] float32 of features [..., D]."""
        h = self.head_norm(self.transformer.activation(self.head(h)))
        return self.embed.attend(h).astype(jnp.float32) + self.bias.reshape(
            (1,) * (h.ndim - 1) + (-1,)
        )


class EncoderDecoder(nn.Module):
    """Predicts each token of a text from those before it and from another text.

    p(y_t | y_<t, x) = softmax(embed h_{t-1}), h = decoder(embed(y), encoder(embed(x)))

    Both texts are of one vocabulary; positions are rotary.

    Attention Is All You Need (Vaswani et al., 2017).
    """

    vocabulary: int
    encoder: Transformer
    decoder: Transformer
    _: dataclasses.KW_ONLY
    base: float = 10000.0  # of rotary positions

    def setup(self):
        if self.encoder.causal or not (self.decoder.causal and self.decoder.cross):
            raise ValueError('the decoder must be causal with cross attention, the encoder neither')
        self.embed = _embed(self.vocabulary, self.encoder)
        self.drop = nn.Dropout(self.encoder.dropout)

    def __call__(
        self,
        source: jax.Array,
        target: jax.Array,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Predicts the token after each one of the target.

        Args:
          source: int [B, S], or embedded [B, S, D].
          target: int [B, T], or embedded [B, T, D].
          mask: bool, broadcastable to [B, heads, 1, S]: valid[:, None, None] where `valid` [B, S]
            is False for padding.
          train: whether dropout acts.

        Returns:
          Logits [B, T, V] float32, of the token at t + 1 in row t.
        """
        context = self.encode(source, mask=mask, train=train)
        return self.decode(target, context, mask=mask, train=train)

    def encode(
        self, source: jax.Array, *, mask: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """The context [B, S, D] of a source [B, S]; arguments as in the call."""
        x = self.drop(_embedded(self.embed, source), deterministic=not train)
        angles = _angles(self.encoder, x.shape[1], 0, self.base)
        return self.encoder(x, mask=mask, angles=angles, train=train)

    def decode(
        self,
        target: jax.Array,
        context: jax.Array,
        *,
        mask: jax.Array | None = None,
        cache: Sequence[KeyValues] | None = None,
        start: jax.Array | int = 0,
        train: bool = False,
    ):
        """Logits [B, T, V] of a target [B, T] and a context [B, S, D].

        Arguments as in the call; with a cache, as in `Transformer`, followed by the new cache.
        """
        x = self.drop(_embedded(self.embed, target), deterministic=not train)
        h, *found = _listed(
            self.decoder(
                x,
                context=context,
                context_mask=mask,
                angles=_angles(self.decoder, x.shape[1], start, self.base),
                cache=cache,
                start=start,
                train=train,
            )
        )
        logits = self.embed.attend(h).astype(jnp.float32)
        return (logits, *found) if found else logits


def _embed(count: int, inner: Transformer) -> nn.Embed:
    init = nn.initializers.normal(0.02)
    return nn.Embed(count, inner.width, embedding_init=init, dtype=inner.dtype)


def _embedded(embed: nn.Embed, tokens: jax.Array) -> jax.Array:
    chex.assert_rank(tokens, {2, 3})
    return embed(tokens) if tokens.ndim == 2 else tokens.astype(embed.dtype)


def _places(length: int, start: jax.Array | int) -> jax.Array:
    """[1 or B, T] positions from `start`, a number or [B], on."""
    return jnp.reshape(jnp.asarray(start), (-1, 1)) + jnp.arange(length)[None]


def _angles(inner: Transformer, length: int, start: jax.Array | int, base: float) -> jax.Array:
    angles = angles_at(_places(length, start), inner.width // inner.heads, base=base)
    return angles[0] if len(angles) == 1 else angles


def _listed(out) -> tuple:
    return out if isinstance(out, tuple) else (out,)
