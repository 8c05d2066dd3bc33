"""Losses of views: cases, and slow float64 loops written from the papers."""

import functools
import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from jssl import losses

from .case import PAIR, Case, normal
from .pairs import average, cosine

partial = functools.partial


def nt_xent(z1, z2, temperature):
    z, n = [*z1, *z2], len(z1)
    out = []
    for i in range(2 * n):
        score = [math.exp(cosine(z[i], row) / temperature) for row in z]
        out.append(-math.log(score[(i + n) % (2 * n)] / (sum(score) - score[i])))
    return np.array(out)


def directclr(live, _):
    return nt_xent(live[0][:, :3], live[1][:, :3], 0.1)


def macl(live, still):
    alike = average([cosine(a, b) for a, b in zip(*still, strict=True)])
    t = 0.2 * (1 + 0.5 * (alike - 0.1))
    return nt_xent(*live, t) / (1 - np.exp(-nt_xent(*still, t)))


def frossl(live, _):
    z = live[0]
    views, _, dimensions = z.shape
    u = z / np.sqrt((z**2).sum(1, keepdims=True))
    loss = 0
    for view in u:
        c = view.T @ view
        loss += math.log((c**2).sum() / np.trace(c) ** 2)
        loss += 0.5 * views * dimensions * ((view - u.mean(0)) ** 2).mean()
    return loss


def directions(count):
    a = np.array(jax.random.normal(jax.random.key(0), (5, count), jnp.float32), np.float64)
    return a / np.sqrt((a**2).sum(0))


def epps_pulley(z):
    loss = 0
    for a in directions(3).T:
        for step in range(-4, 5):
            t = 0.75 * step
            empirical = sum(complex(math.cos(t * s), math.sin(t * s)) for s in z @ a) / len(z)
            error = abs(empirical - math.exp(-t * t / 2)) ** 2 * math.exp(-t * t / 2)
            loss += len(z) * error * 0.75 * (0.5 if abs(step) == 4 else 1) / 3
    return loss


def sigreg(live, _):
    return epps_pulley(live[0])


def apart(z):
    return ((z - z[:2].mean(0)) ** 2).mean()


def lejepa(live, _):
    return 0.7 * apart(live[0]) + 0.3 * average([epps_pulley(view) for view in live[0]])


def visreg(live, still):
    z, n = live[0], live[0].shape[1]
    quantiles = [statistics.NormalDist().inv_cdf(i / (n + 1)) for i in range(1, n + 1)]
    regular = []
    for view, fixed in zip(z, still[0], strict=True):
        u = (view - view.mean(0)) / fixed.std(0)
        shape = [(np.sort(u @ a) - quantiles) ** 2 for a in directions(3).T]
        scale, centre = ((view.std(0) - 1) ** 2).mean(), (view.mean(0) ** 2).mean()
        regular.append(2 * scale + 3 * np.mean(shape) + centre)
    return 0.1 * apart(z) + 0.9 * average(regular)


def drawn(loss, **options):
    """The loss with a fixed key."""

    def of_views(z):
        return loss(jax.random.key(0), z, slices=3, **options)

    return of_views


VIEWS = normal((3, 'B', 5))
CASES = {
    'directclr': Case(partial(losses.directclr, dimensions=3), PAIR, (0, 0), rows=2),
    'macl': Case(
        partial(losses.macl, temperature=0.2, threshold=0.1), PAIR, (0, 0), rows=2, cosine=(0, 1)
    ),
    'frossl': Case(partial(losses.frossl, invariance=0.5), VIEWS, (1,), rows=0),
    'sigreg': Case(drawn(losses.sigreg, knots=5), normal(('B', 5)), (0,), rows=0),
    'lejepa': Case(drawn(losses.lejepa, knots=5, weight=0.3), VIEWS, (1,), rows=0),
    'visreg': Case(drawn(losses.visreg, scale=2.0, shape=3.0), VIEWS, (1,), rows=0),
}
ORACLES = {f.__name__: f for f in (directclr, macl, frossl, sigreg, lejepa, visreg)}
