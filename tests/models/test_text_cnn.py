"""The network over words against loops in NumPy."""

import jax
import numpy as np
import pytest

from jssl import models


def test_largest_responses_by_hand(draw, run):
    module = models.TextCNN(3, kernels=(2, 3))
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    variables = draw(module, x)
    found = run(module, variables, x)
    wanted = np.zeros((2, 6))
    for i, kernel in enumerate((2, 3)):
        w = np.asarray(variables['params'][f'conv{kernel}']['kernel'], np.float64)
        for b in range(2):
            for c in range(3):
                at = [(x[b, l : l + kernel] * w[:, :, c]).sum() for l in range(5 - kernel + 1)]
                wanted[b, 3 * i + c] = max(0.0, *at)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_too_few_words_are_refused():
    with pytest.raises(ValueError, match='fewer than a kernel'):
        jax.eval_shape(models.TextCNN(3).init, jax.random.key(0), np.zeros((1, 4, 2)))
