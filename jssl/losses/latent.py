"""Losses on codes between an encoder and a decoder: Gaussian, categorical, or from a codebook."""

import math

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import axes_of, check_axes, widen
from jssl.losses.classification import entropy


def gaussian_kl(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """Divergence of a diagonal Gaussian from the standard one.

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


def gaussian_elbo(
    x: jax.Array,
    reconstruction: jax.Array,
    mean: jax.Array,
    log_variance: jax.Array,
    *,
    variance: float = 1.0,
    beta: float = 1.0,
) -> jax.Array:
    """Negative evidence lower bound of a decoder with Gaussian noise.

        L_i = 1/2 sum ((x - x')^2 / v + log 2 pi v) + beta KL(q(z | x_i) | N(0, I))

    Args:
        x: [B, ...].
        reconstruction: x', the decoder's mean for one z drawn from q [B, ...].
        mean, log_variance: of q [B, D], as in `gaussian_kl`.
        variance: v of the noise.
        beta: 1 for the bound, more for beta-VAE.

    Returns:
        Nats of each row [B].

    Reference: Auto-Encoding Variational Bayes (Kingma & Welling, 2014); beta-VAE (Higgins et al.,
    2017).
    """
    check_axes(x=(x, axes_of(x)), reconstruction=(reconstruction, axes_of(x)))
    square = jnp.square(widen(x) - widen(reconstruction))
    surprise = (square / variance + math.log(2 * math.pi * variance)) / 2
    return _of_rows(surprise) + beta * gaussian_kl(mean, log_variance)


def bernoulli_elbo(
    x: jax.Array,
    logits: jax.Array,
    mean: jax.Array,
    log_variance: jax.Array,
    *,
    beta: float = 1.0,
) -> jax.Array:
    """Negative evidence lower bound of a decoder of black and white.

        L_i = sum (softplus(l) - x l) + beta KL(q(z | x_i) | N(0, I))

    Args:
        x: in [0, 1], [B, ...].
        logits: l, the decoder's for one z drawn from q [B, ...].
        mean, log_variance: of q [B, D], as in `gaussian_kl`.
        beta: 1 for the bound, more for beta-VAE.

    Returns:
        Nats of each row [B].

    Reference: Auto-Encoding Variational Bayes (Kingma & Welling, 2014); beta-VAE (Higgins et al.,
    2017).
    """
    check_axes(x=(x, axes_of(x)), logits=(logits, axes_of(x)))
    surprise = optax.sigmoid_binary_cross_entropy(widen(logits), widen(x))
    return _of_rows(surprise) + beta * gaussian_kl(mean, log_variance)


def categorical_kl(logits: jax.Array) -> jax.Array:
    """Divergence of a categorical code from the uniform one: the prior of a Gumbel-softmax VAE.

        L_i = log K - H(softmax(l_i))

    Args:
        logits: [B, K].

    Returns:
        Nats of each row [B], in [0, log K].

    Reference: Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017).
    """
    return math.log(logits.shape[-1]) - entropy(logits)


def gumbel_softmax(
    key: jax.Array, logits: jax.Array, *, temperature: float = 1.0, hard: bool = False
) -> jax.Array:
    """Draws from a categorical distribution, with a gradient.

        softmax((l + g) / tau),   g = -log(-log u)

    Args:
        key: of the draw.
        logits: [B, K].
        temperature: tau; may be traced.
        hard: whether to round to one-hot, with the gradient of the soft draw.

    Returns:
        Draws [B, K], float32 or wider.

    Reference: Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017).
    """
    check_axes(logits=(logits, 'B K'), temperature=(temperature, ''))
    logits = widen(logits)
    noisy = logits + jax.random.gumbel(key, logits.shape, logits.dtype)
    soft = jax.nn.softmax(noisy / temperature)
    if not hard:
        return soft
    one_hot = jax.nn.one_hot(noisy.argmax(1), logits.shape[1], dtype=soft.dtype)
    return soft + jax.lax.stop_gradient(one_hot - soft)


def commitment(z: jax.Array, q: jax.Array, *, beta: float = 0.25) -> jax.Array:
    """Squared distance of a token from its code, which does not move.

        L = beta |z - sg q|^2 / D

    Args:
        z: tokens of the encoder [..., D].
        q: their codes [..., D], without gradient.
        beta: weight.

    Returns:
        Loss of each token [...].

    Reference: Neural Discrete Representation Learning (van den Oord et al., 2017).
    """
    check_axes(z=(z, axes_of(z)), q=(q, axes_of(z)))
    return beta * jnp.square(widen(z) - jax.lax.stop_gradient(widen(q))).mean(-1)


def vq_loss(z: jax.Array, q: jax.Array, *, beta: float = 0.25) -> jax.Array:
    """Codebook and commitment terms of a vector quantiser.

        L = |sg z - q|^2 / D + beta |z - sg q|^2 / D

    The weight beta is on the commitment, which moves the encoder; some early code had it swapped.

    Args:
        z: tokens of the encoder [..., D].
        q: the chosen codes [..., D], without the straight-through gradient.
        beta: weight of the commitment.

    Returns:
        Loss of each token [...].

    Reference: Neural Discrete Representation Learning (van den Oord et al., 2017).
    """
    return commitment(q, z, beta=1.0) + commitment(z, q, beta=beta)


def _of_rows(x):
    return x.reshape(x.shape[0], -1).sum(1)
