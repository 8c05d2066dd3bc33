import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.cluster

from jssl.algorithms.kmeans import (
    assign,
    kmeans,
    kmeans_plus_plus,
    minibatch_kmeans,
    pairwise_squared_distances,
)

KEY = jax.random.key(0)


def blobs(n=200, k=5, d=3, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, d)) * 4
    return (centres[np.arange(n) % k] + spread * rng.normal(size=(n, d))).astype(np.float32)


def inertia_by_loops(x, centres, labels):
    x, centres = np.asarray(x, np.float64), np.asarray(centres, np.float64)
    return sum(
        ((point - centres[label]) ** 2).sum() for point, label in zip(x, labels, strict=True)
    )


def nearest_by_loops(x, centres):
    x, centres = np.asarray(x, np.float64), np.asarray(centres, np.float64)
    return [
        min(range(len(centres)), key=lambda k: ((point - centres[k]) ** 2).sum()) for point in x
    ]


def lloyd_by_loops(x, centres, iterations):
    x, centres = np.asarray(x, np.float64), np.asarray(centres, np.float64).copy()
    for _ in range(iterations):
        labels = np.asarray(nearest_by_loops(x, centres))
        for k in range(len(centres)):
            centres[k] = x[labels == k].mean(0)
    return centres


@pytest.mark.parametrize('offset', [0.0, 1e4])
def test_distances_match_loops(offset):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(5, 4))
    x, y = (x + offset).astype(np.float32), (y + offset).astype(np.float32)
    expected = [[((p - q) ** 2).sum() for q in y.astype(np.float64)] for p in x.astype(np.float64)]
    np.testing.assert_allclose(pairwise_squared_distances(x, y), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scale', [0.0, 1.0, 1e15])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_distances_are_never_negative(scale, dtype):
    x = jnp.asarray(scale * np.random.default_rng(1).normal(size=(40, 3)), dtype)
    x = jnp.concatenate([x, x])
    distances, gradient = jax.value_and_grad(lambda x: pairwise_squared_distances(x, x).sum())(x)
    assert np.isfinite(distances)
    assert np.isfinite(gradient.astype(jnp.float32)).all()
    assert (pairwise_squared_distances(x, x) >= 0).all()


def test_lloyd_matches_loops():
    x = blobs(spread=2.0)
    fit = kmeans(KEY, x, 5, iterations=4, tolerance=0.0, init=jnp.asarray(x[:5]))
    centres = lloyd_by_loops(x, x[:5], 4)
    np.testing.assert_allclose(fit.centres, centres, atol=1e-4)
    np.testing.assert_array_equal(fit.labels, nearest_by_loops(x, centres))
    np.testing.assert_allclose(fit.inertia, inertia_by_loops(x, fit.centres, fit.labels), rtol=1e-5)
    assert fit.iterations == 4


@pytest.mark.parametrize('seed', range(3))
def test_no_worse_than_scikit_learn_from_the_same_centres(seed):
    x = blobs(spread=2.0, seed=seed)
    reference = sklearn.cluster.KMeans(5, init=x[:5], n_init=1, tol=0).fit(x)
    fit = kmeans(KEY, x, 5, tolerance=0.0, init=jnp.asarray(x[:5]))
    assert fit.inertia <= reference.inertia_ * (1 + 1e-5)


@pytest.mark.parametrize('fit', [kmeans, minibatch_kmeans])
def test_finds_blobs(fit):
    x = blobs()
    labels = np.asarray(fit(KEY, x, 5).labels)
    truth = np.arange(200) % 5
    assert len({*zip(labels, truth, strict=True)}) == 5


def test_more_restarts_are_no_worse():
    x = blobs(spread=2.0)
    once, often = kmeans(KEY, x, 12), kmeans(KEY, x, 12, restarts=8)
    assert often.inertia <= once.inertia * (1 + 1e-3)
    assert often.centres.shape == (12, 3)
    np.testing.assert_allclose(
        often.inertia, inertia_by_loops(x, often.centres, often.labels), rtol=1e-5
    )


def test_empty_clusters_restart_at_the_farthest_points():
    x = np.concatenate([blobs(60, 3), [[90, 0, 0], [0, 80, 0]]]).astype(np.float32)
    init = np.concatenate([x[:3], [[500, 500, 500], [-500, 500, 500]]]).astype(np.float32)
    fit = kmeans(KEY, x, 5, init=jnp.asarray(init))
    assert sorted(np.bincount(fit.labels, minlength=5)) == [1, 1, 20, 20, 20]


def test_equal_centres_do_not_share_their_points():
    x = blobs(60, 2)
    fit = kmeans(KEY, x, 2, init=jnp.asarray(x[[0, 0]]))
    assert list(np.bincount(fit.labels)) == [30, 30]


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.int32])
@pytest.mark.parametrize('scale', [0, 1, 10**6])
def test_edges(dtype, scale):
    x = jnp.asarray(scale * np.random.default_rng(2).integers(-20, 20, (9, 2)), dtype)
    one = kmeans(KEY, x, 1)
    np.testing.assert_allclose(one.centres[0], x.astype(jnp.float32).mean(0), rtol=1e-5, atol=1e-5)
    every = kmeans(KEY, x, 9, restarts=2)
    assert np.isfinite(every.centres).all()
    assert every.inertia <= 1e-6 * max(one.inertia, 1)  # k = n: every point its own centre
    mini = minibatch_kmeans(KEY, x, 3, batch=4, steps=5)
    assert np.isfinite(mini.centres).all()
    assert mini.labels.shape == (9,)


def test_laws():
    x = blobs(spread=1.0)
    init = jnp.asarray(x[:5])
    fit = kmeans(KEY, x, 5, init=init)
    order = np.random.default_rng(3).permutation(len(x))
    np.testing.assert_array_equal(kmeans(KEY, x[order], 5, init=init).labels, fit.labels[order])
    swap = np.asarray([4, 2, 0, 1, 3])
    np.testing.assert_array_equal(swap[kmeans(KEY, x, 5, init=init[swap]).labels], fit.labels)
    moved = kmeans(KEY, 64 * x + 1024, 5, init=64 * init + 1024)
    np.testing.assert_array_equal(moved.labels, fit.labels)
    np.testing.assert_allclose(moved.inertia, 64**2 * fit.inertia, rtol=1e-4)
    doubled = kmeans(KEY, np.concatenate([x, x]), 5, init=init)
    np.testing.assert_allclose(doubled.centres, fit.centres, atol=1e-5)
    np.testing.assert_array_equal(assign(x, fit.centres), fit.labels)
    eager = kmeans.__wrapped__(KEY, jnp.asarray(x), 5, init=init)
    np.testing.assert_array_equal(eager.labels, fit.labels)


def test_seeds_are_distinct_points_drawn_far_apart():
    x = blobs()
    seeds = kmeans_plus_plus(KEY, x, 5)
    assert {tuple(seed) for seed in np.asarray(seeds)} <= {tuple(point) for point in x}
    assert len({*nearest_by_loops(seeds, x[:5])}) == 5  # one in every blob
    values = np.repeat(np.arange(6, dtype=np.float32)[:, None], 20, 0)
    assert len(np.unique(kmeans_plus_plus(KEY, values, 6))) == 6
    assert np.isfinite(kmeans_plus_plus(KEY, np.zeros((7, 2), np.float32), 4)).all()


def test_plain_seeding_draws_by_squared_distance():
    """From any first seed of {0, 1, 3}, the odds of the second are the squared distances."""
    x = np.asarray([[0.0], [1.0], [3.0]], np.float32)
    draw = jax.jit(jax.vmap(lambda key: kmeans_plus_plus(key, x, 2, trials=1)[:, 0]))
    draws = np.asarray(draw(jax.random.split(KEY, 6000)))
    for first, second, share in ((0, 3, 9 / 10), (1, 3, 4 / 5), (3, 0, 9 / 13)):
        among = draws[draws[:, 0] == first, 1]
        assert abs((among == second).mean() - share) < 0.03


def test_refuses():
    x = jnp.zeros((4, 2))
    for k in (0, 5):
        with pytest.raises(ValueError, match='k must be'):
            kmeans(KEY, x, k)
    with pytest.raises(ValueError, match='restarts'):
        kmeans(KEY, x, 2, restarts=2, init=x[:2])
    with pytest.raises(AssertionError):
        kmeans(KEY, x, 2, init=x[:3])
    with pytest.raises(AssertionError):
        assign(x, jnp.zeros((3, 5)))
