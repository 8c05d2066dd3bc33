import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.neighbors

from jssl.algorithms.neighbours import knn_edges, knn_graph, nearest


def points(n, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def distances_by_loops(queries, keys, metric):
    queries, keys = np.asarray(queries, np.float64), np.asarray(keys, np.float64)
    table = np.empty((len(queries), len(keys)))
    for n, q in enumerate(queries):
        for m, x in enumerate(keys):
            if metric == 'euclidean':
                table[n, m] = np.sqrt(((q - x) ** 2).sum())
            else:
                lengths = np.sqrt((q**2).sum() * (x**2).sum())
                table[n, m] = 1 - (q @ x / lengths if lengths else 0)
    return table


# 700 keys are searched by blocks for k = 3 and in one go for k = 60; 20 queries in chunks of 7.
@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
@pytest.mark.parametrize('k', [1, 3, 60, 700])
def test_matches_brute_force(metric, k):
    queries, keys = points(20), points(700, seed=1)
    table = distances_by_loops(queries, keys, metric)
    found = nearest(queries, keys, k, metric=metric, chunk=7)
    np.testing.assert_array_equal(found.indices[:, :60], table.argsort(1)[:, : min(k, 60)])
    np.testing.assert_allclose(found.distances, np.sort(table, 1)[:, :k], rtol=1e-4, atol=1e-6)
    assert found.indices.dtype == jnp.int32


def test_matches_scikit_learn():
    queries, keys = points(50), points(2000, seed=1)
    reference = sklearn.neighbors.NearestNeighbors(n_neighbors=5, algorithm='brute').fit(keys)
    distances, indices = reference.kneighbors(queries)
    found = nearest(queries, keys, 5)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-4)


@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
def test_first_of_equals_is_found_first(metric):
    keys = np.tile(points(10), (40, 1))  # key m equals keys m + 10, m + 20, ...
    found = nearest(keys[:10], keys, 6, metric=metric)
    np.testing.assert_array_equal(found.indices, np.arange(10)[:, None] + 10 * np.arange(6)[None])
    np.testing.assert_allclose(found.distances, 0, atol=1e-6)


def test_offset_does_not_cost_digits():
    keys = points(400) + 1e4
    table = distances_by_loops(keys[:9], keys, 'euclidean')
    found = nearest(keys[:9], keys, 4)
    np.testing.assert_allclose(found.distances, np.sort(table, 1)[:, :4], rtol=1e-5)
    assert not found.distances[:, 0].any()  # each finds itself, at distance zero exactly


def test_exclude():
    x = points(300)
    found = nearest(x, x, 3, exclude=jnp.arange(300))
    np.testing.assert_array_equal(found.indices, nearest(x, x, 4).indices[:, 1:])
    everyone = nearest(x[:5], x[:5], 4, exclude=jnp.arange(5))
    for n, row in enumerate(np.sort(everyone.indices, 1)):
        assert list(row) == [m for m in range(5) if m != n]


def test_laws():
    queries, keys = points(20), points(700, seed=1)
    found = nearest(queries, keys, 3)
    order = np.random.default_rng(2).permutation(700)
    np.testing.assert_array_equal(order[nearest(queries, keys[order], 3).indices], found.indices)
    np.testing.assert_array_equal(nearest(4 * queries, 4 * keys, 3).indices, found.indices)
    turned = nearest(2 * queries, 3 * keys, 3, metric='cosine')
    np.testing.assert_array_equal(
        turned.indices, nearest(queries, keys, 3, metric='cosine').indices
    )
    stacked = jax.vmap(lambda q: nearest(q, keys, 3).indices)(queries.reshape(4, 5, -1))
    np.testing.assert_array_equal(stacked.reshape(20, 3), found.indices)
    eager = nearest.__wrapped__(jnp.asarray(queries), jnp.asarray(keys), 3)
    np.testing.assert_array_equal(eager.indices, found.indices)


@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
@pytest.mark.parametrize('scale', [0.0, 1.0, 1e15])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_finite_at_any_scale(metric, scale, dtype):
    x = jnp.asarray(scale * points(40), dtype)
    x = jnp.concatenate([x, x, jnp.zeros_like(x[:2])])

    def total(x):
        return nearest(x, x, 3, metric=metric).distances.sum()

    value, gradient = jax.value_and_grad(total)(x)
    assert np.isfinite(value)
    assert np.isfinite(gradient.astype(jnp.float32)).all()


def test_gradient_of_distances():
    queries, keys = points(4), points(30, seed=1)
    found = nearest(queries, keys, 1)
    gradient = jax.grad(lambda q: nearest(q, keys, 1).distances.sum())(jnp.asarray(queries))
    expected = (queries - keys[found.indices[:, 0]]) / found.distances
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('weights', ['binary', 'rbf'])
@pytest.mark.parametrize('symmetric', [True, False])
def test_graph_matches_loops(weights, symmetric):
    x = points(30)
    table = distances_by_loops(x, x, 'euclidean')
    np.fill_diagonal(table, np.inf)
    order = table.argsort(1)[:, :4]
    bandwidth = np.mean([table[n, order[n, -1]] for n in range(30)])
    expected = np.zeros((30, 30))
    for n in range(30):
        for m in order[n]:
            expected[n, m] = (
                1 if weights == 'binary' else np.exp(-0.5 * (table[n, m] / bandwidth) ** 2)
            )
    if symmetric:
        expected = np.maximum(expected, expected.T)
    graph = knn_graph(x, 4, weights=weights, symmetric=symmetric)
    np.testing.assert_allclose(graph, expected, rtol=1e-4, atol=1e-6)
    fixed = knn_graph(x, 4, weights='rbf', symmetric=symmetric, bandwidth=float(bandwidth))
    if weights == 'rbf':
        np.testing.assert_allclose(fixed, graph, rtol=1e-4)


def test_edges_of_equal_points():
    indices, weights = knn_edges(np.ones((6, 2), np.float32), 3, weights='rbf')
    assert (indices != np.arange(6)[:, None]).all()
    np.testing.assert_array_equal(weights, 1)


def test_refuses():
    x = jnp.zeros((4, 2))
    for k in (0, 5):
        with pytest.raises(ValueError, match='k must be'):
            nearest(x, x, k)
    with pytest.raises(ValueError, match='k must be'):
        knn_graph(x, 4)
    with pytest.raises(ValueError, match='metric'):
        nearest(x, x, 1, metric='manhattan')
    with pytest.raises(ValueError, match='weights'):
        knn_graph(x, 2, weights='cosine')
    with pytest.raises(AssertionError):
        nearest(x, jnp.zeros((4, 3)), 1)
