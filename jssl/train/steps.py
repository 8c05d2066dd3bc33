"""Step builders for the usual case; a paper that needs more writes its own `step`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class State(NamedTuple):
    """What the usual step carries: parameters, optimiser, their moving average, and what else
    moves."""

    params: Any
    opt_state: Any
    average: Any = None  # EMA of params: the teacher, the target network
    extra: Any = None  # batch statistics, queues, centres: whatever the loss hands back
    step: Any = None  # int32, for schedules inside the loss


def create(params, optimiser, *, average: bool = False, extra=None) -> State:
    """A fresh `State`; `average=True` starts the moving average as a copy of the parameters."""
    # The copy keeps the two apart, so that both can be donated.
    copy = jax.tree.map(jnp.copy, params) if average else None
    return State(params, optimiser.init(params), copy, extra, jnp.zeros((), jnp.int32))


def gradient_step(
    loss_fn: Callable,
    optimiser: optax.GradientTransformation,
    *,
    ema: float | Callable | None = None,
    accumulate: int = 1,
):
    """`step(state, batch, key)` that follows the gradient of `loss_fn` once.

    Args:
      loss_fn: `(params, state, batch, key)` (the state for its average and extra) that returns
        `loss`, `(loss, metrics)` or `(loss, metrics, extra)` with the new `state.extra`; without
        one it stays as it is.
      optimiser: any optax transformation.
      ema: decay of `state.average`, a number or a function of the step.
      accumulate: parts the batch is cut into; their gradients are averaged, which equals the whole
        batch's gradient only for losses that are means over rows (not contrastive ones).
    Returns: the step; its metrics are the loss's own, 'loss' and 'gradient_norm'.
    """

    def value(params, state, batch, key):
        out = loss_fn(params, state, batch, key)
        loss, *rest = out if isinstance(out, tuple) else (out,)
        metrics = rest[0] if rest else {}
        extra = rest[1] if len(rest) > 1 else state.extra
        return loss, ({'loss': loss, **metrics}, extra)

    def gradient(state, batch, key):
        return jax.grad(value, has_aux=True)(state.params, state, batch, key)

    def step(state: State, batch, key):
        if accumulate == 1:
            grads, (metrics, extra) = gradient(state, batch, key)
        else:
            grads, (metrics, extra) = _accumulated(gradient, state, batch, key, accumulate)
        updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if ema is not None:
            average = ema_update(average, params, ema(state.step) if callable(ema) else ema)
        metrics = {**metrics, 'gradient_norm': optax.global_norm(grads)}
        return State(params, opt_state, average, extra, state.step + 1), metrics

    return step


def _accumulated(gradient, state, batch, key, parts):
    """Mean gradient and metrics over equal parts of the batch; `extra` goes from part to part."""
    # Strided parts keep every device's rows on that device: part i is rows i, i + parts, ...
    cut = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
    keys = jax.random.split(key, parts)

    def one(extra, part):
        grads, (metrics, extra) = gradient(state._replace(extra=extra), *part)
        return extra, (grads, metrics)

    extra, stacked = jax.lax.scan(one, state.extra, (cut, keys))
    grads, metrics = jax.tree.map(lambda x: x.mean(0), stacked)
    return grads, (metrics, extra)


def ema_update(average, params, decay):
    """decay * average + (1 - decay) * params, leaf by leaf."""
    return optax.incremental_update(params, average, 1 - decay)


def mixed_precision(loss_fn: Callable, dtype=jnp.bfloat16):
    """`loss_fn` computed in `dtype`: float32 parameters are cast on the way in, gradients on the
    way out.

    The master weights, the optimiser and the loss value stay float32. Mixed Precision Training
    (Micikevicius et al., 2018).
    """

    def cast(tree):
        floating = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.floating)
        return jax.tree.map(lambda x: x.astype(dtype) if floating(x) else x, tree)

    def computed(params, state, batch, key):
        out = loss_fn(cast(params), cast(state), cast(batch), key)
        loss, *rest = out if isinstance(out, tuple) else (out,)
        if len(rest) == 2:  # what the state keeps stays in its own precision
            rest[1] = jax.tree.map(lambda new, old: new.astype(old.dtype), rest[1], state.extra)
        loss = loss.astype(jnp.float32)
        return (loss, *rest) if rest else loss

    return computed
