"""Gaussian mixtures fitted by expectation-maximisation."""

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32
from jssl.algorithms.kmeans import kmeans

# Squares taken from the origin keep four digits of a variance in float32 if the mean is no more
# than sqrt(1e3) standard deviations away; beyond that they are taken from every mean in turn.
_FAR = 1e3


class GMM(NamedTuple):
    """A mixture of K Gaussians in D dimensions."""

    weights: jax.Array  # [K]
    means: jax.Array  # [K, D]
    covariances: jax.Array  # full [K, D, D], tied [1, D, D], diag [K, D], spherical [K, 1]
    log_likelihood: jax.Array  # mean over the points it was fitted to
    iterations: jax.Array


@functools.partial(jax.jit, static_argnames=('k', 'covariance'))
def gmm(
    key: chex.PRNGKey,
    x: jax.Array,
    k: int,
    *,
    covariance: str = 'full',
    iterations: int = 100,
    tolerance: float = 1e-3,
    regularisation: float = 1e-6,
    init: GMM | None = None,
) -> GMM:
    """Fits a mixture of Gaussians by EM, from k-means clusters or from a given mixture.

        r_nk = w_k N(x_n; m_k, S_k) / p(x_n),  p(x) = sum_k w_k N(x; m_k, S_k)
        w, m, S <- shares, means and covariances of the points weighted by r

    Args:
        key: random key of k-means; unused when `init` is given.
        x: points [N, D].
        k: number of components, at most N.
        covariance: 'full', 'diag', 'spherical' (one variance each) or 'tied' (one matrix for all).
        iterations: largest number of iterations.
        tolerance: stops when the mean log-likelihood gains no more than this.
        regularisation: added to the variances; those of full and tied matrices grow by a share of
            at least 4 D x the rounding unit, below which a Cholesky factor need not exist.
        init: mixture to start from, its covariances of the kind asked for.

    Returns:
        GMM with weights [K], means [K, D], covariances full [K, D, D], tied [1, D, D],
        diag [K, D] or spherical [K, 1], and the mean log-likelihood of the points.

    Reference: Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster et al., 1977).
    """
    chex.assert_rank(x, 2)
    if covariance not in _COVARIANCES:
        raise ValueError(f'covariance must be one of {[*_COVARIANCES]}, got {covariance!r}')
    x = at_least_float32(x)
    shift = x.mean(axis=0, keepdims=True)
    x = x - shift

    def maximise(r):
        # 10 eps: a component that lost all its points does not divide by zero.
        mass = r.sum(axis=0) + 10 * jnp.finfo(x.dtype).eps
        means = jnp.matmul(r.T, x, precision='highest') / mass[:, None]
        return mass / mass.sum(), means, _COVARIANCES[covariance](x, r, mass, means, regularisation)

    def expect(parameters):
        joint = _log_joint(x, *parameters)
        evidence = jax.nn.logsumexp(joint, axis=1, keepdims=True)
        return jnp.exp(joint - evidence), evidence.mean()

    def unfinished(carry):
        _, _, gain, iteration = carry
        return (iteration < iterations) & (gain > tolerance)

    def update(carry):
        parameters, last, _, iteration = carry
        r, log_likelihood = expect(parameters)
        return maximise(r), log_likelihood, log_likelihood - last, iteration + 1

    if init is None:
        labels = kmeans(key, x, k).labels
        parameters = maximise(jax.nn.one_hot(labels, k, dtype=x.dtype))
    else:
        chex.assert_shape(init.means, (k, x.shape[1]))
        parameters = jax.tree.map(
            at_least_float32, (init.weights, init.means - shift, init.covariances)
        )
    start = parameters, jnp.full((), -jnp.inf, x.dtype), jnp.full((), jnp.inf, x.dtype), 0
    parameters, _, _, iteration = jax.lax.while_loop(unfinished, update, start)
    _, log_likelihood = expect(parameters)
    weights, means, covariances = parameters
    return GMM(weights, means + shift, covariances, log_likelihood, iteration)


def gmm_log_prob(mixture: GMM, x: jax.Array) -> jax.Array:
    """Log density of points under a mixture.

        log p(x) = log sum_k w_k N(x; m_k, S_k)

    Args:
        mixture: the mixture, of any kind of covariance.
        x: points [N, D].

    Returns:
        Log densities [N].

    Reference: Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster et al., 1977).
    """
    return jax.nn.logsumexp(_shifted_log_joint(mixture, x), axis=1)


def gmm_responsibilities(mixture: GMM, x: jax.Array) -> jax.Array:
    """Posterior probabilities of the components for every point.

        r_nk = w_k N(x_n; m_k, S_k) / p(x_n)

    Args:
        mixture: the mixture, of any kind of covariance.
        x: points [N, D].

    Returns:
        Responsibilities [N, K]; rows sum to one.

    Reference: Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster et al., 1977).
    """
    return jax.nn.softmax(_shifted_log_joint(mixture, x), axis=1)


def _shifted_log_joint(mixture, x):
    chex.assert_rank([x, mixture.means], 2)
    chex.assert_equal(x.shape[1], mixture.means.shape[1])
    shift = jnp.average(mixture.means, axis=0, weights=mixture.weights)[None, :]
    shift = jax.lax.stop_gradient(shift)
    means = mixture.means - shift
    return _log_joint(at_least_float32(x) - shift, mixture.weights, means, mixture.covariances)


def _log_joint(x, weights, means, covariances):
    """log w_k N(x_n; m_k, S_k) [N, K]."""
    if covariances.ndim == 3:
        squares, log_determinants = _full_squares(x, means, covariances)
    else:
        variances = jnp.broadcast_to(covariances, means.shape)
        squares = _diagonal_squares(x, means, variances)
        log_determinants = jnp.log(variances).sum(axis=1)
    constants = log_determinants + x.shape[1] * math.log(2 * math.pi)
    return jnp.log(weights)[None, :] - 0.5 * (squares + constants[None, :])


def _full_squares(x, means, covariances):
    """(x_n - m_k)^T S_k^-1 (x_n - m_k) [N, K], and log |S_k|."""
    factors = jnp.linalg.cholesky(covariances)
    identity = jnp.broadcast_to(jnp.eye(x.shape[1], dtype=x.dtype), factors.shape)
    inverses = jax.lax.linalg.triangular_solve(factors, identity, left_side=True, lower=True)
    inverses = jnp.broadcast_to(inverses, (len(means), *inverses.shape[1:]))

    def squares(component):
        mean, inverse = component
        whitened = jnp.matmul(x - mean[None, :], inverse.T, precision='highest')
        return (whitened * whitened).sum(axis=1)

    diagonals = jnp.diagonal(factors, axis1=1, axis2=2)
    return jax.lax.map(squares, (means, inverses)).T, 2 * jnp.log(diagonals).sum(axis=1)


def _far(means, variances):
    return (means * means > _FAR * variances).any()


def _diagonal_squares(x, means, variances):
    """sum_d (x_nd - m_kd)^2 / s_kd [N, K]."""
    precisions = 1 / variances

    def around_origin():
        products = jnp.matmul(x * x, precisions.T, precision='highest')
        products = products - 2 * jnp.matmul(x, (means * precisions).T, precision='highest')
        return products + (means * means * precisions).sum(axis=1)[None, :]

    def around_means():
        square = lambda m, p: jnp.matmul((x - m[None, :]) ** 2, p, precision='highest')
        return jax.lax.map(lambda component: square(*component), (means, precisions)).T

    return jax.lax.cond(_far(means, variances), around_means, around_origin)


def _diagonal_covariances(x, r, mass, means, regularisation):
    around_origin = jnp.matmul(r.T, x * x, precision='highest') / mass[:, None] - means * means

    def around_means():
        square = lambda m, r: jnp.matmul(r, (x - m[None, :]) ** 2, precision='highest')
        sums = jax.lax.map(lambda component: square(*component), (means, r.T))
        return sums / mass[:, None]

    variances = jax.lax.cond(_far(means, around_origin), around_means, lambda: around_origin)
    return variances + regularisation


def _spherical_covariances(*statistics):
    return _diagonal_covariances(*statistics).mean(axis=1, keepdims=True)


def _scatter_matrices(x, r, mass, means):
    def scatter(component):
        mean, r, mass = component
        centred = x - mean[None, :]
        return jnp.matmul((r[:, None] * centred).T, centred, precision='highest') / mass

    return jax.lax.map(scatter, (means, r.T, mass))


def _full_covariances(x, r, mass, means, regularisation):
    return _regularised(_scatter_matrices(x, r, mass, means), regularisation)


def _tied_covariances(x, r, mass, means, regularisation):
    within = jnp.tensordot(mass / mass.sum(), _scatter_matrices(x, r, mass, means), axes=1)
    return _regularised(within[None], regularisation)


def _regularised(matrices, regularisation):
    """Adds to the variances; rounding alone could cost a matrix its Cholesky factor below D eps."""
    dimensions = matrices.shape[1]
    rounding = 4 * dimensions * jnp.finfo(matrices.dtype).eps
    variances = jnp.diagonal(matrices, axis1=1, axis2=2)
    ridge = jnp.maximum(regularisation, rounding * variances)
    return matrices + ridge[:, :, None] * jnp.eye(dimensions, dtype=matrices.dtype)[None]


_COVARIANCES = {
    'full': _full_covariances,
    'diag': _diagonal_covariances,
    'spherical': _spherical_covariances,
    'tied': _tied_covariances,
}
