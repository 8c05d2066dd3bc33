import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.decomposition

from jssl.algorithms.pca import pca, project, whiten, whitening_matrix

KINDS = ['zca', 'pca', 'cholesky']


def points(n=50, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3).astype(np.float32)


def covariance(x):
    return np.cov(np.asarray(x, np.float64).T)


@pytest.mark.parametrize('shape', [(50, 6), (6, 50)])
def test_matches_scikit_learn(shape):
    x = points(*shape)
    reference = sklearn.decomposition.PCA(3, svd_solver='full').fit(x.astype(np.float64))
    basis = pca(x, 3)
    np.testing.assert_allclose(basis.mean, reference.mean_, atol=1e-5)
    np.testing.assert_allclose(basis.explained, reference.explained_variance_, rtol=1e-4)
    projector = basis.components.T @ basis.components
    np.testing.assert_allclose(
        projector, reference.components_.T @ reference.components_, atol=1e-4
    )
    np.testing.assert_allclose(
        np.abs(project(basis, x)), np.abs(reference.transform(x)), rtol=1e-3, atol=1e-3
    )


def test_laws_of_components():
    x = points()
    basis = pca(x, 6)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(covariance(project(basis, x)), np.diag(basis.explained), atol=1e-3)
    np.testing.assert_allclose(
        project(basis, x) @ basis.components + basis.mean[None], x, atol=1e-4
    )
    for component in np.asarray(basis.components):
        assert component[np.abs(component).argmax()] > 0
    order = np.random.default_rng(0).permutation(len(x))
    for ours, permuted in zip(basis, pca(x[order], 6), strict=True):
        np.testing.assert_allclose(permuted, ours, atol=1e-3)
    np.testing.assert_allclose(pca(4 * x, 6).explained, 16 * basis.explained, rtol=1e-4)
    jitted = jax.jit(pca, static_argnums=1)(x, 6)
    np.testing.assert_allclose(jitted.components, basis.components, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_whitened_covariance_is_the_identity(kind):
    x = points()
    z = whiten(x, kind=kind, epsilon=0.0)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(covariance(z), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(whiten(x + 7, kind=kind), whiten(x, kind=kind), atol=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_whitening_matrix(kind):
    s = covariance(points()).astype(np.float32)
    w = np.asarray(whitening_matrix(jnp.asarray(s), kind=kind, epsilon=0.1))
    np.testing.assert_allclose(w @ (s + 0.1 * np.eye(6)) @ w.T, np.eye(6), atol=1e-4)
    if kind == 'zca':
        np.testing.assert_allclose(w, w.T, atol=1e-5)
        assert (np.linalg.eigvalsh(w) > 0).all()
    elif kind == 'cholesky':
        np.testing.assert_allclose(w, np.tril(w), atol=1e-6)
    else:
        gram = w @ w.T  # rows along the axes, each shrunk by its own deviation
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-4)


@pytest.mark.parametrize('kind', ['zca', 'cholesky'])
def test_gradient_matches_differences(kind):
    """Against the definition in float64: an eigendecomposition and an inverse by NumPy."""
    s = covariance(points(seed=1)) / 10
    weights = np.random.default_rng(1).normal(size=(6, 6))

    def oracle(s):
        s = (s + s.T) / 2 + 0.1 * np.eye(6)
        values, axes = np.linalg.eigh(s)
        w = (
            axes / np.sqrt(values) @ axes.T
            if kind == 'zca'
            else np.linalg.inv(np.linalg.cholesky(s))
        )
        return (weights * w).sum()

    def ours(s):
        w = whitening_matrix((s + s.T) / 2, kind=kind, epsilon=0.1)
        return (weights.astype(np.float32) * w).sum()

    gradient = jax.grad(ours)(jnp.asarray(s, jnp.float32))
    for index in np.ndindex(6, 6):
        step = np.zeros((6, 6))
        step[index] = 1e-5
        difference = (oracle(s + step) - oracle(s - step)) / 2e-5
        np.testing.assert_allclose(gradient[index], difference, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'case', ['zeros', 'duplicates', 'one', 'wide', 'white', 'huge', 'bfloat16']
)
def test_degenerate_batches(kind, case):
    x = jnp.asarray(points(12, 4))
    x = {
        'zeros': jnp.zeros_like(x),
        'duplicates': jnp.tile(x[:1], (12, 1)),
        'one': x[:1],
        'wide': x[:3],
        'white': jnp.concatenate([jnp.eye(4), -jnp.eye(4)]),  # every eigenvalue the same
        'huge': 1e12 * x,
        'bfloat16': x.astype(jnp.bfloat16),
    }[case]
    z, pullback = jax.vjp(lambda x: whiten(x, kind=kind), x)
    assert np.isfinite(z).all()
    if kind != 'pca':  # its axes are not unique, see the docstring
        (gradient,) = pullback(jnp.cos(jnp.arange(z.size, dtype=z.dtype)).reshape(z.shape))
        assert np.isfinite(gradient.astype(jnp.float32)).all()


def test_refuses():
    with pytest.raises(ValueError, match='k must be'):
        pca(jnp.zeros((4, 2)), 3)
    with pytest.raises(ValueError, match='kind'):
        whiten(jnp.zeros((4, 2)), kind='white')
    with pytest.raises(AssertionError):
        project(pca(jnp.eye(3), 2), jnp.zeros((4, 2)))
