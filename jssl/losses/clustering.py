"""Losses on assignments to prototypes."""

import functools

import jax
import jax.numpy as jnp

from jssl.algorithms.sinkhorn import sinkhorn
from jssl.losses.arrays import check_axes, widen


def swapped_prediction(
    scores: jax.Array, codes: jax.Array, *, temperature: float = 0.1
) -> jax.Array:
    """Cross-entropy of each view's prediction under every other view's code.

        L_i = mean_{g, v != g} -sum_k q_gik log softmax(s_vi / tau)_k

    A mean over the G (V - 1) pairs; the paper's equation 1 adds its two.

    Args:
        scores: similarities of projections and prototypes [V, B, K], V >= 2 views.
        codes: codes of the first G <= V views [G, B, K], without gradient.
        temperature: tau; may be traced.

    Returns:
        Loss of each image [B].

    Reference: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (Caron et
    al., 2020).
    """
    check_axes(scores=(scores, 'V B K'), codes=(codes, 'G B K'), temperature=(temperature, ''))
    views, coded = scores.shape[0], codes.shape[0]
    if views < 2 or not 1 <= coded <= views:
        raise ValueError(f'scores need 2 views, codes 1 to all of them: got {views} and {coded}')
    log_p = jax.nn.log_softmax(widen(scores) / temperature)
    codes = jax.lax.stop_gradient(widen(codes))
    pairs = -jnp.einsum('gbk,vbk->gvb', codes, log_p)
    other = ~jnp.eye(coded, views, dtype=bool)[:, :, None]
    return jnp.where(other, pairs, 0.0).sum((0, 1)) / (coded * (views - 1))


def swav(
    scores1: jax.Array,
    scores2: jax.Array,
    *,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> jax.Array:
    """Swapped prediction of two views with Sinkhorn codes of the same batch.

        L_i = (CE(q2_i, s1_i / tau) + CE(q1_i, s2_i / tau)) / 2,   q = sinkhorn(s), no gradient

    Args:
        scores1, scores2: similarities of two views and the prototypes [B, K]. The paper's are
            cosines: normalise projections and prototypes before the product.
        temperature: tau; may be traced.
        epsilon: weight of the codes' entropy.
        iterations: of Sinkhorn's algorithm.

    Returns:
        Loss of each image [B].

    Reference: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (Caron et
    al., 2020).
    """
    check_axes(scores1=(scores1, 'B K'), scores2=(scores2, 'B K'))
    scores = jnp.stack([scores1, scores2])
    code = functools.partial(sinkhorn, epsilon=epsilon, iterations=iterations)
    codes = jnp.stack([code(scores1), code(scores2)])
    return swapped_prediction(scores, codes, temperature=temperature)


def scan(logits: jax.Array, neighbours: jax.Array, *, entropy_weight: float = 5.0) -> jax.Array:
    """Neighbours in one cluster, all clusters in use; a scalar.

        L = -mean_i log <p_i, p_n(i)> - lambda H(mean_i p_i)

    Args:
        logits: cluster logits of images [B, K].
        neighbours: those of one neighbour of each [B, K].
        entropy_weight: lambda.

    Returns:
        A scalar, at least -lambda log K.

    Reference: SCAN: Learning to Classify Images without Labels (Van Gansbeke et al., 2020),
    equation 2.
    """
    check_axes(logits=(logits, 'B K'), neighbours=(neighbours, 'B K'))
    log_p, log_q = (jax.nn.log_softmax(widen(a)) for a in (logits, neighbours))
    agreement = jax.nn.logsumexp(log_p + log_q, axis=1)
    mean = jnp.exp(log_p).mean(0)
    entropy = -(mean * jnp.log(jnp.maximum(mean, 1e-30))).sum()
    return -agreement.mean() - entropy_weight * entropy
