"""A row of the table of losses, and how to draw arguments."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

BATCH = 8
PERMUTATION = np.random.default_rng(1).permutation(BATCH)


def along(a, axis):
    return [-1 if i == axis else 1 for i in range(a.ndim)]


# What is done here to numbers that bfloat16 holds, it holds too.
HARD = {
    'zeros': lambda a, axis: np.zeros_like(a),
    'one zero row': lambda a, axis: a * (np.arange(BATCH) > 0).reshape(along(a, axis)),
    'duplicates': lambda a, axis: np.broadcast_to(np.take(a, [0], axis), a.shape),
    'large': lambda a, axis: a * np.float32(2**13),
    'small': lambda a, axis: a * np.float32(2**-20),
}


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

    def arguments(self, seed=0, batch=BATCH):
        return self.draw(np.random.default_rng(seed), batch)

    def on_rows(self, change):
        """The drawn arguments, the floating ones with a batch axis changed: `change(a, axis)`."""
        return tuple(
            np.asarray(change(a, axis), a.dtype) if i in self.live and axis is not None else a
            for i, (a, axis) in enumerate(zip(self.drawn, self.axes, strict=True))
        )

    def as_bfloat16(self, arguments, kept=jnp.bfloat16):
        """The floating arguments rounded to bfloat16, and kept as another type."""
        return tuple(
            a.astype(jnp.bfloat16).astype(kept) if i in self.live else a
            for i, a in enumerate(arguments)
        )

    @functools.cached_property
    def drawn(self):
        return self.as_bfloat16(self.arguments(), np.float32)

    @functools.cached_property
    def draws(self):
        """{what was done to the drawn arguments: arguments}."""
        return {
            'drawn': self.drawn,
            'another': self.as_bfloat16(self.arguments(seed=4), np.float32),
            'permuted': tuple(
                a if axis is None else np.take(a, PERMUTATION, axis)
                for a, axis in zip(self.drawn, self.axes, strict=True)
            ),
            'lengthened': tuple(
                a * np.exp2(np.arange(len(a)) * 2 - 3).astype(a.dtype)[:, None]
                if i in self.cosine
                else a
                for i, a in enumerate(self.drawn)
            ),
            **{name: self.on_rows(change) for name, change in HARD.items()},
        }

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
    def found(self):
        """{name of a draw: (result, gradients)} in float32, and in bfloat16.

        One program, mapped over the draws; what both types share is compiled once. In float32 it
        is traced under strict flags: nothing is promoted silently.
        """
        stacked = [np.stack(column) for column in zip(*self.draws.values(), strict=True)]

        def both(*narrow):
            wide = self.as_bfloat16(narrow, jnp.float32)
            with jax.numpy_rank_promotion('raise'), jax.numpy_dtype_promotion('strict'):
                found = jax.vmap(self.value_and_gradient)(*wide)
            return found, jax.vmap(self.value_and_gradient)(*narrow)

        found = jax.device_get(jax.jit(both)(*self.as_bfloat16(stacked)))
        row = lambda of, i: jax.tree.map(lambda leaf: leaf[i], of)
        return [{name: row(of, i) for i, name in enumerate(self.draws)} for of in found]

    @functools.cached_property
    def found_by_eight(self):
        """(result, gradients) of what was drawn, spread over 8 devices."""
        return jax.jit(self.value_and_gradient)(*self.on_eight(self.drawn))

    def on_eight(self, arguments):
        mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
        split = lambda axis: () if axis is None else (*[None] * axis, 'data')
        return [
            jax.device_put(a, NamedSharding(mesh, PartitionSpec(*split(axis))))
            for a, axis in zip(arguments, self.axes, strict=True)
        ]


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
