"""Krylov solvers on systems that NumPy solves: exact in N steps, conjugate, and what they count."""

import numpy as np
from scipy import sparse

from jssl import algorithms

RNG = np.random.default_rng(0)


def systems(count=3, size=6):
    """Positive matrices [B, N, N], b [B, N], the product by rows, and the solutions."""
    half = RNG.normal(size=(count, size, size))
    a = half @ half.swapaxes(1, 2) + 0.1 * np.eye(size)
    b = RNG.normal(size=(count, size))
    apply = lambda x: np.einsum('bij,bj->bi', a, x)
    return a, b, apply, np.linalg.solve(a, b[..., None])[..., 0]


def test_conjugate_gradients_end_after_as_many_steps_as_unknowns():
    a, b, apply, exact = systems()
    found = algorithms.conjugate_gradient(apply, b, tolerance=1e-9)
    assert len(found.residuals) <= 6 + 2
    np.testing.assert_allclose(found.x, exact, rtol=1e-5, atol=1e-6)
    for t in range(1, 4):  # the best of the Krylov space, in the matrix's norm
        x = algorithms.conjugate_gradient(apply, b, tolerance=0, limit=t).x
        for i in range(3):
            space = np.stack([np.linalg.matrix_power(a[i], k) @ b[i] for k in range(t)], 1)
            inside = space @ np.linalg.solve(space.T @ a[i] @ space, space.T @ b[i])
            np.testing.assert_allclose(x[i], inside, rtol=1e-5, atol=1e-7)


def test_from_a_start_and_with_the_inverse_for_preconditioner():
    a, b, apply, exact = systems()
    done = algorithms.conjugate_gradient(apply, b, start=exact)
    assert len(done.residuals) == 1
    inverse = lambda r: np.linalg.solve(a, r[..., None])[..., 0]
    found = algorithms.conjugate_gradient(apply, b, precondition=inverse, tolerance=1e-9)
    assert len(found.residuals) == 2
    np.testing.assert_allclose(found.x, exact, rtol=1e-6)


def test_deflation_leaves_out_the_vectors_it_knows():
    """With all eigenvectors but two known, two steps remain."""
    a, b, apply, exact = systems()
    w = np.linalg.eigh(a)[1][:, :, :4]
    small = np.linalg.inv(w.swapaxes(1, 2) @ a @ w)
    coarse = lambda r: np.einsum('bik,bkl,bjl,bj->bi', w, small, w, r)
    found = algorithms.conjugate_gradient(apply, b, coarse=coarse, tolerance=1e-8)
    assert len(found.residuals) == 3
    np.testing.assert_allclose(found.x, exact, rtol=1e-6, atol=1e-8)


def test_guessed_directions_become_conjugate_and_take_the_best_step():
    """Residuals as guesses are conjugate gradients; none kept is steepest descent."""
    a, b, apply, exact = systems()
    same = lambda r: 7 * r
    ours = algorithms.conjugate_directions(apply, b, same, kept=1, tolerance=1e-9)
    theirs = algorithms.conjugate_gradient(apply, b, tolerance=1e-9)
    np.testing.assert_allclose(ours.residuals[:6], theirs.residuals[:6], rtol=1e-5)
    x = np.zeros_like(b)
    for _ in range(4):
        r = b - apply(x)
        x += r * (r * r).sum(1, keepdims=True) / (r * apply(r)).sum(1, keepdims=True)
    found = algorithms.conjugate_directions(apply, b, same, kept=0, tolerance=0, limit=4)
    np.testing.assert_allclose(found.x, x, rtol=1e-8)
    inverse = lambda r: np.linalg.solve(a, r[..., None])[..., 0]
    once = algorithms.conjugate_directions(apply, b, inverse, tolerance=1e-9)
    assert len(once.residuals) == 2
    np.testing.assert_allclose(once.x, exact, rtol=1e-6)


def test_directions_are_conjugate_to_as_many_as_are_kept():
    a, b, apply, _ = systems(size=8)
    places = []

    def guess(r):
        places.append(r)
        return np.tanh(3 * r)

    xs = [
        algorithms.conjugate_directions(apply, b, guess, kept=2, tolerance=0, limit=t).x
        for t in range(6)
    ]
    d = np.diff(xs, axis=0)
    for t in range(1, 5):
        for back in (1, 2)[:t]:
            product = np.einsum('bi,bij,bj->b', d[t], a, d[t - back])
            norm = np.einsum('bi,bij,bj->b', d[t], a, d[t])
            np.testing.assert_allclose(product / norm, 0, atol=1e-8)
    np.testing.assert_allclose([np.linalg.norm(r, axis=1) for r in places], 1, rtol=1e-12)


def test_solved_systems_stay_solved_beside_others():
    _, b, apply, exact = systems()
    b[0] = 0
    for solve in (
        lambda: algorithms.conjugate_gradient(apply, b, tolerance=1e-9),
        lambda: algorithms.conjugate_directions(apply, b, lambda r: r, tolerance=1e-6),
    ):
        found = solve()
        assert not found.x[0].any()
        np.testing.assert_allclose(found.x[1:], exact[1:], rtol=1e-3, atol=1e-4)


def test_iterations_are_counted_to_the_first_that_is_below():
    residuals = np.array([[1, 1, 1], [0.5, 0.01, 1], [0.01, 0.5, 1]])
    assert algorithms.iterations_to(residuals, 0.1).tolist() == [2, 1, 3]


def test_incomplete_factors_have_the_pattern_of_the_matrix():
    """On a grid: the product of the factors is the matrix wherever that is not zero."""
    kind = np.pad(np.ones((4, 5), np.int8), 1, constant_values=2)
    matrix = algorithms.poisson_matrix(kind)
    inverse = algorithms.incomplete_cholesky(matrix)
    found = np.linalg.inv(np.stack([inverse(one) for one in np.eye(20)], axis=1))
    dense = matrix.toarray()
    np.testing.assert_allclose(found[dense != 0], dense[dense != 0], atol=1e-10)
    # Row by row, as the textbook has IC(0).
    factor = np.zeros((20, 20))
    for i in range(20):
        for j in range(i + 1):
            if dense[i, j]:
                rest = dense[i, j] - factor[i, :j] @ factor[j, :j]
                factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    np.testing.assert_allclose(found, factor @ factor.T, atol=1e-10)
    assert sparse.issparse(matrix)


def test_ritz_pairs_become_eigenpairs():
    a, b, _, _ = systems(size=9)
    values, vectors = algorithms.ritz_pairs(lambda x: a[0] @ x, b[0], 20)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a[0]), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(9), atol=1e-9)
    np.testing.assert_allclose(vectors @ a[0], values[:, None] * vectors, atol=1e-6)
    few, vectors = algorithms.ritz_pairs(lambda x: a[0] @ x, b[0], 4)
    np.testing.assert_allclose(np.einsum('mi,ij,mj->m', vectors, a[0], vectors), few, rtol=1e-8)
    np.testing.assert_allclose(few.max(), values.max(), rtol=0.2)
