"""T3A against lists that are sorted by entropy."""

import jax
import numpy as np

from jssl import algorithms

RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)


def entropy(logits):
    p = np.exp(logits - logits.max())
    p /= p.sum()
    return -(p * np.log(p)).sum()


def test_supports_and_logits_over_two_batches():
    size, kept = 3, [[(entropy(W.T[k] @ W + B), W.T[k])] for k in range(3)]
    supports = algorithms.first_supports(W, B, size=size)
    update = jax.jit(algorithms.update_supports)
    for _ in range(2):
        h = RNG.normal(size=(7, 4)).astype(np.float32)
        logits = h @ W + B
        supports = update(supports, h, logits)
        for row, z in zip(h, logits, strict=True):
            kept[z.argmax()].append((entropy(z), row))
        kept = [sorted(rows, key=lambda pair: pair[0])[:size] for rows in kept]
        prototypes = [sum(r / np.linalg.norm(r) for _, r in rows) for rows in kept]
        wanted = np.stack([h @ (p / np.linalg.norm(p)) for p in prototypes], axis=1)
        np.testing.assert_allclose(algorithms.support_logits(supports, h), wanted, rtol=1e-4)


def test_at_first_the_classifier_decides_by_direction():
    supports = algorithms.first_supports(W, B, size=5)
    h = RNG.normal(size=(6, 4)).astype(np.float32)
    wanted = h @ (W / np.linalg.norm(W, axis=0))
    np.testing.assert_allclose(algorithms.support_logits(supports, h), wanted, rtol=1e-4, atol=1e-5)
