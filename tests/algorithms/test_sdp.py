"""Memberships against loops and against every partition; feasibility, and the dual bound."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import algorithms

RNG = np.random.default_rng(0)


def matrices(groups, n):
    z = np.zeros((len(groups), n, n))
    for k, group in enumerate(groups):
        for i, j in itertools.product(group, group):
            z[k, i, j] = 1 / len(group)
    return z


def test_memberships_covariances_and_affinities_against_loops():
    x, labels = RNG.normal(size=(7, 2)), np.array([0, 1, 0, 2, 1, 0, 2])
    groups = [np.flatnonzero(labels == k) for k in range(3)]
    z = matrices(groups, 7)
    np.testing.assert_allclose(algorithms.membership_matrices(labels, 3), z, rtol=1e-6)
    found = algorithms.membership_covariances(x, z, ridge=0.1)
    means = [x[g].mean(0) for g in groups]
    want = np.stack([
        sum(np.outer(r, r) for r in x[g] - m) / len(g) + 0.1 * np.eye(2)
        for g, m in zip(groups, means, strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    a = algorithms.profile_affinity(x.astype('f'), jnp.asarray(want))
    twice = 0.0
    for group, mean, s in zip(groups, means, want, strict=True):
        for i in group:
            twice -= (x[i] - mean) @ np.linalg.inv(s) @ (x[i] - mean) + np.linalg.slogdet(s)[1]
    np.testing.assert_allclose((a * z).sum(), twice, rtol=1e-4)


def partitions(n, k):
    for labels in itertools.product(range(k), repeat=n):
        if len(set(labels)) == k:
            yield [[i for i in range(n) if labels[i] == c] for c in range(k)]


@pytest.mark.parametrize('unequal', [False, True])
def test_finds_the_best_of_all_partitions(unequal):
    """Where the relaxation is tight; its bound is then the partition's value."""
    n = 8
    x = RNG.normal(size=(n, 2)) * 0.5 + np.repeat([[0, 0], [3, 0]], n // 2, axis=0)
    squares = np.square(x[:, None] - x[None]).sum(-1)
    a = np.stack([-squares / 2, -squares / 6 - 0.5]) if unequal else -squares[None] / 2
    traces = jnp.ones(2) if unequal else jnp.array([2.0])
    value = lambda z: (a * (z if unequal else z.sum(0))).sum()
    best = max((matrices(groups, n) for groups in partitions(n, 2)), key=value)
    solve = jax.jit(lambda a, s=None: algorithms.cluster_sdp(a, traces, start=s, iterations=1000))
    found = solve(a)
    np.testing.assert_allclose(found.parts, best if unequal else best.sum(0)[None], atol=2e-3)
    assert found.residual < 1e-3
    assert value(best) - 1e-3 <= found.bound <= value(best) + 0.02 * abs(value(best))
    np.testing.assert_allclose(found.parts.sum((0, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(jnp.trace(found.parts, axis1=1, axis2=2), traces, atol=1e-4)


def test_the_bound_holds_before_convergence_and_a_warm_start_goes_on():
    n = 10
    m = RNG.normal(size=(3, n, n))
    a, traces = m + m.transpose(0, 2, 1), jnp.ones(3)
    solve = lambda steps, start=None: algorithms.cluster_sdp(
        a, traces, start=start, iterations=steps
    )
    first = solve(15)
    groups = [range(3), range(3, 6), range(6, n)]
    assert all(first.bound >= (a * matrices(g, n)).sum() for g in itertools.permutations(groups))
    second = solve(10, first)
    np.testing.assert_allclose(second.parts, solve(25).parts, atol=1e-4)
