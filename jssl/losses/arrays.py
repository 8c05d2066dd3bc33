"""What every loss does to its arguments first: name their axes, and widen their numbers."""

import jax
import jax.numpy as jnp


def check_axes(**arguments: tuple[jax.Array, str]) -> None:
    """Raises a ValueError that names the first argument whose axes do not fit.

        check_axes(q=(q, 'B D'), k=(k, 'B D'), temperature=(temperature, ''))

    An axis has the size that it had when it was first named.

    Args:
        **arguments: name of the argument = (array, its axes as words); no words for a scalar.
    """
    sizes = {}
    for name, (array, axes) in arguments.items():
        axes, shape = axes.split(), jnp.shape(array)
        known = ', '.join(f'{axis} = {sizes[axis]}' for axis in axes if axis in sizes)
        fits = len(axes) == len(shape) and all(
            sizes.setdefault(axis, size) == size for axis, size in zip(axes, shape, strict=True)
        )
        if not fits:
            expected = f'have shape [{", ".join(axes)}]' if axes else 'be a scalar'
            raise ValueError(
                f'{name} must {expected}{" with " + known if known else ""}, got {shape}'
            )


def axes_of(x: jax.Array) -> str:
    """Words for the axes of an array of any rank, for `check_axes`: 'B D1 D2'."""
    return ' '.join(['B', *(f'D{i}' for i in range(1, jnp.ndim(x)))])


def widen(x: jax.Array) -> jax.Array:
    """The same numbers in float32, or in float64 if they are that already.

    Losses take sums and logarithms in it, so they return float32 for bfloat16 input.

    Args:
        x: numbers of any type and shape.

    Returns:
        The numbers, with the shape of `x`.
    """
    return x.astype(x.dtype if x.dtype == jnp.float64 else jnp.float32)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of each row's values that a mask chooses, zero where it chooses none.

    Args:
        values: [B, N].
        mask: bool [B, N]; what it leaves out may be anything, infinities too.

    Returns:
        [B].
    """
    count = jnp.maximum(mask.sum(1), 1).astype(values.dtype)
    return jnp.where(mask, values, 0.0).sum(1) / count
