"""Duals against Gaussian averages; kernels against loops; the regimes of the paper."""

import math

import numpy as np
import pytest
from scipy.special import erf, eval_hermitenorm

from jssl.algorithms import dual_kernels as dk

S = np.array([-0.9, -0.2, 0.0, 0.3, 0.8, 1.0])


def polynomial(squares):
    scale = [math.sqrt(a / math.factorial(k)) for k, a in enumerate(squares)]
    return lambda u: sum(c * eval_hermitenorm(k, u) for k, c in enumerate(scale))


ACTIVATIONS = {
    'hermite': (dk.hermite_dual((0, 0.5, 0.2, 0.3)), polynomial((0, 0.5, 0.2, 0.3)), 1e-9),
    'relu': (dk.relu_dual(), lambda u: math.sqrt(2) * np.maximum(u, 0), 3e-3),
    'erf': (dk.erf_dual(), lambda u: erf(u) / math.sqrt(2 / math.pi * math.asin(2 / 3)), 1e-6),
    'sine': (dk.sine_dual(2.0), lambda u: np.sin(2**0.5 * u) / _norm(2.0, math.sinh), 1e-9),
    'cosine': (dk.cosine_dual(2.0), lambda u: np.cos(2**0.5 * u) / _norm(2.0, math.cosh), 1e-9),
}


def _norm(a, top):
    return math.sqrt(math.exp(-a) * top(a))


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_duals_are_gaussian_averages(name):
    dual, activation, tolerance = ACTIVATIONS[name]
    np.testing.assert_allclose(dual.value(S), dk.quadrature_dual(activation, S), atol=tolerance)
    inner = S[:-1]
    slope = (dual.value(inner + 1e-6) - dual.value(inner - 1e-6)) / 2e-6
    np.testing.assert_allclose(dual.slope(inner), slope, rtol=1e-5, atol=1e-8)
    assert dual.value(1.0) == pytest.approx(1)


@pytest.mark.parametrize('dimension', [1, 2, 3, 4, 8])
def test_an_optimal_activation_has_the_exponent_of_its_sphere(dimension):
    dual = dk.hermite_dual(dk.optimal_squares(dimension))
    assert dk.regime(dual) == ('singular', pytest.approx(dimension))
    # The kernel far down has the singularity that the theorem says.
    depth, near = 80, np.array([1e-3, 1e-1])
    kernel = dk.deep_kernel(dual, 1 - near**2 / 2, depth) / dual.slope(0.0) ** depth
    slope = np.diff(np.log(kernel)) / np.diff(np.log(near))
    np.testing.assert_allclose(slope, -dimension, rtol=0.03)


def test_regimes():
    for a, exponent in ((2.676, 2), (6.135, 4), (13.83, 8)):
        assert dk.regime(dk.sine_dual(a)).exponent == pytest.approx(exponent, rel=1e-3)
    assert dk.regime(dk.cosine_dual(2.0)).name == dk.regime(dk.relu_dual()).name == 'majority'
    assert dk.regime(dk.hermite_dual((0, 0, 1))).name == 'nearest'
    assert dk.regime(dk.hermite_dual((0, 1))).name == 'none'
    with pytest.raises(ValueError, match='dimension'):
        dk.optimal_squares(0)


def test_deep_kernels_against_a_loop():
    dual, s = dk.erf_dual(), np.linspace(-1, 1, 7).reshape(1, 7)
    for tangent in (False, True):
        found = dk.deep_kernel(dual, s, 3, tangent=tangent)
        for one, value in zip(s[0], found[0], strict=True):
            layer = kernel = one
            for _ in range(3):
                after = math.asin(2 * layer / 3) / math.asin(2 / 3)
                slope = 2 / 3 / math.asin(2 / 3) / math.sqrt(1 - 4 * layer**2 / 9)
                layer, kernel = after, after + kernel * slope
            assert value == pytest.approx(kernel if tangent else layer)


def test_logarithms_go_where_numbers_end():
    squares = (0, 0, 0.7, 0.3)
    shallow = np.log(np.abs(dk.deep_kernel(dk.hermite_dual(squares), S[:-1], 4)))
    np.testing.assert_allclose(dk.log_deep_kernel(squares, S[:-1], 4), shallow, rtol=1e-9)
    deep = dk.log_deep_kernel((0, 0, 1), np.array([0.5, -0.5, 0.9, 0.0]), 40)
    np.testing.assert_allclose(deep[:3], 2.0**40 * np.log([0.5, 0.5, 0.9]))
    assert deep[3] == -np.inf
