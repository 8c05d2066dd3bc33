"""Two-player losses: a discriminator's logits in, a loss for each example out."""

from collections.abc import Callable
from typing import Any

import chex
import jax

from jssl.losses.arrays import widen


def hinge_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Pushes logits of real examples above 1 and those of generated ones below -1.

        L_b = mean [relu(1 - D(x)) + relu(1 + D(x'))],   mean over the places of a map

    Args:
        real: logits of real examples [B], or of their patches [B, ...].
        fake: logits of generated ones, of the same shape.

    Returns:
        Losses [B].

    Reference: Geometric GAN (Lim and Ye, 2017).
    """
    chex.assert_equal_shape([real, fake])
    return _mean(jax.nn.relu(1 - widen(real)) + jax.nn.relu(1 + widen(fake)))


def hinge_generator(fake: jax.Array) -> jax.Array:
    """Raises the logits of generated examples, without a limit.

        L_b = - mean D(x')

    Args:
        fake: logits of generated examples [B], or of their patches [B, ...].

    Returns:
        Losses [B].

    Reference: Geometric GAN (Lim and Ye, 2017).
    """
    return -_mean(widen(fake))


def non_saturating_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Cross-entropy of a discriminator that tells real from generated examples.

        L_b = mean [log(1 + exp(-D(x))) + log(1 + exp(D(x')))]

    Args:
        real: logits of real examples [B], or of their patches [B, ...].
        fake: logits of generated ones, of the same shape.

    Returns:
        Losses [B].

    Reference: Generative Adversarial Nets (Goodfellow et al., 2014).
    """
    chex.assert_equal_shape([real, fake])
    return _mean(jax.nn.softplus(-widen(real)) + jax.nn.softplus(widen(fake)))


def non_saturating_generator(fake: jax.Array) -> jax.Array:
    """Cross-entropy of generated examples towards 'real': steep where they are told apart.

        L_b = mean log(1 + exp(-D(x')))

    Args:
        fake: logits of generated examples [B], or of their patches [B, ...].

    Returns:
        Losses [B].

    Reference: Generative Adversarial Nets (Goodfellow et al., 2014).
    """
    return _mean(jax.nn.softplus(-widen(fake)))


def adversaries(
    discriminator: Callable, params: Any, real: jax.Array, fake: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Losses of both players, to be added: one gradient of their sum is right for each of them.

        G = non_saturating_generator(D_sg(fake)),   D = hinge_discriminator(D(real), D(sg fake))

    A player's loss has no gradient in what belongs to the other one.

    Args:
        discriminator: (params, x) -> logits [B, ...].
        params: its parameters.
        real: examples [B, ...].
        fake: generated ones, of the same shape, with the generator's gradient.

    Returns:
        Losses of the generator [B] and of the discriminator [B].

    Reference: Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021).
    """
    chex.assert_equal_shape([real, fake])
    fooled = discriminator(jax.lax.stop_gradient(params), fake)
    told = (discriminator(params, jax.lax.stop_gradient(x)) for x in (real, fake))
    return non_saturating_generator(fooled), hinge_discriminator(*told)


def _mean(x):
    return x.reshape(x.shape[0], -1).mean(1)
