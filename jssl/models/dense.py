"""What a backbone says of every place of an image, and networks that are built on it."""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.heads import Classifier
from jssl.models.patches import depth_to_space, space_to_depth
from jssl.models.unet import UNet
from jssl.models.vit import ViT


def patch_features(vit: ViT, variables: dict, images: jax.Array) -> jax.Array:
    """Tokens of the patches, after the last norm, as a map.

    Args:
      vit: any; its pooling plays no part.
      variables: its own.
      images: [B, H, W, C].

    Returns:
      [B, H / patch, W / patch, width].

    Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021).
    """
    tokens = vit.clone(pooling=None).apply(variables, images)
    return _map(vit, images, tokens[:, vit.prefix :])


def patch_keys(vit: ViT, variables: dict, images: jax.Array) -> jax.Array:
    """Keys of the patches in the last block's attention, all heads side by side.

    Args: as in `patch_features`; the ViT must not scan its blocks.
    Returns: [B, H / patch, W / patch, width].

    Localizing Objects with Self-Supervised Transformers and no Labels (Simeoni et al., 2021).
    """
    found = lambda module, _: module.name == 'key'
    _, seen = vit.apply(variables, images, capture_intermediates=found, mutable=['intermediates'])
    block = seen['intermediates']['transformer'][f'block{vit.depth - 1}']
    return _map(vit, images, block['attention']['key']['__call__'][0][:, vit.prefix :])


def class_attention(vit: ViT, variables: dict, images: jax.Array) -> jax.Array:
    """How much the class token looks at every patch, in each head of the last block.

    Args: as in `patch_features`; the ViT has a class token.
    Returns: [B, heads, H / patch, W / patch]; what it gives to the patches, together at most 1.

    Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021), figure 1.
    """
    if not vit.class_token:
        raise ValueError('the attention of a class token needs class_token=True')
    *_, weights = vit.apply(variables, images, weights=True)
    looks = weights[-1][:, :, 0, vit.prefix :].swapaxes(1, 2)
    return jnp.moveaxis(_map(vit, images, looks), -1, 1)


class ImageClassifier(nn.Module):
    """A linear classifier on the mean of a backbone's last feature map.

    h = mean_ij m_ij,   logits = W h + b;   W_c m_ij is the class activation map of class c

    Learning Deep Features for Discriminative Localization (Zhou et al., 2016).
    """

    backbone: nn.Module  # a `ViT` with pooling=None, or a network with `taps` such as `ConvNet`
    classes: int
    _: dataclasses.KW_ONLY
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.head = Classifier(self.classes, dtype=self.dtype)

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, C] to logits [B, classes]."""
        return self.head(self.features(images, train=train))

    def features(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, C] to features [B, D]."""
        return self.maps(images, train=train).mean((1, 2))

    def maps(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, C] to the last feature map [B, h, w, D]."""
        return last_map(self.backbone, images, train=train)

    def activation_maps(self, images: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to logits of every place [B, h, w, classes], mean the logits."""
        return self.head(self.maps(images))


class Segmenter(nn.Module):
    """A U-Net between patches: logits of classes for every pixel, a quarter of the work or less.

    logits = depth_to_space(unet(space_to_depth(x)))

    U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015).
    """

    classes: int
    _: dataclasses.KW_ONLY
    widths: Sequence[int] = (32, 64)
    patch: int = 2
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        values = self.classes * self.patch**2
        self.unet = UNet(self.widths, out_channels=values, dtype=self.dtype)

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, C] to logits [B, H, W, classes]."""
        logits = self.unet(space_to_depth(images, self.patch), train=train)
        return depth_to_space(logits, self.patch)

    def features(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, C] to the last map [B, H / patch, W / patch, widths[0]]."""
        return self.unet(space_to_depth(images, self.patch), taps=True, train=train)[1][-1]


def last_map(backbone: nn.Module, images: jax.Array, *, train: bool = False) -> jax.Array:
    """The last feature map [B, h, w, D] of a module's own backbone, for images [B, H, W, C].

    The backbone is a `ViT` with pooling=None, or a network with `taps` such as `ConvNet`.

    Learning Deep Features for Discriminative Localization (Zhou et al., 2016).
    """
    if isinstance(backbone, ViT):
        return _map(backbone, images, backbone(images, train=train)[:, backbone.prefix :])
    return backbone(images, taps=True, train=train)[1][-1]


def _map(vit, images, tokens):
    """[B, N, D] as [B, h, w, D]."""
    rows, columns = (side // vit.patch for side in images.shape[1:3])
    chex.assert_axis_dimension(tokens, 1, rows * columns)
    return tokens.reshape(len(tokens), rows, columns, -1)
