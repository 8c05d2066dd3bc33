import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.label_propagation import label_propagation
from jssl.algorithms.neighbours import knn_graph


def graph(n=15, seed=0):
    weights = np.random.default_rng(seed).random((n, n)).astype(np.float32)
    return np.triu(weights, 1) + np.triu(weights, 1).T


LABELS = np.asarray([0, 1, 2, 1] + 11 * [-1])


def update_by_loops(w, labels, classes, alpha, iterations):
    n = len(w)
    w = np.asarray(w, np.float64)
    degrees = [sum(w[i]) for i in range(n)]
    y = np.zeros((n, classes))
    for i, label in enumerate(labels):
        if label >= 0:
            y[i, label] = 1
    f = y.copy()
    for _ in range(iterations):
        new = (1 - alpha) * y
        for i in range(n):
            for j in range(n):
                if w[i, j]:
                    new[i] += alpha * w[i, j] / np.sqrt(degrees[i] * degrees[j]) * f[j]
        f = new
    return f


@pytest.mark.parametrize('alpha', [0.0, 0.5, 0.99])
def test_iterations_match_loops(alpha):
    w = graph()
    ours = label_propagation(w, LABELS, classes=3, alpha=alpha, iterations=7)
    np.testing.assert_allclose(ours, update_by_loops(w, LABELS, 3, alpha, 7), atol=1e-6)


@pytest.mark.parametrize('alpha', [0.5, 0.9])
def test_closed_form_is_the_limit(alpha):
    w = graph()
    limit = update_by_loops(w, LABELS, 3, alpha, 300)
    np.testing.assert_allclose(
        label_propagation(w, LABELS, classes=3, alpha=alpha), limit, rtol=1e-4, atol=1e-6
    )


def test_labels_follow_the_moons():
    angles = np.linspace(0, np.pi, 60)
    upper = np.stack([np.cos(angles), np.sin(angles)], 1)
    x = np.concatenate([upper, np.asarray([1.0, 0.4]) - upper]).astype(np.float32)
    labels = np.full(120, -1)
    labels[[0, 60]] = 0, 1
    scores = label_propagation(knn_graph(x, 4, weights='rbf'), labels, classes=2)
    np.testing.assert_array_equal(scores.argmax(1), np.repeat([0, 1], 60))


def test_laws():
    w = graph()
    scores = label_propagation(w, LABELS, classes=3)
    order = np.random.default_rng(1).permutation(15)
    permuted = label_propagation(w[order][:, order], LABELS[order], classes=3)
    np.testing.assert_allclose(permuted, scores[order], rtol=1e-3)
    np.testing.assert_allclose(label_propagation(1e6 * w, LABELS, classes=3), scores, rtol=1e-3)
    jitted = jax.jit(label_propagation, static_argnames='classes')
    np.testing.assert_allclose(jitted(w, LABELS, classes=3), scores, rtol=1e-3)
    wide = label_propagation(w, LABELS, classes=5)
    assert not wide[:, 3:].any()
    assert (scores >= 0).all()


@pytest.mark.parametrize('iterations', [None, 9])
def test_unreachable_nodes_score_zero(iterations):
    w = graph()
    w[9] = w[:, 9] = 0
    scores = label_propagation(jnp.asarray(w), LABELS, classes=3, iterations=iterations)
    assert not scores[9].any()
    assert scores[10].all()
    gradient = jax.grad(
        lambda w: label_propagation(w, LABELS, classes=3, iterations=iterations)[8, 0]
    )(jnp.asarray(w))
    assert np.isfinite(gradient).all()


def test_refuses():
    with pytest.raises(AssertionError):
        label_propagation(jnp.zeros((3, 3)), jnp.zeros(4, int), classes=2)
