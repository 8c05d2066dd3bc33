"""Attention, pre-norm blocks, and stacks of them."""

import dataclasses
from collections.abc import Callable
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.mlp import FeedForward
from jssl.models.positions import rotary


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself or to a context.

    out = W_o concat_h [softmax(q_h k_h' / sqrt(d) + bias) v_h], q from x, k and v from the context

    Kernels are matrices: query, key, value [D, heads d] and out [heads d, D].

    Attention Is All You Need (Vaswani et al., 2017).
    """

    heads: int
    _: dataclasses.KW_ONLY
    causal: bool = False  # position t sees positions up to t
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        context: jax.Array | None = None,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        angles: jax.Array | None = None,
        weights: bool = False,
        train: bool = False,
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Attends from x to x, or to the context.

        Args:
          x: [B, T, D], D divisible by `heads`.
          context: [B, S, E], or None for x itself.
          mask: bool, broadcastable to [B, heads, T, S], True where attention is allowed; a row
            that allows nothing attends evenly.
          bias: added to the logits, broadcastable to [B, heads, T, S].
          angles: [T, d / 2] or [B, T, d / 2] of `rotary_angles`, for attention to x only.
          weights: whether to return the attention weights too.
          train: changes nothing.

        Returns:
          [B, T, D], or ([B, T, D], weights [B, heads, T, S]).
        """
        chex.assert_rank(x, 3)
        width = x.shape[-1]
        if width % self.heads:
            raise ValueError(f'width {width} must be divisible by heads {self.heads}')
        if context is not None and (self.causal or angles is not None):
            raise ValueError('causal order and angles are for attention of x to itself')
        source = x if context is None else context
        chex.assert_rank(source, 3)
        q = self._heads(x, width, 'query')
        k = self._heads(source, width, 'key')
        v = self._heads(source, width, 'value')
        if angles is not None:
            q, k = rotary(q, angles), rotary(k, angles)

        if weights:
            attention = _attention_weights(q, k, bias=bias, mask=mask, causal=self.causal)
            y = jnp.einsum('bhts,bshd->bthd', attention.astype(v.dtype), v)
        else:
            y = jax.nn.dot_product_attention(q, k, v, bias, mask, is_causal=self.causal)
        init = nn.initializers.xavier_uniform()
        y = y.reshape(*x.shape[:2], width)
        y = nn.Dense(width, kernel_init=init, dtype=self.dtype, name='out')(y)
        return (y, attention) if weights else y

    def _heads(self, x: jax.Array, width: int, name: str) -> jax.Array:
        init = nn.initializers.xavier_uniform()
        y = nn.Dense(width, kernel_init=init, dtype=self.dtype, name=name)(x)
        return y.reshape(*x.shape[:2], self.heads, width // self.heads)


class Block(nn.Module):
    """Pre-norm transformer block, each branch optionally scaled, dropped out and skipped.

    x += a_1 attention(norm(x)); x += a_2 cross_attention(norm(x), context); x += a_3 mlp(norm(x))

    On Layer Normalization in the Transformer Architecture (Xiong et al., 2020); LayerScale: Going
    deeper with Image Transformers (Touvron et al., 2021); drop path: Deep Networks with Stochastic
    Depth (Huang et al., 2016), at one rate for all depths.
    """

    heads: int
    _: dataclasses.KW_ONLY
    mlp_ratio: float = 4.0
    causal: bool = False
    cross: bool = False
    activation: Callable = nn.gelu
    layer_scale: float | None = None  # initial scale of every branch
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        context: jax.Array | None = None,
        mask: jax.Array | None = None,
        context_mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        angles: jax.Array | None = None,
        weights: bool = False,
        train: bool = False,
    ) -> jax.Array | tuple[jax.Array, jax.Array | tuple[jax.Array, jax.Array]]:
        """Maps x [B, T, D] to [B, T, D]; arguments as in `Attention`.

        `mask`, `bias` and `angles` serve the attention of x to itself; `context` [B, S, E] and
        `context_mask` (broadcastable to [B, heads, T, S]) the cross attention. With `weights`,
        returns (x, weights) or, in a cross block, (x, (weights, cross weights)).
        """
        if self.cross != (context is not None):
            raise ValueError('a context is needed with cross=True, and only then')
        x = x.astype(self.dtype)
        y = Attention(self.heads, causal=self.causal, dtype=self.dtype, name='attention')(
            self._norm(x, 'attention_norm'), mask=mask, bias=bias, angles=angles, weights=weights
        )
        y, found = y if weights else (y, None)
        x = x + self._branch(y, 'attention_scale', train)
        if self.cross:
            y = Attention(self.heads, dtype=self.dtype, name='cross')(
                self._norm(x, 'cross_norm'), context=context, mask=context_mask, weights=weights
            )
            y, crossed = y if weights else (y, None)
            found = (found, crossed)
            x = x + self._branch(y, 'cross_scale', train)
        hidden = int(x.shape[-1] * self.mlp_ratio)
        mlp = FeedForward(hidden, activation=self.activation, dtype=self.dtype, name='mlp')
        x = x + self._branch(mlp(self._norm(x, 'mlp_norm')), 'mlp_scale', train)
        return (x, found) if weights else x

    def _norm(self, x: jax.Array, name: str) -> jax.Array:
        return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=name)(x)

    def _branch(self, y: jax.Array, name: str, train: bool) -> jax.Array:
        if self.layer_scale is not None:
            init = nn.initializers.constant(self.layer_scale)
            scale = self.param(name, init, (y.shape[-1],), jnp.float32)
            y = y * scale.astype(self.dtype)[None, None]
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return nn.Dropout(self.drop_path, broadcast_dims=(1, 2), deterministic=not train)(y)


class Transformer(nn.Module):
    """A stack of pre-norm blocks and a final layer norm.

    Unrolled, blocks are named block0, block1, ...: quicker on CPU. With `scan`, one block named
    `blocks` holds every parameter with a leading axis of length `depth`: one compilation for any
    depth, for accelerators. With `remat` too, the backward pass keeps every block's input alone and
    computes the rest again: much less memory for a third more work.

    Attention Is All You Need (Vaswani et al., 2017).
    """

    width: int
    depth: int
    heads: int
    _: dataclasses.KW_ONLY
    mlp_ratio: float = 4.0
    causal: bool = False
    cross: bool = False
    scan: bool = False
    remat: bool = False
    activation: Callable = nn.gelu
    layer_scale: float | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        context: jax.Array | None = None,
        mask: jax.Array | None = None,
        context_mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        angles: jax.Array | None = None,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """Maps x [B, T, width] to [B, T, width]; arguments as in `Block`.

        Returns:
          The normalised output, followed, where asked for, by the list of every block's output
          (`taps`, not normalised) and the list of every block's attention weights (`weights`).
        """
        chex.assert_rank(x, 3)
        if x.shape[-1] != self.width:
            raise ValueError(f'x must be [B, T, {self.width}], got shape {x.shape}')

        def layer(block, x, _):
            x = block(
                x,
                context=context,
                mask=mask,
                context_mask=context_mask,
                bias=bias,
                angles=angles,
                weights=weights,
                train=train,
            )
            x, found = x if weights else (x, None)
            return x, (x if taps else None, found)

        block = partial(
            Block,
            self.heads,
            mlp_ratio=self.mlp_ratio,
            causal=self.causal,
            cross=self.cross,
            activation=self.activation,
            layer_scale=self.layer_scale,
            dropout=self.dropout,
            drop_path=self.drop_path,
            dtype=self.dtype,
        )
        if self.remat and not self.scan:
            raise ValueError('remat=True needs scan=True')
        x = x.astype(self.dtype)
        if self.scan:
            if self.remat:
                layer = nn.remat(layer, prevent_cse=False)  # the loop itself prevents it
            scan = nn.scan(
                layer,
                variable_axes={'params': 0},
                split_rngs={'params': True, 'dropout': True},
                length=self.depth,
            )
            x, seen = scan(block(name='blocks'), x, None)
            seen = [jax.tree.map(lambda leaf, i=i: leaf[i], seen) for i in range(self.depth)]
        else:
            seen = []
            for i in range(self.depth):
                x, extra = layer(block(name=f'block{i}'), x, None)
                seen.append(extra)
        y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x)
        extras = [[tap for tap, _ in seen]] * taps + [[found for _, found in seen]] * weights
        return (y, *extras) if extras else y


def _attention_weights(q, k, *, bias, mask, causal):
    """softmax(q k' / sqrt(d) + bias) [B, heads, T, S] in float32, with the masks applied."""
    logits = jnp.einsum('bthd,bshd->bhts', q, k, preferred_element_type=jnp.float32)
    logits = logits * q.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    if causal:
        mask_causal = jnp.tril(jnp.ones(logits.shape[-2:], bool))[None, None]
        mask = mask_causal if mask is None else mask & mask_causal
    if mask is not None:
        # finite, so that a row that allows nothing has weights and gradients
        logits = jnp.where(mask, logits, -0.7 * jnp.finfo(jnp.float32).max)
    return jax.nn.softmax(logits, axis=-1)
