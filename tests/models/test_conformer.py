"""Conformers: one block written out, padding that is not read, and the rate of frames."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models

RNG = np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def block(x, p, *, heads):
    """One sequence [T, D]."""

    def normed(x, name):
        x = x - x.mean(-1, keepdims=True)
        return (
            x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p[name]['scale'] + p[name]['bias']
        )

    dense = lambda x, tree: x @ tree['kernel'] + tree['bias']
    swish = lambda x: x * sigmoid(x)
    mlp = lambda x, tree: dense(swish(dense(x, tree['up'])), tree['down'])
    x = x + mlp(normed(x, 'mlp_before_norm'), p['mlp_before']) / 2
    h, size = normed(x, 'attention_norm'), x.shape[1] // heads
    q, k, v = (dense(h, p['attention'][name]) for name in ('query', 'key', 'value'))
    read = []
    for i in range(heads):
        part = slice(i * size, (i + 1) * size)
        weights = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
        read.append(weights / weights.sum(1, keepdims=True) @ v[:, part])
    x = x + dense(np.concatenate(read, 1), p['attention']['out'])
    values, gates = np.split(dense(normed(x, 'conv_norm'), p['conv_in']), 2, 1)
    y = np.pad(values * sigmoid(gates), ((1, 1), (0, 0)))
    y = np.stack([(y[t : t + 3] * p['conv']).sum(0) for t in range(len(x))])
    x = x + dense(swish(normed(y, 'conv_middle_norm')), p['conv_out'])
    x = x + mlp(normed(x, 'mlp_after_norm'), p['mlp_after']) / 2
    return normed(x, 'norm')


def test_a_block_is_written_out_and_padding_is_not_read(draw, run):
    x = RNG.normal(size=(3, 6, 4)).astype('f')
    x[1, :4] = x[0, :4]
    valid = np.arange(6) < np.array([[4], [4], [6]])
    module = models.Conformer(1, 2, kernel=3, mlp_ratio=2)
    variables = draw(module, x)
    y = run(module, variables, x, valid=valid)
    np.testing.assert_allclose(y[1, :4], y[0, :4], atol=1e-5)
    p = jax.tree.map(np.float64, variables['params'])
    for row, length in ((0, 4), (2, 6)):
        wanted = block(np.float64(x[row, :length]), p['block0'], heads=2)
        np.testing.assert_allclose(y[row, :length], wanted, rtol=1e-3, atol=1e-4)


def test_four_frames_become_one_in_the_order_of_time(draw, run):
    x = RNG.normal(size=(2, 18, 8)).astype('f')
    x[1] = x[0]
    x[1, -1] += 1
    module = models.Subsampling(5, channels=(3, 2))
    y = run(module, draw(module, x), x)
    assert y.shape == (2, 5, 5)
    changed = abs(y[1] - y[0]).max(1)
    assert changed[-1] > 1e-3
    assert changed[:3].max() < 1e-6
    assert jnp.isfinite(y).all()
