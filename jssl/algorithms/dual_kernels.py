"""Kernels of infinitely wide networks on the sphere, layer by layer to any depth; on the host.

A dual activation is the correlation of an activation's values at two correlated Gaussians,

    phi^(s) = E[phi(u) phi(v)],  (u, v) unit Gaussians of correlation s,  phi^(1) = 1

of which a network of depth L on points of length one iterates the inner product s. All is float64:
near-duplicate points and small correlations decide what a deep network predicts.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import hermite_e

_BLOCK = 2**14  # numbers that go through all layers before the next ones: they stay in the cache


class Dual(NamedTuple):
    """A dual activation and its derivative, functions of correlations in [-1, 1]."""

    value: Callable
    slope: Callable


def hermite_dual(squares: Sequence[float]) -> Dual:
    """The dual of sum_k sqrt(a_k) h_k, with h_k the normalised Hermite polynomials.

        phi^(s) = sum_k a_k s^k

    Args:
        squares: a_0, a_1, ..., which sum to one.

    Returns:
        The Dual.

    Reference: Toward Deeper Understanding of Neural Networks (Daniely et al., 2016).
    """
    value = np.polynomial.Polynomial(squares)
    return Dual(value, value.deriv())


def relu_dual() -> Dual:
    """The dual of sqrt(2) max(u, 0), the arc-cosine kernel of degree one.

    Reference: Kernel Methods for Deep Learning (Cho & Saul, 2009).
    """
    angle = lambda s: np.arccos(np.clip(s, -1, 1))
    chord = lambda s: np.sqrt(np.maximum(0, 1 - s * s))
    return Dual(
        lambda s: (chord(s) + s * (math.pi - angle(s))) / math.pi,
        lambda s: (math.pi - angle(s)) / math.pi,
    )


def erf_dual() -> Dual:
    """The dual of erf(u), scaled to phi^(1) = 1.

    Reference: Computing with Infinite Networks (Williams, 1997).
    """
    top = math.asin(2 / 3)
    return Dual(
        lambda s: np.arcsin(2 * s / 3) / top,
        lambda s: 2 / (3 * top * np.sqrt(1 - 4 * s * s / 9)),
    )


def sine_dual(a: float) -> Dual:
    """The dual of a multiple of sin(sqrt(a) u): sinh(a s) / sinh(a).

    Reference: Wide and Deep Neural Networks Achieve Optimality for Classification
    (Radhakrishnan et al., 2023).
    """
    top = math.sinh(a)
    return Dual(lambda s: np.sinh(a * s) / top, lambda s: a * np.cosh(a * s) / top)


def cosine_dual(a: float) -> Dual:
    """The dual of a multiple of cos(sqrt(a) u): cosh(a s) / cosh(a).

    Reference: Wide and Deep Neural Networks Achieve Optimality for Classification
    (Radhakrishnan et al., 2023).
    """
    top = math.cosh(a)
    return Dual(lambda s: np.cosh(a * s) / top, lambda s: a * np.sinh(a * s) / top)


def optimal_squares(dimension: int) -> tuple[float, ...]:
    """Hermite coefficients, squared, of an activation whose deep classifier is Bayes-optimal.

        d = 1: phi^(s) = s / 2 + s^7 / 2;  d >= 2: 2^(-d/2) (s + s^3) + (1 - 2^(1 - d/2)) s^2

    Args:
        dimension: d of the sphere that the points lie on.

    Returns:
        a_0, a_1, ... as `hermite_dual` takes them.

    Reference: Wide and Deep Neural Networks Achieve Optimality for Classification
    (Radhakrishnan et al., 2023), corollary 1.
    """
    if dimension < 1:
        raise ValueError(f'dimension must be at least 1, got {dimension}')
    if dimension == 1:
        return (0, 0.5, 0, 0, 0, 0, 0, 0.5)
    outer = 2 ** (-dimension / 2)
    return (0, outer, 1 - 2 * outer, outer)


def quadrature_dual(activation: Callable, s: np.ndarray, *, nodes: int = 100) -> np.ndarray:
    """A dual activation by numbers: Gauss-Hermite quadrature in two dimensions.

        phi^(s) = sum_ij w_i w_j phi(u_i) phi(s u_i + sqrt(1 - s^2) u_j)

    Args:
        activation: phi of arrays; smooth ones need few nodes.
        s: correlations, any shape.
        nodes: of the quadrature.

    Returns:
        phi^ of the shape of s, not scaled.

    Reference: Toward Deeper Understanding of Neural Networks (Daniely et al., 2016).
    """
    u, w = hermite_e.hermegauss(nodes)
    w = w / w.sum()
    s = np.asarray(s, float)[..., None, None]
    second = s * u[:, None] + np.sqrt(np.maximum(0, 1 - s * s)) * u
    return np.einsum('i,j,i,...ij->...', w, w, activation(u), activation(second))


class Regime(NamedTuple):
    """What an infinitely deep network does: 'majority', 'nearest', 'singular' or 'none'."""

    name: str
    exponent: float  # alpha of the singularity |x - z|^-alpha; nan of the other regimes


def regime(dual: Dual, *, tolerance: float = 1e-9) -> Regime:
    """Which classifier a network becomes as its depth grows.

        A = E phi, A' = E phi', B' = E phi'^2:  A != 0 is majority vote; A = A' = 0 the nearest
        neighbour; A = 0, A' != 0, B' > 1 a smoother with kernel |x - z|^-alpha,
        alpha = -4 log A' / log B'

    Args:
        dual: of phi; A^2 = phi^(0), A'^2 = phi^'(0), B' = phi^'(1).
        tolerance: below which a mean counts as zero.

    Returns:
        The Regime; 'none' where no case holds, as of a linear network.

    Reference: Wide and Deep Neural Networks Achieve Optimality for Classification
    (Radhakrishnan et al., 2023), theorem 1.
    """
    mean, first, top = (float(f) for f in (dual.value(0.0), dual.slope(0.0), dual.slope(1.0)))
    if mean > tolerance:
        return Regime('majority', math.nan)
    if first <= tolerance:
        return Regime('nearest', math.nan)
    if top > 1 + tolerance:
        return Regime('singular', -2 * math.log(first) / math.log(top))
    return Regime('none', math.nan)


def deep_kernel(dual: Dual, s: np.ndarray, depth: int, *, tangent: bool = False) -> np.ndarray:
    """The kernel of a network with so many hidden layers.

        S_0 = s, S_l = phi^(S_{l-1});  tangent: K_0 = S_0, K_l = S_l + K_{l-1} phi^'(S_{l-1})

    Args:
        dual: of the activation.
        s: inner products of points of length one, any shape.
        depth: L.
        tangent: the neural tangent kernel K_L, or S_L of the Gaussian process.

    Returns:
        float64 of the shape of s.

    Reference: Neural Tangent Kernel (Jacot et al., 2018).
    """
    flat = np.clip(np.asarray(s, float), -1, 1).reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        at = slice(start, start + _BLOCK)
        here = kernel = flat[at]
        for _ in range(depth):
            # Rounding may leave the interval, from which some duals do not return.
            after = np.clip(dual.value(here), -1, 1)
            if tangent:
                kernel = after + kernel * dual.slope(here)
            here = after
        out[at] = kernel if tangent else here
    return out.reshape(np.shape(s))


def log_deep_kernel(squares: Sequence[float], s: np.ndarray, depth: int) -> np.ndarray:
    """log |S_L| of a network with a Hermite activation, which may be far below the least number.

        log |S_l| = m log |S_{l-1}| + log |sum_k a_{m + k} S_{l-1}^k|,  a_m the first that is not 0

    Args:
        squares: a_0, a_1, ... as `hermite_dual` takes them.
        s: inner products, any shape; 0 gives -inf.
        depth: L.

    Returns:
        float64 of the shape of s.

    Reference: Wide and Deep Neural Networks Achieve Optimality for Classification
    (Radhakrishnan et al., 2023).
    """
    order = next(k for k, a in enumerate(squares) if a)
    rest = np.polynomial.Polynomial(squares[order:])
    s = np.clip(np.asarray(s, float), -1, 1)
    with np.errstate(divide='ignore'):
        logs, sign = np.log(np.abs(s)), np.sign(s)
        for _ in range(depth):
            here = sign * np.exp(logs)
            factor = rest(here)
            logs, sign = order * logs + np.log(np.abs(factor)), sign**order * np.sign(factor)
    return logs
