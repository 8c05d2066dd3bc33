"""Losses against a target that carries no gradient: another view, a teacher, a larger model."""

import jax
import jax.numpy as jnp
import optax

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import cosine_similarity


def cosine_regression(p: jax.Array, z: jax.Array) -> jax.Array:
    """Squared distance of a prediction and a stopped projection on the unit sphere.

        L_i = |p_i/|p_i| - z_i/|z_i||^2 = 2 - 2 cos(p_i, sg(z_i))

    SimSiam's -cos is (L - 2) / 2. A zero row has cosine zero.

    Args:
        p: predictions [B, D].
        z: targets [B, D], without gradient.

    Returns:
        Loss of each row [B], in [0, 4].

    Reference: Bootstrap Your Own Latent (Grill et al., 2020); SimSiam (Chen & He, 2021).
    """
    check_axes(p=(p, 'B D'), z=(z, 'B D'))
    return 2 - 2 * cosine_similarity(p, jax.lax.stop_gradient(z))


def dino(
    student: jax.Array,
    teacher: jax.Array,
    center: jax.Array,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> jax.Array:
    """Cross-entropy of the student under the centred and sharpened teacher.

        L_i = -sum_k softmax((t_i - c) / tau_t)_k log softmax(s_i / tau_s)_k

    One pair of views; the paper averages it over all pairs of a global teacher view and another
    student view.

    Args:
        student: logits of one view [B, K].
        teacher: logits of another view [B, K], without gradient.
        center: running mean of the teacher's logits [K], without gradient; see `dino_center`.
        student_temperature: tau_s.
        teacher_temperature: tau_t.

    Returns:
        Loss of each row [B].

    Reference: Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021).
    """
    check_axes(student=(student, 'B K'), teacher=(teacher, 'B K'), center=(center, 'K'))
    centred = (widen(teacher) - widen(center)[None, :]) / teacher_temperature
    return _soft_cross_entropy(widen(student) / student_temperature, centred)


def dino_center(center: jax.Array, teacher: jax.Array, *, momentum: float = 0.9) -> jax.Array:
    """Running mean of the teacher's logits after one more batch.

        c <- m c + (1 - m) mean_i t_i

    Args:
        center: the centre so far [K].
        teacher: logits of the teacher for all its views [B, K].
        momentum: m.

    Returns:
        The next centre [K], in the type of `center`.

    Reference: Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021).
    """
    check_axes(teacher=(teacher, 'B K'), center=(center, 'K'))
    mean = jnp.mean(widen(teacher), axis=0)
    return optax.incremental_update(mean, widen(center), 1 - momentum).astype(center.dtype)


def distil(
    student_logits: jax.Array, teacher_logits: jax.Array, *, temperature: float = 1.0
) -> jax.Array:
    """Cross-entropy of the softened student under the softened teacher.

        L_i = -sum_k softmax(t_i / T)_k log softmax(s_i / T)_k

    The factor T^2 that keeps gradients of one size across temperatures is NOT applied: multiply by
    it where the paper does.

    Args:
        student_logits: [B, K].
        teacher_logits: [B, K], without gradient.
        temperature: T, for both.

    Returns:
        Loss of each row [B]; its least value is the teacher's entropy, not zero.

    Reference: Distilling the Knowledge in a Neural Network (Hinton et al., 2015).
    """
    check_axes(student_logits=(student_logits, 'B K'), teacher_logits=(teacher_logits, 'B K'))
    return _soft_cross_entropy(
        widen(student_logits) / temperature, widen(teacher_logits) / temperature
    )


def _soft_cross_entropy(logits, target_logits):
    """The safe form lets a class that the target rules out have a logit of -inf."""
    target = jax.lax.stop_gradient(jax.nn.softmax(target_logits))
    return optax.safe_softmax_cross_entropy(logits, target)
