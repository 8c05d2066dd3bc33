"""A style-based generator, the discriminator that teaches it, and the encoder that inverts it."""

import dataclasses
import math
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.convnet import convolve
from jssl.models.patches import depth_to_space, space_to_depth


class StyleMapping(nn.Module):
    """A perceptron from Gaussian z to styles w, whose space is less entangled.

    w = MLP(z / rms(z))

    A Style-Based Generator Architecture for Generative Adversarial Networks (Karras et al., 2019).
    """

    width: int  # of w
    depth: int = 4  # 8 in the paper
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps z [B, Z] to w [B, width]."""
        chex.assert_rank(z, 2)
        z = z * jax.lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-8)
        for i in range(self.depth):
            z = _leaky(nn.Dense(self.width, dtype=self.dtype, name=f'dense{i}')(z))
        return z


class ModulatedConv(nn.Module):
    """A convolution whose kernel a style scales for each example, at a constant deviation.

    K'_uvio = s_i K_uvio,   K'' = K' / |K'_o|,   s = W w + 1

    The kernel itself is never copied: inputs are scaled by s, outputs by 1 / |K'_o|.

    Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020).
    """

    width: int
    _: dataclasses.KW_ONLY
    kernel: int = 3
    demodulate: bool = True
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [B, H, W, C] and w [B, D] to [B, H, W, width]."""
        chex.assert_rank([x, w], [4, 2])
        channels = x.shape[-1]
        ones = nn.initializers.ones
        s = nn.Dense(channels, bias_init=ones, dtype=self.dtype, name='style')(w)
        shape = (self.kernel, self.kernel, channels, self.width)
        kernel = self.param('kernel', nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, (self.width,), jnp.float32)
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype) * s[:, None, None],
            kernel.astype(self.dtype),
            (1, 1),
            'SAME',
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        )
        if self.demodulate:
            square = jnp.square(s.astype(jnp.float32)) @ jnp.square(kernel).sum((0, 1))
            y = y * jax.lax.rsqrt(square + 1e-8)[:, None, None].astype(self.dtype)
        return y + bias.astype(self.dtype)[None, None, None]


class StyleSynthesis(nn.Module):
    """From styles to an image: a learned constant, and modulated layers that double its size.

    Each size adds its own image to that of the size before. A pixel of the layers is a square of
    `patch` x `patch` in the image. There is no noise: an image is a function of its styles.

    Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020), with skips.
    """

    widths: Sequence[int]  # at each size, from the smallest
    base: int  # side of the smallest
    channels: int
    _: dataclasses.KW_ONLY
    patch: int = 1
    convs: int = 1  # at each size; 2 in the paper
    dtype: jnp.dtype = jnp.float32

    @property
    def layers(self) -> int:
        """How many styles an image takes, one for each layer."""
        return (self.convs + 1) * len(self.widths)

    @nn.compact
    def __call__(self, w: jax.Array, *, taps: bool = False, train: bool = False):
        """Draws.

        Args:
          w: [B, D], the same for all layers; or [B, layers, D].
          taps: whether to return the list of every convolution's map too.
          train: changes nothing.

        Returns:
          Images [B, H, H, channels] of any range, H = patch base 2^(len(widths) - 1).
        """
        if w.ndim == 2:
            w = jnp.broadcast_to(w[:, None], (len(w), self.layers, w.shape[-1]))
        chex.assert_axis_dimension(w, 1, self.layers)
        init = nn.initializers.normal(1.0)
        shape = (1, self.base, self.base, self.widths[0])
        x = self.param('constant', init, shape, jnp.float32).astype(self.dtype)
        x = jnp.broadcast_to(x, (len(w), *shape[1:]))
        image, maps, styles = 0.0, [], iter(w.swapaxes(0, 1))
        for i, width in enumerate(self.widths):
            if i:
                x, image = _doubled(x), _doubled(image)
            for j in range(self.convs):
                conv = ModulatedConv(width, dtype=self.dtype, name=f'size{i}_conv{j}')
                x = _leaky(conv(x, next(styles)))
                maps.append(x)
            paint = ModulatedConv(
                self.patch**2 * self.channels,
                kernel=1,
                demodulate=False,
                dtype=self.dtype,
                name=f'size{i}_image',
            )
            image = image + depth_to_space(paint(x, next(styles)), self.patch)
        return (image, maps) if taps else image


class StyleTrunk(nn.Module):
    """From an image to numbers: convolutions that halve the map, then two dense layers.

    With one number it is a discriminator, with as many as w has an encoder.

    Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020), without residuals.
    """

    widths: Sequence[int]  # at each size, from the largest
    out: int
    _: dataclasses.KW_ONLY
    patch: int = 1  # side of the square of pixels that is one of the largest map
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, C] to [B, out]."""
        chex.assert_rank(x, 4)
        options = {'dtype': self.dtype}
        x = nn.Dense(self.widths[0], name='embed', **options)(space_to_depth(x, self.patch))
        for i, width in enumerate(self.widths):
            if i:
                x = nn.Dense(width, name=f'downsample{i}', **options)(space_to_depth(x, 2))
            init = nn.initializers.lecun_normal()
            conv = convolve(
                _leaky(x), width, 3, kernel_init=init, use_bias=True, name=f'conv{i}', **options
            )
            x = _leaky(conv)
        h = _leaky(nn.Dense(self.widths[-1], name='dense', **options)(x.reshape(len(x), -1)))
        return nn.Dense(self.out, name='output', **options)(h)


def _leaky(x):
    return nn.leaky_relu(x, 0.2) * math.sqrt(2)


def _doubled(x):
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
