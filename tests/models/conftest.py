"""Cheap parameters, and modules applied."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope='session')
def draw():
    """draw(module, *args, **options): variables of the right shapes, drawn without compiling.

    Zero-initialised layers are drawn too, so that they have something to say.
    """

    def draw(module, *args, **options):
        rng = np.random.default_rng(0)

        def leaf(path, shape):
            noise = rng.normal(size=shape.shape)
            if path[-1].key == 'kernel':
                return (noise / np.sqrt(np.prod(shape.shape[:-1]))).astype(shape.dtype)
            centre = 1.0 if path[-1].key in ('scale', 'var') else 0.0
            return (centre + 0.2 * noise.clip(-3, 3)).astype(shape.dtype)

        init = lambda key: module.init(key, *args, **options)
        shapes = jax.eval_shape(init, jax.random.key(0))
        return jax.tree_util.tree_map_with_path(leaf, shapes)

    return draw


@pytest.fixture(scope='session')
def run():
    """run(module, variables, *args, **options): a jitted application, as NumPy arrays."""

    def run(module, variables, *args, **options):
        apply = jax.jit(lambda variables, args: module.apply(variables, *args, **options))
        return jax.device_get(apply(variables, args))

    return run
