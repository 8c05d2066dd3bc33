"""Mixtures whose posterior is known: Gaussians, Dirichlets, archetypes, and noisy manifolds.

A world holds what a set is drawn from and belongs to a seed; the splits draw from the same world.
Of each item the component, the class and the domain are kept, and p(class | x) exactly: the best
that any classifier can do.

FAMILIES
  gaussians   separation, anisotropy, imbalance, long tails, several components to a class
  dirichlets  parts of a whole, one vector of concentrations to a component
  archetypes  +-1 patterns, of which an item is a blurred copy
  manifolds   curves and surfaces with Gaussian noise around them
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, gammaln, logsumexp, ndtr, ndtri, xlogy

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 2000, 'validation': 500, 'test': 1000}
LICENCE = 'Apache-2.0'
_GRID = {1: 1024, 2: 192**2}  # points that stand for a manifold of one or two dimensions


class Gaussians(NamedTuple):
    """p(x | k) = N(x; mean_k, factor_k factor_k')."""

    weight: np.ndarray  # [R, K], of a domain's components
    label: np.ndarray  # [K], the class of a component
    mean: np.ndarray  # [K, D]
    factor: np.ndarray  # [K, D, D]

    @property
    def width(self):
        return self.mean.shape[1]

    def draw(self, component, u):
        x = self.mean[component]
        for k, factor in enumerate(self.factor):
            x[component == k] += ndtri(u[component == k]) @ factor.T
        return x

    def log_likelihood(self, x):
        inverse = np.linalg.inv(self.factor)
        volume = np.linalg.slogdet(self.factor)[1] + 0.5 * self.width * np.log(2 * np.pi)
        parts = zip(self.mean, inverse, volume, strict=True)
        return np.stack([-0.5 * np.square((x - m) @ f.T).sum(1) - v for m, f, v in parts], 1)


class Dirichlets(NamedTuple):
    """p(x | k) = Dirichlet(x; concentration_k)."""

    weight: np.ndarray  # [R, K]
    label: np.ndarray  # [K]
    concentration: np.ndarray  # [K, D]

    @property
    def width(self):
        return self.concentration.shape[1]

    def draw(self, component, u):
        gamma = gammaincinv(self.concentration[component], u)
        return gamma / gamma.sum(1, keepdims=True)

    def log_likelihood(self, x):
        a = self.concentration
        volume = gammaln(a).sum(1) - gammaln(a.sum(1))
        return xlogy(a - 1, np.maximum(x, np.finfo(float).tiny)[:, None]).sum(2) - volume


class Archetypes(NamedTuple):
    """x_i = s_i pattern_ki, independent signs s of mean quality."""

    weight: np.ndarray  # [R, K]
    label: np.ndarray  # [K]
    pattern: np.ndarray  # [K, D] of -1 and 1
    quality: float

    @property
    def width(self):
        return self.pattern.shape[1]

    def draw(self, component, u):
        return np.where(u < (1 + self.quality) / 2, 1, -1) * self.pattern[component]

    def log_likelihood(self, x):
        same = (self.width + x @ self.pattern.T) / 2
        share = (1 + self.quality) / 2
        return xlogy(same, share) + xlogy(self.width - same, 1 - share)


class Manifolds(NamedTuple):
    """x = surface_k(t) frame' + noise: p(x | k) is an average over t, here of a fine grid."""

    weight: np.ndarray  # [R, K]
    label: np.ndarray  # [K]
    name: str
    frame: np.ndarray  # [D, d], orthonormal columns
    noise: float
    concentration: float  # of the first coordinate, von Mises; 0 is uniform

    @property
    def width(self):
        return SURFACES[self.name][1] + len(self.frame)

    def latent(self, u):
        """Coordinates in the unit square, [N, q], of uniform numbers."""
        t = u[:, : SURFACES[self.name][1]].copy()
        if self.concentration:
            angle = np.linspace(0, 1, 4097)
            middle = (angle[1:] + angle[:-1]) / 2
            mass = np.exp(self.concentration * (np.cos(2 * np.pi * (middle - 0.5)) - 1))
            t[:, 0] = np.interp(t[:, 0], np.append(0, np.cumsum(mass) / mass.sum()), angle)
        return t

    def draw(self, component, u):
        clean = SURFACES[self.name][0](component, self.latent(u)) @ self.frame.T
        return clean + self.noise * ndtri(u[:, -len(self.frame) :])

    def log_likelihood(self, x):
        q, (rows, width) = SURFACES[self.name][1], x.shape
        if not self.noise:
            raise Refusal('a manifold without noise has no density: set noise above 0')
        side = round(_GRID[q] ** (1 / q))
        middles = (np.arange(side) + 0.5) / side
        t = self.latent(np.stack(np.meshgrid(*[middles] * q, indexing='ij'), -1).reshape(-1, q))
        likelihood = np.empty((rows, len(self.label)))
        chunk = max(1, 2**22 // len(t))
        for k in range(len(self.label)):
            centre = SURFACES[self.name][0](np.full(len(t), k), t) @ self.frame.T
            for start in range(0, rows, chunk):
                part = x[start : start + chunk]
                cross = part @ centre.T
                far = np.square(part).sum(1)[:, None] - 2 * cross + np.square(centre).sum(1)
                likelihood[start : start + chunk, k] = logsumexp(-far / 2 / self.noise**2, axis=1)
        return likelihood - np.log(len(t)) - width * np.log(self.noise * np.sqrt(2 * np.pi))


def _circles(k, t):
    turn = 2 * np.pi * t[:, 0]
    return (1 + k)[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)


def _moons(k, t):
    turn = np.pi * t[:, 0]
    upper = np.stack([np.cos(turn), np.sin(turn)], 1)
    return np.where(k[:, None] % 2, np.array([1, 0.5]) - upper, upper)


def _pinwheel(k, t):
    """Five arms that turn as they leave the middle."""
    radius, turn = 0.4 + 1.6 * t[:, 0], 2 * np.pi * (k / 5 + 0.25 * t[:, 0])
    return radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)


def _checkerboard(k, t):
    """The eight dark fields of a board of 4 x 4 that spans [-2, 2]^2."""
    across = 4 * t[:, 0]
    field = np.floor(8 * t[:, 1])
    up = 2 * np.floor(field / 2) % 4 + np.floor(across) % 2 + (8 * t[:, 1] / 2) % 1
    return np.stack([across, up], 1) - 2


def _torus(k, t):
    u, v = 2 * np.pi * t.T
    return np.stack([(1 + 0.4 * np.cos(v)) * np.cos(u), (1 + 0.4 * np.cos(v)) * np.sin(u),
                     0.4 * np.sin(v)], 1)  # fmt: skip


def _product(k, t):
    return np.concatenate([_circles(0 * k, t), _circles(0 * k, t[:, 1:])], 1)


def _swiss_roll(k, t):
    turn = 1.5 * np.pi * (1 + 2 * t[:, 0])
    return np.stack([turn * np.cos(turn), 21 * t[:, 1], turn * np.sin(turn)], 1)


# A surface's function of component and coordinates, its dimension, that of its space, components.
SURFACES = {
    'circle': (_circles, 1, 2, 1),
    'circles': (_circles, 1, 2, 2),
    'moons': (_moons, 1, 2, 2),
    'pinwheel': (_pinwheel, 1, 2, 5),
    'checkerboard': (_checkerboard, 2, 2, 1),
    'torus': (_torus, 2, 3, 1),
    'product': (_product, 2, 4, 1),
    'swiss_roll': (_swiss_roll, 2, 3, 1),
}
