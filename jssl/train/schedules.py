"""Learning-rate and momentum schedules: functions of the step, for optax and for EMA."""

import jax.numpy as jnp
import optax


def warmup_cosine(peak: float, steps: int, *, warmup: int = 0, final: float = 0.0):
    """Linear from 0 to `peak` in `warmup` steps, then half a cosine to `final` at `steps`.

    SGDR: Stochastic Gradient Descent with Warm Restarts (Loshchilov and Hutter, 2017).
    """
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else peak,
        peak_value=peak,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=final,
    )


def infinite(
    peak: float,
    *,
    constant: float,
    final: float,
    warmup: int,
    cooldown: int,
    hold: int,
    anneal: int,
):
    """Warm-up, cosine cool-down to `constant`, hold, and exponential annealing to `final`.

    The hold may be prolonged, and the annealing started from any step of it, without knowing the
    length of training in advance. Simple and Scalable Strategies to Continually Pre-train Large
    Language Models (Ibrahim et al., 2024), equation 3.
    """

    def schedule(step):
        step = jnp.asarray(step, jnp.float32)
        rise = peak * step / max(warmup, 1)
        t = (step - warmup) / max(cooldown, 1)
        fall = constant + (peak - constant) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(t, 0, 1)))
        u = jnp.clip((step - warmup - cooldown - hold) / max(anneal, 1), 0, 1)
        return jnp.where(
            step < warmup, rise, jnp.where(u > 0, constant * (final / constant) ** u, fall)
        )

    return schedule


def step_decay(start: float, boundaries: tuple[int, ...], *, factor: float = 0.1):
    """`start`, multiplied by `factor` at every boundary step."""
    return optax.piecewise_constant_schedule(start, dict.fromkeys(boundaries, factor))


def cosine_momentum(base: float, steps: int):
    """EMA decay that rises from `base` to 1: 1 - (1 - base)(cos(pi k / K) + 1) / 2.

    Bootstrap Your Own Latent (Grill et al., 2020), section 3.2.
    """
    return lambda step: 1 - (1 - base) * (jnp.cos(jnp.pi * jnp.clip(step / steps, 0, 1)) + 1) / 2
