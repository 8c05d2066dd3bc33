"""Losses on masked frames of speech, against discrete codes of what was there."""

import math

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import normalise


def wav2vec2(
    key: jax.Array,
    c: jax.Array,
    q: jax.Array,
    mask: jax.Array,
    codes: jax.Array,
    *,
    distractors: int = 100,
    temperature: float = 0.1,
) -> jax.Array:
    """Cross-entropy of finding the code of a masked frame among those of others of its utterance.

        L_t = -log exp(s(c_t, q_t) / tau) / sum_{k in {t} + D_t} exp(s(c_t, q_k) / tau)

    s is the cosine; D_t are drawn evenly, with replacement, from the utterance's other masked
    frames. Those of the same codes as t do not count: they are no wrong answers.

    Args:
        key: of the draw.
        c: context [B, T, D].
        q: quantised frames [B, T, D].
        mask: 1 where a frame was masked [B, T].
        codes: indices of q [B, T, G].
        distractors: size of D_t.
        temperature: tau.

    Returns:
        Loss of each frame [B, T], zero where it was not masked.

    Reference: wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations
    (Baevski et al., 2020), equation 3.
    """
    check_axes(c=(c, 'B T D'), q=(q, 'B T D'), mask=(mask, 'B T'), codes=(codes, 'B T G'))
    masked = mask > 0
    cosine = normalise(widen(c)) @ normalise(widen(q)).swapaxes(1, 2) / temperature
    other = _others(key, masked, distractors)
    same = (jnp.take_along_axis(codes[:, None], other[..., None], 2) == codes[:, :, None]).all(-1)
    alone = (masked.sum(1) < 2)[:, None, None]
    wrong = jnp.where(same | alone, -jnp.inf, jnp.take_along_axis(cosine, other, 2))
    right = jnp.diagonal(cosine, axis1=1, axis2=2)
    total = jax.nn.logsumexp(jnp.concatenate([right[..., None], wrong], -1), -1)
    return jnp.where(masked, total - right, 0.0)


def _others(key, masked, count):
    """For every frame, `count` masked ones of its row that it is not: places [B, T, count]."""
    place = jnp.argsort(~masked, axis=1, stable=True)  # of the masked ones, in order, first
    rank = jnp.cumsum(masked, axis=1)[..., None] - 1
    most = jnp.maximum(masked.sum(1) - 1, 1)[:, None, None]
    # The same numbers as in three axes, which XLA:CPU takes seconds to compile.
    shape = (*masked.shape, count)
    drawn = jax.random.randint(key, (math.prod(shape),), 0, jnp.broadcast_to(most, shape).ravel())
    drawn = drawn.reshape(shape)
    drawn = jnp.where(drawn < rank, drawn, drawn + 1).clip(0, masked.shape[1] - 1)
    return jnp.take_along_axis(place[:, None], drawn, 2)


def code_diversity(p: jax.Array, mask: jax.Array) -> jax.Array:
    """Share of the codes of product codebooks that a batch leaves unused; a scalar.

        L = 1 - 1/(G V) sum_g exp H(mean_t p_tg)

    Args:
        p: probabilities of the codes [B, T, G, V].
        mask: 1 where a frame counts [B, T].

    Returns:
        Scalar of the batch in [0, 1 - 1 / V].

    Reference: wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations
    (Baevski et al., 2020), equation 4; by perplexity, as fairseq has it.
    """
    check_axes(p=(p, 'B T G V'), mask=(mask, 'B T'))
    weight = (mask > 0).astype(jnp.float32)
    mean = jnp.einsum('bt,btgv->gv', weight, widen(p)) / jnp.maximum(weight.sum(), 1)
    # Of a probability that underflows, the product with its logarithm is zero, and so its slope.
    entropy = -(mean * jnp.log(jnp.where(mean > 0, mean, 1))).sum(1)
    return 1 - jnp.exp(entropy).mean() / p.shape[-1]
