"""A row of the table of losses, and how to draw arguments."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    loss: Callable
    draw: Callable  # (random generator, batch) -> NumPy arguments
    axes: tuple  # the batch axis of each argument, or None
    rows: int | None = 1  # results per row of the batch; 0: a statistic of it; None: neither
    cosine: tuple = ()  # arguments whose rows may be scaled without effect
    least: int = 1  # the smallest batch that means something

    @functools.cached_property
    def live(self):
        """Positions of the floating arguments: those that have a gradient."""
        arguments = self.draw(np.random.default_rng(0), max(self.least, 2))
        return tuple(i for i, a in enumerate(arguments) if np.issubdtype(a.dtype, np.floating))

    def in_tiles(self, chunk):
        return dataclasses.replace(self, loss=functools.partial(self.loss, chunk=chunk))

    def arguments(self, seed=0, batch=16):
        return self.draw(np.random.default_rng(seed), batch)

    def objective(self, *arguments):
        """(sum of the result with fixed uneven weights, the result)."""
        out = self.loss(*arguments)
        weights = jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape)
        return jnp.sum(weights * out), out

    def value_and_gradient(self, *arguments):
        """(result, gradients of the objective)."""
        (_, out), gradients = jax.value_and_grad(self.objective, self.live, has_aux=True)(
            *arguments
        )
        return out, gradients

    @functools.cached_property
    def gradient(self):
        return jax.jit(self.value_and_gradient)


def normal(*shapes):
    """Draws normal arguments; 'B' stands for the batch. Whole numbers in a shape are sizes."""

    def draw(random, batch):
        sizes = [tuple(batch if n == 'B' else n for n in shape) for shape in shapes]
        return tuple(random.normal(size=size).astype(np.float32) for size in sizes)

    return draw


def labelled(random, batch):
    z, labels = random.normal(size=(batch, 5)), random.integers(0, 3, batch)
    return z.astype(np.float32), labels.astype(np.int32)


PAIR = normal(('B', 5), ('B', 5))
TRIPLET = normal(('B', 5), ('B', 5), ('B', 5))
