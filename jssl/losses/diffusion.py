"""What a denoiser learns: targets, weightings, and paths between noise and data.

x_t = a x_0 + s e,   e ~ N(0, I);   a and s are given for each row, [B]
"""

from collections.abc import Callable

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


def score_matching(score: Callable, x: jax.Array) -> jax.Array:
    """The score of the data without noise and without knowing it: by the trace of its slope.

        L_i = tr(ds/dx at x_i) + 1/2 |s(x_i)|^2

    The trace takes D derivatives: for few dimensions.

    Args:
        score: s, x -> [B, D], each row of its own x only.
        x: [B, D].

    Returns:
        Loss of each row [B]; without a lower bound.

    Reference: Estimation of Non-Normalized Statistical Models by Score Matching (Hyvarinen, 2005).
    """
    check_axes(x=(x, 'B D'))
    x = widen(x)
    bases = jnp.eye(x.shape[1], dtype=x.dtype)

    def slope(basis):
        s, turned = jax.jvp(score, (x,), (jnp.broadcast_to(basis[None], x.shape),))
        return s, (widen(turned) * basis[None]).sum(1)

    s, slopes = jax.vmap(slope, out_axes=(None, 0))(bases)
    return slopes.sum(0) + jnp.square(widen(s)).sum(1) / 2


def sliced_score_matching(key: jax.Array, score: Callable, x: jax.Array) -> jax.Array:
    """Score matching along one random direction for each example.

        L_i = v_i^T (ds/dx at x_i) v_i + 1/2 |s(x_i)|^2,   v of random signs

    Args:
        key: of the directions.
        score: s, x -> [B, ...], each row of its own x only.
        x: [B, ...].

    Returns:
        Loss of each row [B]; its mean over directions is `score_matching`.

    Reference: Sliced Score Matching: A Scalable Approach to Density and Score Estimation (Song et
    al., 2019), with variance reduction.
    """
    x = widen(x)
    v = jax.random.rademacher(key, x.shape, x.dtype)
    s, turned = jax.jvp(score, (x,), (v,))
    each = widen(turned) * v + jnp.square(widen(s)) / 2
    return each.reshape(x.shape[0], -1).sum(1)


def denoising_score(score: jax.Array, noise: jax.Array, sigma: jax.Array) -> jax.Array:
    """The score of noisy data points back along the noise.

        L_i = 1/2 |sigma s(x + sigma e) + e|^2

    Args:
        score: s at the noisy data [B, ...].
        noise: e [B, ...].
        sigma: of each row [B]; the factor sigma^2 makes all levels of noise weigh alike.

    Returns:
        Loss of each row [B].

    Reference: A Connection Between Score Matching and Denoising Autoencoders (Vincent, 2011);
    Generative Modeling by Estimating Gradients of the Data Distribution (Song & Ermon, 2019).
    """
    check_axes(score=(score, axes_of(score)), noise=(noise, axes_of(score)), sigma=(sigma, 'B'))
    error = _rows(sigma, score) * widen(score) + widen(noise)
    return jnp.square(error).reshape(error.shape[0], -1).sum(1) / 2


def _check(x0, other, alpha, sigma):
    check_axes(
        x0=(x0, axes_of(x0)), noise=(other, axes_of(x0)), alpha=(alpha, 'B'), sigma=(sigma, 'B')
    )


def _rows(values, x):
    """[B] beside [B, ...]."""
    return widen(values).reshape((-1,) + (1,) * (x.ndim - 1))
