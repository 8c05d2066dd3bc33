"""Backbones by the names that timm gives them, and their weights from and to its files."""

import difflib
import itertools
import math
import os
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jssl import models
from jssl.errors import Refusal
from jssl.zoo import names, safetensors

_SIZES = {
    'tiny': models.vit_tiny,
    'small': models.vit_small,
    'base': models.vit_base,
    'large': models.vit_large,
}
_VIT = {'positions': 'learned', 'activation': partial(nn.gelu, approximate=False)}
_DINOV2 = {'patch': 14, 'layer_scale': 1e-5, **_VIT}
BACKBONES = {
    **{
        f'vit_{size}_patch{p}': vit(patch=p, **_VIT)
        for size, vit in _SIZES.items()
        for p in (8, 16, 32)
    },
    **{f'vit_{size}_patch14_dinov2': vit(**_DINOV2) for size, vit in _SIZES.items()},
    **{
        f'vit_{size}_patch14_reg4_dinov2': vit(registers=4, **_DINOV2)
        for size, vit in _SIZES.items()
    },
    **{f'resnet{n}': getattr(models, f'resnet{n}')() for n in (18, 34, 50, 101, 152)},
}


def backbone(name: str) -> nn.Module:
    """The module that a name stands for, as its publishers built it.

    Args:
      name: in `BACKBONES`; a size of images at its end, vit_small_patch16_224, says nothing here:
        a transformer's positions are those of its weights.

    Returns:
      A `ViT`, which gives its class token, or a `ResNet`; no classifier.

    PyTorch Image Models (Wightman, 2019), for the names.
    """
    known = re.sub(r'_\d{3}$', '', name)
    if known not in BACKBONES:
        close = difflib.get_close_matches(known, BACKBONES, 1)
        hint = f'the nearest is {close[0]}' if close else f'there are {", ".join(BACKBONES)}'
        raise Refusal(f'no backbone is called {name!r}; {hint}')
    return BACKBONES[known]


def load(name: str, path: str | os.PathLike) -> tuple[nn.Module, dict]:
    """Reads a backbone from a safetensors file, as timm or torchvision name its arrays.

    Their class token has a position, ours has not: ours is their sum. Classifiers, decoders and
    counters in the file are left aside.

    Args:
      name: as in `backbone`.
      path: a .safetensors file; its arrays may be of any floating type.

    Returns:
      (module, variables): module.apply(variables, images) -> h [B, D], images float32 [B, H, W, 3]
      normalised as its publishers did. Variables are float32.

    Raises: Refusal, which names all arrays that are missing, unknown, or of another shape; for a
    file that may be a pickle, which is never opened, the line that converts it.

    PyTorch Image Models (Wightman, 2019), for the format.
    """
    module = backbone(name)
    read = safetensors.read(path).items()
    found = {theirs: x for theirs, x in read if not re.fullmatch(names.ASIDE, theirs)}
    grid = found.get('pos_embed', np.zeros((1, 0, 0)))
    points = grid.shape[1] - _class_has_position(module) if grid.ndim == 3 else 0
    ours = _blank(module, math.isqrt(max(points, 1)))
    _compare(found, _theirs(module, ours), f'{path} is no {name}')

    if _class_has_position(module):
        first, rest = np.split(found['pos_embed'], [1], axis=1)
        found |= {'cls_token': found['cls_token'] + first, 'pos_embed': rest}
    for theirs, paths, layout in _rows(module, ours):
        for part, at in zip(np.split(found[theirs], len(paths)), paths, strict=True):
            # a copy, so that nothing refers to the file any more
            ours[at] = jnp.array(layout.ours(part, ours[at].shape), jnp.float32)
    return module, unflatten_dict(ours, sep='/')


def save(name: str, variables: dict, path: str | os.PathLike) -> None:
    """Writes a backbone's variables to a safetensors file that timm or torchvision can load.

    The file has no classifier: timm.create_model(..., num_classes=0) takes it as it is. The
    position of the class token, which ours has not, is zero.

    Args:
      name: as in `backbone`.
      variables: what `load` gives, or module.init, on square images.
      path: where; the file appears whole or not at all.

    Raises: Refusal, which names all arrays that are missing, unknown, or of another shape.

    PyTorch Image Models (Wightman, 2019), for the format.
    """
    module = backbone(name)
    ours = flatten_dict(jax.device_get(variables), sep='/')
    table = ours.get('params/positions/table', np.zeros(1))
    _compare(ours, _blank(module, len(table)), f'the variables are no {name}')
    theirs = _theirs(module, ours)
    safetensors.write(path, {name: np.asarray(x, np.float32) for name, x in theirs.items()})


def _class_has_position(module: nn.Module) -> bool:
    return isinstance(module, models.ViT) and not module.registers


def _blank(module: nn.Module, side: int) -> dict[str, np.ndarray]:
    """Zeros of our shapes by path; a transformer's positions are a grid of side x side."""
    side = side * module.patch if isinstance(module, models.ViT) else 32
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)
    return {
        path: np.zeros(x.shape, np.float32) for path, x in flatten_dict(shapes, sep='/').items()
    }


def _rows(module: nn.Module, ours: dict[str, np.ndarray]):
    """Rows (their name, our paths, layout) of the arrays that are there."""
    vit = isinstance(module, models.ViT)
    for theirs, path, layout in names.vit(module.depth) if vit else names.resnet(module.stages):
        choices = (part.split('|') for part in path.split('/'))
        paths = ['/'.join(parts) for parts in itertools.product(*choices)]
        if paths[0] in ours:
            yield theirs, paths, layout


def _theirs(module: nn.Module, ours: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    theirs = {
        name: np.concatenate([layout.theirs(ours[path]) for path in paths])
        for name, paths, layout in _rows(module, ours)
    }
    if _class_has_position(module):
        nowhere = np.zeros_like(theirs['cls_token'])
        theirs['pos_embed'] = np.concatenate([nowhere, theirs['pos_embed']], axis=1)
    return theirs


def _compare(found: dict, wanted: dict, sentence: str) -> None:
    """Refuses with all that is missing, unknown, of another shape, or no real numbers."""
    both = [(name, found[name], wanted[name].shape) for name in wanted if name in found]
    real = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    faults = {
        'lacks': [name for name in wanted if name not in found],
        'unknown': [name for name in found if name not in wanted],
        'of another shape': [f'{name} {x.shape} for {s}' for name, x, s in both if x.shape != s],
        'of another type': [f'{name} {x.dtype}' for name, x, _ in both if not real(x)],
    }
    texts = [f'{fault} {_few(items)}' for fault, items in faults.items() if items]
    if texts:
        raise Refusal(f'{sentence}: {"; ".join(texts)}')


def _few(items: list[str], most: int = 12) -> str:
    rest = f' and {len(items) - most} more' if len(items) > most else ''
    return ', '.join(items[:most]) + rest
