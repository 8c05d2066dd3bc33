"""Tuning few parameters of a trained model: chosen leaves, low-rank adapters, bottlenecks, tokens.

Leaves are chosen by patterns of their path, as in `sharding`. Learned tokens need no more than
`insert_tokens`: draw them with `jax.nn.initializers.normal(0.02)` and train them like any other
parameter, the model beside them in `state.extra`. A learned prefix of keys and values is what a
transformer takes as `prefix`: a tree like its `empty_cache(1, P)`, drawn by
`optax.tree.random_like`, or filled by reading some words.
"""

import functools
import re
from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jssl.train.sharding import path_name

QUERY_VALUE = (r'(^|/)(query|value)/kernel$',)
BRANCHES = (r'(^|/)(out|down)/kernel$',)  # the last layers of a block's branches


def chosen(params, paths: Sequence[str]):
    """The tree of the parameters with True where a pattern is found in the leaf's path.

    A path reads 'params/block0/attention/query/kernel'. Every pattern must be found somewhere.
    """
    names = [path_name(path) for path, _ in jax.tree.leaves_with_path(params)]
    for pattern in paths:
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(f'paths: no parameter matches {pattern!r}; a path reads {names[0]!r}')
    return jax.tree.map_with_path(
        lambda path, _: any(re.search(pattern, path_name(path)) for pattern in paths), params
    )


def train_only(
    optimiser: optax.GradientTransformation, paths: Sequence[str]
) -> optax.GradientTransformation:
    """`optimiser` for the leaves that `paths` choose; the others stay and have no moments."""
    return optax.partition(
        {True: optimiser, False: optax.set_to_zero()}, lambda params: chosen(params, paths)
    )


def lora_init(key: jax.Array, params, *, rank: int = 4, paths: Sequence[str] = QUERY_VALUE):
    """Low-rank adapters of the chosen kernels: a ~ N(0, 1 / D) and b = 0, so that a b = 0.

    LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2022).

    Args:
      key: for a.
      params: the trained model.
      rank: r.
      paths: patterns of kernels [D, F], or [L, D, F] of a scanned stack of L layers.

    Returns:
      The tree of the parameters with {'a': [..., D, r], 'b': [..., r, F]} at every chosen kernel
      and None elsewhere.
    """
    if rank < 1:
        raise ValueError(f'rank must be at least 1, got {rank}')
    mask = chosen(params, paths)
    keys = iter(jax.random.split(key, sum(jax.tree.leaves(mask))))

    def adapter(path, w, wanted):
        if not wanted:
            return None
        if w.ndim not in (2, 3):
            raise ValueError(
                f'paths: {path_name(path)} has shape {w.shape}, not [D, F] or [L, D, F]'
            )
        *layers, d, f = w.shape
        a = jax.random.normal(next(keys), (*layers, d, rank)) * d**-0.5
        return {'a': a, 'b': jnp.zeros((*layers, rank, f))}

    return jax.tree.map_with_path(adapter, params, mask)


def lora_merge(params, adapters, *, alpha=32.0, stabilised: bool = False):
    """The parameters of the adapted model, W + alpha / r a b.

    LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2022); stabilised: A Rank
    Stabilization Scaling Factor for Fine-Tuning with LoRA (Kalajdzievski, 2023).

    Args:
      params: the trained model.
      adapters: as `lora_init` returns them.
      alpha: scale of the update; zero gives the trained model. May be traced: under `vmap`, one
        per example loads an adapter in part.
      stabilised: whether the factor is alpha / sqrt(r).

    Returns:
      The tree of `params`, in its types.
    """

    def merged(w, adapter):
        if adapter is None:
            return w
        a, b = adapter['a'], adapter['b']
        rank = a.shape[-1]
        factor = alpha / (rank**0.5 if stabilised else rank)
        return (w + factor * jnp.matmul(a, b)).astype(w.dtype)

    return jax.tree.map(merged, params, adapters)


def lora_loss(loss_fn: Callable, *, alpha: float = 32.0, stabilised: bool = False) -> Callable:
    """`loss_fn` as a loss of the adapters alone, for `gradient_step`.

    The state is `create(adapters, optimiser, extra={'frozen': params})`: what does not train is in
    the state all the same, so that it is sharded and never compiled in as a constant. `loss_fn`
    gets the merged parameters; one that returns an `extra` keeps 'frozen' in it. Mixed precision
    goes inside, `lora_loss(mixed_precision(loss_fn))`: small updates are lost in a bfloat16 sum.
    """

    def adapted(adapters, state, batch, key):
        frozen = state.extra['frozen']
        params = lora_merge(frozen, adapters, alpha=alpha, stabilised=stabilised)
        return loss_fn(params, state, batch, key)

    return adapted


def bottleneck_init(key: jax.Array, variables, *, width: int = 16, paths: Sequence[str] = BRANCHES):
    """Narrow perceptrons behind the chosen layers: down ~ N(0, 1 / F) and up = 0, so they are mute.

    Parameter-Efficient Transfer Learning for NLP (Houlsby et al., 2019).

    Args:
      key: for down.
      variables: of the trained model, {'params': ...}.
      width: r.
      paths: patterns of the kernels [D, F] of these layers.

    Returns:
      The tree of the variables with {'down': {'kernel': [F, r], 'bias': [r]}, 'up': {'kernel':
      [r, F], 'bias': [F]}} at every chosen kernel and None elsewhere.
    """
    mask = chosen(variables, paths)
    keys = iter(jax.random.split(key, sum(jax.tree.leaves(mask))))

    def adapter(path, w, wanted):
        if not wanted:
            return None
        if w.ndim != 2:
            raise ValueError(f'paths: {path_name(path)} has shape {w.shape}, not [D, F]')
        f = w.shape[1]
        down = jax.random.normal(next(keys), (f, width)) * f**-0.5
        return {
            'down': {'kernel': down, 'bias': jnp.zeros(width)},
            'up': {'kernel': jnp.zeros((width, f)), 'bias': jnp.zeros(f)},
        }

    return jax.tree.map_with_path(adapter, variables, mask)


def bottleneck(apply: Callable, adapters) -> Callable:
    """The application of a model with a perceptron behind every chosen layer.

        y + up(gelu(down(y))),   y what the layer gives

    Parameter-Efficient Transfer Learning for NLP (Houlsby et al., 2019).

    Args:
      apply: `module.apply`.
      adapters: as `bottleneck_init` returns them.

    Returns:
      A function of the trained variables and of the arguments of `apply`.
    """

    def behind(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if not isinstance(context.module, nn.Dense):
            return y
        layer = functools.reduce(lambda tree, name: tree[name], context.module.path, low)
        if layer['kernel'] is None:
            return y
        down, up = (layer['kernel'][name] for name in ('down', 'up'))
        rows = y.reshape(-1, y.shape[-1])
        h = jax.nn.gelu(rows @ down['kernel'] + down['bias'][None])
        return y + (h @ up['kernel'] + up['bias'][None]).reshape(y.shape).astype(y.dtype)

    def adapted(variables, *args, **kwargs):
        with nn.intercept_methods(behind):
            return apply(variables, *args, **kwargs)

    low = adapters['params']
    return adapted


def insert_tokens(x: jax.Array, tokens: jax.Array, *, after: int = 0) -> jax.Array:
    """Learned tokens among embedded ones: [x_1 .. x_after, tokens, the rest of x].

    The Power of Scale for Parameter-Efficient Prompt Tuning (Lester et al., 2021); after a start
    or class token: Learning to Prompt for Vision-Language Models (Zhou et al., 2022), Visual Prompt
    Tuning (Jia et al., 2022).

    Args:
      x: [B, T, D] embeddings.
      tokens: [P, D], or [B, P, D] where every example has its own.
      after: how many of x stay in front.

    Returns:
      [B, T + P, D] in the type of x.
    """
    chex.assert_rank([x, tokens], [3, {2, 3}])
    batch, length, width = x.shape
    if tokens.shape[-1] != width or tokens.shape[:-2] not in ((), (batch,)):
        raise ValueError(
            f'tokens must be [P, {width}] or [{batch}, P, {width}], got {tokens.shape}'
        )
    if not 0 <= after <= length:
        raise ValueError(f'after must be in 0..{length}, got {after}')
    tokens = jnp.broadcast_to(tokens, (batch, *tokens.shape[-2:])).astype(x.dtype)
    return jnp.concatenate([x[:, :after], tokens, x[:, after:]], axis=1)
