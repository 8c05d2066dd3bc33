"""The precision that this room computes in."""

import jax
import jax.numpy as jnp


def at_least_float32(x: jax.Array) -> jax.Array:
    """Integers, bfloat16 and float16 as float32; wider floats as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
