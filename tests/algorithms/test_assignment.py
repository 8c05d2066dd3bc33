import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.algorithms.assignment import match_costs, match_labels

SHAPES = [(4, 4), (3, 5), (5, 3), (1, 1), (1, 4), (4, 1)]


def best_total(table, pick):
    """Over every one-to-one map, by trying them all."""
    if len(table) > len(table[0]):
        table = table.T
    maps = itertools.permutations(range(table.shape[1]), len(table))
    return pick(sum(table[row, column] for row, column in enumerate(columns)) for columns in maps)


def check_one_to_one(matches, shape):
    matches = np.asarray(matches)
    taken = matches[matches >= 0]
    assert matches.shape == shape[:1]
    assert len(taken) == min(shape) == len({*taken.tolist()})
    return matches >= 0, matches


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('seed', range(3))
def test_match_labels_is_the_best_map(shape, seed):
    confusion = np.random.default_rng(seed).integers(0, 30, shape)
    matched, classes = check_one_to_one(match_labels(confusion), shape)
    assert confusion[matched, classes[matched]].sum() == best_total(confusion, max)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('seed', range(3))
def test_match_costs_is_the_cheapest(shape, seed):
    cost = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    matched, columns = check_one_to_one(jax.jit(match_costs)(cost), shape)
    np.testing.assert_allclose(
        cost[matched, columns[matched]].sum(), best_total(cost, min), rtol=1e-5
    )


def test_laws():
    cost = np.random.default_rng(5).normal(size=(6, 6)).astype(np.float32)
    columns = match_costs(cost)
    np.testing.assert_array_equal(match_labels(-cost), columns)
    order = np.random.default_rng(6).permutation(6)
    np.testing.assert_array_equal(match_costs(cost[order]), columns[order])
    np.testing.assert_array_equal(match_costs(100 * cost + 7), columns)
    stacked = jax.vmap(match_costs)(jnp.stack([cost, cost[order]]))
    np.testing.assert_array_equal(stacked, [columns, columns[order]])
    gradient = jax.grad(lambda c: c[jnp.arange(6), match_costs(c)].sum())(jnp.asarray(cost))
    np.testing.assert_array_equal(gradient, np.eye(6)[np.asarray(columns)])


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.int32])
@pytest.mark.parametrize('cost', [np.zeros((3, 3)), 10**6 * np.eye(3)])
def test_equal_and_huge_costs(cost, dtype):
    _, columns = check_one_to_one(match_costs(jnp.asarray(cost, dtype)), (3, 3))
    assert cost[np.arange(3), columns].sum() == 0


def test_refuses():
    for match in (match_costs, match_labels):
        with pytest.raises(AssertionError):
            match(jnp.zeros(3))
