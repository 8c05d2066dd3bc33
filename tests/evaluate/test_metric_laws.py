"""Laws that every pure metric obeys: one table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import evaluate

ROWS = 24


def _cases():
    """Name: (function, arrays whose first axis is the rows)."""
    random = np.random.default_rng(0)
    h, g = random.normal(size=(2, ROWS, 5)).astype(np.float32)
    p = np.exp(h) / np.exp(h).sum(1, keepdims=True)
    y, c = random.integers(0, 5, (2, ROWS)).astype(np.int32)
    x = random.random((2, ROWS, 12, 12, 1)).astype(np.float32)
    e = evaluate
    return {
        'accuracy': (e.accuracy, h, y),
        'alignment': (e.alignment, h, g),
        'auroc': (e.auroc, h[:, 0], y > 2),
        'average_precision': (e.average_precision, h[:, 0], y > 2),
        'brier': (e.brier, p, y),
        'confusion': (lambda a, b: e.confusion(a, b, classes=5), y, c),
        'effective_rank': (e.effective_rank, h),
        'expected_calibration_error': (e.expected_calibration_error, p, y),
        'fit_temperature': (e.fit_temperature, h, y),
        'fpr_at_tpr': (e.fpr_at_tpr, h[:, 0], y > 2),
        'negative_log_likelihood': (e.negative_log_likelihood, p, y),
        'pearson': (e.pearson, h[:, 0], g[:, 0]),
        'per_class_accuracy': (lambda a, b: e.per_class_accuracy(a, b, classes=5), h, y),
        'perplexity': (lambda a: e.perplexity(a, 8), y),
        'psnr': (lambda a, b: e.psnr(a, b).mean(), *x),
        'rankme': (e.rankme, h),
        'reliability': (lambda a, b: e.reliability(a, b, bins=4), p, y),
        'spearman': (e.spearman, h[:, 0], g[:, 0]),
        'spectrum': (e.spectrum, h),
        'stable_rank': (e.stable_rank, h),
        'top_k_accuracy': (lambda a, b: e.top_k_accuracy(a, b, k=2), h, y),
        'uniformity': (e.uniformity, h),
        'utilisation': (lambda a: e.utilisation(a, 8), y),
    }


CASES = _cases()
GRADIENTS = [
    'alignment',
    'brier',
    'effective_rank',
    'negative_log_likelihood',
    'pearson',
    'rankme',
    'spectrum',
    'stable_rank',
    'uniformity',
]


def close(a, b, tolerance=1e-4):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, tolerance, tolerance), a, b)


@pytest.mark.parametrize('name', CASES)
def test_jit_of_vmap_is_a_loop_and_order_of_rows_does_not_matter(name):
    function, *arrays = CASES[name]
    order = np.random.default_rng(1).permutation(ROWS)
    close(function(*(a[order] for a in arrays)), function(*arrays))
    stacks = [np.stack([a, a[::-1], np.roll(a, 5, 0)]) for a in arrays]
    stacks[0][1] = stacks[0][0]  # otherwise all three would be permutations of one
    found = jax.jit(jax.vmap(function))(*stacks)
    for i in range(3):
        close(jax.tree.map(lambda a: a[i], found), function(*(s[i] for s in stacks)))


@pytest.mark.parametrize('name', CASES)
def test_bfloat16_is_computed_in_float32(name):
    function, *arrays = CASES[name]
    half = [a.astype(jnp.bfloat16) if a.dtype == np.float32 else a for a in arrays]
    found = jax.eval_shape(function, *half)
    assert all(a.dtype in (jnp.float32, jnp.int32) for a in jax.tree.leaves(found))
    if name in ('pearson', 'psnr', 'rankme', 'reliability', 'uniformity'):
        rounded = [a.astype(np.float32) if a.dtype == jnp.bfloat16 else a for a in half]
        close(function(*half), function(*rounded), 1e-3)


@pytest.mark.parametrize('name', GRADIENTS)
def test_values_and_gradients_are_finite(name):
    function, first, *rest = CASES[name]
    scalar = lambda a: jnp.sum(function(a, *rest))
    degraded = [0 * first, 0 * first + 1, 1e12 * first, first[:1].repeat(ROWS, 0), first]
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(scalar)))(np.stack(degraded))
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    assert np.any(gradients[-1])


@pytest.mark.parametrize(
    'name', ['auroc', 'expected_calibration_error', 'rankme', 'uniformity', 'confusion']
)
def test_rows_sharded_over_devices_give_the_same(name, devices):
    function, *arrays = CASES[name]
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
    close(jax.jit(function)(*jax.device_put(arrays, rows)), function(*arrays))
