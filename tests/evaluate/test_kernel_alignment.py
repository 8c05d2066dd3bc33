import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate.kernel_alignment import kernel_alignment


def oracle(k, l):
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    a, b = h @ k @ h, h @ l @ h
    top = sum(a[i, j] * b[i, j] for i in range(n) for j in range(n))
    return top / np.sqrt((a**2).sum() * (b**2).sum())


def kernels(seed, n=7):
    x, y = np.random.default_rng(seed).normal(size=(2, n, 4))
    return (x @ x.T).astype(np.float32), (y @ y.T).astype(np.float32)


@pytest.mark.parametrize('seed', range(3))
def test_equals_the_loops(seed):
    k, l = kernels(seed)
    np.testing.assert_allclose(kernel_alignment(k, l), oracle(k, l), rtol=1e-5)


def test_laws():
    k, l = kernels(0)
    found = float(kernel_alignment(k, l))
    assert kernel_alignment(k, k) == pytest.approx(1, abs=1e-5)
    assert kernel_alignment(l, k) == pytest.approx(found, rel=1e-5)
    assert kernel_alignment(3 * k, 0.1 * l) == pytest.approx(found, rel=1e-5)
    assert kernel_alignment(k + 5, l) == pytest.approx(found, rel=1e-4)  # centred
    order = np.random.default_rng(1).permutation(len(k))
    assert kernel_alignment(k[order][:, order], l[order][:, order]) == pytest.approx(found, 1e-5)
    y = np.array([1.0, 1, 1, -1, -1, -1, -1], np.float32)
    assert kernel_alignment(np.outer(y, y), np.outer(2 * y + 1, 2 * y + 1)) > 0.999
    assert jax.jit(kernel_alignment)(k, l) == pytest.approx(found, rel=1e-5)
    stacked = jax.vmap(kernel_alignment)(jnp.stack([k, l]), jnp.stack([l, l]))
    np.testing.assert_allclose(stacked, [found, 1], rtol=1e-5)


@pytest.mark.parametrize('scale', [0.0, 1e-20, 1.0, 1e25])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_finite(scale, dtype):
    k, l = kernels(0)
    value, grad = jax.value_and_grad(kernel_alignment)(jnp.asarray(scale * k, dtype), l)
    assert np.isfinite(value)
    assert np.isfinite(grad.astype(np.float32)).all()
    if scale == 0:
        assert value == 0
    else:
        assert value == pytest.approx(oracle(*kernels(0)), abs=0.02)


def test_gradient_equals_differences():
    k, l = kernels(2, 4)
    grad = jax.grad(kernel_alignment)(k, l)
    for i, j in [(0, 0), (1, 3)]:
        step = np.zeros((4, 4))
        step[i, j] = 1e-5
        slope = (oracle(k + step, l) - oracle(k - step, l)) / 2e-5
        assert grad[i, j] == pytest.approx(slope, abs=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match='square'):
        kernel_alignment(jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(AssertionError):
        kernel_alignment(jnp.ones((2, 2)), jnp.ones((3, 3)))
