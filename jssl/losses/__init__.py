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
from jssl.losses.pairs import (
    angular,
    batch_hard_triplet,
    circle,
    fast_ap,
    generalized_lifted_structure,
    histogram,
    intra_pair_variance,
    lifted_structure,
    margin,
    multi_similarity,
    n_pairs,
    nca,
    pair_contrastive,
    pair_masks,
    ranked_list,
    signal_to_noise,
    smooth_ap,
    threshold_consistent_margin,
    triplet_margin,
    tuplet_margin,
)
from jssl.losses.ranking import pairwise_ranking
from jssl.losses.reconstruction import masked_reconstruction, normalise_patches, patch_errors
from jssl.losses.redundancy import barlow_twins, vicreg
from jssl.losses.regularise import l1, l2
from jssl.losses.similarity import cosine_matrix, cosine_similarity, distance_matrix, normalise
from jssl.losses.spectral import multi_resolution_stft

__all__ = [
    'angular',
    'barlow_twins',
    'batch_hard_triplet',
    'circle',
    'clip',
    'cosine_matrix',
    'cosine_regression',
    'cosine_similarity',
    'cross_entropy',
    'decoupled_contrastive',
    'dino',
    'dino_center',
    'distance_matrix',
    'distil',
    'enqueue',
    'entropy',
    'fast_ap',
    'generalized_lifted_structure',
    'hinge_discriminator',
    'hinge_generator',
    'histogram',
    'info_nce',
    'intra_pair_variance',
    'l1',
    'l2',
    'lifted_structure',
    'margin',
    'masked_reconstruction',
    'multi_resolution_stft',
    'multi_similarity',
    'n_pairs',
    'nca',
    'non_saturating_discriminator',
    'non_saturating_generator',
    'normalise',
    'normalise_patches',
    'nt_xent',
    'pair_contrastive',
    'pair_masks',
    'pairwise_ranking',
    'patch_errors',
    'ranked_list',
    'siglip',
    'signal_to_noise',
    'smooth_ap',
    'sup_con',
    'swapped_prediction',
    'swav',
    'threshold_consistent_margin',
    'triplet_margin',
    'tuplet_margin',
    'vicreg',
]
