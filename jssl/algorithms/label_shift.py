"""Classes found from domains that differ in nothing but how often each class occurs."""

import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl.algorithms._precision import at_least_float32


def factor_domains(
    cells: np.ndarray, k: int, *, restarts: int = 0, iterations: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Classes as what domains mix: p(cell | domain) = sum_y p(cell | y) p(y | domain); on the host.

        W, H = argmin_{W, H >= 0} |Q - W H|_F^2, scaled so that the columns of W and H sum to one

    Many factors fit, and noisy shares are fitted better by others than the true ones. The solver
    starts where the cells are those of one class each that successive projection finds (anchors),
    which is the solution if every class has such a cell, and finds the nearest fit.

    Args:
        cells: Q, shares of the cells in every domain [M, R]; columns sum to one.
        k: number of classes, at most M and R.
        restarts: of the solver from random factors instead, as in the paper; the best fit is kept.
        iterations: of the solver.
        seed: of random factors.

    Returns:
        p(cell | class) [M, K] and p(class | domain) [K, R], float64.

    Reference: Unsupervised Learning under Latent Label Shift (Roberts et al., 2022), algorithm 1;
    Fast and Robust Recursive Algorithms for Separable NMF (Gillis & Vavasis, 2014).
    """
    from sklearn.decomposition import non_negative_factorization
    from sklearn.exceptions import ConvergenceWarning

    cells = np.asarray(cells, float)
    chex.assert_rank(cells, 2)
    if not 1 <= k <= min(cells.shape):
        raise ValueError(f'k must be between 1 and the {cells.shape} cells and domains, got {k}')

    def factors(number, **start):
        options = {'max_iter': iterations, 'tol': 1e-12, 'random_state': seed + number, **start}
        with warnings.catch_warnings():  # `iterations` decides
            warnings.simplefilter('ignore', ConvergenceWarning)
            w, h, _ = non_negative_factorization(cells, n_components=k, **options)
        return np.square(cells - w @ h).sum(), w, h

    if restarts:
        found = [factors(number, init='random') for number in range(restarts)]
    else:
        w, h = _anchored(cells, k)
        found = [factors(0, init='custom', W=w, H=h)]
    _, w, h = min(found, key=lambda one: one[0])
    mass = np.maximum(w.sum(0), 1e-12)
    h = h * mass[:, None]
    return w / mass, h / np.maximum(h.sum(0), 1e-12)


def _anchored(cells, k):
    """Factors whose H are rows of cells: those that span the others most widely."""
    from scipy.optimize import nnls

    mass = cells.sum(1)
    # The shares of a cell that is hardly ever seen are noise.
    rows = np.where(mass[:, None] > 0.1 * mass.mean(), cells / np.maximum(mass, 1e-12)[:, None], 0)
    left, anchors = rows.copy(), []
    for _ in range(k):
        anchors.append(int(np.square(left).sum(1).argmax()))
        way = left[anchors[-1]] / max(np.linalg.norm(left[anchors[-1]]), 1e-12)
        left -= np.outer(left @ way, way)
    h = rows[anchors]
    return np.stack([nnls(h.T, cell)[0] for cell in cells]), h


def class_posteriors(domains: jax.Array, mixes: jax.Array, shares: jax.Array) -> jax.Array:
    """p(y | x) out of p(d | x), where a class looks the same in every domain.

        p(d | x) = M p(y | x),  M[d, y] = p(d | y) ~ p(y | d) p(d)
        p(y | x) = the nearest distribution to M^+ p(d | x)

    Args:
        domains: p(d | x) [N, R].
        mixes: p(y | d) [K, R].
        shares: p(d) [R].

    Returns:
        p(y | x) [N, K] for p(d) as given.

    Reference: Unsupervised Learning under Latent Label Shift (Roberts et al., 2022), equation 2.
    """
    chex.assert_rank([domains, mixes, shares], [2, 2, 1])
    domains, mixes = at_least_float32(domains), at_least_float32(mixes)
    joint = (mixes * shares[None, :]).T
    by_class = joint / jnp.maximum(joint.sum(0, keepdims=True), 1e-12)
    y = jnp.matmul(domains, jnp.linalg.pinv(by_class).T, precision='highest')
    return jax.vmap(optax.projections.projection_simplex)(y)


def in_domain(posteriors: jax.Array, mixes: jax.Array, shares: jax.Array, d: jax.Array):
    """p(y | x, d): the posterior in a domain where classes are as frequent as there.

        p_d(y | x) ~ p(y | x) p(y | d) / p(y),  p(y) = sum_d p(d) p(y | d)

    Args:
        posteriors: p(y | x) [N, K].
        mixes: p(y | d) [K, R].
        shares: p(d) [R].
        d: domain of every row, int [N].

    Returns:
        [N, K]; a row without a possible class is that of p(y | d).

    Reference: Unsupervised Learning under Latent Label Shift (Roberts et al., 2022), equation 3.
    """
    chex.assert_rank([posteriors, mixes, shares, d], [2, 2, 1, 1])
    here = mixes.T[d]
    weights = posteriors * here / jnp.maximum(mixes @ shares, 1e-12)[None, :]
    mass = weights.sum(1, keepdims=True)
    return jnp.where(mass > 0, weights / jnp.where(mass > 0, mass, 1), here)
