import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.csgraph

from jssl.algorithms.neighbours import knn_graph
from jssl.algorithms.spectral import (
    normalised_affinity,
    normalised_cut,
    normalised_laplacian,
    spectral_clustering,
    spectral_embedding,
)

KEY = jax.random.key(0)


def graph(n=12, seed=0):
    weights = np.random.default_rng(seed).random((n, n)).astype(np.float32)
    weights = weights * (weights > 0.4)
    return np.triu(weights, 1) + np.triu(weights, 1).T


def components(*sizes):
    """Complete graphs side by side."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    affinity = (labels[:, None] == labels[None, :]).astype(np.float32)
    np.fill_diagonal(affinity, 0)
    return affinity, labels


def test_laplacian_matches_scipy():
    w = graph()
    expected = scipy.sparse.csgraph.laplacian(w.astype(np.float64), normed=True)
    np.testing.assert_allclose(normalised_laplacian(w), expected, atol=1e-6)
    w[3] = w[:, 3] = 0  # a node without edges
    expected = scipy.sparse.csgraph.laplacian(w.astype(np.float64), normed=True)
    np.testing.assert_allclose(normalised_laplacian(w), expected, atol=1e-6)


def test_zero_eigenvalues_count_components():
    w, _ = components(5, 4, 3, 1)
    eigenvalues = np.linalg.eigvalsh(normalised_laplacian(w))
    np.testing.assert_allclose(eigenvalues[:4], 0, atol=1e-5)
    assert eigenvalues[4] > 0.5
    assert eigenvalues[-1] < 2 + 1e-5


def test_embedding_is_the_smooth_end_of_the_spectrum():
    w = graph()
    laplacian = np.asarray(normalised_laplacian(w), np.float64)
    values, vectors = np.linalg.eigh(laplacian)
    embedding = np.asarray(spectral_embedding(w, 3))
    np.testing.assert_allclose(embedding.T @ embedding, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(np.abs(embedding), np.abs(vectors[:, :3]), atol=1e-4)
    np.testing.assert_allclose(laplacian @ embedding, embedding * values[:3], atol=1e-4)
    order = np.random.default_rng(0).permutation(12)
    permuted = spectral_embedding(w[order][:, order], 3)
    np.testing.assert_allclose(permuted, embedding[order], atol=1e-4)
    np.testing.assert_allclose(spectral_embedding(9 * w, 3), embedding, atol=1e-4)


def test_clusters_are_the_components():
    w, truth = components(6, 9, 4)
    order = np.random.default_rng(1).permutation(len(w))
    labels = np.asarray(spectral_clustering(KEY, w[order][:, order], 3))
    assert len({*zip(labels, truth[order], strict=True)}) == 3
    assert normalised_cut(w[order][:, order], labels, classes=3) == 0


def test_clusters_two_rings_that_kmeans_cannot():
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    x = np.concatenate([ring, 4 * ring]).astype(np.float32)
    labels = np.asarray(spectral_clustering(KEY, knn_graph(x, 4, weights='rbf'), 2))
    np.testing.assert_array_equal(labels, labels[[0, 40]].repeat(40))
    assert labels[0] != labels[40]


def test_cut_matches_loops():
    w = graph()
    labels = np.random.default_rng(2).integers(0, 3, 12)
    expected = 0.0
    for k in range(3):
        cut = sum(w[n, m] for n in range(12) for m in range(12) if labels[n] == k != labels[m])
        volume = sum(w[n, m] for n in range(12) for m in range(12) if labels[n] == k)
        expected += cut / volume
    np.testing.assert_allclose(normalised_cut(w, labels, classes=3), expected, rtol=1e-5)
    jitted = jax.jit(normalised_cut, static_argnames='classes')
    np.testing.assert_allclose(jitted(w, labels, classes=5), expected, rtol=1e-5)  # two are empty


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.int32])
def test_no_edges_and_dtypes(dtype):
    empty = jnp.zeros((4, 4), dtype)
    assert not normalised_laplacian(empty).any()
    assert normalised_cut(empty, jnp.arange(4), classes=4) == 0
    gradient = jax.grad(lambda w: (normalised_affinity(w) ** 2).sum())(empty.astype(jnp.float32))
    assert np.isfinite(gradient).all()
    assert np.isfinite(spectral_embedding(empty, 2)).all()
    assert spectral_clustering(KEY, empty, 2, restarts=1).shape == (4,)


def test_refuses():
    with pytest.raises(AssertionError):
        normalised_affinity(jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match='k must be'):
        spectral_embedding(jnp.zeros((3, 3)), 4)
