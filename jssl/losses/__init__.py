"""Losses: pure functions of arrays, with one value for each row wherever a row has one."""

from jssl.losses.adversarial import (
    hinge_discriminator,
    hinge_generator,
    non_saturating_discriminator,
    non_saturating_generator,
)
from jssl.losses.classification import cross_entropy, entropy
from jssl.losses.clustering import swapped_prediction, swav
from jssl.losses.contrastive import (
    clip,
    decoupled_contrastive,
    enqueue,
    info_nce,
    nt_xent,
    siglip,
    sup_con,
)
from jssl.losses.distillation import cosine_regression, dino, dino_center, distil
from jssl.losses.ranking import pairwise_ranking
from jssl.losses.reconstruction import masked_reconstruction, normalise_patches, patch_errors
from jssl.losses.redundancy import barlow_twins, vicreg
from jssl.losses.regularise import l1, l2
from jssl.losses.similarity import cosine_similarity, normalise
from jssl.losses.spectral import multi_resolution_stft

__all__ = [
    'barlow_twins',
    'clip',
    'cosine_regression',
    'cosine_similarity',
    'cross_entropy',
    'decoupled_contrastive',
    'dino',
    'dino_center',
    'distil',
    'enqueue',
    'entropy',
    'hinge_discriminator',
    'hinge_generator',
    'info_nce',
    'l1',
    'l2',
    'masked_reconstruction',
    'multi_resolution_stft',
    'non_saturating_discriminator',
    'non_saturating_generator',
    'normalise',
    'normalise_patches',
    'nt_xent',
    'pairwise_ranking',
    'patch_errors',
    'siglip',
    'sup_con',
    'swapped_prediction',
    'swav',
    'vicreg',
]
