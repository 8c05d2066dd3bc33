"""Metrics and probes: what a representation, a classifier or a reconstruction is worth.

Protocols (`linear_probe`, `knn`, ...) return a `Score`, which names their version; plain metrics
return arrays, are compiled once for each shape, and work inside `jit`, `vmap` and `grad`.
"""

from jssl.evaluate.anomaly import auroc, average_precision, fpr_at_tpr
from jssl.evaluate.attention import attention_focus, attention_map
from jssl.evaluate.calibration import (
    Reliability,
    brier,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from jssl.evaluate.classification import accuracy, confusion, per_class_accuracy, top_k_accuracy
from jssl.evaluate.clustering import ari, clustering_accuracy, nmi
from jssl.evaluate.codes import perplexity, utilisation
from jssl.evaluate.continual import average_accuracy, forgetting
from jssl.evaluate.conv_probe import conv_probe
from jssl.evaluate.correlation import average_ranks, pearson, spearman
from jssl.evaluate.delay import Delay, generalisation_delay
from jssl.evaluate.directions import direction_recovery
from jssl.evaluate.features import features
from jssl.evaluate.fewshot import few_shot
from jssl.evaluate.frechet import frechet_distance
from jssl.evaluate.gradients import gradient_variance
from jssl.evaluate.kernel_alignment import kernel_alignment
from jssl.evaluate.knn import knn
from jssl.evaluate.linear_probe import fit_linear, linear_probe, linear_probe_sgd
from jssl.evaluate.mlp_probe import mlp_probe
from jssl.evaluate.overlap import box_overlap, mask_overlap
from jssl.evaluate.rank import effective_rank, rankme, spectrum, stable_rank
from jssl.evaluate.recognition import ctc_greedy, edit_distance, error_rate
from jssl.evaluate.reconstruction import psnr, ssim
from jssl.evaluate.retrieval import recall_at_k
from jssl.evaluate.score import Score
from jssl.evaluate.split import check_split, hold_out, standardised
from jssl.evaluate.timing import timed
from jssl.evaluate.uniformity import alignment, uniformity
from jssl.evaluate.unlearning import (
    attack_features,
    average_gap,
    membership_inference,
    unlearning_scores,
)

__all__ = [
    'Delay',
    'Reliability',
    'Score',
    'accuracy',
    'alignment',
    'ari',
    'attack_features',
    'attention_focus',
    'attention_map',
    'auroc',
    'average_accuracy',
    'average_gap',
    'average_precision',
    'average_ranks',
    'box_overlap',
    'brier',
    'check_split',
    'clustering_accuracy',
    'confusion',
    'conv_probe',
    'ctc_greedy',
    'direction_recovery',
    'edit_distance',
    'effective_rank',
    'error_rate',
    'expected_calibration_error',
    'features',
    'few_shot',
    'fit_linear',
    'fit_temperature',
    'forgetting',
    'fpr_at_tpr',
    'frechet_distance',
    'generalisation_delay',
    'gradient_variance',
    'hold_out',
    'kernel_alignment',
    'knn',
    'linear_probe',
    'linear_probe_sgd',
    'mask_overlap',
    'membership_inference',
    'mlp_probe',
    'negative_log_likelihood',
    'nmi',
    'pearson',
    'per_class_accuracy',
    'perplexity',
    'psnr',
    'rankme',
    'recall_at_k',
    'reliability',
    'spearman',
    'spectrum',
    'ssim',
    'stable_rank',
    'standardised',
    'timed',
    'top_k_accuracy',
    'uniformity',
    'unlearning_scores',
    'utilisation',
]
