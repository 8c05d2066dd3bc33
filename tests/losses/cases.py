"""Every public function of jssl.losses as a row of one table, for the laws and the oracles.

A case says how to draw arguments, which axis of each is the batch, and what the result is per row.
Families whose oracles stand beside their cases have a file each.
"""

import functools

import jax.numpy as jnp
import numpy as np

from jssl import losses

from . import (
    answers,
    bounds,
    denoisers,
    dense,
    groups,
    latent,
    local,
    noisy,
    pairs,
    prototypes,
    proxies,
    slopes,
    sorting,
    speech,
    spread,
    unlabelled,
    views,
)
from .case import PAIR, Case, labelled, normal


def coded(random, batch):
    scores, codes = random.normal(size=(3, batch, 4)), random.dirichlet(np.ones(4), (2, batch))
    return scores.astype(np.float32), codes.astype(np.float32)


def masked(random, batch):
    prediction, target = random.normal(size=(2, batch, 6, 4)).astype(np.float32)
    return prediction, target, (random.random((batch, 6)) < 0.7).astype(np.float32)


def ranked(random, batch):
    prediction, target = random.normal(size=(2, batch, 5)).astype(np.float32)
    target[:, 1] = target[:, 0]  # a tie in every row
    return prediction, target, random.random((batch, 5)) < 0.8


partial = functools.partial
PAIR_AND_QUEUE = normal(('B', 5), ('B', 5), (7, 5))
BOTH, QUEUED = (0, 0), (0, 0, None)
CAPTIONED = normal(('B', 5), ('B', 5), ('B', 2, 4), ('B', 4), (4,))
WITH_CENTER = (0, 0, 0, 0, None)
MAPS = normal(('B', 2, 3), ('B', 2, 3))


def info_nce_queue(q, k, negatives, chunk=None):
    return losses.info_nce(q, k, negatives=negatives, temperature=0.2, chunk=chunk)


def nt_xent_queue(z1, z2, negatives, chunk=None):
    return losses.nt_xent(z1, z2, negatives=negatives, temperature=0.2, chunk=chunk)


def clip(image, text, logit_scale, chunk=None):
    return losses.clip(image, text, logit_scale=logit_scale, chunk=chunk)


def siglip(image, text, logit_scale, logit_bias, chunk=None):
    return losses.siglip(image, text, logit_scale=logit_scale, logit_bias=logit_bias, chunk=chunk)


def silc(image, text, local, teacher, center, logit_bias=None, chunk=None):
    crops, options = (local, teacher, center), {'weight': 0.5, 'chunk': chunk}
    return losses.silc(image, text, *crops, logit_scale=3.0, logit_bias=logit_bias, **options)


def info_nce_temperature(q, k, temperature):
    return losses.info_nce(q, k, temperature=2 + jnp.tanh(temperature), chunk=5)


def stft(prediction, target):
    return losses.multi_resolution_stft(prediction, target, windows=(8, 16))


def l1(kernel, bias):
    return losses.l1({'kernel': kernel, 'bias': bias, 'count': jnp.zeros((), jnp.int32)})


def l2(kernel, bias):
    return losses.l2({'kernel': kernel, 'bias': bias, 'count': jnp.zeros((), jnp.int32)})


CASES = {
    'info_nce': Case(losses.info_nce, PAIR, BOTH, cosine=(0, 1)),
    'info_nce-queue': Case(info_nce_queue, PAIR_AND_QUEUE, QUEUED, cosine=(0, 1, 2)),
    'info_nce-queue-chunk': Case(
        partial(info_nce_queue, chunk=3), PAIR_AND_QUEUE, QUEUED, cosine=(0, 1, 2)
    ),
    'info_nce-temperature': Case(
        info_nce_temperature, normal(('B', 5), ('B', 5), ()), QUEUED, cosine=(0, 1)
    ),
    'nt_xent': Case(losses.nt_xent, PAIR, BOTH, rows=2, cosine=(0, 1)),
    'nt_xent-queue': Case(nt_xent_queue, PAIR_AND_QUEUE, QUEUED, rows=2, cosine=(0, 1, 2)),
    'nt_xent-queue-chunk': Case(
        partial(nt_xent_queue, chunk=3), PAIR_AND_QUEUE, QUEUED, rows=2, cosine=(0, 1, 2)
    ),
    'decoupled_contrastive': Case(
        losses.decoupled_contrastive, PAIR, BOTH, rows=2, cosine=(0, 1), least=2
    ),
    'decoupled_contrastive-weighted': Case(
        partial(losses.decoupled_contrastive, sigma=0.5), PAIR, BOTH, rows=2, cosine=(0, 1), least=2
    ),
    'sup_con': Case(losses.sup_con, labelled, BOTH, cosine=(0,)),
    'clip': Case(clip, normal(('B', 5), ('B', 5), ()), QUEUED, cosine=(0, 1)),
    'siglip': Case(siglip, normal(('B', 5), ('B', 5), (), ()), (0, 0, None, None), cosine=(0, 1)),
    'silc': Case(silc, CAPTIONED, WITH_CENTER, cosine=(0, 1)),
    'silc-bias': Case(partial(silc, logit_bias=-1.0), CAPTIONED, WITH_CENTER, cosine=(0, 1)),
    'enqueue': Case(losses.enqueue, normal((21, 5), ('B', 5)), (None, 0), rows=None),
    'barlow_twins': Case(losses.barlow_twins, PAIR, BOTH, rows=0),
    'vicreg': Case(losses.vicreg, PAIR, BOTH, rows=0),
    'cosine_regression': Case(losses.cosine_regression, PAIR, BOTH, cosine=(0, 1)),
    'dino': Case(losses.dino, normal(('B', 5), ('B', 5), (5,)), QUEUED),
    'dino_center': Case(losses.dino_center, normal((5,), ('B', 5)), (None, 0), rows=0),
    'distil': Case(partial(losses.distil, temperature=3.0), PAIR, BOTH),
    'swapped_prediction': Case(losses.swapped_prediction, coded, (1, 1)),
    'swav': Case(losses.swav, PAIR, BOTH),
    'masked_reconstruction': Case(losses.masked_reconstruction, masked, (0, 0, 0)),
    'patch_errors': Case(losses.patch_errors, normal(('B', 6, 4), ('B', 6, 4)), BOTH),
    'normalise_patches': Case(losses.normalise_patches, normal(('B', 6, 4)), (0,)),
    'cross_entropy': Case(losses.cross_entropy, labelled, BOTH),
    'cross_entropy-smooth': Case(partial(losses.cross_entropy, smoothing=0.1), labelled, BOTH),
    'entropy': Case(losses.entropy, normal(('B', 5)), (0,)),
    'pairwise_ranking': Case(losses.pairwise_ranking, ranked, (0, 0, 0)),
    'hinge_discriminator': Case(losses.hinge_discriminator, MAPS, BOTH),
    'hinge_generator': Case(losses.hinge_generator, normal(('B', 2, 3)), (0,)),
    'non_saturating_discriminator': Case(losses.non_saturating_discriminator, MAPS, BOTH),
    'non_saturating_generator': Case(losses.non_saturating_generator, normal(('B', 2, 3)), (0,)),
    'multi_resolution_stft': Case(stft, normal(('B', 20), ('B', 20)), BOTH),
    'l1': Case(l1, normal(('B', 5), (5,)), (0, None), rows=0),
    'l2': Case(l2, normal(('B', 5), (5,)), (0, None), rows=0),
    'normalise': Case(losses.normalise, normal(('B', 5)), (0,), cosine=(0,)),
    'cosine_similarity': Case(losses.cosine_similarity, PAIR, BOTH, cosine=(0, 1)),
    **pairs.CASES,
    **proxies.CASES,
    **answers.CASES,
    **noisy.CASES,
    **spread.CASES,
    **unlabelled.CASES,
    **dense.CASES,
    **denoisers.CASES,
    **bounds.CASES,
    **latent.CASES,
    **slopes.CASES,
    **sorting.CASES,
    **speech.CASES,
    **local.CASES,
    **prototypes.CASES,
    **views.CASES,
    **groups.CASES,
}
