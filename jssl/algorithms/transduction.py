"""Prototypes of few-shot tasks: from the labelled points, and moved by the unlabelled ones."""

import chex
import jax
import jax.numpy as jnp
import optax

from jssl.algorithms._precision import at_least_float32
from jssl.algorithms.kmeans import pairwise_squared_distances


def class_means(z: jax.Array, labels: jax.Array, *, classes: int) -> jax.Array:
    """The mean of every class's labelled points: the prototypes of a task.

        m_k = mean of z_p with y_p = k

    Args:
        z: points [N, D].
        labels: class of every point [N], -1 where unknown.
        classes: K; a class without points is at zero.

    Returns:
        Prototypes [K, D], float32 or wider.

    Reference: Prototypical Networks for Few-shot Learning (Snell et al., 2017).
    """
    chex.assert_rank([z, labels], [2, 1])
    chex.assert_equal(z.shape[0], labels.shape[0])
    z = at_least_float32(z)
    return _means(z, jax.nn.one_hot(labels, classes, dtype=z.dtype))  # -1 gives a row of zeros


def rectified_prototypes(
    z: jax.Array, labels: jax.Array, *, classes: int, scale: float = 10.0
) -> tuple[jax.Array, jax.Array]:
    """Moves the queries onto the labelled points' mean; averages what is nearest each prototype.

        z'_q = z_q + mean of labelled z - mean of queries,   c_pk = cos(z'_p, m_k)
        m'_k = mean of z'_p with k = argmax_j c_pj, weighted by softmax_k(scale c_p)

    The shift takes labelled points and queries to have the same classes in the same shares.

    Args:
        z: points [N, D].
        labels: class of every point [N], -1 for queries.
        classes: K.
        scale: of the cosine similarities.

    Returns:
        Moved points z' [N, D] and prototypes m' [K, D], float32 or wider.

    Reference: Prototype Rectification for Few-Shot Learning (Liu et al., 2020).
    """
    z = at_least_float32(z)
    known = (labels >= 0)[:, None]
    centre = lambda rows: (z * rows).sum(axis=0) / jnp.maximum(rows.sum(), 1)
    z = jnp.where(known, z, z + centre(known) - centre(~known))
    means = class_means(z, labels, classes=classes)
    similarity = jnp.matmul(_unit(z), _unit(means).T, precision='highest')
    nearest = jax.nn.one_hot(similarity.argmax(axis=1), classes, dtype=z.dtype)
    moved = _means(z, nearest * jax.nn.softmax(scale * similarity))
    return z, jnp.where(nearest.sum(axis=0)[:, None] > 0, moved, means)


def information_maximisation(
    z: jax.Array,
    labels: jax.Array,
    prototypes: jax.Array,
    *,
    scale: float = 15.0,
    conditional: float = 0.1,
    supervised: float = 0.1,
    learning_rate: float = 1e-4,
    steps: int = 1000,
) -> tuple[jax.Array, jax.Array]:
    """Prototypes by Adam whose predictions tell as much as they can about the queries: TIM-GD.

        p_p = softmax(-scale / 2 |z_p - m|^2),  min over m of
        supervised * mean of -log p_p,y  -  H(mean of query p)  +  conditional * mean of H(query p)

    The entropy of the mean prediction draws it towards classes of equal size.

    Args:
        z: points [N, D].
        labels: class of every point [N], -1 for queries.
        prototypes: to start from [K, D].
        scale: inverse temperature.
        conditional: weight of the entropy of each query's prediction.
        supervised: weight of the labelled points' cross-entropy.
        learning_rate: of Adam.
        steps: of Adam.

    Returns:
        Probabilities [N, K], and the prototypes that give them [K, D].

    Reference: Transductive Information Maximization For Few-Shot Learning (Boudiaf et al., 2020).
    """
    z, start = at_least_float32(z), at_least_float32(prototypes)
    chex.assert_rank([z, labels, start], [2, 1, 2])
    query = (labels < 0).astype(z.dtype)[:, None]
    known = jax.nn.one_hot(labels, len(start), dtype=z.dtype)
    entropy = lambda p: -jax.scipy.special.xlogy(p, jnp.maximum(p, 1e-12)).sum(axis=-1)
    logits = lambda m: -scale / 2 * pairwise_squared_distances(z, m)

    def loss(m):
        log_p = jax.nn.log_softmax(logits(m))
        p, count = jnp.exp(log_p), jnp.maximum(query.sum(), 1)
        cross = -(known * log_p).sum() / jnp.maximum(known.sum(), 1)
        within = (query[:, 0] * entropy(p)).sum() / count
        return supervised * cross - entropy((query * p).sum(axis=0) / count) + conditional * within

    adam = optax.adam(learning_rate)

    def step(carry, _):
        m, state = carry
        updates, state = adam.update(jax.grad(loss)(m), state)
        return (m + updates, state), None

    (m, _), _ = jax.lax.scan(step, (start, adam.init(start)), length=steps)
    return jax.nn.softmax(logits(m)), m


def _means(z, members):
    mass = members.sum(axis=0)[:, None]
    return jnp.matmul(members.T, z, precision='highest') / jnp.where(mass > 0, mass, 1)


def _unit(x):
    squares = (x * x).sum(axis=1, keepdims=True)
    return x * jnp.where(squares > 0, jax.lax.rsqrt(jnp.where(squares > 0, squares, 1)), 0)
