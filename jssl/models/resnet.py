"""Residual networks, plain and as in SimCLR v2."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.convnet import HE, convolve
from jssl.models.norms import norm


class ResNet(nn.Module):
    """Residual network; features are the mean over space of the last stage.

    x = relu(shortcut(x) + branch(x)), with the branch's last norm scaled by zero at the start

    The stride of a bottleneck sits on its 3 x 3 convolution. `selective_kernel` brings SimCLR v2's
    architecture: selective kernels in place of the 3 x 3 convolutions, the ResNet-D stem of three
    3 x 3 convolutions, and ResNet-D shortcuts that average before they project.

    Deep Residual Learning for Image Recognition (He et al., 2016); Bag of Tricks (He et al., 2019);
    Big Self-Supervised Models are Strong Semi-Supervised Learners (Chen et al., 2020).
    """

    stages: Sequence[int] = (3, 4, 6, 3)
    _: dataclasses.KW_ONLY
    width: int = 64  # of the first stage; SimCLR's "2x" is 128
    block: str = 'basic'  # or 'bottleneck'
    stem: str = 'imagenet'  # or 'cifar': one 3 x 3 convolution, no pooling
    norm: str = 'batch'
    selective_kernel: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps x [B, H, W, C] to features, and with `taps` the list of every stage's map too.

        Returns:
          [B, F] with F = width 2^(stages - 1), four times that for bottlenecks, or (features,
          [map [B, h, w, f] of each stage]).
        """
        chex.assert_rank(x, 4)
        self._check_options()
        x = self._stem(x, train)
        block = BasicBlock
        if self.block == 'bottleneck':
            block = partial(BottleneckBlock, selective_kernel=self.selective_kernel)
        maps = []
        for i, count in enumerate(self.stages):
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                name = f'stage{i}_block{j}'
                x = block(self.width * 2**i, stride, norm=self.norm, dtype=self.dtype, name=name)(
                    x, train=train
                )
            maps.append(x)
        features = x.mean((1, 2))
        return (features, maps) if taps else features

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        unit = partial(_unit, kind=self.norm, train=train, dtype=self.dtype)
        if self.stem == 'cifar':
            return unit(x, self.width, 3, name='stem')
        if self.selective_kernel:
            x = unit(x, self.width // 2, 3, stride=2, name='stem0')
            x = unit(x, self.width // 2, 3, name='stem1')
            x = unit(x, self.width, 3, name='stem2')
        else:
            x = unit(x, self.width, 7, stride=2, name='stem')
        return nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])

    def _check_options(self) -> None:
        if self.block not in ('basic', 'bottleneck'):
            raise ValueError(f"block must be 'basic' or 'bottleneck', got {self.block!r}")
        if self.stem not in ('imagenet', 'cifar'):
            raise ValueError(f"stem must be 'imagenet' or 'cifar', got {self.stem!r}")
        if self.selective_kernel and self.block == 'basic':
            raise ValueError("selective_kernel needs block='bottleneck'")


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: [B, H, W, C] -> [B, H / stride, W / stride, width].

    Deep Residual Learning for Image Recognition (He et al., 2016).
    """

    width: int
    stride: int = 1
    _: dataclasses.KW_ONLY
    norm: str = 'batch'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] to [B, H / stride, W / stride, width]."""
        unit = partial(_unit, kind=self.norm, train=train, dtype=self.dtype)
        y = unit(x, self.width, 3, stride=self.stride, name='conv0')
        y = unit(y, self.width, 3, last=True, name='conv1')
        if x.shape != y.shape:
            x = unit(x, self.width, 1, stride=self.stride, relu=False, name='shortcut')
        return nn.relu(x + y)


class BottleneckBlock(nn.Module):
    """1 x 1, 3 x 3 (or selective kernel) and 1 x 1 convolutions and a shortcut.

    [B, H, W, C] -> [B, H / stride, W / stride, 4 width].

    Deep Residual Learning for Image Recognition (He et al., 2016).
    """

    width: int
    stride: int = 1
    _: dataclasses.KW_ONLY
    norm: str = 'batch'
    selective_kernel: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] to [B, H / stride, W / stride, 4 width]."""
        unit = partial(_unit, kind=self.norm, train=train, dtype=self.dtype)
        y = unit(x, self.width, 1, name='conv0')
        if self.selective_kernel:
            y = SelectiveKernel(
                self.width, self.stride, norm=self.norm, dtype=self.dtype, name='selective'
            )(y, train=train)
        else:
            y = unit(y, self.width, 3, stride=self.stride, name='conv1')
        y = unit(y, 4 * self.width, 1, last=True, name='conv2')
        if x.shape != y.shape:
            stride = self.stride
            if self.selective_kernel:
                # the published code averages 2 x 2 even where the stride is one
                x = nn.avg_pool(x, (2, 2), (stride, stride), 'SAME', count_include_pad=False)
                stride = 1
            x = unit(x, 4 * self.width, 1, stride=stride, relu=False, name='shortcut')
        return nn.relu(x + y)


class SelectiveKernel(nn.Module):
    """Mixes two 3 x 3 streams channel by channel, with weights read from their global mean.

    y = sum_s m_s u_s, m = softmax_s(W_2 relu(norm(W_1 mean_space(u_1 + u_2))))

    Selective Kernel Networks (Li et al., 2019), as used by SimCLR v2 (Chen et al., 2020): both
    streams are 3 x 3, the middle has max(width / 16, 32) channels.
    """

    width: int
    stride: int = 1
    _: dataclasses.KW_ONLY
    norm: str = 'batch'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] to [B, H / stride, W / stride, width]."""
        unit = partial(_unit, kind=self.norm, train=train, dtype=self.dtype)
        streams = unit(x, 2 * self.width, 3, stride=self.stride, name='streams')
        streams = streams.reshape(*streams.shape[:3], 2, self.width)
        pooled = streams.sum(3).mean((1, 2), keepdims=True)
        squeezed = unit(pooled, max(self.width // 16, 32), 1, name='squeeze')
        logits = convolve(squeezed, 2 * self.width, 1, dtype=self.dtype, name='mix')
        mixing = nn.softmax(logits.reshape(-1, 1, 1, 2, self.width), axis=3)
        return (streams * mixing).sum(3)


resnet18 = partial(ResNet, stages=(2, 2, 2, 2), block='basic')
resnet34 = partial(ResNet, stages=(3, 4, 6, 3), block='basic')
resnet50 = partial(ResNet, stages=(3, 4, 6, 3), block='bottleneck')
resnet101 = partial(ResNet, stages=(3, 4, 23, 3), block='bottleneck')
resnet152 = partial(ResNet, stages=(3, 8, 36, 3), block='bottleneck')


def _unit(x, width, kernel, *, kind, train, dtype, name, stride=1, relu=True, last=False):
    """Convolution, norm and, except at the end of a branch or on a shortcut, a rectifier."""
    x = convolve(x, width, kernel, stride=stride, kernel_init=HE, dtype=dtype, name=name)
    scale_init = nn.initializers.zeros if last else nn.initializers.ones
    x = norm(kind, train, scale_init=scale_init, dtype=dtype, name=f'{name}_norm')(x)
    return nn.relu(x) if relu and not last else x
