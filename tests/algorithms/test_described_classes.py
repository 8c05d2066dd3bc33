"""Classifiers by sentences against slow float64 loops written from the papers."""

import math

import jax
import numpy as np

from jssl import algorithms

RNG = np.random.default_rng(0)


def unit(*shape):
    x = RNG.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_cache_logits():
    h, keys, labels = unit(3, 5), unit(4, 5), [0, 2, 1, 2]
    want = np.zeros((3, 3))
    for i in range(3):
        for n in range(4):
            want[i, labels[n]] += math.exp(-2.5 * (1 - h[i] @ keys[n]))
    found = algorithms.cache_logits(h, keys, np.eye(3)[labels], sharpness=2.5)
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_new_classes():
    h, text, test = unit(30, 4), unit(3, 4), unit(6, 4)
    means, precision = [], np.zeros((4, 4))
    for t in text:
        near = h[np.argsort(-(h @ t))[:7]]
        means.append((near.sum(0) + 5 * t) / 12)
        s = sum(np.outer(x - t, x - t) for x in near) / 6
        precision += 4 * np.linalg.inv(6 * s + np.trace(s) * np.eye(4)) / 3
    want = [[x @ precision @ m - m @ precision @ m / 2 - math.log(3) for m in means] for x in test]
    found = jax.jit(algorithms.new_classes, static_argnames=('nearest', 'copies'))(
        h, text, nearest=7, copies=5
    )
    np.testing.assert_allclose(found.logits(test.astype('f')), want, rtol=1e-4, atol=1e-4)


def em(h, r, rounds, ridge):
    """Means, shares and the one covariance after some rounds from posteriors r."""
    for round_ in range(rounds + 1):
        pi, means = r.mean(0), (r.T @ h) / r.sum(0)[:, None]
        covariance = ridge * np.eye(h.shape[1])
        for i, x in enumerate(h):
            for k, m in enumerate(means):
                covariance += r[i, k] * np.outer(x - m, x - m) / len(h)
        if round_ < rounds:
            inverse = np.linalg.inv(covariance)
            logs = np.empty_like(r)
            for i, x in enumerate(h):
                for k, m in enumerate(means):
                    logs[i, k] = math.log(pi[k]) - (x - m) @ inverse @ (x - m) / 2
            r = np.exp(logs)
            r /= r.sum(1, keepdims=True)
    return means, pi, np.linalg.inv(covariance)


def test_unlabelled_classes():
    truth = np.arange(60) % 3
    h = 4.0 * np.eye(3, 4)[truth] + RNG.normal(size=(60, 4))
    first = np.eye(3)[truth] + RNG.normal(size=(60, 3))
    r = np.exp(first) / np.exp(first).sum(1, keepdims=True)
    for rounds in (1, 4):
        means, pi, precision = em(h, r, rounds, 1e-4)
        want = h @ precision @ means.T - np.einsum('kd,de,ke->k', means, precision, means) / 2
        want += np.log(pi)
        found = algorithms.unlabelled_classes(h, first, iterations=rounds).logits(h.astype('f'))
        np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-3)
    settled = np.asarray(algorithms.unlabelled_classes(h, first).logits(h.astype('f')))
    assert (settled.argmax(1) == truth).mean() > (first.argmax(1) == truth).mean() + 0.1
