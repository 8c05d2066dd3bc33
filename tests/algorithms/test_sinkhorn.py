import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.sinkhorn import sinkhorn, sinkhorn_plan


def swav_codes(scores, epsilon, iterations):
    """SwAV's listing, in exact logarithms so that no scale defeats it."""
    log_q = np.asarray(scores, np.float64).T / epsilon
    prototypes, samples = log_q.shape
    for _ in range(iterations):
        for k in range(prototypes):
            log_q[k] -= np.logaddexp.reduce(log_q[k]) + np.log(prototypes)
        for b in range(samples):
            log_q[:, b] -= np.logaddexp.reduce(log_q[:, b]) + np.log(samples)
    return np.exp(log_q.T) * samples


def plan_by_loops(cost, a, b, epsilon, iterations):
    """Cuturi's u and v as logarithms, from u = a."""
    with np.errstate(divide='ignore'):
        log_a, log_b = np.log(a), np.log(b)
    log_k = -np.asarray(cost, np.float64) / epsilon
    log_u, log_v = log_a.copy(), log_b.copy()
    for _ in range(iterations):
        for m in range(len(b)):
            log_v[m] = log_b[m] - np.logaddexp.reduce(log_k[:, m] + log_u)
        for n in range(len(a)):
            log_u[n] = log_a[n] - np.logaddexp.reduce(log_k[n] + log_v)
    return np.exp(log_u[:, None] + log_k + log_v[None, :])


def problem(n=7, m=5, seed=0):
    rng = np.random.default_rng(seed)
    cost = rng.random((n, m)).astype(np.float32)
    return cost, *(rng.dirichlet(np.ones(size)).astype(np.float32) for size in (n, m))


# 0.05: plain scaling; 0.014: just beyond it; 0.003 and below: blocks, many in the log domain.
EPSILONS = [1.0, 0.05, 0.014, 0.003, 1e-4]


@pytest.mark.parametrize('epsilon', [1.0, 0.05, 0.01, 0.001])
@pytest.mark.parametrize('iterations', [1, 3, 30])
def test_codes_match_the_papers_listing(epsilon, iterations):
    scores = np.random.default_rng(1).uniform(-1, 1, (12, 5)).astype(np.float32)
    codes = sinkhorn(jnp.asarray(scores), epsilon=epsilon, iterations=iterations)
    np.testing.assert_allclose(codes, swav_codes(scores, epsilon, iterations), atol=1e-4)


@pytest.mark.parametrize('epsilon', EPSILONS)
@pytest.mark.parametrize('iterations', [1, 3, 70])
def test_plan_matches_loops(epsilon, iterations):
    cost, a, b = problem()
    plan = sinkhorn_plan(
        cost, jnp.asarray(a), jnp.asarray(b), epsilon=epsilon, iterations=iterations
    )
    expected = plan_by_loops(cost, a, b, epsilon, iterations)
    # logits of 1e4 are rounded to 1e-3
    np.testing.assert_allclose(plan, expected, atol=1e-3 if epsilon < 1e-3 else 1e-6)


@pytest.mark.parametrize('epsilon', [1.0, 0.05, 0.014])
def test_marginals(epsilon):
    cost, a, b = problem(40, 30)
    plan = sinkhorn_plan(cost, jnp.asarray(a), jnp.asarray(b), epsilon=epsilon, iterations=2000)
    np.testing.assert_allclose(plan.sum(1), a, rtol=1e-5)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-5)


def test_codes_use_all_prototypes_equally():
    scores = jnp.asarray(np.random.default_rng(2).normal(size=(60, 6)), jnp.float32)
    scores = scores + jnp.asarray([9.0, 0, 0, 0, 0, -9.0])[None, :]  # one attracts, one repels all
    codes = sinkhorn(scores, epsilon=0.5, iterations=300)
    np.testing.assert_allclose(codes.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(codes.sum(0), 10, rtol=1e-3)


def test_small_epsilon_finds_the_best_matching():
    from scipy.optimize import linear_sum_assignment

    cost, _, _ = problem(8, 8, seed=3)
    plan = sinkhorn_plan(cost, epsilon=1e-3, iterations=2000)
    np.testing.assert_array_equal(plan.argmax(1), linear_sum_assignment(cost)[1])


def test_laws():
    cost, a, b = (jnp.asarray(part) for part in problem())
    plan = sinkhorn_plan(cost, a, b, epsilon=0.1)
    rows, columns = np.random.default_rng(0).permutation(7), np.random.default_rng(0).permutation(5)
    permuted = sinkhorn_plan(cost[rows][:, columns], a[rows], b[columns], epsilon=0.1)
    np.testing.assert_allclose(permuted, plan[rows][:, columns], rtol=1e-5)
    # a dearer row or column changes nothing, and costs and epsilon share a unit
    dearer = cost + jnp.arange(7.0)[:, None] / 7 - jnp.arange(5.0)[None, :] / 5
    np.testing.assert_allclose(
        sinkhorn_plan(dearer, a, b, epsilon=0.1, iterations=500),
        sinkhorn_plan(cost, a, b, epsilon=0.1, iterations=500),
        atol=1e-6,
    )
    np.testing.assert_allclose(sinkhorn_plan(8 * cost, a, b, epsilon=0.8), plan, rtol=1e-5)
    # codes carry no gradient
    assert not jax.grad(lambda scores: sinkhorn(scores)[0, 0])(cost).any()


@pytest.mark.parametrize('scale', [0.0, 1e-30, 1.0, 1e4, 1e15, 1e37])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_finite_at_any_scale(scale, dtype):
    scores = np.random.default_rng(4).normal(size=(9, 4)).astype(np.float32)
    scores[0] = scores[1]
    scores[:, 3] = -7  # a prototype far from everything: no mass in plain float32
    codes = sinkhorn(jnp.asarray(scale * scores, dtype))
    assert codes.dtype == jnp.float32
    assert np.isfinite(codes).all()
    np.testing.assert_allclose(codes.sum(1), 1, rtol=1e-5)


def test_forbidden_pairs_and_points_without_mass():
    cost, _, _ = problem()
    cost[2, 3] = np.inf
    a = jnp.asarray([0, 1, 1, 1, 1, 1, 1]) / 6
    b = jnp.asarray([1, 1, 0, 1, 1]) / 4
    plan = sinkhorn_plan(jnp.asarray(cost), a, b, epsilon=0.05, iterations=500)
    assert plan[2, 3] == 0
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-6)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-5)
    np.testing.assert_allclose(
        plan, plan_by_loops(cost, *map(np.asarray, (a, b)), 0.05, 500), atol=1e-5
    )
    for gradient in weighted_gradients(cost, a, b, np.ones_like(cost), 0.05):
        assert np.isfinite(gradient).all()


def weighted(cost, a, b, weights, epsilon):
    return (weights * sinkhorn_plan(cost, a, b, epsilon=epsilon, iterations=30)).sum()


weighted_gradients = jax.jit(jax.grad(weighted, (0, 1, 2)))
gradients_in_vmap = jax.jit(jax.vmap(jax.grad(weighted), (0, None, None, None, 0)))
gradients_of_vmap = jax.jit(
    jax.grad(lambda *args: jax.vmap(weighted, (0, None, None, None, 0))(*args).sum())
)


@pytest.mark.parametrize('epsilon', [0.5, 0.02, 0.01])
def test_gradient_matches_differences_of_the_loops(epsilon):
    inputs = problem(5, 4)
    weights = np.random.default_rng(5).normal(size=(5, 4)).astype(np.float32)
    gradients = weighted_gradients(*inputs, weights, epsilon)
    inputs = [np.asarray(part, np.float64) for part in inputs]
    for position, gradient in enumerate(gradients):
        differences = np.zeros(inputs[position].shape)
        for index in np.ndindex(*differences.shape):
            for sign in (1, -1):
                moved = [part.copy() for part in inputs]
                moved[position][index] += sign * 1e-6
                value = (weights * plan_by_loops(*moved, epsilon, 30)).sum()
                differences[index] += sign * value / 2e-6
        np.testing.assert_allclose(gradient, differences, atol=1e-3 * np.abs(differences).max())


def test_gradient_under_vmap():
    """Under vmap both forms run for every member, and neither may spoil the other's gradient."""
    _, a, b = problem(5, 4)
    costs = np.stack([problem(5, 4, seed=seed)[0] for seed in range(4)])
    weights = np.random.default_rng(5).normal(size=(5, 4)).astype(np.float32)
    epsilons = np.asarray([0.1, 0.014, 0.003, 1e-4], np.float32)
    by_loop = [
        weighted_gradients(cost, a, b, weights, epsilon)[0]
        for cost, epsilon in zip(costs, epsilons, strict=True)
    ]
    assert np.isfinite(by_loop).all()
    for gradients in (gradients_in_vmap, gradients_of_vmap):
        ours = gradients(costs, a, b, weights, epsilons)
        np.testing.assert_allclose(ours, by_loop, rtol=1e-3, atol=1e-3)  # rounding over 1e-4


def test_refuses():
    with pytest.raises(ValueError, match='iterations'):
        sinkhorn_plan(jnp.zeros((2, 3)), iterations=0)
    with pytest.raises(AssertionError):
        sinkhorn(jnp.zeros(3))
    with pytest.raises(AssertionError):
        sinkhorn_plan(jnp.zeros((2, 3)), jnp.ones(3) / 3)
