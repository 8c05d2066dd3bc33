"""Preference losses on log-probabilities of whole answers: sums over their tokens, one per answer.

What a reference model says carries no gradient here: stop it at the caller or not, it is the same.
"""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def dpo(
    chosen: jax.Array,
    rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    *,
    beta: float = 0.1,
    smoothing: float = 0.0,
) -> jax.Array:
    """The chosen answer has to gain more on the reference than the rejected one.

        h_i = (log pi(w) - log ref(w)) - (log pi(l) - log ref(l))
        L_i = -(1 - e) log sigma(beta h_i) - e log sigma(-beta h_i)

    Args:
        chosen, rejected: log-probabilities of the two answers [B].
        reference_chosen, reference_rejected: those of the reference model [B].
        beta: strength of the tie to the reference.
        smoothing: e, the share of labels thought to be flipped; 0 is DPO, more its conservative
            form.

    Returns:
        Loss of each pair [B].

    Reference: Direct Preference Optimization: Your Language Model is Secretly a Reward Model
    (Rafailov et al., 2023).
    """
    h = beta * _advantage(chosen, rejected, reference_chosen, reference_rejected)
    return -(1 - smoothing) * jax.nn.log_sigmoid(h) - smoothing * jax.nn.log_sigmoid(-h)


def robust_dpo(
    chosen: jax.Array,
    rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    *,
    beta: float = 0.1,
    smoothing: float = 0.1,
) -> jax.Array:
    """DPO whose mean over flipped labels is that over right ones.

        L_i = (-(1 - e) log sigma(beta h_i) + e log sigma(-beta h_i)) / (1 - 2 e)

    Args:
        chosen, rejected, reference_chosen, reference_rejected, beta: as in `dpo`.
        smoothing: e, the share of flipped labels, below 1/2.

    Returns:
        Loss of each pair [B]; without a lower bound of zero.

    Reference: Provably Robust DPO: Aligning Language Models with Noisy Feedback (Chowdhury et al.,
    2024).
    """
    h = beta * _advantage(chosen, rejected, reference_chosen, reference_rejected)
    noisy = -(1 - smoothing) * jax.nn.log_sigmoid(h) + smoothing * jax.nn.log_sigmoid(-h)
    return noisy / (1 - 2 * smoothing)


def d2o(
    rejected: jax.Array,
    anchors: jax.Array,
    reference_rejected: jax.Array,
    reference_anchors: jax.Array,
    *,
    alpha: float = 0.1,
    beta: float = 0.1,
) -> jax.Array:
    """A bad answer against the mean of several of one's own, of which none is called good.

        L_i = -log sigma(beta / K sum_k (log pi(y_ik) - log ref-(y_ik))
                         - alpha (log pi(l_i) - log ref+(l_i)))

    The mean stands inside: with alpha = beta this is at most the mean of DPO's losses with each
    anchor in the chosen answer's place.

    Args:
        rejected: log-probabilities of the bad answers [B].
        anchors: those of K answers of the model's own to the same questions [B, K].
        reference_rejected: of the bad answers, by a helpful reference or the model at first [B].
        reference_anchors: of the anchors, by a harmful reference or the model at first [B, K].
        alpha: weight of the bad answer.
        beta: of the anchors.

    Returns:
        Loss of each question [B].

    Reference: Negating Negatives: Alignment without Human Positive Samples via Distributional
    Dispreference Optimization (Duan et al., 2024).
    """
    check_axes(
        rejected=(rejected, 'B'),
        anchors=(anchors, 'B K'),
        reference_rejected=(reference_rejected, 'B'),
        reference_anchors=(reference_anchors, 'B K'),
    )
    own, bad = (
        widen(live) - jax.lax.stop_gradient(widen(still))
        for live, still in ((anchors, reference_anchors), (rejected, reference_rejected))
    )
    return -jax.nn.log_sigmoid(beta * own.mean(1) - alpha * bad)


def ipo(
    chosen: jax.Array,
    rejected: jax.Array,
    reference_chosen: jax.Array,
    reference_rejected: jax.Array,
    *,
    beta: float = 0.1,
) -> jax.Array:
    """The advantage has to be 1 / (2 beta), no more.

        L_i = (h_i - 1 / (2 beta))^2,   h as in `dpo`

    Args:
        chosen, rejected, reference_chosen, reference_rejected: as in `dpo`.
        beta: tau of the paper.

    Returns:
        Loss of each pair [B].

    Reference: A General Theoretical Paradigm to Understand Learning from Human Preferences (Azar et
    al., 2023).
    """
    h = _advantage(chosen, rejected, reference_chosen, reference_rejected)
    return jnp.square(h - 1 / (2 * beta))


def kto(
    answer: jax.Array,
    reference: jax.Array,
    desirable: jax.Array,
    divergence: jax.Array | float,
    *,
    beta: float = 0.1,
    gain: float = 1.0,
    loss: float = 1.0,
) -> jax.Array:
    """Answers that are good or bad by themselves, valued as people value gains and losses.

        r_i = log pi(y_i) - log ref(y_i)
        L_i = gain (1 - sigma(beta (r_i - z)))  if desirable, else  loss (1 - sigma(beta (z - r_i)))

    Args:
        answer, reference: log-probabilities by model and reference [B].
        desirable: whether the answer is good, bool [B].
        divergence: z, an estimate of KL(pi | ref), not negative; without gradient.
        beta: how soon value saturates.
        gain, loss: weights of the two kinds.

    Returns:
        Loss of each answer [B].

    Reference: KTO: Model Alignment as Prospect Theoretic Optimization (Ethayarajh et al., 2024).
    """
    check_axes(
        answer=(answer, 'B'),
        reference=(reference, 'B'),
        desirable=(desirable, 'B'),
        divergence=(divergence, ''),
    )
    z = jax.lax.stop_gradient(widen(jnp.asarray(divergence)))
    r = beta * (widen(answer) - jax.lax.stop_gradient(widen(reference)) - z)
    return jnp.where(desirable, gain * jax.nn.sigmoid(-r), loss * jax.nn.sigmoid(r))


def simpo(
    chosen: jax.Array,
    rejected: jax.Array,
    chosen_length: jax.Array,
    rejected_length: jax.Array,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
) -> jax.Array:
    """Mean log-probabilities, a margin, no reference.

        L_i = -log sigma(beta log pi(w) / |w| - beta log pi(l) / |l| - gamma)

    Args:
        chosen, rejected: log-probabilities of the two answers [B].
        chosen_length, rejected_length: their numbers of tokens [B].
        beta: scale of the reward.
        gamma: margin.

    Returns:
        Loss of each pair [B].

    Reference: SimPO: Simple Preference Optimization with a Reference-Free Reward (Meng et al.,
    2024).
    """
    w, l = _per_token(chosen, rejected, chosen_length, rejected_length)
    return -jax.nn.log_sigmoid(beta * (w - l) - gamma)


def orpo(
    chosen: jax.Array,
    rejected: jax.Array,
    chosen_length: jax.Array,
    rejected_length: jax.Array,
    *,
    weight: float = 0.1,
) -> jax.Array:
    """Likelihood of the chosen answer, and its odds over the rejected one.

        p = exp(log pi(y) / |y|);   L_i = -log p_w - weight log sigma(log odds(p_w) - log odds(p_l))

    Args:
        chosen, rejected, chosen_length, rejected_length: as in `simpo`.
        weight: lambda of the paper.

    Returns:
        Loss of each pair [B].

    Reference: ORPO: Monolithic Preference Optimization without Reference Model (Hong et al., 2024).
    """
    w, l = _per_token(chosen, rejected, chosen_length, rejected_length)
    return -w - weight * jax.nn.log_sigmoid(_log_odds(w) - _log_odds(l))


def cpo(
    chosen: jax.Array, rejected: jax.Array, *, beta: float = 0.1, weight: float = 1.0
) -> jax.Array:
    """DPO without a reference, beside the likelihood of the chosen answer.

        L_i = -log sigma(beta (log pi(w) - log pi(l))) - weight log pi(w)

    Args:
        chosen, rejected: log-probabilities of the two answers [B].
        beta: scale of the difference.
        weight: of the likelihood.

    Returns:
        Loss of each pair [B].

    Reference: Contrastive Preference Optimization (Xu et al., 2024).
    """
    check_axes(chosen=(chosen, 'B'), rejected=(rejected, 'B'))
    w, l = widen(chosen), widen(rejected)
    return -jax.nn.log_sigmoid(beta * (w - l)) - weight * w


def slic(
    chosen: jax.Array,
    rejected: jax.Array,
    target: jax.Array,
    *,
    margin: float = 1.0,
    weight: float = 1.0,
) -> jax.Array:
    """A hinge on the two answers, beside the likelihood of a target.

        L_i = max(0, margin - log pi(w) + log pi(l)) - weight log pi(t)

    Args:
        chosen, rejected: log-probabilities of the two answers [B].
        target: that of the answer of supervised fine-tuning [B].
        margin: delta of the paper.
        weight: lambda of the paper.

    Returns:
        Loss of each pair [B].

    Reference: SLiC-HF: Sequence Likelihood Calibration with Human Feedback (Zhao et al., 2023).
    """
    check_axes(chosen=(chosen, 'B'), rejected=(rejected, 'B'), target=(target, 'B'))
    return jax.nn.relu(margin - widen(chosen) + widen(rejected)) - weight * widen(target)


def rrhf(answers: jax.Array, lengths: jax.Array, rewards: jax.Array) -> jax.Array:
    """Several answers ranked as their rewards are, and the likelihood of the best.

        p_k = log pi(y_k) / |y_k|
        L_i = sum_{r_j < r_k} max(0, p_j - p_k) - log pi(y_best)

    Args:
        answers: log-probabilities of K answers [B, K].
        lengths: their numbers of tokens [B, K].
        rewards: their rewards [B, K]; the first of equal best counts.

    Returns:
        Loss of each question [B].

    Reference: RRHF: Rank Responses to Align Language Models with Human Feedback (Yuan et al.,
    2023).
    """
    check_axes(answers=(answers, 'B K'), lengths=(lengths, 'B K'), rewards=(rewards, 'B K'))
    answers = widen(answers)
    p = answers / jnp.maximum(lengths, 1).astype(answers.dtype)
    worse = rewards[:, :, None] < rewards[:, None, :]
    hinge = jax.nn.relu(p[:, :, None] - p[:, None, :])
    best = jnp.take_along_axis(answers, rewards.argmax(1)[:, None], axis=1)[:, 0]
    return jnp.where(worse, hinge, 0.0).sum((1, 2)) - best


def _advantage(chosen, rejected, reference_chosen, reference_rejected):
    check_axes(
        chosen=(chosen, 'B'),
        rejected=(rejected, 'B'),
        reference_chosen=(reference_chosen, 'B'),
        reference_rejected=(reference_rejected, 'B'),
    )
    reference = jax.lax.stop_gradient(widen(reference_chosen) - widen(reference_rejected))
    return widen(chosen) - widen(rejected) - reference


def _per_token(chosen, rejected, chosen_length, rejected_length):
    check_axes(
        chosen=(chosen, 'B'),
        rejected=(rejected, 'B'),
        chosen_length=(chosen_length, 'B'),
        rejected_length=(rejected_length, 'B'),
    )
    pairs = (chosen, chosen_length), (rejected, rejected_length)
    return [widen(p) / jnp.maximum(n, 1).astype(widen(p).dtype) for p, n in pairs]


def _log_odds(log_p):
    """log p - log(1 - p), finite for p up to one."""
    log_p = jnp.minimum(log_p, -1e-6)
    return log_p - jnp.log(-jnp.expm1(log_p))
