"""Backbones by the names that their publishers give them, and their weights from and to files."""

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
from jssl.errors import Refusal, nearest
from jssl.zoo import clip_names, dit_names, language_names, names, safetensors, speech_names

_SIZES = {
    'tiny': models.vit_tiny,
    'small': models.vit_small,
    'base': models.vit_base,
    'large': models.vit_large,
}
_VIT = {'positions': 'learned', 'activation': partial(nn.gelu, approximate=False)}
_DINOV2 = {'patch': 14, 'layer_scale': 1e-5, **_VIT}
_CLIP = {**_VIT, 'stem_norm': True, 'epsilon': 1e-5}
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
    **{
        f'vit_{size}_patch{p}_clip{kind}': _SIZES[size](patch=p, **_CLIP | activation)
        for size, p in (('base', 32), ('base', 16), ('large', 14))
        for kind, activation in (('', {}), ('_quickgelu', {'activation': models.quick_gelu}))
    },
    **{f'resnet{n}': getattr(models, f'resnet{n}')() for n in (18, 34, 50, 101, 152)},
    **clip_names.BACKBONES,
    **dit_names.BACKBONES,
    **language_names.BACKBONES,
    **speech_names.BACKBONES,
}
# How the arrays of a kind of module are called by others: module -> `names.Family`.
FAMILIES = {
    models.ViT: names.vit,
    models.ResNet: names.resnet,
    models.CLIP: clip_names.clip,
    models.DiT: dit_names.dit,
    models.CausalLM: language_names.causal,
    models.MaskedLM: language_names.masked,
    models.WaveEncoder: speech_names.trunk,
    models.Wav2Vec2: speech_names.coded,
}


def backbone(name: str) -> nn.Module:
    """The module that a name stands for, as its publishers built it.

    Args:
      name: in `BACKBONES`; a size of images at its end, vit_small_patch16_224, says nothing here:
        a transformer's positions are those of its weights.

    Returns:
      A `ViT`, which gives its class token, a `ResNet`, a `CLIP`, a `DiT`, or a model of language
      or speech; no classifier.

    PyTorch Image Models (Wightman, 2019) and Transformers (Wolf et al., 2020), for the names.
    """
    known = re.sub(r'[_-]\d{3}$', '', name)
    if known not in BACKBONES:
        raise Refusal(f'no backbone is called {name!r}{nearest(known, BACKBONES)}')
    return BACKBONES[known]


def load(name: str, path: str | os.PathLike) -> tuple[nn.Module, dict]:
    """Reads a backbone from a safetensors file, as its publishers name its arrays.

    A class token of theirs that has a position is the sum of both in ours. Classifiers, decoders
    and counters in the file are left aside.

    Args:
      name: as in `backbone`.
      path: a .safetensors file, an index of several (*.safetensors.index.json), or a folder that
        has one of either; its arrays may be of any floating type.

    Returns:
      (module, variables): module.apply(variables, images) -> h [B, D], images float32 [B, H, W, 3]
      normalised as its publishers did; for the rest see the module. Variables are float32.

    Raises: Refusal, which names all arrays that are missing, unknown, or of another shape; for a
    file that may be a pickle, which is never opened, the line that converts it.

    PyTorch Image Models (Wightman, 2019) and Transformers (Wolf et al., 2020), for the format.
    """
    module = backbone(name)
    family = _family(module)
    read = safetensors.read(path).items()
    read = [(name, x) for name, x in read if not re.fullmatch(family.aside, name)]
    found = {family.renamed(name): x for name, x in read}
    grid = found.get(family.grid, np.zeros((1, 1)))
    points = grid.shape[-2] - bool(family.token) if grid.ndim > 1 else 1
    ours = _blank(module, math.isqrt(max(points, 1)))
    _compare(found, _theirs(family, ours), f'{path} is no {name}')

    if family.token:
        first, rest = np.split(found[family.grid], [1], axis=-2)
        token = found[family.token]
        found |= {family.token: token + first.reshape(token.shape), family.grid: rest}
    for theirs, paths, layout in _rows(family, ours):
        for part, at in zip(_split(found[theirs], len(paths), layout.axis), paths, strict=True):
            # a copy, so that nothing refers to the file any more
            ours[at] = jnp.array(layout.ours(part, ours[at].shape), jnp.float32)
    return module, unflatten_dict(ours, sep='/')


def save(name: str, variables: dict, path: str | os.PathLike) -> None:
    """Writes a backbone's variables to a safetensors file that its publishers' library can load.

    The file has no classifier: timm.create_model(..., num_classes=0) takes it as it is. The
    position of a class token, which ours has not, is zero.

    Args:
      name: as in `backbone`.
      variables: what `load` gives, or module.init, on square images.
      path: where; the file appears whole or not at all.

    Raises: Refusal, which names all arrays that are missing, unknown, or of another shape.

    PyTorch Image Models (Wightman, 2019) and Transformers (Wolf et al., 2020), for the format.
    """
    module = backbone(name)
    family = _family(module)
    ours = flatten_dict(jax.device_get(variables), sep='/')
    grid = [path for theirs, path, _ in family.rows if theirs == family.grid]
    side = len(ours[grid[0]]) if grid and grid[0] in ours else 1
    _compare(ours, _blank(module, side), f'the variables are no {name}')
    theirs = _theirs(family, ours) | family.fixed()
    safetensors.write(path, {name: np.asarray(x, np.float32) for name, x in theirs.items()})


def _family(module: nn.Module) -> names.Family:
    return FAMILIES[type(module)](module)


def _blank(module: nn.Module, side: int) -> dict[str, np.ndarray]:
    """Zeros of our shapes by path; a transformer's positions are a grid of side x side."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *_family(module).inputs(side))
    return {
        path: np.zeros(x.shape, np.float32) for path, x in flatten_dict(shapes, sep='/').items()
    }


def _rows(family: names.Family, ours: dict[str, np.ndarray]):
    """Rows (their name, our paths, layout) of the arrays that are there."""
    for theirs, path, layout in family.rows:
        choices = (part.split('|') for part in path.split('/'))
        paths = ['/'.join(parts) for parts in itertools.product(*choices)]
        if paths[0] in ours:
            yield theirs, paths, layout


def _theirs(family: names.Family, ours: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    theirs = {
        name: _joined([layout.theirs(ours[path]) for path in paths], layout.axis)
        for name, paths, layout in _rows(family, ours)
    }
    if family.token:
        table = theirs[family.grid]
        theirs[family.grid] = np.concatenate([np.zeros_like(table[..., :1, :]), table], axis=-2)
    return theirs


def _split(x: np.ndarray, parts: int, axis: int) -> list[np.ndarray]:
    return [x] if parts == 1 else np.split(x, parts, axis)


def _joined(parts: list[np.ndarray], axis: int) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


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
