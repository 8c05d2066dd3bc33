"""What a denoiser learns: targets, weightings, and paths between noise and data.

x_t = a x_0 + s e,   e ~ N(0, I);   a and s are given for each row, [B]
"""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import axes_of, check_axes, widen

TARGETS = ('epsilon', 'x0', 'v')


def diffuse(x0: jax.Array, noise: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
    """Data with noise in it.

        x_t = alpha x_0 + sigma e

    Args:
        x0, noise: [B, ...].
        alpha, sigma: of each row [B].

    Returns:
        x_t [B, ...].

    Reference: Denoising Diffusion Probabilistic Models (Ho et al., 2020).
    """
    _check(x0, noise, alpha, sigma)
    return _rows(alpha, x0) * widen(x0) + _rows(sigma, x0) * widen(noise)


def denoising_target(
    x0: jax.Array,
    noise: jax.Array,
    alpha: jax.Array,
    sigma: jax.Array,
    *,
    target: str = 'epsilon',
) -> jax.Array:
    """What the network is asked for.

        'epsilon': e      'x0': x_0      'v': alpha e - sigma x_0

    Args:
        x0, noise, alpha, sigma: as in `diffuse`.
        target: one of the three.

    Returns:
        [B, ...].

    Reference: Progressive Distillation for Fast Sampling of Diffusion Models (Salimans & Ho, 2022).
    """
    _check(x0, noise, alpha, sigma)
    if target not in TARGETS:
        raise ValueError(f'target must be one of {", ".join(TARGETS)}, got {target!r}')
    x0, noise = widen(x0), widen(noise)
    if target == 'v':
        return _rows(alpha, x0) * noise - _rows(sigma, x0) * x0
    return noise if target == 'epsilon' else x0


def denoising(
    prediction: jax.Array, target: jax.Array, *, weight: jax.Array | float = 1.0
) -> jax.Array:
    """Weighted squared error, a mean over an example's numbers.

        L_i = w_i mean (prediction_i - target_i)^2

    Args:
        prediction, target: [B, ...]; the target has no gradient.
        weight: a scalar, or of each row [B], as `min_snr` gives it.

    Returns:
        Loss of each row [B].

    Reference: Denoising Diffusion Probabilistic Models (Ho et al., 2020), L_simple.
    """
    check_axes(
        prediction=(prediction, axes_of(prediction)),
        target=(target, axes_of(prediction)),
        weight=(weight, 'B' if jnp.ndim(weight) else ''),
    )
    error = widen(prediction) - jax.lax.stop_gradient(widen(target))
    return widen(jnp.asarray(weight)) * jnp.square(error).reshape(len(error), -1).mean(1)


def min_snr(
    alpha: jax.Array, sigma: jax.Array, *, gamma: float = 5.0, target: str = 'epsilon'
) -> jax.Array:
    """Weights that stop growing where the noise is small.

        snr = (alpha / sigma)^2;   w = min(snr, gamma) / d
        d = snr for 'epsilon', 1 for 'x0', snr + 1 for 'v'

    Args:
        alpha, sigma: of each row [B].
        gamma: largest weight of x_0.
        target: as in `denoising_target`.

    Returns:
        Weights [B].

    Reference: Efficient Diffusion Training via Min-SNR Weighting Strategy (Hang et al., 2023).
    """
    check_axes(alpha=(alpha, 'B'), sigma=(sigma, 'B'))
    snr = jnp.square(widen(alpha)) / jnp.maximum(jnp.square(widen(sigma)), 1e-12)
    capped = jnp.minimum(snr, gamma)
    divisor = {'epsilon': jnp.maximum(snr, 1e-12), 'x0': jnp.ones_like(snr), 'v': snr + 1}
    if target not in divisor:
        raise ValueError(f'target must be one of {", ".join(TARGETS)}, got {target!r}')
    return capped / divisor[target]


def flow_path(x0: jax.Array, x1: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The straight way from noise to data, and its velocity.

        x_t = (1 - t) x_0 + t x_1,   v = x_1 - x_0

    Args:
        x0: noise [B, ...].
        x1: data [B, ...].
        time: t of each row [B], in [0, 1].

    Returns:
        x_t and v [B, ...]; `denoising(network(x_t, t), v)` is the loss of flow matching.

    Reference: Flow Matching for Generative Modeling (Lipman et al., 2023); Flow Straight and Fast
    (Liu et al., 2023).
    """
    check_axes(x0=(x0, axes_of(x0)), x1=(x1, axes_of(x0)), time=(time, 'B'))
    t, x0, x1 = _rows(time, x0), widen(x0), widen(x1)
    return (1 - t) * x0 + t * x1, x1 - x0


def gaussian_kl(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Divergence of a diagonal Gaussian from the standard one: half of the ELBO.

        L_i = 1/2 sum_d (mu^2 + exp(l) - 1 - l)

    Args:
        mean: mu [B, D].
        log_variance: l [B, D]; above 80 it counts as 80, since its exponential must be a number.

    Returns:
        Nats of each row [B].

    Reference: Auto-Encoding Variational Bayes (Kingma & Welling, 2014).
    """
    check_axes(mean=(mean, 'B D'), log_variance=(log_variance, 'B D'))
    mu, l = widen(mean), jnp.minimum(widen(log_variance), 80.0)
    return (jnp.square(mu) + jnp.expm1(l) - l).sum(1) / 2


def _check(x0, other, alpha, sigma):
    check_axes(
        x0=(x0, axes_of(x0)), noise=(other, axes_of(x0)), alpha=(alpha, 'B'), sigma=(sigma, 'B')
    )


def _rows(values, x):
    """[B] beside [B, ...]."""
    return widen(values).reshape((-1,) + (1,) * (x.ndim - 1))
