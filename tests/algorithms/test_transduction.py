import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.transduction import (
    class_means,
    information_maximisation,
    rectified_prototypes,
)

K, D = 3, 5
LABELS = np.asarray([0, 1, 2, 0, 1, 2] + 12 * [-1])


def points(seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(len(LABELS), D)).astype(np.float32)
    z[np.arange(len(z)), np.arange(len(z)) % K] += 3
    return z


def means_by_loops(z, labels):
    z = np.asarray(z, np.float64)
    return np.stack([np.mean([p for p, y in zip(z, labels, strict=True) if y == k], 0)
                     for k in range(K)])  # fmt: skip


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def rectified_by_loops(z, labels, scale):
    z = np.asarray(z, np.float64).copy()
    shift = z[labels >= 0].mean(0) - z[labels < 0].mean(0)
    z[labels < 0] += shift
    means = means_by_loops(z, labels)
    sums, masses = np.zeros((K, D)), np.zeros(K)
    for p in z:
        similarity = np.asarray([cosine(p, m) for m in means])
        k = similarity.argmax()
        share = np.exp(scale * similarity[k]) / np.exp(scale * similarity).sum()
        sums[k] += share * p
        masses[k] += share
    return z, sums / masses[:, None]


def objective_by_loops(z, labels, m, scale, conditional, supervised):
    p = np.exp([[-scale / 2 * np.sum((x - c) ** 2) for c in m] for x in np.asarray(z, np.float64)])
    p /= p.sum(1, keepdims=True)
    cross = -np.mean([np.log(p[i, y]) for i, y in enumerate(labels) if y >= 0])
    query = p[labels < 0]
    within = -np.mean([np.sum(row * np.log(row)) for row in query])
    mean = query.mean(0)
    return supervised * cross + np.sum(mean * np.log(mean)) + conditional * within


def test_class_means_match_loops():
    z = points()
    np.testing.assert_allclose(
        class_means(z, LABELS, classes=K), means_by_loops(z, LABELS), atol=1e-6
    )
    assert not class_means(z, LABELS, classes=K + 1)[K].any()


@pytest.mark.parametrize('scale', [0.0, 10.0])
def test_rectified_prototypes_match_loops(scale):
    z = points()
    moved, prototypes = rectified_prototypes(z, LABELS, classes=K, scale=scale)
    expected_z, expected = rectified_by_loops(z, LABELS, scale)
    np.testing.assert_allclose(moved, expected_z, atol=1e-5)
    np.testing.assert_allclose(prototypes, expected, atol=1e-5)
    np.testing.assert_array_equal(moved[LABELS >= 0], z[LABELS >= 0])


def test_information_maximisation_lowers_its_objective():
    z, options = points(), {'scale': 1.0, 'conditional': 0.3, 'supervised': 0.5}
    start = means_by_loops(z, LABELS)
    value = lambda m: objective_by_loops(z, LABELS, m, **options)
    p, m = information_maximisation(
        z, LABELS, jnp.asarray(start, jnp.float32), learning_rate=0.02, steps=60, **options
    )
    assert value(np.asarray(m, np.float64)) < value(start) - 1e-2
    np.testing.assert_allclose(np.asarray(p).sum(1), 1, rtol=1e-5)
    # Adam's first step is the sign of the slope.
    slope, step = np.zeros_like(start), 1e-5
    for index in np.ndindex(start.shape):
        ahead = np.zeros_like(start)
        ahead[index] = step
        slope[index] = (value(start + ahead) - value(start - ahead)) / (2 * step)
    _, first = information_maximisation(
        z, LABELS, jnp.asarray(start, jnp.float32), learning_rate=1e-2, steps=1, **options
    )
    clear = np.abs(slope) > 1e-3
    assert clear.sum() > 10
    np.testing.assert_allclose((first - start)[clear], -1e-2 * np.sign(slope[clear]), rtol=1e-2)


def test_vmap_is_a_loop_and_bad_points_stay_finite():
    batch = jnp.stack([points(0), points(1)])
    moved, prototypes = jax.vmap(lambda z: rectified_prototypes(z, LABELS, classes=K))(batch)
    for i, z in enumerate(batch):
        alone = rectified_prototypes(z, LABELS, classes=K)
        np.testing.assert_allclose(moved[i], alone[0], atol=1e-6)
        np.testing.assert_allclose(prototypes[i], alone[1], atol=1e-6)
    for dtype in (jnp.float32, jnp.bfloat16):
        zeros = jnp.zeros((len(LABELS), D), dtype)
        z, prototypes = rectified_prototypes(zeros, LABELS, classes=K)
        assert prototypes.dtype == jnp.float32
        found = information_maximisation(1e3 + z, LABELS, prototypes, steps=3)
        for leaf in (z, prototypes, *found):
            assert np.isfinite(leaf).all()
