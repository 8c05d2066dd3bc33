"""Estimates of mutual information: cases, and slow float64 calculations from the papers."""

import functools
import math

import jax.numpy as jnp

from jssl import losses

from .case import Case, normal

partial = functools.partial


def each(live):
    joint, marginal = live
    return zip(joint.tolist(), marginal.tolist(), strict=True)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def info_nce_bound(live, _):
    out = []
    for s, t in each(live):
        share = math.exp(s) / (math.exp(s) + sum(math.exp(x) for x in t))
        out.append(math.log(share * (len(t) + 1)))
    return out


def nwj(live, _):
    return [s - mean(math.exp(x) for x in t) / math.e for s, t in each(live)]


def donsker_varadhan(live, _, *, ratio=math.exp):
    ratios = [ratio(x) for _, t in each(live) for x in t]
    return mean(live[0]) - math.log(mean(ratios))


def smile(live, _):
    clipped = lambda x: min(max(math.exp(x), math.exp(-0.5)), math.exp(0.5))
    return donsker_varadhan(live, _, ratio=clipped)


def jensen_shannon(live, _):
    told = lambda x: math.log(1 / (1 + math.exp(-x)))
    return [told(s) + mean(told(-x) for x in t) for s, t in each(live)]


def wasserstein_dependency(live, _):
    return [s - mean(t) for s, t in each(live)]


def joint_and_marginal(live, _):
    (s,) = live
    count = range(len(s))
    return [s[i, i] * 2 + sum(s[i, j] * j for j in count if j != i) for i in count]


def sorted_scores(scores):
    """The diagonal twice, and the others with the numbers of their columns."""
    joint, marginal = losses.joint_and_marginal(scores)
    count = scores.shape[0]
    column = jnp.broadcast_to(jnp.arange(count, dtype=scores.dtype)[None], scores.shape)
    return 2 * joint + (marginal * losses.joint_and_marginal(column)[1]).sum(1)


SCORES, BOTH = normal(('B',), ('B', 6)), (0, 0)
CASES = {
    'info_nce_bound': Case(losses.info_nce_bound, SCORES, BOTH),
    'nwj': Case(losses.nwj, SCORES, BOTH),
    'donsker_varadhan': Case(losses.donsker_varadhan, SCORES, BOTH, rows=0),
    'smile': Case(partial(losses.smile, clip=0.5), SCORES, BOTH, rows=0),
    'jensen_shannon': Case(losses.jensen_shannon, SCORES, BOTH),
    'wasserstein_dependency': Case(losses.wasserstein_dependency, SCORES, BOTH),
    'joint_and_marginal': Case(sorted_scores, normal(('B', 'B')), (None,), rows=None, least=2),
}
ORACLES = {
    f.__name__: f
    for f in (
        info_nce_bound, nwj, donsker_varadhan, smile, jensen_shannon, wasserstein_dependency,
        joint_and_marginal,
    )
}  # fmt: skip
