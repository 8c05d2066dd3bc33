"""A classifier whose prototypes follow the test data: T3A, without gradients."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Supports(NamedTuple):
    """The features that stand for each class [K, M, D], and how unsure each was [K, M].

    An empty place has the entropy inf.
    """

    h: jax.Array
    entropy: jax.Array


def first_supports(weights: jax.Array, bias: jax.Array, *, size: int) -> Supports:
    """The rows of a linear classifier as the only supports.

    Args:
        weights: of the classifier [D, K].
        bias: [K].
        size: M, how many features a class keeps, 1 or more.

    Returns:
        `Supports`, one place of each class taken.

    Reference: Test-Time Classifier Adjustment Module (Iwasawa and Matsuo, 2021).
    """
    chex.assert_rank([weights, bias], [2, 1])
    entropy = _entropy(weights.T @ weights + bias[None, :])
    h = jnp.pad(weights.T[:, None, :], ((0, 0), (0, size - 1), (0, 0)))
    empty = jnp.pad(entropy[:, None], ((0, 0), (0, size - 1)), constant_values=jnp.inf)
    return Supports(h, empty)


def update_supports(supports: Supports, h: jax.Array, logits: jax.Array) -> Supports:
    """Adds rows to the class that is predicted; each class keeps its surest features.

    Args:
        supports: so far.
        h: features [B, D].
        logits: of the classifier as it was trained [B, K].

    Returns:
        `Supports` of the same shape.

    Reference: Test-Time Classifier Adjustment Module (Iwasawa and Matsuo, 2021), equations 2 to 4.
    """
    chex.assert_rank([h, logits], 2)
    size = supports.entropy.shape[1]
    own = logits.argmax(1)[None, :] == jnp.arange(logits.shape[1])[:, None]
    entropy = jnp.where(own, _entropy(logits)[None, :], jnp.inf)
    entropy = jnp.concatenate([supports.entropy, entropy], axis=1)
    among = jnp.concatenate([supports.h, jnp.broadcast_to(h[None], (len(own), *h.shape))], axis=1)
    surest, places = jax.lax.top_k(-entropy, size)
    return Supports(jnp.take_along_axis(among, places[:, :, None], axis=1), -surest)


def support_logits(supports: Supports, h: jax.Array) -> jax.Array:
    """Products with the prototype of each class: the mean direction of its supports.

    Args:
        supports: of K classes.
        h: features [B, D].

    Returns:
        Logits [B, K].

    Reference: Test-Time Classifier Adjustment Module (Iwasawa and Matsuo, 2021), equation 5.
    """
    chex.assert_rank(h, 2)
    taken = jnp.isfinite(supports.entropy)[:, :, None]
    prototypes = jnp.where(taken, _unit(supports.h), 0).sum(1)
    return h @ _unit(prototypes).T


def _unit(x):
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _entropy(logits):
    return -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1)
