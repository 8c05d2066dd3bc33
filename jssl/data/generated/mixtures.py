"""Mixtures whose posterior is known: Gaussians, Dirichlets, archetypes, and noisy manifolds.

A world holds what a set is drawn from and belongs to a seed; the splits draw from the same world.
Of each item the component, the class and the domain are kept, and p(class | x) exactly: the best
that any classifier can do.

FAMILIES
  gaussians   separation, anisotropy, imbalance, long tails, several components to a class
  dirichlets  parts of a whole, one vector of concentrations to a component
  archetypes  +-1 patterns, of which an item is a blurred copy
  manifolds   curves and surfaces with Gaussian noise around them

A world makes items [N, D] of components [N] and of `width` uniform numbers each, [N, width], by
`draw`; `log_likelihood` of points [N, D] is log p(x | k), [N, K].
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, gammaln, logsumexp, ndtr, ndtri, xlogy

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 2000, 'validation': 500, 'test': 1000}
LICENCE = 'Apache-2.0'
_GRID = {1: 1024, 2: 128**2}  # points that stand for a manifold of one or two dimensions


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
        whiten = np.linalg.inv(self.factor)
        centre = np.einsum('kij,kj->ki', whiten, self.mean)
        volume = np.linalg.slogdet(self.factor)[1] + 0.5 * self.width * np.log(2 * np.pi)
        turned = whiten.reshape(-1, self.width).T.copy()
        likelihood = np.empty((len(x), len(volume)))
        for start in range(0, len(x), 64):  # one product for all components, in a small cache
            z = (x[start : start + 64] @ turned).reshape(-1, *centre.shape) - centre
            likelihood[start : start + 64] = -0.5 * np.einsum('nkd,nkd->nk', z, z) - volume
        return likelihood


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
        chunk = max(1, 2**20 // len(t))
        for k in range(len(self.label)):
            centre = SURFACES[self.name][0](np.full(len(t), k), t) @ self.frame.T
            for start in range(0, rows, chunk):
                part = x[start : start + chunk]
                far = np.square(centre).sum(1) - 2 * part @ centre.T
                low = far.min(1, keepdims=True)  # scipy's logsumexp is five times as slow
                sums = np.exp((low - far) / (2 * self.noise**2)).sum(1)
                nearest = low[:, 0] + np.square(part).sum(1)
                likelihood[start : start + chunk, k] = np.log(sums) - nearest / 2 / self.noise**2
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
    across, (half, rest) = 4 * t[:, 0], np.divmod(2 * t[:, 1], 1)
    return np.stack([across, 2 * half + across // 1 % 2 + rest], 1) - 2


def _torus(k, t):
    u, v = 2 * np.pi * t.T
    out = 1 + 0.4 * np.cos(v)
    return np.stack([out * np.cos(u), out * np.sin(u), 0.4 * np.sin(v)], 1)


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


def _gaussians(
    random,
    *,
    components=3,
    dimension=2,
    separation=4.0,
    arrangement='scattered',
    anisotropy=1.0,
    turned=True,
    spread=1.0,
):
    label = np.arange(components)
    if arrangement == 'scattered':
        mean = random.standard_normal((components, dimension))
        mean *= separation / max(_nearest(mean), 1e-9)
    elif arrangement == 'ring':
        turn = 2 * np.pi * label / components
        mean = np.pad(np.stack([np.cos(turn), np.sin(turn)], 1), ((0, 0), (0, dimension - 2)))
        mean *= separation / _nearest(mean)
    elif arrangement == 'pairs':
        # A pair's two blobs are of different classes, and a class is half of two pairs.
        pairs = components // 2
        centre = random.standard_normal((pairs, dimension))
        centre *= 4 * separation / max(_nearest(centre), 1e-9)
        apart = random.standard_normal((pairs, dimension))
        apart *= separation / 2 / np.linalg.norm(apart, axis=1, keepdims=True)
        mean = np.stack([centre - apart, centre + apart], 1).reshape(2 * pairs, dimension)
        label = np.stack([np.arange(pairs), (np.arange(pairs) + 1) % pairs], 1).ravel()
    else:
        raise Refusal(f'arrangement must be scattered, ring or pairs, got {arrangement!r}')
    axes = anisotropy ** np.linspace(-0.5, 0.5, dimension)
    sizes = random.permutation(spread ** np.linspace(-0.5, 0.5, len(mean)))
    factor = np.stack([size * np.diag(random.permutation(axes)) for size in sizes])
    if turned:
        factor = np.linalg.qr(random.standard_normal(factor.shape))[0] @ factor
    return Gaussians(None, label, mean - mean.mean(0), factor)


def _nearest(points):
    """Distance of the two nearest of several points."""
    square = np.square(points[:, None] - points).sum(2)
    return np.sqrt(square[~np.eye(len(points), dtype=bool)].min(initial=np.inf))


def _dirichlets(random, *, concentrations=((1.0, 2.0), (2.0, 1.0))):
    return Dirichlets(None, np.arange(len(concentrations)), np.asarray(concentrations, float))


def _archetypes(random, *, components=4, dimension=64, quality=0.5):
    pattern = np.where(random.random((components, dimension)) < 0.5, -1.0, 1.0)
    return Archetypes(None, np.arange(components), pattern, quality)


def _manifolds(random, *, name='moons', dimension=None, noise=0.1, concentration=0.0):
    if name not in SURFACES:
        raise Refusal(f'no manifold {name!r}: choose {", ".join(SURFACES)}')
    _, _, space, components = SURFACES[name]
    frame = np.eye(space)
    if dimension is not None:
        frame = np.linalg.qr(random.standard_normal((dimension, space)))[0]
    return Manifolds(None, np.arange(components), name, frame, noise, concentration)


FAMILIES = {
    'gaussians': _gaussians,
    'dirichlets': _dirichlets,
    'archetypes': _archetypes,
    'manifolds': _manifolds,
}


def world(
    family: str = 'gaussians',
    *,
    seed: int = 0,
    classes: int | None = None,
    imbalance: float = 1.0,
    tail: float = 0.0,
    domains: int = 1,
    alpha: float | None = None,
    condition: float | None = None,
    **shape,
):
    """What a set is drawn from: components p(x | k) and how often they come in each domain.

        p(x | d) = sum_k w_dk p(x | k),   w_k ~ imbalance^(-k / (K - 1)) (k + 1)^(-tail)

    Args:
      family: one of `FAMILIES`.
      seed: of the world's parameters.
      classes: C; component k has label k mod C; None is one class to a component (of 'pairs', the
        class that the arrangement gives).
      imbalance: of the most frequent component to the rarest, geometric between.
      tail: exponent of Zipf's law over components, for long tails of sub-populations.
      domains: R.
      alpha: p(class | domain) ~ Dirichlet(alpha); None is the same classes everywhere.
      condition: p(class | domain) is drawn until the matrix has at most this condition number.
      **shape: of the family,
        gaussians: components=3, dimension=2; separation=4.0, between the two nearest means, in
          standard deviations; arrangement='scattered', or 'ring', or 'pairs' in which neighbours
          differ in class and a class is two far blobs; anisotropy=1.0, longest axis to shortest;
          turned=True, axes in any direction, or along the coordinates; spread=1.0, of the widest
          component to the narrowest.
        dirichlets: concentrations=((1, 2), (2, 1)), a row to a component.
        archetypes: components=4, dimension=64, quality=0.5, the mean of a sign.
        manifolds: name='moons', one of `SURFACES`; dimension=None, or that of a space into which
          it is turned; noise=0.1; concentration=0.0 of the first coordinate (von Mises).

    Returns:
      `Gaussians`, `Dirichlets`, `Archetypes` or `Manifolds`.

    Unsupervised Learning under Latent Label Shift (Roberts et al., 2022), for the domains.
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of mixtures: choose {", ".join(FAMILIES)}')
    random = np.random.default_rng(seed)
    made = FAMILIES[family](random, **shape)
    label = (made.label if classes is None else made.label % classes).astype(np.int32)
    place = np.arange(len(label))
    weight = imbalance ** (-place / max(1, len(place) - 1)) * (place + 1.0) ** -tail
    weight /= weight.sum()
    one = label[:, None] == np.arange(label.max() + 1)
    share = weight @ one
    by_domain = np.tile(share, (domains, 1))
    if alpha is not None:
        for _ in range(10000):
            by_domain = random.dirichlet(np.full(len(share), alpha), domains)
            if condition is None or np.linalg.cond(by_domain) <= condition:
                break
        else:
            raise Refusal(f'no {domains} domains of condition <= {condition}: allow more')
    return made._replace(weight=weight * (by_domain / share)[:, label], label=label)


def log_density(world, x: np.ndarray, domain: np.ndarray | int = 0) -> np.ndarray:
    """log p(x | domain) [N] of points [N, D]; of manifolds by a sum over a grid.

    Finite Mixture Models (McLachlan and Peel, 2000).
    """
    return logsumexp(_joint(world, x, domain), axis=1)


def posterior(world, x: np.ndarray, domain: np.ndarray | int = 0) -> np.ndarray:
    """p(class | x, domain) [N, C] of points [N, D]: Bayes' rule, which no classifier beats.

    Finite Mixture Models (McLachlan and Peel, 2000).
    """
    joint = _joint(world, x, domain)
    share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    return share @ (world.label[:, None] == np.arange(world.label.max() + 1))


def _joint(world, x, domain):
    """log p(x, component | domain), [N, K]."""
    with np.errstate(divide='ignore'):
        return world.log_likelihood(np.asarray(x, float)) + np.log(world.weight)[domain]


def dataset(
    split: str = 'train',
    *,
    count: int | None = None,
    seed: int = 0,
    shift: float = 0.0,
    drift: float = 0.0,
    **knobs,
) -> dict[str, np.ndarray]:
    """A split of a mixture, with the truth about every item.

    Args:
      split: train, validation or test.
      count: N; None is that of `COUNTS`.
      seed: of the world and of the draws.
      shift: how far all of domain d > 0 is moved, each into a direction of its own.
      drift: how far everything has moved after a thousand items, into one direction.
      **knobs: of `world`.

    Returns:
      feature float32 [N, D]; label int32 [N], the class; component and domain int32 [N]; offset
      float32 [N, D], of shift and drift; posterior float32 [N, C], p(class | x) for who knows the
      domain and the offset (of manifolds without noise the class itself); and of manifolds latent
      float32 [N, q], coordinates in the unit square.

    Finite Mixture Models (McLachlan and Peel, 2000).
    """
    made = world(seed=seed, **knobs)
    count = COUNTS[split] if count is None else count
    # Row i of one stream is item i: quicker than a stream for each, and as independent of N.
    u = draw.generator(seed, split, 0).random((count, 2 + made.width)).clip(2.0**-54)
    domain = (u[:, 0] * len(made.weight)).astype(np.int32)
    component = (np.cumsum(made.weight, 1)[domain] < u[:, 1:2]).sum(1).astype(np.int32)
    component = np.minimum(component, len(made.label) - 1)
    clean = made.draw(component, u[:, 2:])
    away = np.random.default_rng([seed, 1]).standard_normal((1 + len(made.weight), clean.shape[1]))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    offset = shift * (domain > 0)[:, None] * away[domain]
    offset += drift * np.arange(count)[:, None] / 1000 * away[-1]
    columns = {'feature': clean + offset, 'label': made.label[component]}
    columns |= {'component': component, 'domain': domain, 'offset': offset}
    if isinstance(made, Manifolds):
        columns['latent'] = made.latent(u[:, 2:])
    if made.label.max() == 0 or (isinstance(made, Manifolds) and not made.noise):
        columns['posterior'] = np.eye(made.label.max() + 1)[columns['label']]
    else:
        columns['posterior'] = posterior(made, clean, domain)
    return {k: v.astype(np.float32) if v.dtype == float else v for k, v in columns.items()}


def factors(
    split: str = 'train',
    *,
    count: int | None = None,
    seed: int = 0,
    dimension: int = 40,
    rank: int = 4,
    strength: float = 1.0,
    noise: float = 0.5,
    target_noise: float = 0.5,
    mismatch: float = 0.0,
    signs: bool = False,
) -> dict[str, np.ndarray]:
    """A few latent factors behind many features, and a target that reads the factors.

        x = A S z + noise e,   y = sqrt(1 - mismatch^2) b . z + mismatch c . e + target_noise n

    with |b| = |c| = 1 and orthonormal columns of A.

    Args:
      split, count, seed: as `dataset`.
      dimension, rank: of x and z, D and r.
      strength: S, geometric from sqrt(D / r) down to that divided by `strength`.
      noise, target_noise: standard deviations.
      mismatch: share of the target that the factors do not hold; 1 makes them uninformative.
      signs: z of random signs in place of Gaussians.

    Returns:
      feature float32 [N, D]; latent float32 [N, r], z; target float32 [N], y; label int32 [N],
      y > 0; signal float32 [N], E[y | z, e], and posterior float32 [N, 2], p(label | z, e).

    On the Provable Advantage of Unsupervised Pretraining (Ge et al., 2023).
    """
    random = np.random.default_rng([seed, 2])
    frame = np.linalg.qr(random.standard_normal((dimension, rank)))[0]
    b, c = (v / np.linalg.norm(v) for v in map(random.standard_normal, (rank, dimension)))
    count = COUNTS[split] if count is None else count
    stream = draw.generator(seed, split, 0)
    normal = ndtri(stream.random((count, rank + dimension + 1)).clip(2.0**-54))
    z, e, n = normal[:, :rank], normal[:, rank:-1], normal[:, -1]
    z = np.sign(z) if signs else z
    scale = (dimension / rank) ** 0.5 * strength ** -np.linspace(0, 1, rank)
    signal = np.sqrt(1 - mismatch**2) * z @ b + mismatch * e @ c
    target = signal + target_noise * n
    with np.errstate(divide='ignore'):
        positive = ndtr(signal / target_noise)
    columns = {'feature': z * scale @ frame.T + noise * e, 'latent': z, 'target': target}
    columns |= {'signal': signal, 'posterior': np.stack([1 - positive, positive], 1)}
    columns = {name: column.astype(np.float32) for name, column in columns.items()}
    return columns | {'label': (target > 0).astype(np.int32)}


def curves(
    split: str = 'train',
    *,
    count: int | None = None,
    seed: int = 0,
    points: int = 20,
    noise: float = 0.3,
    reach: float = 5.0,
) -> dict[str, np.ndarray]:
    """Tasks of regression in one dimension: half are sines, half are lines.

        y = a sin(x + b) + noise e   or   y = a x + b + noise e

    with a in [0.1, 5], b in [0, pi] of sines and a, b in [-3, 3] of lines.

    Args:
      split, count, seed: as `dataset`; an item is a task.
      points: P, of a task.
      noise: standard deviation.
      reach: x is drawn from [-reach, reach].

    Returns:
      x, y, clean float32 [N, P], the last without noise; label int32 [N], 0 sine, 1 line; latent
      float32 [N, 2], a and b.

    Probabilistic Model-Agnostic Meta-Learning (Finn et al., 2018).
    """
    count = COUNTS[split] if count is None else count
    u = draw.generator(seed, split, 0).random((count, 3 + 2 * points)).clip(2.0**-54)
    line, x = u[:, 0] < 0.5, reach * (2 * u[:, 3 : 3 + points] - 1)
    low, high = np.array([[0.1, 0], [-3, -3]]), np.array([[5, np.pi], [3, 3]])
    kind = line.astype(np.int32)
    a, b = (low[kind] + (high - low)[kind] * u[:, 1:3]).T[..., None]
    clean = np.where(line[:, None], a * x + b, a * np.sin(x + b))
    y = clean + noise * ndtri(u[:, 3 + points :])
    columns = {'x': x, 'y': y, 'clean': clean, 'latent': np.concatenate([a, b], 1)}
    return {name: column.astype(np.float32) for name, column in columns.items()} | {'label': kind}
