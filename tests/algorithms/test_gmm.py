import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.mixture

from jssl.algorithms.gmm import GMM, gmm, gmm_log_prob, gmm_responsibilities

KEY = jax.random.key(0)
KINDS = ['full', 'diag', 'tied', 'spherical']
K, D = 3, 4
densities = jax.jit(lambda *a: (gmm_log_prob(*a), gmm_responsibilities(*a)))


def points(n=240, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.normal(size=(n // K, D)) @ rng.normal(size=(D, D)) + rng.normal(size=D)
            for _ in range(K)
        ]
    ).astype(np.float32)


def matrices(covariances, kind):
    """Full covariance matrices [K, D, D] of any kind's short form."""
    covariances = np.asarray(covariances, np.float64)
    if kind in ('full', 'tied'):
        return np.broadcast_to(covariances, (K, D, D))
    return np.stack([np.diag(np.broadcast_to(row, D)) for row in covariances])


def log_joint_by_loops(mixture, kind, x):
    rows = []
    for point in np.asarray(x, np.float64):
        row = []
        for weight, mean, matrix in zip(
            mixture.weights, mixture.means, matrices(mixture.covariances, kind), strict=True
        ):
            offset = point - np.asarray(mean, np.float64)
            square = offset @ np.linalg.solve(matrix, offset)
            determinant = np.linalg.slogdet(2 * np.pi * matrix)[1]
            row.append(np.log(np.float64(weight)) - 0.5 * (square + determinant))
        rows.append(row)
    return np.asarray(rows)


def start(x, kind):
    covariances = {
        'full': np.stack([np.eye(D)] * K),
        'diag': np.ones((K, D)),
        'tied': np.eye(D)[None],
        'spherical': np.ones((K, 1)),
    }[kind].astype(np.float32)
    means = jnp.asarray(x[:: len(x) // K][:K])
    return GMM(jnp.ones(K) / K, means, jnp.asarray(covariances), jnp.zeros(()), jnp.zeros((), int))


@pytest.mark.parametrize('kind', KINDS)
def test_matches_scikit_learn_from_the_same_start(kind):
    x = points()
    init = start(x, kind)
    ours = gmm(KEY, x, K, covariance=kind, iterations=15, tolerance=-1.0, init=init)
    precisions = {'tied': np.eye(D), 'spherical': np.ones(K)}.get(
        kind, np.asarray(init.covariances)
    )
    reference = sklearn.mixture.GaussianMixture(
        K,
        covariance_type=kind,
        weights_init=np.ones(K) / K,
        means_init=x[:: len(x) // K][:K].astype(np.float64),
        precisions_init=precisions.astype(np.float64),
        max_iter=15,
        tol=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it has not converged; neither have we
        reference.fit(x.astype(np.float64))
    np.testing.assert_allclose(ours.log_likelihood, reference.score(x), atol=1e-3)
    log_prob, responsibilities = densities(ours, x)
    np.testing.assert_allclose(log_prob, reference.score_samples(x), atol=1e-2)
    np.testing.assert_allclose(responsibilities, reference.predict_proba(x), atol=1e-2)
    np.testing.assert_allclose(ours.means, reference.means_, atol=1e-2)
    assert ours.iterations == 15


@pytest.mark.parametrize('kind', KINDS)
def test_density_matches_loops(kind):
    x = points()
    mixture = gmm(KEY, x, K, covariance=kind)
    joint = log_joint_by_loops(mixture, kind, x)
    evidence = np.logaddexp.reduce(joint, axis=1)
    log_prob, responsibilities = densities(mixture, x)
    np.testing.assert_allclose(log_prob, evidence, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mixture.log_likelihood, evidence.mean(), rtol=1e-4)
    posterior = np.exp(joint - evidence[:, None])
    np.testing.assert_allclose(responsibilities, posterior, atol=1e-3)
    gradient = jax.jit(jax.grad(lambda x: gmm_log_prob(mixture, x).sum()))(x)
    pulls = [
        np.linalg.solve(matrix, np.asarray(mean, np.float64) - x[0])
        for mean, matrix in zip(mixture.means, matrices(mixture.covariances, kind), strict=True)
    ]
    np.testing.assert_allclose(gradient[0], posterior[0] @ np.stack(pulls), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_em_never_lowers_the_likelihood(kind):
    x = points(seed=1)
    mixture, last = start(x, kind), -np.inf
    for _ in range(12):
        mixture = gmm(KEY, x, K, covariance=kind, iterations=1, init=mixture)
        assert mixture.log_likelihood >= last - 1e-4
        last = mixture.log_likelihood


@pytest.mark.parametrize('kind', KINDS)
def test_one_component_is_the_sample(kind):
    x = points()
    mixture = gmm(KEY, x, 1, covariance=kind, regularisation=0.0)
    sample = np.cov(x.astype(np.float64).T, bias=True)
    expected = {
        'full': sample[None],
        'tied': sample[None],
        'diag': np.diag(sample)[None],
        'spherical': np.diag(sample).mean()[None, None],
    }[kind]
    np.testing.assert_allclose(mixture.means[0], x.mean(0), atol=1e-5)
    np.testing.assert_allclose(mixture.covariances, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_keeps_its_digits_for_narrow_components_far_away(kind):
    rng = np.random.default_rng(2)
    centres = 1000.0 * rng.normal(size=(K, D))
    x = (centres[np.arange(240) % K] + 0.1 * rng.normal(size=(240, D))).astype(np.float32)
    clusters = [x[k::K].astype(np.float64) for k in range(K)]
    within = np.stack([np.cov(cluster.T, bias=True) for cluster in clusters])
    if kind == 'tied':
        within[:] = within.mean(0)
    elif kind != 'full':
        within = np.stack([np.diag(np.diag(matrix)) for matrix in within])
    if kind == 'spherical':
        within = np.stack([np.eye(D) * np.trace(matrix) / D for matrix in within])
    expected = -np.mean([np.linalg.slogdet(2 * np.pi * np.e * m)[1] / 2 for m in within]) - np.log(
        K
    )
    ours = gmm(KEY, x, K, covariance=kind)
    np.testing.assert_allclose(ours.log_likelihood, expected, atol=1e-2)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('case', ['equal', 'every of few', 'flat', 'huge', 'bfloat16'])
def test_degenerate_data_stays_finite(kind, case):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(24, 10)).astype(np.float32)
    k = 3
    if case == 'equal':
        x[:] = x[0]
    elif case == 'every of few':
        x, k = x[:8], 8
    elif case == 'flat':
        x[:, 2:] = x[:, :2] @ rng.normal(size=(2, 8)).astype(np.float32)
    elif case == 'huge':
        x *= 1e9
    elif case == 'bfloat16':
        x = jnp.asarray(x, jnp.bfloat16)
    mixture = gmm(KEY, x, k, covariance=kind, iterations=20)
    for leaf in mixture:
        assert np.isfinite(leaf).all()
    log_prob, responsibilities = densities(mixture, x)
    assert np.isfinite(log_prob).all()
    np.testing.assert_allclose(responsibilities.sum(1), 1, rtol=1e-5)


def test_laws():
    x = points()
    mixture = gmm(KEY, x, K, init=start(x, 'full'))
    order = np.random.default_rng(4).permutation(len(x))
    permuted = gmm(KEY, x[order], K, init=start(x, 'full'))
    np.testing.assert_allclose(permuted.log_likelihood, mixture.log_likelihood, atol=1e-4)
    moved = mixture._replace(means=mixture.means + 100)
    np.testing.assert_allclose(densities(moved, x + 100)[0], densities(mixture, x)[0], atol=1e-2)
    eager = gmm.__wrapped__(KEY, jnp.asarray(x), K, init=start(x, 'full'))
    np.testing.assert_allclose(eager.log_likelihood, mixture.log_likelihood, atol=1e-4)


def test_refuses():
    with pytest.raises(ValueError, match='covariance'):
        gmm(KEY, jnp.zeros((4, 2)), 2, covariance='round')
    with pytest.raises(ValueError, match='k must be'):
        gmm(KEY, jnp.zeros((4, 2)), 5)
