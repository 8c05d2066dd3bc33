"""What other libraries call the arrays of our modules, and how theirs lie in memory.

A row is (their name, our path, layout). `a|b|c` in a path are several arrays of ours that they keep
as one, joined along an axis of the layout. A row whose arrays a module has not (layer scale,
registers, the third convolution of a basic block) does not apply to it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models


class Layout(NamedTuple):
    """How an array of ours becomes theirs, and one of theirs, given our shape, ours."""

    theirs: Callable[[np.ndarray], np.ndarray]
    ours: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
    axis: int = 0  # of theirs, along which several of ours are joined


Row = tuple[str, str, Layout]


class Family(NamedTuple):
    """A module's arrays in the files of others, and how it is called to learn its shapes."""

    rows: list[Row]
    inputs: Callable[[int], tuple]  # images of side x side patches -> what init takes, as shapes
    aside: str  # pattern of their names that the module does not need
    grid: str = ''  # their table of learned positions on a square grid, [..., N, D]
    token: str = ''  # their class token, which has the first of these positions: ours is the sum
    renamed: Callable[[str], str] = lambda name: name  # of a file, as `rows` has it
    fixed: Callable[[], dict[str, np.ndarray]] = dict  # of theirs, what ours computes, as written


def _kernel(x):  # [h, w, in, out] -> [out, in, h, w]; our 1 x 1 kernels are matrices
    return x.reshape((1,) * (4 - x.ndim) + x.shape).transpose(3, 2, 0, 1)


def _patch_kernel(x):  # a patch is flattened as (row, column, channel), and has three channels
    side = math.isqrt(len(x) // 3)
    return _kernel(x.reshape(side, side, 3, -1))


def _from_kernel(x, shape):
    return x.transpose(2, 3, 1, 0).reshape(shape)


SAME = Layout(lambda x: x, lambda x, shape: x)
MATRIX = Layout(lambda x: x.T, lambda x, shape: x.T)
KERNEL = Layout(_kernel, _from_kernel)
PATCHES = Layout(_patch_kernel, _from_kernel)
GRID = Layout(lambda x: x.reshape(1, -1, x.shape[-1]), lambda x, shape: x.reshape(shape))

# What a backbone does not need: classifiers, decoders of masked patches, counters.
ASIDE = r'(head|fc)\.(weight|bias)|mask_token|decoder_.*|.*\.num_batches_tracked'

# timm; also the files of DeiT, MAE, DINO and DINOv2
VIT = (
    ('patch_embed.proj.weight', 'params/embed/kernel', PATCHES),
    ('patch_embed.proj.bias', 'params/embed/bias', SAME),
    ('norm_pre.weight', 'params/stem_norm/scale', SAME),
    ('norm_pre.bias', 'params/stem_norm/bias', SAME),
    ('cls_token', 'params/class_token', SAME),
    ('reg_token', 'params/registers', SAME),
    ('pos_embed', 'params/positions/table', GRID),
    ('norm.weight', 'params/transformer/norm/scale', SAME),
    ('norm.bias', 'params/transformer/norm/bias', SAME),
)
VIT_BLOCK = (
    ('norm1.weight', 'attention_norm/scale', SAME),
    ('norm1.bias', 'attention_norm/bias', SAME),
    ('attn.qkv.weight', 'attention/query|key|value/kernel', MATRIX),
    ('attn.qkv.bias', 'attention/query|key|value/bias', SAME),
    ('attn.proj.weight', 'attention/out/kernel', MATRIX),
    ('attn.proj.bias', 'attention/out/bias', SAME),
    ('ls1.gamma', 'attention_scale', SAME),
    ('norm2.weight', 'mlp_norm/scale', SAME),
    ('norm2.bias', 'mlp_norm/bias', SAME),
    ('mlp.fc1.weight', 'mlp/up/kernel', MATRIX),
    ('mlp.fc1.bias', 'mlp/up/bias', SAME),
    ('mlp.fc2.weight', 'mlp/down/kernel', MATRIX),
    ('mlp.fc2.bias', 'mlp/down/bias', SAME),
    ('ls2.gamma', 'mlp_scale', SAME),
)

# timm and torchvision: (their convolution, their norm, our convolution)
RESNET_STEM = ('conv1', 'bn1', 'stem')
RESNET_BLOCK = (
    ('conv1', 'bn1', 'conv0'),
    ('conv2', 'bn2', 'conv1'),
    ('conv3', 'bn3', 'conv2'),
    ('downsample.0', 'downsample.1', 'shortcut'),
)


def images(side: int) -> jax.ShapeDtypeStruct:
    """One image of side x side pixels, as a shape."""
    return jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)


def vit(module: models.ViT) -> Family:
    """A vision transformer's arrays; where it has registers, the class token has no position."""
    rows = [*VIT] + [
        (f'blocks.{i}.{theirs}', f'params/transformer/block{i}/{ours}', layout)
        for i in range(module.depth)
        for theirs, ours, layout in VIT_BLOCK
    ]
    inputs = lambda side: (images(side * module.patch),)
    return Family(rows, inputs, ASIDE, 'pos_embed', '' if module.registers else 'cls_token')


def resnet(module: models.ResNet) -> Family:
    """A residual network's arrays."""
    units = [RESNET_STEM] + [
        (f'layer{i + 1}.{j}.{kernel}', f'layer{i + 1}.{j}.{norm}', f'stage{i}_block{j}/{ours}')
        for i, count in enumerate(module.stages)
        for j in range(count)
        for kernel, norm, ours in RESNET_BLOCK
    ]
    rows = []
    for kernel, norm, ours in units:
        rows += [
            (f'{kernel}.weight', f'params/{ours}/kernel', KERNEL),
            (f'{norm}.weight', f'params/{ours}_norm/scale', SAME),
            (f'{norm}.bias', f'params/{ours}_norm/bias', SAME),
            (f'{norm}.running_mean', f'batch_stats/{ours}_norm/mean', SAME),
            (f'{norm}.running_var', f'batch_stats/{ours}_norm/var', SAME),
        ]
    return Family(rows, lambda side: (images(32),), ASIDE)
