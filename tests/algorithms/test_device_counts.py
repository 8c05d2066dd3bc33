"""The same batch on one device and on eight gives the same answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.gmm import gmm
from jssl.algorithms.kmeans import kmeans
from jssl.algorithms.neighbours import nearest
from jssl.algorithms.pca import whiten
from jssl.algorithms.sinkhorn import sinkhorn, sinkhorn_plan

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
CENTRES = jnp.asarray(X[:5])

CASES = {
    'sinkhorn': sinkhorn,
    'sinkhorn in logs': lambda x: sinkhorn(x, epsilon=1e-3, iterations=40),
    'plan gradient': jax.grad(lambda x: (sinkhorn_plan(x, iterations=20) ** 2).sum()),
    'kmeans': lambda x: kmeans(KEY, x, 5, init=CENTRES),
    'kmeans seeded': lambda x: kmeans(KEY, x, 5, restarts=2),
    'kmeans empty': lambda x: kmeans(KEY, x, 5, init=CENTRES.at[3].set(1e3)),
    'gmm': lambda x: gmm(KEY, x, 3, iterations=5, covariance='diag'),
    'nearest': lambda x: nearest(x, x, 4),
    'whiten': whiten,
}


@pytest.mark.parametrize('name', CASES)
def test_one_and_eight_devices_agree(name, devices):
    mesh = jax.make_mesh((8,), ('data',), (jax.sharding.AxisType.Auto,), devices=devices)
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
    compute = jax.jit(CASES[name])
    alone, spread = compute(X), compute(jax.device_put(X, rows))
    for one, eight in zip(jax.tree.leaves(alone), jax.tree.leaves(spread), strict=True):
        np.testing.assert_allclose(eight, one, rtol=1e-4, atol=1e-5)
