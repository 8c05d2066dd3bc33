"""Losses on learned prototypes whose use over the batch is held to a prior."""

import functools

import jax
import jax.numpy as jnp
import optax

from jssl.algorithms.sinkhorn import sinkhorn
from jssl.losses.arrays import check_axes, masked_mean, widen
from jssl.losses.similarity import cosine_matrix


def msn(
    anchors: jax.Array,
    targets: jax.Array,
    prototypes: jax.Array,
    *,
    temperature: float = 0.1,
    target_temperature: float = 0.025,
    iterations: int = 3,
    weight: float = 1.0,
) -> jax.Array:
    """Masked views share the prototypes of the whole image, and all prototypes are used alike.

        L_i = 1/V sum_v H(q_i, p_vi) + weight (log K - H(mean p))
        p = softmax(cos(a, c) / tau),   q = softmax(cos(t, c) / tau+), by Sinkhorn over the batch

    Args:
        anchors: projections of V masked or cropped views [V, B, D].
        targets: projections of the target views [B, D], without gradient.
        prototypes: [K, D]; their gradient comes from the anchors alone.
        temperature: tau.
        target_temperature: tau+; the authors' code sharpens by 0.25 after tau = 0.1.
        iterations: of Sinkhorn's algorithm; 0 for plain targets.
        weight: of the mean entropy.

    Returns:
        Loss of each image [B]; the second term is the same for all.

    Reference: Masked Siamese Networks for Label-Efficient Learning (Assran et al., 2022).
    """
    check_axes(anchors=(anchors, 'V B D'), targets=(targets, 'B D'), prototypes=(prototypes, 'K D'))
    cost, log_mean = _shared(
        anchors, targets, prototypes, temperature, target_temperature, iterations
    )
    entropy = -(jnp.exp(log_mean) * log_mean).sum()
    return cost + weight * (jnp.log(log_mean.size) - entropy)


def pmsn(
    anchors: jax.Array,
    targets: jax.Array,
    prototypes: jax.Array,
    prior: jax.Array,
    *,
    temperature: float = 0.1,
    target_temperature: float = 0.025,
    iterations: int = 3,
    weight: float = 1.0,
) -> jax.Array:
    """MSN with another prior than that all prototypes are used alike.

        L_i = 1/V sum_v H(q_i, p_vi) + weight KL(mean p || prior)

    `msn` is its case of a uniform prior. lightly takes the divergence the other way round.

    Args:
        anchors, targets, prototypes: as in `msn`.
        prior: shares of the prototypes [K], above zero; the paper's is `power_law`.
        temperature, target_temperature, iterations, weight: as in `msn`.

    Returns:
        Loss of each image [B]; the second term is the same for all.

    Reference: The Hidden Uniform Cluster Prior in Self-Supervised Learning (Assran et al., 2023).
    """
    check_axes(
        anchors=(anchors, 'V B D'),
        targets=(targets, 'B D'),
        prototypes=(prototypes, 'K D'),
        prior=(prior, 'K'),
    )
    cost, log_mean = _shared(
        anchors, targets, prototypes, temperature, target_temperature, iterations
    )
    return cost + weight * (jnp.exp(log_mean) * (log_mean - jnp.log(widen(prior)))).sum()


def power_law(count: int, *, exponent: float = 0.25) -> jax.Array:
    """Shares that fall with the rank: few prototypes for much, many for little.

        p_k ~ k^-exponent,   k = 1 ... K

    Args:
        count: K.
        exponent: 0 for the uniform prior.

    Returns:
        Shares [K] with sum one.

    Reference: The Hidden Uniform Cluster Prior in Self-Supervised Learning (Assran et al., 2023).
    """
    return jax.nn.softmax(-exponent * jnp.log(jnp.arange(1.0, count + 1)))


def _shared(anchors, targets, prototypes, temperature, target_temperature, iterations):
    """Mean cross-entropy of an image's views [B], and the log of the mean prediction [K]."""
    views, batch, _ = anchors.shape
    cosine = jax.vmap(cosine_matrix, in_axes=(0, None))(anchors, prototypes)
    log_p = jax.nn.log_softmax(cosine / temperature)
    scores = jax.nn.log_softmax(cosine_matrix(targets, prototypes) / target_temperature)
    q = sinkhorn(scores, epsilon=1.0, iterations=iterations) if iterations else jnp.exp(scores)
    cost = -(jax.lax.stop_gradient(q)[None] * log_p).sum(2).mean(0)
    return cost, jax.nn.logsumexp(log_p, axis=(0, 1)) - jnp.log(views * batch)


def capi(
    student: jax.Array,
    teacher: jax.Array,
    mask: jax.Array,
    *,
    student_temperature: float = 0.12,
    teacher_temperature: float = 0.06,
    iterations: int = 3,
) -> jax.Array:
    """Clusters of the patches that were left out, each place using all clusters alike.

        L_i = mean_{n masked} -sum_k q_ink log softmax(s_in / tau_s)_k
        q_.n. = sinkhorn(t_.n. / tau_t) over the batch, for each place n of the grid

    The clusters learn from the same function: capi(clusters, clusters, ones) of the teacher's
    logits, whose features carry no gradient.

    Args:
        student: logits of the patches that it predicts [B, N, K]; those not masked do not count.
        teacher: logits of all patches [B, N, K], without gradient.
        mask: where a patch was left out [B, N].
        student_temperature: tau_s.
        teacher_temperature: tau_t.
        iterations: of Sinkhorn's algorithm.

    Returns:
        Loss of each image [B]; zero for one without masked patches.

    Reference: Cluster and Predict Latent Patches for Improved Masked Image Modeling (Darcet et al.,
    2025).
    """
    check_axes(student=(student, 'B N K'), teacher=(teacher, 'B N K'), mask=(mask, 'B N'))
    codes = functools.partial(sinkhorn, epsilon=teacher_temperature, iterations=iterations)
    q = jax.lax.map(codes, widen(teacher).swapaxes(0, 1)).swapaxes(0, 1)
    cost = optax.safe_softmax_cross_entropy(widen(student) / student_temperature, q)
    return masked_mean(cost, mask.astype(bool))
