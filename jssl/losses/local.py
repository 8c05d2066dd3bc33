"""Losses on the parts of an image: patches, regions, and places that two views share."""

import functools

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, masked_mean, widen
from jssl.losses.distillation import dino
from jssl.losses.redundancy import vicreg
from jssl.losses.similarity import cosine_matrix, cosine_similarity, distance_matrix, normalise
from jssl.losses.tiles import by_rows


def ibot(
    student: jax.Array,
    teacher: jax.Array,
    center: jax.Array,
    mask: jax.Array,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    visible: float = 0.0,
) -> jax.Array:
    """DINO's cross-entropy of the patches that the student did not see.

        L_i = mean_{n masked} H_in + visible mean_{n visible} H_in
        H_in = -sum_k softmax((t_in - c) / tau_t)_k log softmax(s_in / tau_s)_k

    iBOT++ counts all patches alike: pass a mask of ones; or, as lightly has it, visible = 1. The
    next centre is `dino_center` of the teacher's patches, [B N, K]; class tokens go to `dino`.

    Args:
        student: logits of the patches of masked images [B, N, K].
        teacher: logits of the same patches, all seen, [B, N, K]; no gradient.
        center: running mean of the teacher's logits [K], without gradient.
        mask: where a patch was masked [B, N].
        student_temperature: tau_s.
        teacher_temperature: tau_t.
        visible: weight of the patches that were not masked.

    Returns:
        Loss of each image [B]; zero for one without masked patches.

    Reference: iBOT: Image BERT Pre-Training with Online Tokenizer (Zhou et al., 2022); iBOT++ in
    TIPSv2: Advancing Vision-Language Pretraining with Enhanced Patch-Text Alignment (Cao et al.,
    2026).
    """
    check_axes(
        student=(student, 'B N K'),
        teacher=(teacher, 'B N K'),
        center=(center, 'K'),
        mask=(mask, 'B N'),
    )
    cost = jax.vmap(
        functools.partial(
            dino, student_temperature=student_temperature, teacher_temperature=teacher_temperature
        ),
        in_axes=(0, 0, None),
    )(student, teacher, center)
    masked = mask.astype(bool)
    return masked_mean(cost, masked) + visible * masked_mean(cost, ~masked)


def detcon(
    p1: jax.Array,
    p2: jax.Array,
    z1: jax.Array,
    z2: jax.Array,
    regions1: jax.Array,
    regions2: jax.Array,
    *,
    temperature: float = 0.1,
    chunk: int | None = None,
) -> jax.Array:
    """Cross-entropy of finding a region of an image in its other view.

        L_i = l(p1_i, z2_i) + l(p2_i, z1_i)
        l = mean_m 1/a_m mean_{n of the same region} -log exp(s_mn / tau) / sum_k exp(s_mk / tau)

    k runs over the regions of all images in both views, but for the region itself in its own view;
    a_m counts how often the region was drawn. A region that the other view lacks costs nothing.
    With p = z it is DetConS, with predictions and a target network's projections DetConB.

    Args:
        p1, p2: projections, or predictions of them, pooled over regions of two views [B, M, D].
        z1, z2: what they are compared with [B, M, D]; the paper's DetConB gives it no gradient.
        regions1, regions2: numbers of the regions within their image [B, M].
        temperature: tau.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each image [B].

    Reference: Efficient Visual Pretraining with Contrastive Detection (Henaff et al., 2021).
    """
    check_axes(
        p1=(p1, 'B M D'),
        p2=(p2, 'B M D'),
        z1=(z1, 'B M D'),
        z2=(z2, 'B M D'),
        regions1=(regions1, 'B M'),
        regions2=(regions2, 'B M'),
    )
    found = jax.vmap(functools.partial(_found, temperature=temperature, chunk=chunk))
    both_ways = (p1, p2), (z2, z1), (z1, z2), (regions1, regions2), (regions2, regions1)
    return found(*map(jnp.stack, both_ways)).sum(0)


def _found(p, other, same, region, other_region, *, temperature, chunk):
    """One direction of `detcon`: p among the regions of the other view and of its own."""
    images, per_image, _ = p.shape
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    image = jnp.repeat(jnp.arange(images), per_image)

    def of_rows(rows, own, number):
        near = own[:, None] == image[None, :]
        positive = near & (number[:, None] == flat(other_region)[None, :])
        itself = near & (number[:, None] == flat(region)[None, :])
        across = cosine_matrix(rows, flat(other)) / temperature
        within = jnp.where(itself, -jnp.inf, cosine_matrix(rows, flat(same)) / temperature)
        total = jax.nn.logsumexp(jnp.concatenate([across, within], axis=1), axis=1)
        area = jnp.maximum(itself.sum(1), 1).astype(total.dtype)
        cost = (total - masked_mean(across, positive)) / area
        return jnp.where(positive.any(1), cost, 0.0)

    cost = by_rows(of_rows, (flat(p), image, flat(region)), chunk)
    return cost.reshape(images, per_image).mean(1)


def vicregl(
    h1: jax.Array,
    h2: jax.Array,
    z1: jax.Array,
    z2: jax.Array,
    places1: jax.Array,
    places2: jax.Array,
    *,
    alpha: float = 0.75,
    matches: tuple[int, int] = (20, 20),
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> jax.Array:
    """VICReg of two views, and of their patches that match in the image or in features; a scalar.

        L = alpha l(h1, h2) + (1 - alpha) (L_z + L_places),   l: `vicreg`
        L_d = (mean_{n in best(z1)} l(z1_n, z2_near(n)) + the same from z2 to z1) / 2

    near(n) is the patch of the other view at the least distance d, of features or of places in the
    image; best are the patches of an image whose distance is least. l compares the patches of one
    rank across the batch. lightly and the authors' code halve variance and covariance, and take
    matches = (20, 4) for all views; the paper takes 20 of a large view and 4 of a small one.

    Args:
        h1, h2: projections of two views [B, E].
        z1: projections of the patches of the first view [B, N, D].
        z2: projections of the patches of the second view [B, M, D].
        places1, places2: where they lie in the image [B, N, 2], [B, M, 2].
        alpha: weight of the views; the rest is that of the patches.
        matches: how many patches of the first view and of the second are best, at most.
        invariance, variance, covariance: weights of the terms of `vicreg`.

    Returns:
        Loss of the batch, a scalar.

    Reference: VICRegL: Self-Supervised Learning of Local Visual Features (Bardes et al., 2022).
    """
    check_axes(
        h1=(h1, 'B E'),
        h2=(h2, 'B E'),
        z1=(z1, 'B N D'),
        z2=(z2, 'B M D'),
        places1=(places1, 'B N P'),
        places2=(places2, 'B M P'),
    )
    criterion = functools.partial(
        vicreg, invariance=invariance, variance=variance, covariance=covariance
    )
    of_ranks = jax.vmap(criterion, in_axes=1)
    distances = [
        jax.vmap(distance_matrix)(*jax.lax.stop_gradient(pair))
        for pair in ((z1, z2), (places1, places2))
    ]
    there = of_ranks(*_matched(z1, z2, distances, matches[0]))
    back = of_ranks(*_matched(z2, z1, [d.swapaxes(1, 2) for d in distances], matches[1]))
    # Each is a mean over both distances, of which the paper takes the sum.
    local = there.mean() + back.mean()
    return alpha * criterion(h1, h2) + (1 - alpha) * local


def _matched(z, other, distances, count):
    """The patches [B, 2 count, D] nearest to one of the other view by two distances, and those."""
    here, there = [], []
    for distance in distances:
        _, best = jax.lax.top_k(-distance.min(2), min(count, z.shape[1]))
        here.append(best)
        there.append(jnp.take_along_axis(distance.argmin(2), best, axis=1))
    chosen = (z, here), (other, there)
    return [
        jnp.take_along_axis(x, jnp.concatenate(index, axis=1)[:, :, None], axis=1)
        for x, index in chosen
    ]


def paka(student: jax.Array, teacher: jax.Array) -> jax.Array:
    """Patches as alike one another as the teacher's: centred kernel alignment.

        L_i = 1 - <C K_s C, C K_t C> / (|C K_s C| |C K_t C|),   K = Z Z^T,  C = I - 1/N

    Blind to rotations and to the scale of either side, whose widths may differ.

    Args:
        student: features of the patches [B, N, D].
        teacher: features of the same patches [B, N, E], without gradient.

    Returns:
        Loss of each image [B], in [0, 1].

    Reference: Patch-Level Kernel Alignment for Dense Self-Supervised Learning (Yeo et al., 2025).
    """
    check_axes(student=(student, 'B N D'), teacher=(teacher, 'B N E'))
    return 1 - cosine_similarity(_kernel(student), jax.lax.stop_gradient(_kernel(teacher)))


def _kernel(z):
    """Entries of the centred kernel of each image [B, N N], of patches with unit sum of squares."""
    z = widen(z)
    centred = z - z.mean(1, keepdims=True)
    scaled = normalise(centred.reshape(z.shape[0], -1)).reshape(z.shape)
    kernel = jnp.einsum('bnd,bmd->bnm', scaled, scaled, precision='highest')
    return kernel.reshape(z.shape[0], -1)
