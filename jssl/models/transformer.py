"""Attention, transformer blocks, and stacks of them."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.mlp import FeedForward
from jssl.models.positions import rotary


class KeyValues(NamedTuple):
    """Keys and values of some positions in one attention, as they come out of its projections.

    As a prefix they are of P positions that every query sees beside the sequence. As a cache they
    are of the S positions that a sequence may come to have, of which those so far are filled in.
    """

    key: jax.Array  # [B, S, heads, d], rotated already
    value: jax.Array  # [B, S, heads, d]


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself or to a context.

    out = W_o concat_h [softmax(q_h k_h' / sqrt(d) + bias) v_h], q from x, k and v from the context

    Kernels are matrices: query [D, heads d], key and value [D, key_value_heads d], out
    [heads d, D]. Fewer heads of keys and values serve an equal run of queries' heads each.

    Attention Is All You Need (Vaswani et al., 2017); fewer keys and values: GQA: Training
    Generalized Multi-Query Transformer Models (Ainslie et al., 2023); prefix: Prefix-Tuning (Li and
    Liang, 2021).
    """

    heads: int
    _: dataclasses.KW_ONLY
    causal: bool = False  # position t sees positions up to t
    key_value_heads: int | None = None  # a divisor of heads; None is as many
    use_bias: bool = True
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
        prefix: KeyValues | None = None,
        cache: KeyValues | None = None,
        start: jax.Array | int = 0,
        weights: bool = False,
        train: bool = False,
    ):
        """Attends from x to x, or to the context.

        Args:
          x: [B, T, D], D divisible by `heads`.
          context: [B, S, E], or None for x itself.
          mask: bool, broadcastable to [B, heads, T, S], True where attention is allowed; a row
            that allows nothing attends evenly.
          bias: added to the logits, broadcastable to [B, heads, T, S].
          angles: [T, d / 2] or [B, T, d / 2] of `rotary_angles`, for attention to x only.
          prefix: of [B or 1, P, key_value_heads, d], which all queries see beside the S keys; mask
            and bias say nothing about it.
          cache: of [B, S, key_value_heads, d], for causal attention: x are the positions from
            `start` on, and see what the cache has of those before them.
          start: int, or [B] where it differs between examples.
          weights: whether to return the attention weights too.
          train: changes nothing.

        Returns:
          [B, T, D], followed, where asked for, by the weights [B, heads, T, P + S], and where a
          cache is given by the cache with x's keys and values in it.
        """
        chex.assert_rank(x, 3)
        width = x.shape[-1]
        groups = self.key_value_heads or self.heads
        if width % self.heads or self.heads % groups:
            raise ValueError(
                f'width {width} must be divisible by heads {self.heads}, these by key_value_heads'
                f' {groups}'
            )
        if context is not None and (self.causal or angles is not None):
            raise ValueError('causal order and angles are for attention of x to itself')
        if cache is not None and not self.causal:
            raise ValueError('a cache is for causal attention')
        source = x if context is None else context
        chex.assert_rank(source, 3)
        q = self._heads(x, self.heads, width // self.heads, 'query')
        k = self._heads(source, groups, width // self.heads, 'key')
        v = self._heads(source, groups, width // self.heads, 'value')
        if angles is not None:
            q, k = rotary(q, angles), rotary(k, angles)

        causal = self.causal
        if cache is not None:
            cache = _written(cache, KeyValues(k, v), start)
            k, v = cache
        if causal and (cache is not None or prefix is not None):
            order = _order(x.shape[1], k.shape[1], start if cache is not None else 0)
            mask = order if mask is None else mask & order
            causal = False
        if prefix is not None:
            k, v, mask, bias = _prefixed(prefix, k, v, mask, bias)
        extras = [] if cache is None else [cache]
        if weights:
            k, v = (jnp.repeat(y, self.heads // groups, axis=2) for y in (k, v))
            attention = _attention_weights(q, k, bias=bias, mask=mask, causal=causal)
            y = jnp.einsum('bhts,bshd->bthd', attention.astype(v.dtype), v)
            extras = [attention, *extras]
        else:
            y = jax.nn.dot_product_attention(q, k, v, bias, mask, is_causal=causal)
        y = self._dense(width, 'out')(y.reshape(*x.shape[:2], width))
        return (y, *extras) if extras else y

    def _heads(self, x: jax.Array, heads: int, d: int, name: str) -> jax.Array:
        return self._dense(heads * d, name)(x).reshape(*x.shape[:2], heads, d)

    def _dense(self, width: int, name: str) -> nn.Dense:
        init = nn.initializers.xavier_uniform()
        return nn.Dense(
            width, use_bias=self.use_bias, kernel_init=init, dtype=self.dtype, name=name
        )


class Block(nn.Module):
    """Transformer block, each branch optionally scaled, dropped out and skipped.

    x += a_1 attention(norm(x)); x += a_2 cross_attention(norm(x), context); x += a_3 mlp(norm(x))

    With pre_norm=False, as it first was, x = norm(x + a attention(x)) and so on.

    On Layer Normalization in the Transformer Architecture (Xiong et al., 2020); LayerScale: Going
    deeper with Image Transformers (Touvron et al., 2021); drop path: Deep Networks with Stochastic
    Depth (Huang et al., 2016), at one rate for all depths.
    """

    heads: int
    _: dataclasses.KW_ONLY
    mlp_ratio: float = 4.0
    causal: bool = False
    cross: bool = False
    key_value_heads: int | None = None  # of the attention to x itself
    gated: bool = False
    use_bias: bool = True
    activation: Callable = nn.gelu
    norm: Callable = nn.LayerNorm  # or nn.RMSNorm
    epsilon: float = 1e-6  # of the norms
    pre_norm: bool = True
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
        prefix: KeyValues | None = None,
        cache: KeyValues | None = None,
        start: jax.Array | int = 0,
        weights: bool = False,
        train: bool = False,
    ):
        """Maps x [B, T, D] to [B, T, D]; arguments as in `Attention`.

        `context` [B, S, E] and `context_mask` (broadcastable to [B, heads, T, S]) serve the cross
        attention, all else the attention of x to itself. With `weights`, x is followed by the
        weights, in a cross block by (weights, cross weights); with a cache, by the new cache.
        """
        if self.cross != (context is not None):
            raise ValueError('a context is needed with cross=True, and only then')
        x = x.astype(self.dtype)
        attend = partial(Attention, self.heads, use_bias=self.use_bias, dtype=self.dtype)
        own = attend(causal=self.causal, key_value_heads=self.key_value_heads, name='attention')
        given = {'mask': mask, 'bias': bias, 'angles': angles, 'weights': weights}
        given |= {'prefix': prefix, 'cache': cache, 'start': start}
        x, *found = self._branch(x, 'attention', partial(own, **given), train)
        if self.cross:
            given = {'context': context, 'mask': context_mask, 'weights': weights}
            x, *crossed = self._branch(x, 'cross', partial(attend(name='cross'), **given), train)
            if weights:
                found[0] = (found[0], crossed[0])
        mlp = FeedForward(
            round(x.shape[-1] * self.mlp_ratio),
            gated=self.gated,
            use_bias=self.use_bias,
            activation=self.activation,
            dtype=self.dtype,
            name='mlp',
        )
        x = self._branch(x, 'mlp', mlp, train)[0]
        return (x, *found) if found else x

    def _branch(self, x: jax.Array, name: str, layer: Callable, train: bool) -> list:
        """[x with the layer's output added, what else the layer returns ...]"""
        norm = self.norm(epsilon=self.epsilon, dtype=self.dtype, name=f'{name}_norm')
        y = layer(norm(x) if self.pre_norm else x)
        y, *found = y if isinstance(y, tuple) else (y,)
        if self.layer_scale is not None:
            init = nn.initializers.constant(self.layer_scale)
            scale = self.param(f'{name}_scale', init, (y.shape[-1],), jnp.float32)
            y = y * scale.astype(self.dtype)[None, None]
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = nn.Dropout(self.drop_path, broadcast_dims=(1, 2), deterministic=not train)(y)
        return [x + y if self.pre_norm else norm(x + y), *found]


class Transformer(nn.Module):
    """A stack of blocks, and a final norm where they are pre-norm blocks.

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
    key_value_heads: int | None = None
    gated: bool = False
    use_bias: bool = True
    scan: bool = False
    remat: bool = False
    activation: Callable = nn.gelu
    norm: Callable = nn.LayerNorm
    epsilon: float = 1e-6
    pre_norm: bool = True
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
        prefix: Sequence[KeyValues] | None = None,
        cache: Sequence[KeyValues] | None = None,
        start: jax.Array | int = 0,
        taps: bool = False,
        weights: bool = False,
        train: bool = False,
    ):
        """Maps x [B, T, width] to [B, T, width]; arguments as in `Block`.

        `prefix` and `cache` are sequences of `depth` items, each block its own.

        Returns:
          The output, normalised, followed, where asked for, by the list of every block's output
          (`taps`, not normalised), the list of every block's attention weights (`weights`), and the
          tuple of new caches.
        """
        chex.assert_rank(x, 3)
        if x.shape[-1] != self.width:
            raise ValueError(f'x must be [B, T, {self.width}], got shape {x.shape}')
        for name, given in {'prefix': prefix, 'cache': cache}.items():
            if given is not None and len(given) != self.depth:
                raise ValueError(f'{name} has {len(given)} items for {self.depth} blocks')

        def layer(block, x, own):
            x = block(
                x,
                context=context,
                mask=mask,
                context_mask=context_mask,
                bias=bias,
                angles=angles,
                start=start,
                weights=weights,
                train=train,
                **own,
            )
            x, *found = x if isinstance(x, tuple) else (x,)
            return x, [x] * taps + found

        if self.remat and not self.scan:
            raise ValueError('remat=True needs scan=True')
        own = {'prefix': prefix, 'cache': cache}
        own = [{name: every and every[i] for name, every in own.items()} for i in range(self.depth)]
        run = self._scanned if self.scan else self._unrolled
        x, seen = run(layer, x.astype(self.dtype), own)
        if self.pre_norm:
            x = self.norm(epsilon=self.epsilon, dtype=self.dtype, name='norm')(x)
        lists = [[found[i] for found in seen] for i in range(taps + weights)]
        if cache is not None:
            lists.append(tuple(found[-1] for found in seen))
        return (x, *lists) if lists else x

    def empty_cache(self, batch: int, length: int) -> tuple[KeyValues, ...]:
        """A cache for `length` positions of `batch` sequences, which holds nothing yet."""
        heads = self.key_value_heads or self.heads
        nothing = jnp.zeros((batch, length, heads, self.width // self.heads), self.dtype)
        return (KeyValues(nothing, nothing),) * self.depth

    def _unrolled(self, layer: Callable, x: jax.Array, own: list) -> tuple[jax.Array, list]:
        seen = []
        for i in range(self.depth):
            x, found = layer(self._block(f'block{i}'), x, own[i])
            seen.append(found)
        return x, seen

    def _scanned(self, layer: Callable, x: jax.Array, own: list) -> tuple[jax.Array, list]:
        if self.remat:
            layer = nn.remat(layer, prevent_cse=False)  # the loop itself prevents it
        scan = nn.scan(
            layer,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            length=self.depth,
        )
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)
        x, seen = scan(self._block('blocks'), x, stacked)
        return x, [jax.tree.map(lambda leaf, i=i: leaf[i], seen) for i in range(self.depth)]

    def _block(self, name: str) -> Block:
        return Block(
            self.heads,
            mlp_ratio=self.mlp_ratio,
            causal=self.causal,
            cross=self.cross,
            key_value_heads=self.key_value_heads,
            gated=self.gated,
            use_bias=self.use_bias,
            activation=self.activation,
            norm=self.norm,
            epsilon=self.epsilon,
            pre_norm=self.pre_norm,
            layer_scale=self.layer_scale,
            dropout=self.dropout,
            drop_path=self.drop_path,
            dtype=self.dtype,
            name=name,
        )


def _written(cache: KeyValues, new: KeyValues, start: jax.Array | int) -> KeyValues:
    """The cache with new keys and values from `start` on."""
    start = jnp.broadcast_to(jnp.asarray(start), new.key.shape[:1])
    update = jax.vmap(partial(jax.lax.dynamic_update_slice_in_dim, axis=0))
    return KeyValues(
        *(update(a, b.astype(a.dtype), start) for a, b in zip(cache, new, strict=True))
    )


def _order(length: int, sources: int, start: jax.Array | int) -> jax.Array:
    """Whether position start + t sees position s: [1 or B, 1, length, sources]."""
    t = jnp.arange(length)[None] + jnp.reshape(jnp.asarray(start), (-1, 1))
    return jnp.arange(sources)[None, None, None] <= t[:, None, :, None]


def _prefixed(prefix: KeyValues, k, v, mask, bias):
    """Keys and values behind those of a prefix, and masks and biases that leave it alone."""
    more, length = prefix.key.shape[1], k.shape[1]
    k, v = (
        jnp.concatenate([jnp.broadcast_to(p, (len(y), *p.shape[1:])).astype(y.dtype), y], axis=1)
        for p, y in zip(prefix, (k, v), strict=True)
    )

    def pad(x, value):
        if x is None:
            return None
        x = jnp.broadcast_to(x, (*x.shape[:-1], length))
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (more, 0)), constant_values=value)

    return k, v, pad(mask, True), pad(bias, 0)


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
