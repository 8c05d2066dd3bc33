"""What denoisers learn: cases, and slow float64 calculations from the papers."""

import functools

import jax.numpy as jnp
import numpy as np

from jssl import losses

from .case import PAIR, Case, normal

partial = functools.partial


def each(live):
    return zip(*live, strict=True)


def diffuse(live, _):
    return [a * x + s * e for x, e, a, s in each(live)]


def v_target(live, _):
    return [a * e - s * x for x, e, a, s in each(live)]


def denoising(live, still):
    return [w * np.mean((p - t) ** 2) for p, t, w in each([live[0], still[1], live[2]])]


def min_snr(live, _, *, divisor=lambda snr: snr):
    ratios = [(a / s) ** 2 for a, s in each(live)]
    return [min(snr, 5) / divisor(snr) for snr in ratios]


def flow_path(live, _):
    return [np.concatenate([(1 - t) * a + t * b, b - a]) for a, b, t in each(live)]


def denoising_score(live, _):
    return [np.sum((sigma * s + e) ** 2) / 2 for s, e, sigma in each(live)]


def denoised(prediction, target, weight):
    return losses.denoising(prediction, target, weight=weight)


def moved(x0, x1, time):
    return jnp.concatenate(losses.flow_path(x0, x1, time), axis=1)


def noised(random, batch):
    angle = random.uniform(0.2, 1.3, batch)
    pair = normal(('B', 2, 3), ('B', 2, 3))(random, batch)
    return *pair, np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def ratios(random, batch):
    return noised(random, batch)[2:]


def timed(random, batch):
    return *PAIR(random, batch), random.uniform(size=batch).astype(np.float32)


FOUR = (0, 0, 0, 0)
CASES = {
    'diffuse': Case(losses.diffuse, noised, FOUR),
    'denoising_target-v': Case(partial(losses.denoising_target, target='v'), noised, FOUR),
    'denoising': Case(denoised, timed, (0, 0, 0)),
    'min_snr': Case(losses.min_snr, ratios, (0, 0)),
    'min_snr-x0': Case(partial(losses.min_snr, target='x0'), ratios, (0, 0)),
    'min_snr-v': Case(partial(losses.min_snr, target='v'), ratios, (0, 0)),
    'flow_path': Case(moved, timed, (0, 0, 0)),
    'denoising_score': Case(losses.denoising_score, timed, (0, 0, 0)),
}
ORACLES = {
    'denoising_target-v': v_target,
    'min_snr-x0': partial(min_snr, divisor=lambda snr: 1),
    'min_snr-v': partial(min_snr, divisor=lambda snr: snr + 1),
    **{f.__name__: f for f in (diffuse, denoising, min_snr, flow_path, denoising_score)},
}
