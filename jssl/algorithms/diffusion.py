"""From noise to data and back: noise schedules, samplers of a denoiser, and guidance.

x_t = alpha_t x_0 + sigma_t e,   e ~ N(0, I);   a denoiser maps (x_t, t) to e
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32


class Schedule(NamedTuple):
    """How much is left of the data and how much noise there is at each of T times, both [T]."""

    alpha: jax.Array
    sigma: jax.Array


def linear_schedule(times: int = 1000, *, start: float = 1e-4, end: float = 0.02) -> Schedule:
    """Variances added at each time that grow linearly.

        alpha_t^2 = prod_{s <= t} (1 - beta_s),   sigma_t^2 = 1 - alpha_t^2

    Args:
      times: T.
      start, end: beta of the first and of the last time.

    Returns:
      `Schedule` of [T].

    Denoising Diffusion Probabilistic Models (Ho et al., 2020).
    """
    return _schedule(jnp.cumsum(jnp.log1p(-jnp.linspace(start, end, times))))


def cosine_schedule(times: int = 1000, *, offset: float = 0.008) -> Schedule:
    """Signal that falls like a cosine: more of the times have middling noise.

        alpha_t^2 = f(t) / f(0),   f(t) = cos^2(pi / 2 ((t + 1) / T + s) / (1 + s)),   beta <= 0.999

    Args:
      times: T.
      offset: s, noise of the first times.

    Returns:
      `Schedule` of [T].

    Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021).
    """
    t = jnp.arange(times + 1) / times
    f = jnp.square(jnp.cos(jnp.pi / 2 * (t + offset) / (1 + offset)))
    return _schedule(jnp.cumsum(jnp.log(jnp.maximum(f[1:] / f[:-1], 1e-3))))


def data_and_noise(
    prediction: jax.Array,
    x: jax.Array,
    alpha: jax.Array,
    sigma: jax.Array,
    *,
    target: str = 'epsilon',
) -> tuple[jax.Array, jax.Array]:
    """The data and the noise that a network's output stands for.

        'epsilon': x_0 = (x - sigma e) / alpha      'x0': e = (x - alpha x_0) / sigma
        'v': x_0 = alpha x - sigma v,   e = sigma x + alpha v,   for alpha^2 + sigma^2 = 1

    Args:
      prediction: of the network [B, ...].
      x: noisy data [B, ...].
      alpha, sigma: of each row [B].
      target: what the network was asked for, as in `losses.denoising_target`.

    Returns:
      x_0 and e [B, ...].

    Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022).
    """
    chex.assert_equal_shape([prediction, x])
    chex.assert_shape([alpha, sigma], (x.shape[0],))
    x, prediction = at_least_float32(x), at_least_float32(prediction)
    alpha, sigma = _rows(alpha, x), _rows(sigma, x)
    match target:
        case 'epsilon':
            return (x - sigma * prediction) / jnp.maximum(alpha, 1e-6), prediction
        case 'x0':
            return prediction, (x - alpha * prediction) / jnp.maximum(sigma, 1e-6)
        case 'v':
            return alpha * x - sigma * prediction, sigma * x + alpha * prediction
    raise ValueError(f"target must be 'epsilon', 'x0' or 'v', got {target!r}")


def guided(denoise: Callable, condition: Any, blank: Any, *, scale: jax.Array | float) -> Callable:
    """A denoiser that exaggerates what a condition changes.

        e = e(x, t, blank) + w (e(x, t, condition) - e(x, t, blank))

    Both are one call, of twice the rows. Noise, velocities and data are guided alike.

    Args:
      denoise: (x, t, condition) -> [B, ...].
      condition: array or tree of arrays [B, ...].
      blank: the condition that says nothing, of the same shapes.
      scale: w; 1 is the condition alone, 0 none. A number, or of each row [B].

    Returns:
      A denoiser (x, t) -> [B, ...].

    Classifier-Free Diffusion Guidance (Ho and Salimans, 2022).
    """
    chex.assert_trees_all_equal_shapes(condition, blank)
    twice = lambda a, b: jnp.concatenate([a, b])
    both = jax.tree.map(twice, condition, blank)

    def denoiser(x, t):
        there, without = jnp.split(denoise(twice(x, x), twice(t, t), both), 2)
        w = _rows(jnp.asarray(scale), x) if jnp.ndim(scale) else scale
        return without + w * (there - without)

    return denoiser


def ddim(
    denoise: Callable,
    noise: jax.Array,
    schedule: Schedule,
    *,
    steps: int = 50,
    clip: float | None = None,
) -> jax.Array:
    """Samples without chance after the first noise: a map from noise to data, with gradients.

        x_s = alpha_s x_0 + sigma_s e,   e = denoise(x_t, t), x_0 = (x_t - sigma_t e) / alpha_t

    With `jax.checkpoint(denoise)` the gradient keeps no more than the x_t.

    Args:
      denoise: (x [B, ...], t int32 [B]) -> e [B, ...].
      noise: x at the last time [B, ...].
      schedule: of the times that the denoiser knows.
      steps: of equal length, from the last time to the data.
      clip: x_0 is held in [-clip, clip] at every step, and e follows; None lets it go.

    Returns:
      x_0 [B, ...].

    Denoising Diffusion Implicit Models (Song et al., 2021).
    """
    x = at_least_float32(noise)
    levels = _levels(schedule, steps)

    def step(x, level):
        (t, alpha, sigma), (_, below, faint) = level
        x0, e = _believed(denoise, x, t, alpha, sigma, clip)
        return below * x0 + faint * e, None

    return jax.lax.scan(step, x, _pairs(levels), reverse=True)[0]


def ddim_inversion(
    denoise: Callable, x: jax.Array, schedule: Schedule, *, steps: int = 50, iterations: int = 1
) -> jax.Array:
    """The noise from which `ddim` would make given data.

        x_t solves x_s = alpha_s x_0 + sigma_s e,   e = denoise(x_t, t), by x_t <- step(x_t)

    Args:
      denoise: (x [B, ...], t int32 [B]) -> e [B, ...].
      x: data [B, ...].
      schedule, steps: as for `ddim`.
      iterations: of each step; one takes e at (x_s, t), the usual way; more invert `ddim` ever
        more exactly, where they converge.

    Returns:
      Noise [B, ...].

    Null-text Inversion (Mokady et al., 2023); iterations: Effective Real Image Editing with
    Accelerated Iterative Diffusion Inversion (Pan et al., 2023).
    """
    x = at_least_float32(x)
    levels = _levels(schedule, steps)

    def step(x, level):
        (t, alpha, sigma), (_, below, faint) = level

        def up(_, y):
            e = denoise(y, _times(t, y))
            return alpha * (x - faint * e) / below + sigma * e

        return jax.lax.fori_loop(0, iterations, up, x), None

    return jax.lax.scan(step, x, _pairs(levels))[0]


def ddpm(
    key: jax.Array,
    denoise: Callable,
    noise: jax.Array,
    schedule: Schedule,
    *,
    steps: int = 1000,
    eta: jax.Array | float = 1.0,
    clip: float | None = None,
) -> jax.Array:
    """Samples with fresh noise at every step.

        x_s = alpha_s x_0 + sqrt(sigma_s^2 - d^2) e + d e',   e' ~ N(0, I)
        d = eta sigma_s / sigma_t sqrt(1 - alpha_t^2 / alpha_s^2)

    Args:
      key: of the fresh noise.
      denoise, noise, schedule, clip: as for `ddim`.
      steps: of equal length; as many as there are times and eta = 1 is DDPM with its smaller
        variance, that of the posterior.
      eta: 0 is `ddim`.

    Returns:
      x_0 [B, ...].

    Denoising Diffusion Probabilistic Models (Ho et al., 2020); fewer steps: Denoising Diffusion
    Implicit Models (Song et al., 2021), equation 16.
    """
    x = at_least_float32(noise)
    levels = _levels(schedule, steps)

    def step(x, level):
        (t, alpha, sigma), (_, below, faint) = level
        x0, e = _believed(denoise, x, t, alpha, sigma, clip)
        fresh = jax.random.normal(jax.random.fold_in(key, t), x.shape, x.dtype)
        d = eta * faint / sigma * jnp.sqrt(jnp.maximum(1 - jnp.square(alpha / below), 0))
        kept = jnp.sqrt(jnp.maximum(jnp.square(faint) - jnp.square(d), 0))
        return below * x0 + kept * e + d * fresh, None

    return jax.lax.scan(step, x, _pairs(levels), reverse=True)[0]


def follow_flow(
    velocity: Callable,
    x: jax.Array,
    *,
    steps: int = 50,
    start: float = 0.0,
    end: float = 1.0,
    order: int = 2,
) -> jax.Array:
    """Follows a velocity, from noise at time 0 to data at time 1 or back.

        dx/dt = v(x, t);   order 1 is Euler's method, 2 Heun's, of two calls a step

    Args:
      velocity: (x [B, ...], t [B]) -> [B, ...], as `losses.flow_path` teaches it.
      x: where it starts [B, ...].
      steps: of equal length.
      start, end: times; (1, 0) finds the noise of given data.
      order: 1 or 2.

    Returns:
      x at the end [B, ...].

    Flow Matching for Generative Modeling (Lipman et al., 2023); Heun's steps: Elucidating the
    Design Space of Diffusion-Based Generative Models (Karras et al., 2022).
    """
    if order not in (1, 2):
        raise ValueError(f'order must be 1 or 2, got {order}')
    x = at_least_float32(x)
    dt = (end - start) / steps

    def step(x, i):
        t = start + i * dt
        v = velocity(x, _times(t, x))
        if order == 2:
            v = (v + velocity(x + dt * v, _times(t + dt, x))) / 2
        return x + dt * v, None

    return jax.lax.scan(step, x, jnp.arange(steps, dtype=jnp.float32))[0]


def _schedule(log_square):
    """Of log alpha_t^2; the noise's share without cancellation where it is small."""
    return Schedule(jnp.exp(log_square / 2), jnp.sqrt(-jnp.expm1(log_square)))


def _levels(schedule, steps):
    """Times [steps + 1] and their alpha and sigma; the first is the data itself, time -1."""
    times = len(schedule.alpha)
    if not 0 < steps <= times:
        raise ValueError(f'steps must be from 1 to the {times} times of the schedule, got {steps}')
    t = jnp.arange(1, steps + 1) * times // steps - 1
    levels = (jnp.int32(-1), jnp.float32(1), jnp.float32(0))
    found = (t.astype(jnp.int32), schedule.alpha[t], schedule.sigma[t])
    return jax.tree.map(lambda first, rest: jnp.append(first, rest), levels, found)


def _pairs(levels):
    """(noisier, cleaner) levels of each step."""
    return jax.tree.map(lambda x: x[1:], levels), jax.tree.map(lambda x: x[:-1], levels)


def _believed(denoise, x, t, alpha, sigma, clip):
    """x_0 and e that the denoiser believes in."""
    e = denoise(x, _times(t, x))
    x0 = (x - sigma * e) / jnp.maximum(alpha, 1e-6)
    if clip is not None:
        x0 = jnp.clip(x0, -clip, clip)
        e = (x - alpha * x0) / sigma
    return x0, e


def _times(t, x):
    return jnp.broadcast_to(t, x.shape[:1])


def _rows(values, x):
    """[B] beside [B, ...]."""
    return at_least_float32(values).reshape((-1,) + (1,) * (x.ndim - 1))
