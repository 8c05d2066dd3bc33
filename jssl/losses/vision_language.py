"""Images and their captions, beside what an image teaches without one."""

import functools

import jax

from jssl.losses.arrays import check_axes
from jssl.losses.contrastive import clip, siglip
from jssl.losses.distillation import dino


def silc(
    image: jax.Array,
    text: jax.Array,
    local: jax.Array,
    teacher: jax.Array,
    center: jax.Array,
    *,
    logit_scale: jax.Array | float,
    logit_bias: jax.Array | float | None = None,
    weight: float = 1.0,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    chunk: int | None = None,
) -> jax.Array:
    """Images matched to texts, and parts of an image to what a slow teacher says of the whole.

        L_i = M_i + w mean_v H_iv,   M = siglip, or clip where there is no bias
        H_iv = -sum_k softmax((t_i - c) / tau_t)_k log softmax(s_iv / tau_s)_k

    TIPS has two captions and hides patches too: the mean of `silc` over both captions, each with a
    class token of its own, and twice `ibot`.

    Args:
        image, text: embeddings of pairs [B, D].
        local: the student's logits of V small crops of every image [B, V, K].
        teacher: the average model's logits of the image [B, K], without gradient.
        center: running mean of the teacher's logits [K], without gradient; see `dino_center`.
        logit_scale: as in `clip`.
        logit_bias: as in `siglip`; None for `clip`.
        weight: w.
        student_temperature: tau_s.
        teacher_temperature: tau_t.
        chunk: rows per tile of the matching, as in `info_nce`; None for all at once.

    Returns:
        Loss of each pair [B].

    Reference: SILC: Improving Vision Language Pretraining with Self-Distillation (Naeem et al.,
    2023); TIPS: Text-Image Pretraining with Spatial Awareness (Maninis et al., 2024).
    """
    check_axes(image=(image, 'B D'), local=(local, 'B V K'), teacher=(teacher, 'B K'))
    if logit_bias is None:
        matching = clip(image, text, logit_scale=logit_scale, chunk=chunk)
    else:
        matching = siglip(image, text, logit_scale=logit_scale, logit_bias=logit_bias, chunk=chunk)
    of_crop = functools.partial(
        dino, student_temperature=student_temperature, teacher_temperature=teacher_temperature
    )
    costs = jax.vmap(of_crop, in_axes=(1, None, None), out_axes=1)(local, teacher, center)
    return matching + weight * costs.mean(axis=1)
