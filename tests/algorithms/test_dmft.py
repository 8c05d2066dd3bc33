import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.dmft import (
    committee_dynamics,
    committee_simulation,
    quadratic_committee,
    quadratic_error,
)
from jssl.algorithms.ntk import linearise, ntk


def solve(activation, target, *, gram=None, units=1, key=0, **settings):
    gram = jnp.eye(units + 1) if gram is None else gram
    run = functools.partial(committee_dynamics, activation=activation, target=target, **settings)
    return jax.jit(run)(jax.random.key(key), gram)


def simulate(seed, w, beta, eps, *, alpha, learning_rate, points, steps):
    """Gradient descent on one committee machine, written out in NumPy."""
    rng = np.random.default_rng(seed)
    dimension, units = len(beta), len(w)
    x = rng.normal(size=(points, dimension)) / np.sqrt(dimension)
    new = rng.normal(size=(4 * points, dimension)) / np.sqrt(dimension)
    phi = lambda h: h + eps / 2 * h * h
    start = w.copy()
    train, test, overlaps = [], [], []
    for _ in range(steps + 1):
        f = lambda x, w=w: alpha * (phi(x @ w.T) - phi(x @ start.T)).mean(1) - 0.5 * (x @ beta) ** 2
        error = f(x)
        train.append(np.mean(error**2))
        test.append(np.mean(f(new) ** 2))
        overlaps.append(w @ w.T / dimension)
        gradient = (error[:, None] * (1 + eps * (x @ w.T))).T @ x
        w = w - learning_rate / (alpha * points) * gradient
    assert w.shape == (units, dimension)
    return np.array(train), np.array(test), np.array(overlaps)


def test_linear_regression_follows_marchenko_and_pastur():
    """f = (w - w(0)).x against beta.x: error shrinks by 1 - eta lambda / D along each axis."""
    points, dimension, eta, steps = 300, 100, 40.0, 8
    found = solve(
        lambda h: h,
        lambda s: s,
        alpha=1.0,
        learning_rate=eta,
        points=points,
        dimension=dimension,
        steps=steps,
        paths=4096,
    )
    c = dimension / points
    low, high = (1 - np.sqrt(c)) ** 2, (1 + np.sqrt(c)) ** 2
    angle = (np.arange(20_000) + 0.5) / 20_000 * np.pi
    lam = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
    mass = np.sqrt((high - lam) * (lam - low)) / (2 * np.pi * c * lam)
    mass = mass * (high - low) / 2 * np.sin(angle) * np.pi / 20_000
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    factor = (1 - eta / dimension * lam) ** (2 * np.arange(steps + 1)[:, None])
    np.testing.assert_allclose(found.test, (mass * factor).sum(1), rtol=0.06)
    np.testing.assert_allclose(found.train, (mass * lam * factor).sum(1), rtol=0.06)
    # the weights: |w - w(0) - beta|^2 / D is that same test error, here read off the overlaps
    moved = (mass * (1 - eta / dimension * lam) ** np.arange(steps + 1)[:, None]).sum(1)
    np.testing.assert_allclose(found.alignment[:, 0], 1 - moved, atol=0.02)


@pytest.mark.parametrize('planted', [0.0, 0.7])
def test_equals_simulation(planted):
    dimension, points, units, eps, steps = 400, 1000, 2, 0.5, 10
    settings = {'alpha': 1.0, 'learning_rate': 100.0, 'points': points, 'steps': steps}
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(dimension, units + 1)))[0].T * np.sqrt(dimension)
    beta, w = vectors[0], vectors[1:] + planted * np.array([[1.0], [-1.0]]) * vectors[0]
    runs = [simulate(seed, w, beta, eps, **settings) for seed in range(8)]
    train, test, overlaps = (np.mean(part, 0) for part in zip(*runs, strict=True))
    every = np.concatenate([w, beta[None]])
    found = solve(
        lambda h: h + eps / 2 * h * h,
        lambda s: s * s / 2,
        gram=jnp.asarray(every @ every.T / dimension, jnp.float32),
        dimension=dimension,
        paths=8192,
        **settings,
    )
    assert train[-1] < 0.4 * train[0]
    np.testing.assert_allclose(found.train, train, rtol=0.1)
    np.testing.assert_allclose(found.test, test, rtol=0.1)
    np.testing.assert_allclose(found.overlaps, overlaps, atol=0.06 * np.abs(overlaps).max())


def test_closed_form_of_the_test_error():
    """The paths' test error equals the Gaussian integral over the overlaps, at the first step."""
    settings = {'alpha': 2.0, 'learning_rate': 20.0, 'points': 200, 'dimension': 100}
    found = solve(lambda h: h, lambda s: s * s / 2, units=2, steps=1, paths=16384, **settings)
    w0 = found.overlaps[0]
    np.testing.assert_allclose(w0, np.eye(2), atol=1e-5)
    assert found.test[0] == pytest.approx(0.75, rel=0.01)  # E s^4 / 4
    # one linear step: w(1) - w(0) = a sum_mu y x_mu, of squared length a^2 k E y^2 at small a
    a, ratio = 20.0 / (2.0 * 200), 2.0
    grown = found.overlaps[1] - w0
    np.testing.assert_allclose(grown, a * a * ratio * 0.75, rtol=0.02)
    assert found.test[1] == pytest.approx(0.75 + 4.0 * a * a * ratio * 0.75, rel=0.02)


def test_causal_and_pure():
    settings = {'alpha': 1.0, 'learning_rate': 20.0, 'points': 100, 'dimension': 50}
    settings |= {'paths': 256, 'units': 2}
    phi, goal = lambda h: h + 0.2 * h * h, lambda s: s * s / 2
    long, again = (solve(phi, goal, steps=4, **settings) for _ in range(2))
    for one, two in zip(long, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert long.train.shape == (5,)
    assert long.overlaps.shape == (5, 2, 2)
    assert long.alignment.shape == (5, 2)
    assert not np.allclose(solve(phi, goal, steps=4, key=1, **settings).train, long.train)
    with pytest.raises(AssertionError):
        solve(phi, goal, steps=1, gram=jnp.eye(3)[None], **{**settings, 'units': 2})


@pytest.mark.parametrize('linear', [False, True])
@pytest.mark.parametrize('alpha', [0.5, 3.0])
def test_quadratic_error_equals_monte_carlo(alpha, linear):
    rng = np.random.default_rng(0)
    dimension, eps = 3, 0.4
    start, beta = rng.normal(size=(5, dimension)), rng.normal(size=dimension)
    w = start + rng.normal(size=(5, dimension))
    x = rng.normal(size=(400_000, dimension)) / np.sqrt(dimension)
    phi = lambda h: h + eps / 2 * h * h
    change = phi(x @ w.T) - phi(x @ start.T)
    if linear:
        change = (1 + eps * x @ start.T) * (x @ (w - start).T)
    error = alpha * change.mean(1) - 0.5 * (x @ beta) ** 2
    settings = {'alpha': alpha, 'epsilon': eps, 'linear': linear}
    found = jax.jit(lambda *a: quadratic_error(*a, **settings))(w, start, beta)
    assert sum(found) == pytest.approx(np.mean(error**2), rel=0.02)
    power = np.mean((alpha * x @ (w - start).mean(0)) ** 2)
    assert found.linear_power == pytest.approx(power, rel=0.02)


@pytest.mark.parametrize('linear', [False, True])
def test_quadratic_committee_equals_the_loops(linear):
    rng = np.random.default_rng(0)
    start, moved, x = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    w, eps, alpha = start + moved, 0.4, 1.5
    expected = np.zeros(4)
    for row, point in enumerate(x):
        for now, then in zip(w, start, strict=True):
            h, h0 = now @ point, then @ point
            change = (
                (h - h0) * (1 + eps * h0)
                if linear
                else (h + eps / 2 * h * h) - (h0 + eps / 2 * h0 * h0)
            )
            expected[row] += alpha * change / 5
    f = lambda w, x, linear: quadratic_committee(
        w, start, x, alpha=alpha, epsilon=eps, linear=linear
    )
    found = jax.jit(f)(w, x, jnp.float32(linear))  # the choice may be a traced number
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(f(start, x, linear), 0)


def test_linear_committee_is_the_tangent_of_the_other():
    rng = np.random.default_rng(1)
    start, w, x = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((5, 3), (5, 3), (4, 3)))
    options = {'alpha': 2.0, 'epsilon': 0.4}
    f, tangent = (
        lambda w, x, linear=linear: quadratic_committee(w, start, x, linear=linear, **options)
        for linear in (False, True)
    )
    np.testing.assert_allclose(tangent(w, x), linearise(f, start)(w, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ntk(tangent, w, x), ntk(f, start, x), rtol=1e-4, atol=1e-5)
    # K(x, x') = alpha^2 / N^2 (x.x') sum_i phi'(w_i.x) phi'(w_i.x')
    slope = 1 + 0.4 * np.asarray(x @ start.T)
    closed = 4.0 / 25 * np.asarray(x @ x.T) * (slope @ slope.T)
    np.testing.assert_allclose(ntk(f, start, x), closed, rtol=1e-4, atol=1e-5)


def test_quadratic_error_vanishes_at_the_solution():
    """Weights +beta and -beta against none have m = 0 and M = beta beta': alpha eps = 1 solves."""
    beta = jnp.array([1.0, 2.0, -1.0])
    w = jnp.stack([beta, -beta])
    found = quadratic_error(w, jnp.zeros_like(w), beta, alpha=4.0, epsilon=0.25)
    np.testing.assert_allclose(jnp.stack(found), 0, atol=1e-10)
    with pytest.raises(AssertionError):
        quadratic_error(w, w[:1], beta, alpha=1.0, epsilon=1.0)


def test_simulation_equals_the_loops():
    """The library's finite network has the statistics of the one written out above."""
    dimension, units, eps = 60, 2, 0.5
    settings = {'alpha': 1.0, 'learning_rate': 15.0, 'points': 150, 'steps': 8}
    found = jax.jit(
        jax.vmap(
            lambda key: committee_simulation(
                key,
                activation=lambda h: h + eps / 2 * h * h,
                target=lambda s: s * s / 2,
                dimension=dimension,
                units=units,
                fresh=2000,
                **settings,
            )
        )
    )(jax.random.split(jax.random.key(0), 200))
    rng = np.random.default_rng(0)
    runs = []
    for seed in range(200):
        beta = rng.normal(size=dimension)
        beta *= np.sqrt(dimension) / np.linalg.norm(beta)
        runs.append(simulate(seed, rng.normal(size=(units, dimension)), beta, eps, **settings))
    train, test, overlaps = (np.mean(part, 0) for part in zip(*runs, strict=True))
    np.testing.assert_allclose(found.train.mean(0), train, rtol=0.06)
    np.testing.assert_allclose(found.test.mean(0), test, rtol=0.06)
    np.testing.assert_allclose(found.overlaps.mean(0), overlaps, atol=0.06)
    assert found.alignment.shape == (200, 9, units)
