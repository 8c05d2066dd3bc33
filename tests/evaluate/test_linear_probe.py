"""Probes trained on frozen features."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.linear_model import LogisticRegression

from jssl.evaluate import fit_linear, linear_probe, linear_probe_sgd, mlp_probe, standardised

module = importlib.import_module('jssl.evaluate.linear_probe')

# One shape of data and one setting of each probe, so that each is compiled once.
KEY = jax.random.key(0)
fit = partial(fit_linear, classes=3, l2=1e-4, iterations=200)
PROBES = {
    'linear_probe': partial(linear_probe, classes=3),
    'linear_probe_sgd': partial(linear_probe_sgd, KEY, classes=3, epochs=40, batch=50),
    'mlp_probe': partial(
        mlp_probe, KEY, classes=3, width=32, steps=400, batch=50, learning_rate=1e-2
    ),
}


def blobs(*, spread, classes=3):
    random = np.random.default_rng(0)
    y = random.permutation(np.arange(400) % classes).astype(np.int32)
    h = random.normal(0, spread, (400, 4)) + 4 * np.eye(classes, 4)[y]
    return h.astype(np.float32), y


def halves(h, y):
    return h[:200], y[:200], h[200:], y[200:]


def objective(h, y, params, l2):
    """Float64, written out."""
    h, weights, bias = (np.asarray(a, np.float64) for a in (h, *params))
    total = 0.0
    for x, label in zip(h, y, strict=True):
        logits = x @ weights + bias
        total += np.log(np.sum(np.exp(logits - logits.max()))) + logits.max() - logits[label]
    return total / len(y) + l2 / 2 * np.sum(weights**2)


def reference(h, y, l2):
    """The same objective's minimum by scikit-learn, which sums over rows and scales by C."""
    model = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=10_000)
    model.fit(np.float64(h), y)
    return model.coef_.T, model.intercept_


@pytest.mark.parametrize('l2', [1e-4, 1e-2, 1.0])
def test_optimum_is_scikit_learns(l2):
    h, y = blobs(spread=2.0)
    params, expected = fit(h, y, l2=l2), reference(h, y, l2)
    best = objective(h, y, expected, l2)
    assert best - 1e-9 <= objective(h, y, params, l2) <= best + 1e-6
    np.testing.assert_allclose(params[0], expected[0], atol=3e-3)


def test_collinear_and_badly_scaled_features():
    h, y = blobs(spread=2.0)
    columns = [100 * h[:, 0], h[:, 0] + 1e-2 * h[:, 1], 1e-3 * h[:, 2], np.full(400, 7)]
    h = np.asarray(standardised(np.stack(columns, 1).astype(np.float32))[0])
    best = objective(h, y, reference(h, y, 1e-4), 1e-4)
    assert objective(h, y, fit(h, y), 1e-4) <= best + 1e-5


@pytest.mark.parametrize('scale', [0.0, 1.0, 1e4])
@pytest.mark.parametrize('l2', [0.0, 1e-4])
def test_separable_or_collapsed_features_stay_finite(scale, l2):
    h, y = blobs(spread=0.1)
    for a in fit(np.float32(scale * h), y, l2=l2):
        assert np.isfinite(a).all()


def test_stops_after_the_given_iterations():
    h, y = blobs(spread=2.0)
    values = [objective(h, y, fit(h, y, iterations=i), 1e-4) for i in (0, 1, 4)]
    assert values[0] == pytest.approx(np.log(3))
    assert values[0] > values[1] > values[2]


def test_rows_sharded_over_devices_give_the_same(devices):
    h, y = blobs(spread=2.0)
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    rows = lambda a: jax.device_put(a, NamedSharding(mesh, PartitionSpec('data')))
    alone = objective(h, y, fit(h, y), 1e-4)
    assert objective(h, y, fit(rows(h), rows(y)), 1e-4) == pytest.approx(alone, rel=1e-5)


def test_single_class_and_class_without_training_rows():
    h, y = blobs(spread=1.0)
    train_h, train_y, test_h, test_y = halves(h, y)
    probe = PROBES['linear_probe']
    assert probe(train_h, 0 * train_y, test_h, 0 * test_y) == 1
    rows = np.flatnonzero(train_y < 2)
    rows = np.resize(rows, 200)
    found = probe(train_h[rows], train_y[rows], test_h, test_y)
    assert 0.55 < found <= (test_y < 2).mean()


@pytest.mark.parametrize('name', PROBES)
def test_separable_is_solved_and_random_labels_are_at_chance(name):
    h, y = blobs(spread=0.3)
    score = PROBES[name](*halves(h, y))
    assert score == 1.0
    assert score.protocol == f'{name}/1'
    h = np.random.default_rng(5).normal(size=h.shape).astype(np.float32)
    assert PROBES[name](*halves(h, y)) == pytest.approx(1 / 3, abs=0.12)


@pytest.mark.parametrize('name', PROBES)
def test_statistics_are_those_of_the_training_set(name):
    """The test set is moved onto the side of class 0: its own statistics undo that."""
    h, y = blobs(spread=0.3, classes=2)
    train_h, train_y, test_h, test_y = halves(h, y)
    towards_first = np.float32([4, -4, 0, 0])
    moved = PROBES[name](train_h, train_y, test_h + towards_first, test_y)
    assert moved == pytest.approx((test_y == 0).mean(), abs=0.1)
    assert PROBES[name](train_h, train_y, test_h, test_y) == 1


@pytest.mark.parametrize('name', PROBES)
def test_shift_and_scale_of_features_do_not_matter(name):
    h, y = blobs(spread=2.0)
    expected = PROBES[name](*halves(h, y))
    assert 0.6 < expected < 1
    moved = h * np.float32([1e-3, 1, 64, 1e3]) + np.float32([0, 3, -5, 100])
    assert PROBES[name](*halves(moved, y)) == pytest.approx(expected, abs=0.02)


def test_without_standardising():
    h, y = blobs(spread=2.0)
    split = halves(0.01 * h, y)  # a penalty that standardised features would hardly feel
    expected = reference(*split[:2], 1e-2)
    right = np.mean((split[2] @ expected[0] + expected[1]).argmax(-1) == split[3])
    found = linear_probe(*split, classes=3, standardise=False, l2=1e-2)
    assert found == pytest.approx(right, abs=0.011)
    assert found != PROBES['linear_probe'](*split, l2=1e-2)


@pytest.mark.parametrize('name', PROBES)
def test_same_number_at_every_call(name):
    h, y = blobs(spread=2.0)
    assert PROBES[name](*halves(h, y)) == PROBES[name](*halves(h, y))


def test_mlp_reads_what_a_line_cannot():
    h = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    y = ((h[:, 0] > 0) ^ (h[:, 1] > 0)).astype(np.int32)
    assert PROBES['linear_probe'](*halves(h, y)) < 0.65
    assert PROBES['mlp_probe'](*halves(h, y)) > 0.85


@pytest.mark.parametrize('better', [1e-3, 1e-1])
def test_penalty_is_chosen_on_training_rows(monkeypatch, better):
    """A probe that is right for one penalty only, and for that one on training rows only."""
    y = np.random.default_rng(0).integers(0, 3, 200)
    h = np.eye(3, dtype=np.float32)[y]
    calls = []

    def fake(train_h, train_y, test_h, *, l2, **settings):
        calls.append((len(train_h), len(test_h), l2))
        np.testing.assert_array_equal(train_h, np.eye(3)[train_y])
        return test_h if l2 == better else -test_h

    monkeypatch.setattr(module, '_probe', fake)
    for test_y in (y[100:], (y[100:] + 1) % 3):
        calls.clear()
        score = linear_probe(h[:100], y[:100], h[100:], test_y, l2=(1e-3, 1e-2, 1e-1))
        assert calls == [(80, 20, l2) for l2 in (1e-3, 1e-2, 1e-1)] + [(100, 100, better)]
        assert score == (test_y == y[100:]).mean()


def test_ties_in_accuracy_go_to_the_likelier_penalty(monkeypatch):
    y = np.arange(100) % 3
    h = np.eye(3, dtype=np.float32)[y]
    calls = []

    def fake(train_h, train_y, test_h, *, l2, **settings):
        calls.append(l2)
        return jnp.asarray(test_h) * {1e-3: 1, 1e-2: 5, 1e-1: 2}[l2]

    monkeypatch.setattr(module, '_probe', fake)
    linear_probe(h, y, h, y, l2=(1e-3, 1e-2, 1e-1))
    assert calls[-1] == 1e-2


def test_one_compilation_for_each_shape():
    h, y = blobs(spread=1.0)
    PROBES['linear_probe'](*halves(h, y))
    before = module._probe._cache_size()
    for l2, iterations in ((1e-4, 10), (1e-2, 20), (1.0, 30)):
        PROBES['linear_probe'](*halves(h, y), l2=l2, iterations=iterations)
    assert module._probe._cache_size() == before


def test_bfloat16_features():
    h, y = blobs(spread=0.5)
    weights, bias = jax.eval_shape(fit, h.astype(jnp.bfloat16), y)
    assert weights.dtype == bias.dtype == jnp.float32


@pytest.mark.parametrize('batch', [4, 1024])
def test_sgd_visits_every_row(batch):
    """One row to a class and four of six to a batch: without a new order, two are never seen."""
    h, y = np.eye(6, dtype=np.float32), np.arange(6, dtype=np.int32)
    assert linear_probe_sgd(KEY, h, y, h, y, epochs=20, batch=batch) == 1
