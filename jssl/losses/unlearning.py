"""Losses that take knowledge away: on log-probabilities of answers, or on representations."""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import cosine_similarity


def gradient_ascent(forget: jax.Array) -> jax.Array:
    """Ascent on what is to be forgotten.

        L_i = log p(forget_i)

    Args:
        forget: log-probabilities [B].

    Returns:
        Loss of each row [B]; without a lower bound.

    Reference: Knowledge Unlearning for Mitigating Privacy Risks in Language Models (Jang et al.,
    2023).
    """
    check_axes(forget=(forget, 'B'))
    return widen(forget)


def gradient_difference(forget: jax.Array, retain: jax.Array, *, weight: float = 1.0) -> jax.Array:
    """Ascent on what is to be forgotten, descent on what is to be kept.

        L_i = log p(forget_i) - weight log p(retain_i)

    Args:
        forget, retain: log-probabilities [B].
        weight: of what is kept.

    Returns:
        Loss of each pair [B]; without a lower bound.

    Reference: Continual Learning and Private Unlearning (Liu et al., 2022).
    """
    check_axes(forget=(forget, 'B'), retain=(retain, 'B'))
    return widen(forget) - weight * widen(retain)


def npo(forget: jax.Array, reference: jax.Array, *, beta: float = 0.1) -> jax.Array:
    """Ascent that fades as an answer becomes unlikely: the rejected half of DPO.

        L_i = -2 / beta log sigma(-beta (log pi(y_i) - log ref(y_i)))

    Args:
        forget: log-probabilities of answers to forget [B].
        reference: those of the model before unlearning [B], without gradient.
        beta: 0 is the limit of plain ascent.

    Returns:
        Loss of each answer [B].

    Reference: Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning
    (Zhang et al., 2024).
    """
    check_axes(forget=(forget, 'B'), reference=(reference, 'B'))
    ratio = widen(forget) - jax.lax.stop_gradient(widen(reference))
    return -2 / beta * jax.nn.log_sigmoid(-beta * ratio)


def simnpo(
    forget: jax.Array, length: jax.Array, *, beta: float = 2.5, gamma: float = 0.0
) -> jax.Array:
    """NPO on mean log-probabilities, without a reference.

        L_i = -2 / beta log sigma(-beta log pi(y_i) / |y_i| - gamma)

    Args:
        forget: log-probabilities of answers to forget [B].
        length: their numbers of tokens [B].
        beta: how soon the ascent fades.
        gamma: margin.

    Returns:
        Loss of each answer [B].

    Reference: Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning
    (Fan et al., 2024).
    """
    check_axes(forget=(forget, 'B'), length=(length, 'B'))
    forget = widen(forget)
    mean = forget / jnp.maximum(length, 1).astype(forget.dtype)
    return -2 / beta * jax.nn.log_sigmoid(-beta * mean - gamma)


def rmu(
    forget: jax.Array,
    retain: jax.Array,
    frozen: jax.Array,
    direction: jax.Array,
    *,
    coefficient: float = 6.5,
    weight: float = 1200.0,
) -> jax.Array:
    """Representations of what is to be forgotten turned to one random direction, others held.

        L_i = mean_t |f_it - c u|^2 + weight mean_t |r_it - frozen_it|^2

    Args:
        forget, retain: representations of one layer [B, T, D].
        frozen: those of `retain` before unlearning [B, T, D], without gradient.
        direction: u [D], of unit length, drawn once.
        coefficient: c.
        weight: of what is held.

    Returns:
        Loss of each pair [B].

    Reference: The WMDP Benchmark: Measuring and Reducing Malicious Use With Unlearning (Li et al.,
    2024).
    """
    check_axes(
        forget=(forget, 'B T D'),
        retain=(retain, 'B S D'),
        frozen=(frozen, 'B S D'),
        direction=(direction, 'D'),
    )
    control = coefficient * jax.lax.stop_gradient(widen(direction))[None, None]
    held = widen(retain) - jax.lax.stop_gradient(widen(frozen))
    square = lambda x: jnp.square(x).sum(2).mean(1)
    return square(widen(forget) - control) + weight * square(held)


def squashed_error(errors: jax.Array) -> jax.Array:
    """An error that may be driven up without end, and its loss not.

        phi(m) = exp(m / (m + 1)),   from 1 to e

    LAF takes the sum over what is kept minus the sum over what is forgotten, of the errors with
    which two autoencoders give back their representations.

    Args:
        errors: m [B], not negative.

    Returns:
        Each error squashed [B].

    Reference: Label-Agnostic Forgetting: A Supervision-Free Unlearning in Deep Models (Shen et al.,
    2024), equation 8.
    """
    check_axes(errors=(errors, 'B'))
    m = jnp.maximum(widen(errors), 0)
    # 1 - 1 / (m + 1) is the same number, and finite for every m.
    return jnp.exp(1 - 1 / (m + 1))


def representation_alignment(
    kept: jax.Array,
    kept_before: jax.Array,
    forgotten: jax.Array,
    forgotten_before: jax.Array,
    *,
    temperature: float = 20.0,
) -> jax.Array:
    """What is kept stays where the original model had it, and what is forgotten leaves.

        L_i = c(e_i, e0_i) - log sum_j exp(c(f_j, f0_j) / tau),   c = 1 - cosine

    Args:
        kept: e, representations of what is kept [B, D].
        kept_before: e0, those of the original model [B, D].
        forgotten: f, representations of what is forgotten [N, D].
        forgotten_before: f0, those of the original model [N, D].
        temperature: tau.

    Returns:
        Loss of each row that is kept [B].

    Reference: Label-Agnostic Forgetting: A Supervision-Free Unlearning in Deep Models (Shen et al.,
    2024), equation 10.
    """
    check_axes(kept=(kept, 'B D'), kept_before=(kept_before, 'B D'))
    check_axes(forgotten=(forgotten, 'N D'), forgotten_before=(forgotten_before, 'N D'))
    stays = 1 - cosine_similarity(kept, kept_before)
    leaves = (1 - cosine_similarity(forgotten, forgotten_before)) / temperature
    return stays - jax.nn.logsumexp(leaves)
