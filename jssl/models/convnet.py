"""Small convolutional backbones, a decoder, and the cheap patch perceptron."""

import dataclasses
from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.mlp import FeedForward
from jssl.models.norms import norm
from jssl.models.patches import depth_to_space, patchify

HE = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def convolve(
    x: jax.Array,
    width: int,
    kernel: int,
    *,
    stride: int = 1,
    use_bias: bool = False,
    kernel_init: Callable = HE,
    dtype: jnp.dtype = jnp.float32,
    name: str,
) -> jax.Array:
    """Convolves with a square kernel and symmetric zero padding, inside a compact method.

    A 1 x 1 kernel is a matrix product over channels, 1.5 to 3 times quicker on XLA:CPU; its
    parameter is then a matrix [C, width].

    Args:
      x: [B, H, W, C].
      width: output channels.
      kernel: side of the kernel, odd.
      stride: step between outputs.
      use_bias: whether an offset is learned.
      kernel_init: initialiser; He's normal by fan out.
      dtype: compute dtype.
      name: name of the layer in its parent.

    Returns:
      [B, ceil(H / stride), ceil(W / stride), width].

    Delving Deep into Rectifiers (He et al., 2015), for the initialiser.
    """
    options = {'use_bias': use_bias, 'kernel_init': kernel_init, 'dtype': dtype, 'name': name}
    if kernel == 1:
        return nn.Dense(width, **options)(x[:, ::stride, ::stride])
    padding = [(kernel // 2, kernel // 2)] * 2
    return nn.Conv(width, (kernel, kernel), (stride, stride), padding, **options)(x)


class ConvNet(nn.Module):
    """3 x 3 convolutions, each with norm and activation; features are the mean over space.

    h_l = activation(norm(conv(h_{l-1}))); features = mean over space of the last h

    Gradient-based learning applied to document recognition (LeCun et al., 1998).
    """

    widths: Sequence[int] = (32, 64, 128)
    _: dataclasses.KW_ONLY
    strides: Sequence[int] | None = None  # of every block; None is 2 throughout
    norm: str | None = 'group'
    activation: Callable = nn.relu
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps x [B, H, W, C] to [B, widths[-1]], and with `taps` the list of block maps too."""
        chex.assert_rank(x, 4)
        strides = self.strides or (2,) * len(self.widths)
        if len(strides) != len(self.widths):
            raise ValueError(f'strides {strides} and widths {self.widths} differ in length')
        maps = []
        for i, (width, stride) in enumerate(zip(self.widths, strides, strict=True)):
            bias = self.norm is None
            x = convolve(
                x, width, 3, stride=stride, use_bias=bias, dtype=self.dtype, name=f'conv{i}'
            )
            x = norm(self.norm, train, dtype=self.dtype, name=f'norm{i}')(x)
            x = self.activation(x)
            maps.append(x)
        features = x.mean((1, 2))
        return (features, maps) if taps else features


class NetworkInNetwork(nn.Module):
    """RotNet's CIFAR-10 network: blocks of one spatial and two 1 x 1 convolutions, with pooling.

    Block 1: 5 x 5, then max pooling; block 2: 5 x 5, then mean pooling; block 3: 3 x 3, then mean
    pooling where a block follows; further blocks: 3 x 3. Pooling is 3 x 3 with stride 2 and belongs
    to its block. Block 1 narrows from `width` to 5/6 and 1/2 of it (192, 160, 96 in the paper).

    Network In Network (Lin et al., 2014); Unsupervised Representation Learning by Predicting Image
    Rotations (Gidaris et al., 2018).
    """

    blocks: int = 4
    _: dataclasses.KW_ONLY
    width: int = 192
    norm: str | None = 'batch'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps x [B, H, W, C] to [B, width], and with `taps` the list of block maps too."""
        chex.assert_rank(x, 4)
        if self.blocks < 3:
            raise ValueError(f'blocks must be at least 3, got {self.blocks}')
        narrow = (self.width, self.width * 5 // 6, self.width // 2)
        maps = []
        for i in range(self.blocks):
            widths = narrow if i == 0 else (self.width,) * 3
            kernels = (5 if i < 2 else 3, 1, 1)
            for j, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
                name = f'block{i}_conv{j}'
                bias = self.norm is None
                x = convolve(x, width, kernel, use_bias=bias, dtype=self.dtype, name=name)
                x = norm(self.norm, train, dtype=self.dtype, name=f'block{i}_norm{j}')(x)
                x = nn.relu(x)
            if i < 2 or (i == 2 and self.blocks > 3):
                pool = nn.max_pool if i == 0 else nn.avg_pool
                x = pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
            maps.append(x)
        features = x.mean((1, 2))
        return (features, maps) if taps else features


class Decoder(nn.Module):
    """Upsampling decoder from a feature map to an image, twice the size at every stage.

    h = activation(norm(conv(depth_to_space(W h)))) for every width; image = conv(h), linear

    Upsampling is a matrix product and a reshape: transposed convolutions are slow on XLA:CPU.

    Real-Time Single Image and Video Super-Resolution ... Sub-Pixel CNN (Shi et al., 2016).
    """

    widths: Sequence[int] = (64, 32)
    _: dataclasses.KW_ONLY
    channels: int
    norm: str | None = 'group'
    activation: Callable = nn.relu
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, h, w, C] to [B, h 2^S, w 2^S, channels], S = len(widths)."""
        chex.assert_rank(x, 4)
        for i, width in enumerate(self.widths):
            x = nn.Dense(4 * width, dtype=self.dtype, name=f'upsample{i}')(x)
            x = depth_to_space(x, 2)
            bias = self.norm is None
            x = convolve(x, width, 3, use_bias=bias, dtype=self.dtype, name=f'conv{i}')
            x = norm(self.norm, train, dtype=self.dtype, name=f'norm{i}')(x)
            x = self.activation(x)
        return convolve(x, self.channels, 3, use_bias=True, dtype=self.dtype, name='output')


class PatchMLP(nn.Module):
    """MLP-Mixer on patches: matrix products only; small enough by default for a laptop.

    x = patches W; x += mix_tokens(norm(x)')'; x += mix_channels(norm(x)); features = mean norm(x)

    The token-mixing weights belong to one number of patches: one image size per set of parameters.

    MLP-Mixer: An all-MLP Architecture for Vision (Tolstikhin et al., 2021).
    """

    patch: int = 4
    _: dataclasses.KW_ONLY
    width: int = 64
    depth: int = 2
    token_hidden: int | None = None  # None is half of the width, as in the paper
    channel_hidden: int | None = None  # None is four widths
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, taps: bool = False, train: bool = False):
        """Maps x [B, H, W, C] to [B, width], and with `taps` the list of [B, N, width] too."""
        chex.assert_rank(x, 4)
        x = nn.Dense(self.width, dtype=self.dtype, name='embed')(patchify(x, self.patch))
        maps = []
        for i in range(self.depth):
            hidden = self.token_hidden or self.width // 2
            y = norm('layer', train, dtype=self.dtype, name=f'token_norm{i}')(x)
            y = FeedForward(hidden, dtype=self.dtype, name=f'token_mlp{i}')(y.swapaxes(1, 2))
            x = x + y.swapaxes(1, 2)
            hidden = self.channel_hidden or 4 * self.width
            y = norm('layer', train, dtype=self.dtype, name=f'channel_norm{i}')(x)
            x = x + FeedForward(hidden, dtype=self.dtype, name=f'channel_mlp{i}')(y)
            maps.append(x)
        features = norm('layer', train, dtype=self.dtype, name='norm')(x).mean(1)
        return (features, maps) if taps else features
