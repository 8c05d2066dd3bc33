"""A network's outputs for a whole data set, batch by batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def _forward(apply, x):
    if x.dtype == jnp.uint8:
        x = x.astype(jnp.float32) / 255
    out = apply(x)
    # NumPy and scikit-learn know no bfloat16.
    return jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a, out)


_forward_partial = jax.jit(_forward)


def features(apply: Callable, images, *, batch: int = 256):
    """Outputs of a function over an array of inputs, compiled once and run in batches.

        [apply(x_1 .. x_b), apply(x_b+1 .. x_2b), ...], one after another

    Bytes become float32 in [0, 1] on the device, so that only bytes travel to it. The last batch is
    filled up with copies of its last row, which are cut off again: rows must not see each other
    (batch normalisation in evaluation mode).

    Args:
        apply: takes [b, ...], returns an array or a pytree of arrays [b, ...]. A
            `jax.tree_util.Partial(f, params)` is compiled once for all values of `params`; any
            other function is compiled at each call of `features`.
        images: inputs [N, ...].
        batch: rows per call.

    Returns:
        What `apply` returns, as NumPy arrays [N, ...]; bfloat16 as float32.
    """
    if not len(images):
        raise ValueError('images must not be empty')
    batch = min(batch, len(images))
    partial = isinstance(apply, jax.tree_util.Partial)
    # A shared cache would keep the parameters that other functions close over alive.
    forward = _forward_partial if partial else jax.jit(lambda _, x: _forward(apply, x))
    blocks = []
    for start in range(0, len(images), batch):
        x = np.asarray(images[start : start + batch])
        rows = len(x)
        x = np.concatenate([x, np.repeat(x[-1:], batch - rows, axis=0)]) if rows < batch else x
        out = jax.device_get(forward(apply if partial else None, x))
        for a in jax.tree.leaves(out):
            if a.shape[:1] != (batch,):
                raise ValueError(f'apply must return arrays [{batch}, ...], got {a.shape}')
        blocks.append(jax.tree.map(lambda a: a[:rows], out))
    return jax.tree.map(lambda *a: np.concatenate(a), *blocks)
