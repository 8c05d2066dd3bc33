"""Two-player losses: a discriminator's logits in, a loss for each example out."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

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


def wasserstein_critic(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Raises the scores of real examples over those of generated ones; to be held by a penalty.

        L_b = mean [D(x') - D(x)]

    The generator's loss is `hinge_generator`.

    Args:
        real: scores of real examples [B], or of their patches [B, ...].
        fake: scores of generated ones, of the same shape.

    Returns:
        Losses [B].

    Reference: Wasserstein Generative Adversarial Networks (Arjovsky et al., 2017).
    """
    chex.assert_equal_shape([real, fake])
    return _mean(widen(fake) - widen(real))


def gradient_penalty(
    key: jax.Array,
    critic: Callable,
    real: chex.ArrayTree,
    fake: chex.ArrayTree,
    *,
    weight: float = 10.0,
) -> jax.Array:
    """A slope of one along the way from real to generated examples.

        L_b = weight (|dD/dx at a x_b + (1 - a) x'_b| - 1)^2,   a ~ U(0, 1)

    Args:
        key: of the places.
        critic: x -> scores [B] or [B, ...], of which each depends on its own example only.
        real, fake: examples [B, ...]; or equal trees of them, as the pairs that a critic of two
            arguments sees: one slope in all.
        weight: lambda of the paper.

    Returns:
        Losses [B].

    Reference: Improved Training of Wasserstein GANs (Gulrajani et al., 2017).
    """
    chex.assert_trees_all_equal_shapes(real, fake)
    a = jax.random.uniform(key, jax.tree.leaves(real)[0].shape[:1])

    def between(x, y):
        share = a.reshape(-1, *(1,) * (x.ndim - 1))
        return share * widen(x) + (1 - share) * widen(y)

    square = _square_slopes(critic, jax.tree.map(between, real, fake))
    lives = square > 0
    length = jnp.where(lives, jnp.sqrt(jnp.where(lives, square, 1.0)), 0.0)
    return weight * jnp.square(length - 1)


def r1(critic: Callable, real: chex.ArrayTree, *, gamma: float = 10.0) -> jax.Array:
    """A flat discriminator where the data are.

        L_b = gamma / 2 |dD/dx at x_b|^2

    Args:
        critic: x -> logits [B] or [B, ...], of which each depends on its own example only.
        real: examples [B, ...], or a tree of them.
        gamma: weight.

    Returns:
        Losses [B].

    Reference: Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018).
    """
    return gamma / 2 * _square_slopes(critic, jax.tree.map(widen, real))


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


def _square_slopes(critic, x):
    """|dD/dx|^2 of each example, over all of its numbers [B]."""
    slopes = jax.grad(lambda x: _mean(widen(critic(x))).sum())(x)
    return sum(jnp.square(s).reshape(s.shape[0], -1).sum(1) for s in jax.tree.leaves(slopes))
