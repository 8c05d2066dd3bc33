"""Samplers against slow loops from the papers, and against Gaussian data, whose score is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import algorithms

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 2)).astype('f')
SHORT = algorithms.linear_schedule(10, start=0.02, end=0.5)
LONG = algorithms.cosine_schedule(1000)
MEAN, SPREAD = 0.7, 0.4


def crooked(x, t):
    """A denoiser that no formula is exact for."""
    return 0.5 * jnp.sin(2 * x) + 0.05 * t[:, None]


def crooked_loop(x, t):
    return 0.5 * np.sin(2 * x) + 0.05 * t


def gaussian(schedule):
    """The best denoiser of data from N(MEAN, SPREAD^2)."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha[t][:, None], schedule.sigma[t][:, None]
        return sigma * (x - alpha * MEAN) / (alpha**2 * SPREAD**2 + sigma**2)

    return denoise


def loop(x, times, fresh=None, clip=None):
    """Song et al., equation 12 with sigma_t of equation 16 at eta = 1, or 0 without `fresh`."""
    bar = np.append(1.0, np.asarray(SHORT.alpha, np.float64) ** 2)
    x = np.asarray(x, np.float64)
    for t, s in zip(times[::-1], [*times[:-1][::-1], -1], strict=True):
        e = crooked_loop(x, t)
        a, b = bar[t + 1], bar[s + 1]
        x0 = (x - np.sqrt(1 - a) * e) / np.sqrt(a)
        if clip:
            x0 = np.clip(x0, -clip, clip)
            e = (x - np.sqrt(a) * x0) / np.sqrt(1 - a)
        d = np.sqrt((1 - b) / (1 - a) * (1 - a / b)) if fresh else 0.0
        x = np.sqrt(b) * x0 + np.sqrt(1 - b - d**2) * e + (d * fresh(t) if fresh else 0.0)
    return x


def test_schedules_are_products():
    bar, linear, cosine = 1.0, [], []
    for t in range(1000):
        bar *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        linear.append(bar)
    f = lambda u: np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    bar = 1.0
    for t in range(1000):
        bar *= 1 - min(1 - f((t + 1) / 1000) / f(t / 1000), 0.999)
        cosine.append(bar)
    for found, want in ((algorithms.linear_schedule(), linear), (LONG, cosine)):
        np.testing.assert_allclose(np.square(found.alpha), want, rtol=2e-3, atol=1e-7)
        np.testing.assert_allclose(np.square(found.sigma), 1 - np.array(want), rtol=1e-3)


@pytest.mark.parametrize('target', ['epsilon', 'x0', 'v'])
def test_every_target_says_what_data_and_noise_are(target):
    angle = np.array([0.3, 0.8, 1.4], 'f')
    alpha, sigma = np.cos(angle), np.sin(angle)
    x0, e = X, RNG.normal(size=X.shape).astype('f')
    a, s = alpha[:, None], sigma[:, None]
    asked = {'epsilon': e, 'x0': x0, 'v': a * e - s * x0}[target]
    found = algorithms.data_and_noise(asked, a * x0 + s * e, alpha, sigma, target=target)
    np.testing.assert_allclose(found, (x0, e), rtol=1e-4, atol=1e-5)


def test_guidance_extrapolates_from_no_condition():
    denoise = lambda x, t, c: x * c['a'][:, None] + t[:, None]
    condition, blank = {'a': jnp.array([1.0, 2.0, 3.0])}, {'a': jnp.zeros(3)}
    t = jnp.arange(3.0)
    for scale in (4.0, np.array([0.0, 1.0, 4.0], 'f')):
        found = jax.jit(algorithms.guided(denoise, condition, blank, scale=scale))(X, t)
        factor = np.array([1.0, 2.0, 3.0]) * scale
        np.testing.assert_allclose(found, X * factor[:, None] + t[:, None], rtol=1e-5)


@pytest.mark.parametrize('clip', [None, 0.8])
def test_ddim_is_the_papers_loop(clip):
    found = algorithms.ddim(crooked, X, SHORT, steps=4, clip=clip)
    np.testing.assert_allclose(found, loop(X, [1, 4, 6, 9], clip=clip), rtol=1e-4)


def test_ddpm_is_the_papers_loop():
    key = jax.random.key(0)
    draws = jax.vmap(lambda t: jax.random.normal(jax.random.fold_in(key, t), X.shape))
    fresh = np.asarray(jax.jit(draws)(np.arange(10))).__getitem__
    found = algorithms.ddpm(key, crooked, X, SHORT, steps=10)
    np.testing.assert_allclose(found, loop(X, list(range(10)), fresh), rtol=1e-4)
    still = algorithms.ddpm(key, crooked, X, SHORT, steps=4, eta=0.0)
    np.testing.assert_allclose(still, algorithms.ddim(crooked, X, SHORT, steps=4), rtol=1e-4)


def test_ddim_maps_noise_to_gaussian_data_and_back():
    """Along the flow of probability (x - alpha m) / sqrt(alpha^2 s^2 + sigma^2) stays as it is."""
    denoise = gaussian(LONG)

    def total(noise):
        x = algorithms.ddim(denoise, noise, LONG, steps=250)
        return x.sum(), x

    slope, x = jax.jit(jax.grad(total, has_aux=True))(X)
    np.testing.assert_allclose(x, MEAN + SPREAD * X, atol=0.02)
    np.testing.assert_allclose(slope, SPREAD, atol=0.02)
    back = lambda x: algorithms.ddim_inversion(denoise, x, LONG, steps=250)
    np.testing.assert_allclose(jax.jit(back)(x), X, atol=0.1)


def test_iterations_invert_ddim_exactly():
    x = algorithms.ddim(crooked, X, SHORT, steps=10)
    error = [
        np.abs(algorithms.ddim_inversion(crooked, x, SHORT, steps=10, iterations=n) - X).max()
        for n in (1, 3, 40)
    ]
    assert error[0] > 2 * error[1] > 4 * error[2]
    assert error[2] < 1e-3


def test_ddpm_draws_gaussian_data():
    noise = jax.random.normal(jax.random.key(0), (4000, 1))
    denoise = gaussian(LONG)
    sample = jax.jit(lambda key: algorithms.ddpm(key, denoise, noise, LONG, steps=200))
    x = np.asarray(sample(jax.random.key(1)))
    assert abs(x.mean() - MEAN) < 0.02
    assert abs(x.std() - SPREAD) < 0.02
    assert abs(np.corrcoef(x[:, 0], noise[:, 0])[0, 1]) < 0.1


def test_flow_carries_noise_to_gaussian_data_and_back():
    def velocity(x, t):
        """E[x_1 - x_0 | x_t] for the straight path; the map is x_1 = m + s x_0."""
        t = t[:, None]
        variance = (1 - t) ** 2 + t**2 * SPREAD**2
        return MEAN + (t * SPREAD**2 - (1 - t)) / variance * (x - t * MEAN)

    want = MEAN + SPREAD * X
    euler = algorithms.follow_flow(velocity, X, steps=20, order=1)
    heun = algorithms.follow_flow(velocity, X, steps=20)
    assert np.abs(heun - want).max() < np.abs(euler - want).max() / 5
    np.testing.assert_allclose(heun, want, atol=5e-3)
    back = algorithms.follow_flow(velocity, heun, steps=20, start=1.0, end=0.0)
    np.testing.assert_allclose(back, X, atol=1e-2)


def test_refusals():
    with pytest.raises(ValueError, match='steps must be'):
        algorithms.ddim(crooked, X, SHORT, steps=11)
    with pytest.raises(ValueError, match='order must be'):
        algorithms.follow_flow(crooked, X, order=3)
    with pytest.raises(ValueError, match='target must be'):
        algorithms.data_and_noise(X, X, X[:, 0], X[:, 0], target='noise')
