"""Losses on the spread of a batch: cases, and slow float64 calculations from the papers."""

import functools
import math

import numpy as np

from jssl import losses

from .case import PAIR, Case, normal
from .pairs import cosine, distance, unit

partial = functools.partial


def next_covariance(u, c):
    return 0.9 * c + 0.1 * sum(np.outer(row, row) for row in u) / len(u)


def tico(live, still):
    u, v = unit(live[0]), unit(live[1])
    c = next_covariance(u, still[2])
    return [1 - a @ b + 8 * a @ c @ a for a, b in zip(u, v, strict=True)]


def tico_covariance(live, still):
    return next_covariance(unit(still[0]), still[2])


def nuclear_norm(x):
    """Sum of the roots of the eigenvalues of x^T x."""
    return sum(math.sqrt(max(0, value)) for value in np.linalg.eigvalsh(x.T @ x))


def mmcr(live, _):
    u = np.array([unit(view) for view in live[0]])
    spread = sum(nuclear_norm(u[:, b].T) for b in range(u.shape[1])) / u.shape[1]
    return -nuclear_norm(u.mean(0)) + 0.5 * spread


def w_mse(live, still):
    z, n = np.concatenate(live), len(live[0])
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    fixed = np.concatenate(still)
    scale = np.trace(np.cov(fixed.T)) / z.shape[1]
    share = 0.01
    factor = np.linalg.cholesky((1 - share) * covariance / scale + share * np.eye(z.shape[1]))
    white = unit([np.linalg.solve(factor, row) for row in centred])
    return [distance(white[i], white[n + i]) ** 2 for i in range(n)]


def koleo(live, _):
    u = unit(live[0])
    return [
        -math.log(min(distance(u[i], u[j]) for j in range(len(u)) if j != i) + 1e-8)
        for i in range(len(u))
    ]


def rate(z, epsilon):
    n, d = z.shape
    return math.log(np.linalg.det(np.eye(d) + d / (n * epsilon**2) * z.T @ z)) / 2


def coding_rate(live, _):
    return rate(live[0], 0.5)


def mcr2(live, _):
    z, p = live
    n, d = z.shape
    groups = 0
    for k in range(p.shape[1]):
        size = p[:, k].sum()
        inner = np.eye(d) + d / (size * 0.25) * z.T @ np.diag(p[:, k]) @ z
        groups += size / n * math.log(np.linalg.det(inner)) / 2
    return groups - rate(z, 0.5)


def emp_ssl(live, _):
    u = np.array([unit(view) for view in live[0]])
    wide = sum(rate(view, math.sqrt(0.2)) for view in u) / len(u)
    alike = [cosine(u[v, b], u[:, b].mean(0)) for v in range(len(u)) for b in range(u.shape[1])]
    return -wide - 200 * sum(alike) / len(alike)


def alignment(live, _):
    return [distance(a, b) ** 3 for a, b in zip(*map(unit, live), strict=True)]


def uniformity(live, _):
    u = unit(live[0])
    pairs = [distance(a, b) for i, a in enumerate(u) for j, b in enumerate(u) if j != i]
    return math.log(sum(math.exp(-2 * d**2) for d in pairs) / len(pairs))


def spectral_contrastive(live, _):
    z1, z2 = live
    out = []
    for i, row in enumerate(z1):
        others = [(row @ other) ** 2 for j, other in enumerate(z2) if j != i]
        out.append(-2 * row @ z2[i] + sum(others) / len(others))
    return out


def grouped(random, batch):
    z = random.normal(size=(batch, 5)).astype(np.float32)
    return z, random.dirichlet(np.ones(3), batch).astype(np.float32)


def covariance(random, batch):
    z1, z2, root = normal(('B', 5), ('B', 5), (5, 5))(random, batch)
    return z1, z2, root @ root.T / 5


VIEWS = normal((3, 'B', 5))
CASES = {
    'tico': Case(lambda z1, z2, covariance: losses.tico(z1, z2, covariance)[0], covariance,
                 (0, 0, None), cosine=(0, 1)),
    'tico-covariance': Case(lambda z1, z2, covariance: losses.tico(z1, z2, covariance)[1],
                            covariance, (0, 0, None), rows=0, cosine=(0, 1)),
    'mmcr': Case(partial(losses.mmcr, lambda_=0.5), VIEWS, (1,), rows=0),
    'w_mse': Case(partial(losses.w_mse, epsilon=0.01), PAIR, (0, 0), least=2),
    'koleo': Case(losses.koleo, normal(('B', 5)), (0,), cosine=(0,)),
    'alignment': Case(partial(losses.alignment, alpha=3.0), PAIR, (0, 0), cosine=(0, 1)),
    'uniformity': Case(losses.uniformity, normal(('B', 5)), (0,), rows=0, cosine=(0,), least=2),
    'spectral_contrastive': Case(losses.spectral_contrastive, PAIR, (0, 0), least=2),
    'coding_rate': Case(losses.coding_rate, normal(('B', 5)), (0,), rows=0),
    'mcr2': Case(losses.mcr2, grouped, (0, 0), rows=0),
    'emp_ssl': Case(losses.emp_ssl, VIEWS, (1,), rows=0),
}  # fmt: skip
ORACLES = {
    'tico-covariance': tico_covariance,
    **{
        f.__name__: f
        for f in (
            tico,
            mmcr,
            w_mse,
            koleo,
            coding_rate,
            mcr2,
            emp_ssl,
            alignment,
            uniformity,
            spectral_contrastive,
        )
    },
}
