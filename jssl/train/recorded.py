"""Copies of one training side by side, with every step's errors kept in the state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Recorded(NamedTuple):
    """The states of all copies, and what was recorded of them."""

    state: Any  # every leaf [copies, ...]
    curves: dict[str, jax.Array]  # [copies, steps], zero from `time` on
    time: jax.Array  # int32, steps taken


def recorded(
    init: Callable,
    step: Callable,
    *,
    curves: tuple[str, ...],
    steps: int,
    stride: int,
    copies: int = 1,
    measure: Callable | None = None,
):
    """(init, step) that train `copies` at once, `stride` steps at a time, and keep `curves`.

    For small problems in many short steps, where a step costs less than its dispatch.

    Args:
      init: `key, ... -> state`, of one copy.
      step: `state, batch, key -> state, metrics`, of one copy and one step.
      curves: which of the metrics are kept at every step.
      steps: how many there will be in all.
      stride: how many of them make one step of the result, a divisor of `steps`.
      copies: each with its own key, and its own batch.
      measure: `state, batch -> metrics`, seen once in a stride, at its end.
    Returns: `init(key, ...) -> Recorded`, and a step whose batch has leaves [copies, ...] and whose
      metrics are the copies' means at the stride's last step.
    """
    if steps % stride:
        raise ValueError(f'stride {stride} must divide steps {steps}')

    def begin(key, *arguments):
        keys = jax.random.split(key, copies)
        states = jax.vmap(lambda key: init(key, *arguments))(keys)
        empty = {name: jnp.zeros((copies, steps)) for name in curves}
        return Recorded(states, empty, jnp.zeros((), jnp.int32))

    def advance(state, batch, key):
        one = lambda state, key: step(state, batch, key)
        state, metrics = jax.lax.scan(one, state, jax.random.split(key, stride))
        return state, metrics, measure(state, batch) if measure else {}

    def stretch(run, batch, key):
        keys = jax.random.split(key, copies)
        state, metrics, seen = jax.vmap(advance)(run.state, batch, keys)
        kept = {
            name: jax.lax.dynamic_update_slice(curve, metrics[name], (0, run.time))
            for name, curve in run.curves.items()
        }
        last = {name: values[:, -1] for name, values in metrics.items()} | seen
        means = {name: values.mean() for name, values in last.items()}
        return Recorded(state, kept, run.time + stride), means

    return begin, stretch
