"""Merging against loops over entries in NumPy, and the laws of each rule."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.train import averaging


def tree(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        'kernel': scale * rng.normal(size=(6, 4)).astype('f'),
        'layers': [rng.normal(size=(5,)).astype('f'), np.zeros(3, 'f')],
    }


TREES = [tree(0), tree(1), tree(2, 3.0)]
AVERAGE, TURN = jax.jit(averaging.average), jax.jit(averaging.slerp)
DARE = jax.jit(averaging.dare, static_argnames='drop')
TIES = jax.jit(averaging.ties, static_argnames='density')


def flat(tree):
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])


def test_average_weighs_and_interpolates():
    a, b, c = map(flat, TREES)
    np.testing.assert_allclose(flat(AVERAGE(TREES)), (a + b + c) / 3, atol=1e-6)
    weighted = AVERAGE(TREES, weights=[100, 10, 10])
    np.testing.assert_allclose(flat(weighted), (10 * a + b + c) / 12, atol=1e-6)
    for t in (0.0, 0.25, 1.0, 1.5):
        between = AVERAGE(TREES[:2], weights=(1 - t, t))
        np.testing.assert_allclose(flat(between), (1 - t) * a + t * b, atol=1e-6)
    half = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), TREES)
    assert jax.eval_shape(averaging.average, half) == half[0]


def test_task_vectors_add_and_negate():
    start, *trained = TREES
    vectors = [averaging.task_vector(params, start) for params in trained]
    whole = averaging.add_tasks(start, vectors[:1], 1.0)
    np.testing.assert_allclose(flat(whole), flat(trained[0]), atol=1e-6)
    mixed = averaging.add_tasks(start, vectors, [0.4, -0.7])
    expected = flat(start) + 0.4 * flat(vectors[0]) - 0.7 * flat(vectors[1])
    np.testing.assert_allclose(flat(mixed), expected, atol=1e-5)
    same = averaging.add_tasks(start, vectors, 0.3)
    np.testing.assert_allclose(flat(same), flat(start) + 0.3 * sum(map(flat, vectors)), atol=1e-5)


def test_the_gradient_in_a_coefficient_is_along_its_task_vector():
    start, *vectors = TREES
    coefficients = np.array([0.2, -0.5])

    @jax.jit
    @jax.grad
    def gradient(a):
        merged = averaging.add_tasks(start, vectors, a)
        return sum(jnp.sum(x**3) for x in jax.tree.leaves(merged))

    theta = flat(start) + sum(a * flat(v) for a, v in zip(coefficients, vectors, strict=True))
    expected = [(3 * theta**2) @ flat(v) for v in vectors]
    np.testing.assert_allclose(gradient(jnp.asarray(coefficients)), expected, rtol=1e-4)


@pytest.mark.parametrize('density', [0.2, 0.5, 1.0])
def test_ties_entry_by_entry(density):
    vectors = [flat(v) for v in TREES]
    kept = round(density * vectors[0].size)
    for v in vectors:
        v[sorted(range(v.size), key=lambda i: -abs(v[i]))[kept:]] = 0
    expected = np.zeros(vectors[0].size)
    for i in range(expected.size):
        entries = [v[i] for v in vectors]
        sign = math.copysign(1, sum(entries)) if sum(entries) else 0
        agreeing = [e for e in entries if e * sign > 0]
        expected[i] = sum(agreeing) / len(agreeing) if agreeing else 0
    merged = TIES(TREES, density=density)
    np.testing.assert_allclose(flat(merged), expected, atol=1e-6)
    assert jax.tree.structure(merged) == jax.tree.structure(TREES[0])


def test_ties_of_one_of_opposites_and_in_any_order():
    np.testing.assert_array_equal(flat(TIES(TREES[:1], density=1.0)), flat(TREES[0]))
    opposites = [TREES[0], jax.tree.map(np.negative, TREES[0])]
    assert not flat(TIES(opposites, density=0.5)).any()
    there, back = TIES(TREES, density=0.5), TIES(TREES[::-1], density=0.5)
    np.testing.assert_allclose(flat(there), flat(back), atol=1e-6)


def test_dare_drops_its_share_and_keeps_the_mean():
    vector = {'a': np.full((100, 100), 2, 'f'), 'b': np.full((10_000,), -1, 'f')}
    found = DARE(jax.random.key(0), vector, drop=0.9)
    found = jax.tree.map(np.asarray, found)
    for name, value in (('a', 20), ('b', -10)):
        assert set(np.unique(found[name].round(3))) == {0, value}
        share = np.mean(found[name] != 0)
        assert share == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 10_000))
    together = (found['a'].ravel() != 0) & (found['b'] != 0)
    assert together.mean() == pytest.approx(0.01, abs=4e-3)  # the leaves are drawn apart
    whole = DARE(jax.random.key(0), vector, drop=0.0)
    np.testing.assert_array_equal(flat(whole), flat(vector))


def test_slerp_turns_by_a_share_of_the_angle():
    start, end = TREES[:2]
    u, v = (x['kernel'].ravel().astype(np.float64) for x in (start, end))
    omega = math.acos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    for t in (0.0, 0.3, 1.0):
        expected = (math.sin((1 - t) * omega) * u + math.sin(t * omega) * v) / math.sin(omega)
        found = TURN(start, end, t)
        np.testing.assert_allclose(flat(found['kernel']), expected, atol=1e-5)
        np.testing.assert_array_equal(found['layers'][1], np.zeros(3))


def test_slerp_is_straight_and_finite_where_the_angle_is_not_defined():
    u, t = jnp.array([3.0, 4.0]), 0.25
    gradient = jax.jit(jax.grad(lambda *a: TURN(*a).sum(), argnums=(0, 1, 2)))
    for v in ([3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [0.0, 0.0]):
        v = jnp.array(v)
        np.testing.assert_allclose(TURN(u, v, t), 0.75 * u + 0.25 * v, rtol=1e-5)
        assert all(np.isfinite(g).all() for g in gradient(u, v, t))


@pytest.mark.parametrize(
    ('call', 'text'),
    [
        (lambda: averaging.average([]), 'no tree'),
        (lambda: averaging.average(TREES, weights=[1, 2]), 'weights must be'),
        (lambda: averaging.add_tasks(TREES[0], TREES, [1.0]), 'coefficients must be'),
        (lambda: averaging.ties(TREES, density=0.0), 'density must be'),
        (lambda: averaging.dare(jax.random.key(0), TREES[0], drop=1.0), 'drop must be'),
        (lambda: averaging.average([TREES[0], {'kernel': np.zeros(2)}]), 'do not match'),
        (lambda: averaging.task_vector({'a': np.zeros(2)}, {'a': np.zeros(3)}), 'shapes'),
        (lambda: averaging.slerp({'a': np.zeros(2)}, {'b': np.zeros(2)}, 0.5), 'do not match'),
    ],
)
def test_wrong_arguments_are_named(call, text):
    with pytest.raises((ValueError, AssertionError), match=text):
        call()
