"""What the generic smoke test leaves out: starts, the threshold, hard EM in loops, what is done."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.clustering import ila_sdp

CONFIG = ila_sdp.SMOKE
SHAPE = ila_sdp.shape(CONFIG, 'unequal')


def test_the_separation_that_theory_asks_for():
    n, k, p = CONFIG.points, CONFIG.clusters, CONFIG.dimension
    square = 4 * (1 + (1 + k * p / (n * np.log(n))) ** 0.5) * np.log(n)
    np.testing.assert_allclose(ila_sdp.threshold(CONFIG) ** 2, square)
    equal = ila_sdp.shape(CONFIG, 'isotropic')
    _, y, covariances = ila_sdp.draw(0, 1, CONFIG.points, **equal)
    np.testing.assert_allclose(covariances, np.eye(p)[None, None].repeat(k, 1), atol=1e-6)
    assert (np.bincount(y[0]) == n // k).all()
    world = ila_sdp.mixtures.world(seed=0, **{a: b for a, b in equal.items() if a != 'shares'})
    apart = np.linalg.norm(world.mean[:, None] - world.mean[None], axis=2)[~np.eye(k, dtype=bool)]
    np.testing.assert_allclose(apart.min(), CONFIG.apart * square**0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ('exact', 'wanted'),
    [([0, 0.25, 0.75, 1], 2.5), ([0.5, 1, 1, 1], 1), ([0, 0, 0, 0.25], 4), ([0, 1, 0, 1], 3.5)],
)
def test_where_recovery_passes_one_half(exact, wanted):
    assert ila_sdp.crossing((1, 2, 3, 4), exact) == pytest.approx(wanted)


def test_the_bad_start_merges_two_clusters_and_halves_the_third():
    x, y, _ = ila_sdp.draw(0, 2, CONFIG.points, **SHAPE)
    for labels, truth in zip(ila_sdp.first_labels(CONFIG, 'adversarial', 0, x, y), y, strict=True):
        assert (labels[truth < 2] == 0).all()
        counts = np.bincount(labels[truth == 2], minlength=3)
        assert counts[0] == 0
        assert abs(counts[1] - counts[2]) <= 1


def test_hard_em_in_loops():
    x, y, _ = ila_sdp.draw(3, 2, CONFIG.points, **{**SHAPE, 'dimension': 2})
    ridge, random = 0.5, np.random.default_rng(0)
    start = random.integers(0, 3, y.shape)
    found = ila_sdp.mixtures_of(3, x, start, x, ridge, 2, 0)
    for points, labels, got in zip(x.astype(float), start, np.asarray(found), strict=True):
        for _ in range(3):  # the last of them says whose points are
            scores = []
            for k in range(3):
                own = points[labels == k]
                off = own - own.mean(0)
                cov = off.T @ off / len(own) + ridge * np.eye(2)
                away = points - own.mean(0)
                squares = np.array([a @ np.linalg.inv(cov) @ a for a in away])
                scores.append(-0.5 * squares - 0.5 * np.linalg.slogdet(cov)[1])
            labels = np.argmax(scores, 0)
        np.testing.assert_array_equal(got, labels)


def test_a_repetition_that_is_done_stays_and_known_covariances_are_kept():
    x, y, covariances = ila_sdp.draw(0, CONFIG.repetitions, CONFIG.points, **SHAPE)
    start = jnp.asarray(np.random.default_rng(0).integers(0, 3, y.shape))
    before = ila_sdp.begin(CONFIG, x, start, 'likelihood', covariances=covariances)
    before = before._replace(done=jnp.arange(CONFIG.repetitions) < 4)
    after, metrics = jax.jit(ila_sdp.build(CONFIG)[1])(before, {'x': x}, jax.random.key(0))
    moved = np.abs(np.asarray(after.parts - before.parts)).max((1, 2, 3)) > 0
    np.testing.assert_array_equal(moved, np.arange(CONFIG.repetitions) >= 4)
    np.testing.assert_array_equal(after.covariances, covariances)
    assert after.done[:4].all()
    assert metrics['moving'] <= 0.5
    after, _ = jax.jit(ila_sdp.build(CONFIG)[1])(
        before._replace(known=jnp.array(False)), {'x': x}, jax.random.key(0)
    )
    assert np.abs(after.covariances[4:] - covariances[4:]).max() > 0.01
