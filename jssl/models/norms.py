"""Normalisation layers, and one chooser for every module that offers a `norm` option."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


class GroupNorm(nn.Module):
    """Normalises each group of channels of each example over space and channels.

    y = scale (x - mean_g) / sqrt(var_g + epsilon) + bias

    Moments are taken per channel first and then merged over the group's channels, with
    var_g = mean_c [var_c + (mean_c - mean_g)^2]: the same maths as one mean over
    (H, W, C / G), but a reduction that XLA:CPU runs several times faster, and centred, so that a
    large common offset costs no digits.

    `groups` is an upper limit: the number used is the largest divisor of the channels that leaves
    every group at least two of them, because a group of one would erase a 1 x 1 feature map.

    Group Normalization (Wu and He, 2018).
    """

    groups: int = 32
    _: dataclasses.KW_ONLY
    affine: bool = True
    epsilon: float = 1e-5
    scale_init: Callable = nn.initializers.ones
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, ..., C] to the same shape; `train` changes nothing."""
        if x.ndim < 2:
            raise ValueError(f'x must be [B, ..., C], got shape {x.shape}')
        channels = x.shape[-1]
        groups = group_count(channels, self.groups)
        space = tuple(range(1, x.ndim - 1))
        x = x.astype(jnp.float32)
        mean = x.mean(space, keepdims=True)
        variance = jnp.square(x - mean).mean(space, keepdims=True)

        grouped = (*mean.shape[:-1], groups, channels // groups)
        mean, variance = mean.reshape(grouped), variance.reshape(grouped)
        group_mean = mean.mean(-1, keepdims=True)
        group_variance = (variance + jnp.square(mean - group_mean)).mean(-1, keepdims=True)
        inverse = jax.lax.rsqrt(group_variance + self.epsilon)
        per_channel = (*grouped[:-2], channels)
        group_mean = jnp.broadcast_to(group_mean, grouped).reshape(per_channel)
        inverse = jnp.broadcast_to(inverse, grouped).reshape(per_channel)
        if not self.affine:
            return ((x - group_mean) * inverse).astype(self.dtype)

        row = (1,) * (x.ndim - 1) + (channels,)
        scale = self.param('scale', self.scale_init, (channels,), jnp.float32).reshape(row)
        bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32).reshape(row)
        return ((x - group_mean) * (inverse * scale) + bias).astype(self.dtype)


def group_count(channels: int, limit: int) -> int:
    """Largest divisor of `channels`, at most `limit`, with two or more channels in each group."""
    return max(g for g in range(1, max(1, min(limit, channels // 2)) + 1) if channels % g == 0)


def norm(
    kind: str | None,
    train: bool,
    *,
    affine: bool = True,
    scale_init: Callable = nn.initializers.ones,
    dtype: jnp.dtype = jnp.float32,
    name: str | None = None,
) -> Callable[[jax.Array], jax.Array]:
    """Chooses a normalisation: a layer to call on [B, ..., C], created inside a compact method.

    Args:
      kind: 'group'; 'batch' (statistics of the whole global batch in training, running ones
        otherwise, kept in the 'batch_stats' collection with decay 0.9); 'layer' (over the channels
        of each position); or None for the identity.
      train: whether batch statistics are taken from the batch.
      affine: whether a scale and an offset are learned.
      scale_init: initialiser of the scale; zeros silence a residual branch at the start.
      dtype: compute dtype.
      name: name of the layer in its parent.

    Returns:
      A function from [B, ..., C] to the same shape.

    Batch Normalization (Ioffe and Szegedy, 2015); Layer Normalization (Ba et al., 2016).
    """
    match kind:
        case None:
            return lambda x: x
        case 'group':
            return GroupNorm(affine=affine, scale_init=scale_init, dtype=dtype, name=name)
        case 'batch':
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                use_bias=affine,
                use_scale=affine,
                scale_init=scale_init,
                dtype=dtype,
                name=name,
            )
        case 'layer':
            return nn.LayerNorm(
                epsilon=1e-6,
                use_bias=affine,
                use_scale=affine,
                scale_init=scale_init,
                dtype=dtype,
                name=name,
            )
    raise ValueError(f"norm must be 'group', 'batch', 'layer' or None, got {kind!r}")
