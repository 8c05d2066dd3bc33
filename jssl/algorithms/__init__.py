"""Numerics without gradients at heart: transport, clustering, neighbours, graphs, assignment."""

from jssl.algorithms.assignment import match_costs, match_labels
from jssl.algorithms.gmm import GMM, gmm, gmm_log_prob, gmm_responsibilities
from jssl.algorithms.kmeans import (
    KMeans,
    assign,
    kmeans,
    kmeans_plus_plus,
    minibatch_kmeans,
    pairwise_squared_distances,
)
from jssl.algorithms.label_propagation import label_propagation
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
from jssl.algorithms.sinkhorn import sinkhorn, sinkhorn_plan
from jssl.algorithms.spectral import (
    normalised_affinity,
    normalised_cut,
    normalised_laplacian,
    spectral_clustering,
    spectral_embedding,
)
from jssl.algorithms.transduction import class_means, information_maximisation, rectified_prototypes

__all__ = [
    'GMM',
    'PCA',
    'KMeans',
    'LaplacianKModes',
    'Neighbours',
    'assign',
    'class_means',
    'gmm',
    'gmm_log_prob',
    'gmm_responsibilities',
    'gradient_assignments',
    'graph_product',
    'information_maximisation',
    'kmeans',
    'kmeans_plus_plus',
    'knn_edges',
    'knn_graph',
    'label_propagation',
    'laplacian_assignments',
    'laplacian_clustering',
    'laplacian_energy',
    'laplacian_kmodes',
    'match_costs',
    'match_labels',
    'minibatch_kmeans',
    'nearest',
    'normalised_affinity',
    'normalised_cut',
    'normalised_laplacian',
    'pairwise_squared_distances',
    'pca',
    'project',
    'rectified_prototypes',
    'safe_damping',
    'sinkhorn',
    'sinkhorn_plan',
    'spectral_clustering',
    'spectral_embedding',
    'whiten',
    'whitening_matrix',
]
