import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.ntk import kernel_regression, linearise, ntk


def committee(params, x):
    return jnp.square(x @ params['w']).mean(1)


def classifier(params, x):
    return jnp.tanh(x @ params['w']) @ params['v']


@pytest.fixture
def setting():
    rng = np.random.default_rng(0)
    params = {'w': rng.normal(size=(3, 5)), 'v': rng.normal(size=(5, 2))}
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    return params, *jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)


def test_equals_the_closed_form(setting):
    """f = mean (w_i x)^2 has K(x, x') = (x.x') sum_i (2 w_i.x / N) (2 w_i.x' / N)."""
    params, x1, x2 = setting
    w = np.asarray(params['w'], np.float64)
    expected = np.zeros((4, 4))
    for a, x in enumerate(np.asarray(x1)):
        for b, z in enumerate(np.asarray(x2)):
            for i in range(5):
                expected[a, b] += (x @ z) * (2 * w[:, i] @ x / 5) * (2 * w[:, i] @ z / 5)
    found = ntk(committee, params, x1, x2)
    assert found.shape == (4, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_vectors_equal_finite_differences(setting):
    params, x1, x2 = setting
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    flat = np.asarray(flat, np.float64)

    def outputs(p, x):
        p = {k: np.asarray(v, np.float64) for k, v in unravel(jnp.asarray(p)).items()}
        return np.tanh(np.asarray(x, np.float64) @ p['w']) @ p['v']

    def jacobian(x):
        j = []
        for i in range(len(flat)):
            step = np.eye(len(flat))[i] * 1e-2
            j.append((outputs(flat + step, x) - outputs(flat - step, x)) / 2e-2)
        return np.stack(j, -1)

    expected = np.einsum('akp,blp->abkl', jacobian(x1), jacobian(x2))
    found = ntk(classifier, params, x1, x2)
    assert found.shape == (4, 4, 2, 2)
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())


def test_kernel_laws(setting):
    params, x1, x2 = setting
    k = ntk(classifier, params, x1)
    np.testing.assert_allclose(k, k.transpose(1, 0, 3, 2), atol=1e-5)  # K(x, z) = K(z, x)'
    matrix = k.transpose(0, 2, 1, 3).reshape(8, 8)
    assert np.linalg.eigvalsh(matrix).min() > -1e-4
    swapped = ntk(classifier, params, x1[::-1])
    np.testing.assert_allclose(swapped, k[::-1, ::-1], rtol=1e-5, atol=1e-6)
    jitted = jax.jit(lambda p, a, b: ntk(classifier, p, a, b))(params, x1, x2)
    np.testing.assert_allclose(jitted, ntk(classifier, params, x1, x2), rtol=1e-4, atol=1e-6)


def test_linearise_is_the_tangent(setting):
    params, x, _ = setting
    linear = linearise(classifier, params)
    np.testing.assert_allclose(linear(params, x), classifier(params, x), rtol=1e-6)
    move = jax.tree.map(jnp.ones_like, params)
    moved = lambda t: jax.tree.map(lambda p, d: p + t * d, params, move)
    one, two = linear(moved(1.0), x), linear(moved(2.0), x)
    np.testing.assert_allclose(two - one, one - linear(params, x), atol=1e-4)  # affine
    error = [np.abs(linear(moved(t), x) - classifier(moved(t), x)).max() for t in (0.01, 0.1)]
    assert error[0] < error[1] / 30  # second order
    kernel = ntk(linear, moved(3.0), x)
    np.testing.assert_allclose(kernel, ntk(classifier, params, x), rtol=1e-4, atol=1e-5)


def test_regression_interpolates_and_is_where_frozen_training_ends(setting):
    params, _, _ = setting
    rng = np.random.default_rng(1)
    x, z = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)
    y = jnp.asarray(rng.normal(size=4), jnp.float32)
    f = lambda p, x: classifier(p, x)[:, 0]
    train, test = ntk(f, params, x), ntk(f, params, z, x)
    np.testing.assert_allclose(kernel_regression(train, train, y), y, atol=1e-2)
    two = kernel_regression(train, test, jnp.stack([y, 2 * y], 1))
    np.testing.assert_allclose(two[:, 1], 2 * two[:, 0], rtol=1e-4)
    k, k_test, y64 = (np.asarray(a, np.float64) for a in (train, test, y))
    alpha = np.zeros(4)
    for _ in range(200_000):  # gradient descent in function space
        alpha -= 0.1 / np.trace(k) * (k @ alpha - y64)
    found = kernel_regression(train, test, y, ridge=0.0)
    np.testing.assert_allclose(found, k_test @ alpha, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('kernel', [np.zeros((3, 3)), np.ones((3, 3)), 1e20 * np.eye(3)])
def test_regression_is_finite(kernel, dtype):
    kernel, y = jnp.asarray(kernel, dtype), jnp.array([1.0, 1.0, 1.0], dtype)
    value = lambda k, y: kernel_regression(k, k, y).sum()
    found, grads = jax.value_and_grad(value, (0, 1))(kernel, y)
    assert np.isfinite(found)
    assert all(np.isfinite(g.astype(np.float32)).all() for g in grads)
    assert found == pytest.approx(3.0 if kernel.any() else 0.0, abs=0.01)


def test_refusals(setting):
    params, x, _ = setting
    with pytest.raises(ValueError, match='apply must return'):
        ntk(lambda p, x: x[:, :, None], params, x)
    with pytest.raises(ValueError, match='train must be'):
        kernel_regression(jnp.ones((3, 3)), jnp.ones((2, 4)), jnp.ones(3))
