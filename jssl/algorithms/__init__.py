"""Numerics without gradients at heart: transport, clustering, neighbours, graphs, assignment."""

from jssl.algorithms import any_order
from jssl.algorithms.assignment import match_costs, match_labels
from jssl.algorithms.decoding import beam_search, sample_tokens, truncate_logits
from jssl.algorithms.described_classes import cache_logits, new_classes, unlabelled_classes
from jssl.algorithms.diffusion import (
    Schedule,
    cosine_schedule,
    data_and_noise,
    ddim,
    ddim_inversion,
    ddpm,
    follow_flow,
    guided,
    linear_schedule,
)
from jssl.algorithms.discriminant import (
    Discriminant,
    gaussian_discriminant,
    linear_discriminant,
    shrunk_precision,
)
from jssl.algorithms.gaussians import Gaussians, class_gaussians, mahalanobis
from jssl.algorithms.gmm import GMM, gmm, gmm_log_prob, gmm_responsibilities
from jssl.algorithms.kmeans import (
    KMeans,
    assign,
    kmeans,
    kmeans_plus_plus,
    minibatch_kmeans,
    pairwise_squared_distances,
)
from jssl.algorithms.krylov import (
    Solution,
    conjugate_directions,
    conjugate_gradient,
    incomplete_cholesky,
    iterations_to,
    ritz_pairs,
)
from jssl.algorithms.label_propagation import label_propagation
from jssl.algorithms.label_shift import class_posteriors, factor_domains, in_domain
from jssl.algorithms.laplacian_kmodes import (
    LaplacianKModes,
    gradient_assignments,
    graph_product,
    laplacian_assignments,
    laplacian_clustering,
    laplacian_energy,
    laplacian_kmodes,
    safe_damping,
)
from jssl.algorithms.neighbours import Neighbours, knn_edges, knn_graph, nearest
from jssl.algorithms.pca import PCA, pca, project, whiten, whitening_matrix
from jssl.algorithms.poisson import poisson_matrix, poisson_product
from jssl.algorithms.sdp import (
    ClusterSDP,
    cluster_sdp,
    membership_covariances,
    membership_matrices,
    profile_affinity,
)
from jssl.algorithms.sinkhorn import sinkhorn, sinkhorn_plan
from jssl.algorithms.sparse_codes import Zipf, fit_zipf, kth_largest, zipf_counts
from jssl.algorithms.spectral import (
    normalised_affinity,
    normalised_cut,
    normalised_laplacian,
    spectral_clustering,
    spectral_embedding,
)
from jssl.algorithms.t3a import Supports, first_supports, support_logits, update_supports
from jssl.algorithms.transduction import class_means, information_maximisation, rectified_prototypes

__all__ = [
    'GMM',
    'PCA',
    'ClusterSDP',
    'Discriminant',
    'Gaussians',
    'KMeans',
    'LaplacianKModes',
    'Neighbours',
    'Schedule',
    'Solution',
    'Supports',
    'Zipf',
    'any_order',
    'assign',
    'beam_search',
    'cache_logits',
    'class_gaussians',
    'class_means',
    'class_posteriors',
    'cluster_sdp',
    'conjugate_directions',
    'conjugate_gradient',
    'cosine_schedule',
    'data_and_noise',
    'ddim',
    'ddim_inversion',
    'ddpm',
    'factor_domains',
    'first_supports',
    'fit_zipf',
    'follow_flow',
    'gaussian_discriminant',
    'gmm',
    'gmm_log_prob',
    'gmm_responsibilities',
    'gradient_assignments',
    'graph_product',
    'guided',
    'in_domain',
    'incomplete_cholesky',
    'information_maximisation',
    'iterations_to',
    'kmeans',
    'kmeans_plus_plus',
    'knn_edges',
    'knn_graph',
    'kth_largest',
    'label_propagation',
    'laplacian_assignments',
    'laplacian_clustering',
    'laplacian_energy',
    'laplacian_kmodes',
    'linear_discriminant',
    'linear_schedule',
    'mahalanobis',
    'match_costs',
    'match_labels',
    'membership_covariances',
    'membership_matrices',
    'minibatch_kmeans',
    'nearest',
    'new_classes',
    'normalised_affinity',
    'normalised_cut',
    'normalised_laplacian',
    'pairwise_squared_distances',
    'pca',
    'poisson_matrix',
    'poisson_product',
    'profile_affinity',
    'project',
    'rectified_prototypes',
    'ritz_pairs',
    'safe_damping',
    'sample_tokens',
    'shrunk_precision',
    'sinkhorn',
    'sinkhorn_plan',
    'spectral_clustering',
    'spectral_embedding',
    'support_logits',
    'truncate_logits',
    'unlabelled_classes',
    'update_supports',
    'whiten',
    'whitening_matrix',
    'zipf_counts',
]
