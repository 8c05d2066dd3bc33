"""Graph convolutions and learned graphs against loops; where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models

RNG = np.random.default_rng(0)


def test_convolutions_average_over_neighbours(draw, run):
    x, graph = RNG.normal(size=(5, 3)).astype('f'), np.triu(RNG.random((5, 5)) < 0.5, 1)
    graph = (graph | graph.T).astype('f')
    module = models.GCN((4, 2))
    spread = np.asarray(models.propagation(jnp.asarray(graph)))
    degree = graph.sum(1) + 1
    for i, j in np.ndindex(5, 5):
        want = (graph[i, j] + (i == j)) / np.sqrt(degree[i] * degree[j])
        np.testing.assert_allclose(spread[i, j], want, rtol=1e-5)
    variables = draw(module, x, spread)
    h = np.float64(x)
    for i, layer in enumerate(variables['params'].values()):
        h = spread @ (h @ layer['kernel'] + layer['bias'])
        h = np.maximum(h, 0) if i == 0 else h
    np.testing.assert_allclose(run(module, variables, x, spread), h, rtol=1e-4, atol=1e-5)


def test_learned_graphs_join_the_nearest():
    h = RNG.normal(size=(7, 3)).astype('f')
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in h] for a in h])
    want = np.zeros((7, 7))
    for i, row in enumerate(cosine):
        for j in np.argsort(-row)[:3]:
            want[i, j] += row[j] / 2
            want[j, i] += row[j] / 2
    found = models.cosine_graph(jnp.asarray(h), 2)
    np.testing.assert_allclose(found, np.maximum(want, 0), atol=1e-5)
    slope = jax.grad(lambda h: models.cosine_graph(h, 2).sum())(jnp.asarray(h))
    assert np.isfinite(slope).all()
    assert np.abs(slope).min(1).max() > 0
    zeros = jax.grad(lambda h: models.cosine_graph(h, 2).sum())(jnp.zeros((7, 3)))
    assert np.isfinite(zeros).all()
