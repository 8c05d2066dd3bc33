"""Small models of our own: trained when first asked for, and kept.

model = zoo.get('tiny_clip')              # trains, or reads what was trained before
model = zoo.get('tiny_clip', steps=3)     # another recipe, so another model

A recipe is a module `tiny_NAME` beside this one. What it must hold stands in `get`.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jssl import train
from jssl.errors import Refusal, nearest
from jssl.train import runtime
from jssl.zoo import safetensors


class Model(NamedTuple):
    """A trained small model."""

    name: str
    recipe: Any  # the dataclass it was trained by
    network: Any  # flax module, or a NamedTuple of them
    variables: dict  # network.apply(variables, ...)
    quality: dict[str, float]  # what its recipe measured on data held out
    parameters: int  # numbers in the variables
    seconds: float  # that training and measuring took


def small_models() -> list[str]:
    """The small models there are."""
    return sorted(path.stem for path in pathlib.Path(__file__).parent.glob('tiny_*.py'))


def get(name: str, **changes) -> Model:
    """A small model: read from the cache, or trained and put there.

    Its file is found by a digest of the recipe's fields, of the recipe's text, of the compiled
    programs' input (`init` and `step`, lowered, with all the constants in them) and of the data. So
    a recipe that changed, or a loss or a network it uses, trains anew. Of two processes that ask
    for the same model one trains and the other waits; a training that was killed goes on where it
    was.

    Args:
      name: in `small_models()`. The module of that name has `Recipe`, a frozen dataclass of plain
        values with `steps` and `seed`; `build(recipe)` -> (init, step) and `batches(recipe)`, as
        `fit` takes them; `network(recipe)`; `variables(recipe, state)`, nested dicts of arrays;
        `measure(recipe, variables)` -> {metric: float}, more is better; `NEEDS`, what these must
        reach.
      changes: fields of the recipe.

    Returns: a `Model`.
    Raises: Refusal for an unknown name or field.
    """
    module = recipe_module(name)
    fields = [field.name for field in dataclasses.fields(module.Recipe)]
    if unknown := sorted(set(changes) - set(fields)):
        raise Refusal(f'{name} has no field {unknown[0]!r}{nearest(unknown[0], fields)}')
    return _get(name, dataclasses.replace(module.Recipe(), **changes))


def recipe_module(name: str):
    """The module of a small model, by its name."""
    if name not in small_models():
        raise Refusal(f'no small model is called {name!r}{nearest(name, small_models())}')
    return importlib.import_module(f'jssl.zoo.{name}')


@functools.lru_cache
def _get(name, recipe):
    module = recipe_module(name)
    batches = module.batches(recipe)
    folder = runtime.cache_folder() / 'zoo' / f'{name}-{_digest(module, recipe, batches)}'
    with _alone(folder):
        if not (folder / 'model.json').exists():
            _train(name, module, recipe, batches, folder)
    try:
        arrays = safetensors.read(folder / 'weights.safetensors')
        known = json.loads((folder / 'model.json').read_text())
    except (Refusal, ValueError) as error:
        raise Refusal(f'{error}; delete {folder}, and it is trained again') from None
    variables = unflatten_dict({path: jax.numpy.array(x) for path, x in arrays.items()}, sep='/')
    del known['recipe']
    return Model(name, recipe, module.network(recipe), variables, **known)


def _train(name, module, recipe, batches, folder):
    """Trains a model into its folder, whose last file is what says that it is whole."""
    init, step = module.build(recipe)
    started, unfinished = time.time(), folder / 'training'
    state, _ = train.fit(
        step,
        init,
        batches,
        steps=recipe.steps,
        key=recipe.seed,
        checkpoint=train.Checkpoint(unfinished, seconds=60),
        name=name,
    )
    variables = jax.device_get(module.variables(recipe, state))
    quality = {metric: float(x) for metric, x in module.measure(recipe, variables).items()}
    arrays = {path: np.asarray(x) for path, x in flatten_dict(variables, sep='/').items()}
    safetensors.write(folder / 'weights.safetensors', arrays)
    known = {
        'recipe': dataclasses.asdict(recipe),
        'quality': quality,
        'parameters': sum(x.size for x in arrays.values()),
        'seconds': round(time.time() - started, 1),
    }
    partial = folder / 'model.partial'
    partial.write_text(json.dumps(known, indent=1) + '\n')
    os.replace(partial, folder / 'model.json')
    shutil.rmtree(unfinished)


def _digest(module, recipe, batches) -> str:
    """Of everything that the trained model is a function of."""
    init, step = module.build(recipe)
    key = jax.random.key(recipe.seed)
    lowered = jax.jit(init).lower(key)
    batch = None if batches is None else batches if isinstance(batches, Mapping) else batches[0]
    programs = [lowered, jax.jit(step).lower(jax.eval_shape(init, key), batch, key)]
    texts = [repr(recipe), pathlib.Path(module.__file__).read_text(encoding='utf-8')]
    texts += [program.as_text() for program in programs]
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        digest.update(text.encode())
    # The first batch stands for the order, and for records that are read from disk.
    for tree in (batch, getattr(batches, 'source', None), getattr(batches, 'columns', None)):
        for leaf in jax.tree.leaves(tree) if isinstance(tree, Mapping) else []:
            digest.update(np.ascontiguousarray(leaf))
    return digest.hexdigest()


@contextlib.contextmanager
def _alone(folder: pathlib.Path):
    """Makes the folder, and keeps other processes out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / 'lock').open('w')
    except OSError as error:
        raise Refusal(f'{folder} cannot be written: {error.strerror}; set $JSSL_CACHE') from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
