"""Graph Laplacians, their eigenvectors, and the clusters that these show."""

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32
from jssl.algorithms.kmeans import kmeans


def normalised_affinity(affinity: jax.Array) -> jax.Array:
    """Affinity with the degrees divided out on both sides; nodes without edges keep zeros.

        S = D^{-1/2} W D^{-1/2},  D = diag(W 1)

    Args:
        affinity: symmetric non-negative weights W [N, N].

    Returns:
        S [N, N], symmetric, with eigenvalues in [-1, 1].

    Reference: Spectral Graph Theory (Chung, 1997).
    """
    chex.assert_rank(affinity, 2)
    chex.assert_equal(*affinity.shape)
    affinity = at_least_float32(affinity)
    degrees = affinity.sum(axis=1)
    connected = degrees > 0
    scales = jnp.where(connected, jax.lax.rsqrt(jnp.where(connected, degrees, 1)), 0)
    return scales[:, None] * affinity * scales[None, :]


def normalised_laplacian(affinity: jax.Array) -> jax.Array:
    """The symmetric normalised Laplacian.

        L = I - D^{-1/2} W D^{-1/2}

    A node without edges has a row of zeros, so that it is a connected component of its own: the
    multiplicity of the eigenvalue 0 is the number of components.

    Args:
        affinity: symmetric non-negative weights W [N, N].

    Returns:
        Laplacian [N, N], positive semi-definite, with eigenvalues in [0, 2].

    Reference: Spectral Graph Theory (Chung, 1997).
    """
    smooth = normalised_affinity(affinity)
    return jnp.diag((affinity.sum(axis=1) > 0).astype(smooth.dtype)) - smooth


def spectral_embedding(affinity: jax.Array, k: int) -> jax.Array:
    """The k smoothest eigenvectors of the normalised Laplacian, one coordinate each.

        L v_i = l_i v_i,  l_1 <= ... <= l_k

    Args:
        affinity: symmetric non-negative weights [N, N].
        k: number of eigenvectors, at most N.

    Returns:
        Eigenvectors [N, k], orthonormal columns, largest entry of each positive.

    Reference: Laplacian Eigenmaps for Dimensionality Reduction (Belkin & Niyogi, 2003).
    """
    laplacian = normalised_laplacian(affinity)
    if not 1 <= k <= laplacian.shape[0]:
        raise ValueError(f'k must be between 1 and N = {laplacian.shape[0]}, got {k}')
    _, vectors = jnp.linalg.eigh(laplacian)
    vectors = vectors[:, :k]
    largest = jnp.abs(vectors).argmax(axis=0, keepdims=True)
    return vectors * jnp.where(jnp.take_along_axis(vectors, largest, 0) < 0, -1, 1)


def spectral_clustering(
    key: chex.PRNGKey, affinity: jax.Array, k: int, *, restarts: int = 10
) -> jax.Array:
    """Clusters of a graph: k-means on the rows of the spectral embedding, scaled to length one.

        y = kmeans(v_n / |v_n|),  v the first k eigenvectors of the normalised Laplacian

    Args:
        key: random key of k-means.
        affinity: symmetric non-negative weights [N, N].
        k: number of clusters.
        restarts: seedings of k-means.

    Returns:
        Labels [N], int32.

    Reference: On Spectral Clustering: Analysis and an Algorithm (Ng et al., 2001).
    """
    rows = spectral_embedding(affinity, k)
    lengths = jnp.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / jnp.where(lengths > 0, lengths, 1)
    return kmeans(key, rows, k, restarts=restarts).labels


def normalised_cut(affinity: jax.Array, labels: jax.Array, *, classes: int) -> jax.Array:
    """Share of its edges that every cluster loses to the others, summed over the clusters.

        sum_k cut(A_k, rest) / vol(A_k),  cut = sum of W between them, vol = sum of degrees

    Args:
        affinity: symmetric non-negative weights [N, N].
        labels: cluster of every node [N].
        classes: number of clusters K; clusters without edges count zero.

    Returns:
        Scalar in [0, K].

    Reference: Normalized Cuts and Image Segmentation (Shi & Malik, 2000).
    """
    chex.assert_rank([affinity, labels], [2, 1])
    affinity = at_least_float32(affinity)
    members = jax.nn.one_hot(labels, classes, dtype=affinity.dtype)
    between = jnp.linalg.multi_dot([members.T, affinity, members], precision='highest')
    volumes = between.sum(axis=1)
    cuts = volumes - jnp.diagonal(between)
    return (cuts / jnp.where(volumes > 0, volumes, 1)).sum()
