"""Label budgets and few-shot episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.data.labels import class_balanced, class_table, episodes, tasks

LABELS = np.repeat([3, 7, 8, 20], [9, 14, 11, 30])[np.random.default_rng(0).permutation(64)]


def test_budgets_are_balanced_and_nested():
    smaller = set()
    for budget in (1, 4, 9):
        rows = class_balanced(LABELS, budget, seed=5)
        assert np.all(np.diff(rows) > 0)
        _, counts = np.unique(LABELS[rows], return_counts=True)
        np.testing.assert_array_equal(counts, [budget] * 4)
        assert smaller <= set(rows)
        smaller = set(rows)
    assert set(class_balanced(LABELS, 4, seed=6)) != set(class_balanced(LABELS, 4, seed=5))
    with pytest.raises(ValueError, match='class 3 has 9'):
        class_balanced(LABELS, 10, seed=5)
    with pytest.raises(ValueError, match='integers'):
        class_balanced(LABELS / 2, 1, seed=5)


def test_unlabelled_rows_may_count_as_a_class():
    assert len(class_balanced(np.array([-1, -1, 4]), 1, seed=0)) == 2


def test_episodes_hold_disjoint_examples_of_distinct_classes():
    table = class_table(LABELS, at_least=7)
    drawn = episodes(jax.random.key(0), table, ways=3, shots=2, queries=5, episodes=50)
    assert drawn.support.shape == (50, 3, 2)
    assert drawn.query.shape == (50, 3, 5)
    names = np.array([3, 7, 8, 20])
    for support, query, classes in zip(*map(np.asarray, drawn), strict=True):
        assert len(set(classes)) == 3
        rows = np.concatenate([support, query], axis=1)
        assert rows.min() >= 0, 'filling is never drawn'
        assert len(set(rows.ravel())) == rows.size
        np.testing.assert_array_equal(LABELS[rows], np.repeat(names[classes][:, None], 7, 1))


def test_every_class_and_example_is_as_likely():
    table = class_table(LABELS)
    drawn = episodes(jax.random.key(1), table, ways=2, shots=1, queries=1, episodes=4000)
    classes = np.bincount(np.asarray(drawn.classes).ravel(), minlength=4)
    np.testing.assert_allclose(classes / 8000, 0.25, atol=0.02)
    support = np.asarray(drawn.support)[..., 0]
    counts = np.bincount(support[LABELS[support] == 3], minlength=64)[LABELS == 3]
    np.testing.assert_allclose(counts / counts.sum(), 1 / 9, atol=0.03)


def test_jit_and_vmap():
    table = class_table(LABELS)
    draw = lambda key: episodes(key, table, ways=2, shots=1, queries=2, episodes=3)
    keys = jax.random.split(jax.random.key(0), 2)
    eager = draw(keys[1])
    both = jax.jit(jax.vmap(draw))(keys)
    for one, two, plain in zip(jax.jit(draw)(keys[1]), both, eager, strict=True):
        np.testing.assert_array_equal(one, plain)
        np.testing.assert_array_equal(two[1], plain)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match='class 3 has 9 examples, an episode takes 12'):
        class_table(LABELS, at_least=12)
    with pytest.raises(ValueError, match='class 3 has 9 examples, an episode takes 11'):
        tasks(jax.random.key(0), LABELS, ways=2, shots=1, queries=5, concentration=2.0)
    with pytest.raises(ValueError, match='4 classes'):
        episodes(jax.random.key(0), class_table(LABELS), ways=5, shots=1, queries=1)


@pytest.mark.parametrize('concentration', [None, 2.0])
def test_tasks_hold_each_example_once_with_its_own_class(concentration):
    labels = np.repeat([2, 5, 9], 20)[np.random.default_rng(1).permutation(60)]
    options = {'ways': 2, 'shots': 3, 'queries': 4, 'tasks': 50}
    drawn = tasks(jax.random.key(0), labels, concentration=concentration, **options)
    assert {leaf.shape for leaf in drawn} == {(50, 14)}
    sizes = set()
    for rows, truth, known in zip(*map(np.asarray, drawn), strict=True):
        assert len(set(rows)) == 14
        np.testing.assert_array_equal(truth[:6], [0, 0, 0, 1, 1, 1])
        np.testing.assert_array_equal(known, [*truth[:6], *[-1] * 8])
        classes = [set(labels[rows[truth == way]]) for way in (0, 1)]
        assert [len(c) for c in classes] == [1, 1], 'a way is one class'
        assert classes[0] != classes[1]
        sizes.add(int((truth[6:] == 0).sum()))
    assert sizes == {4} if concentration is None else len(sizes) > 4


def test_shares_of_uneven_queries_are_dirichlet():
    labels = np.repeat([0, 1, 2], 40)
    options = {'ways': 3, 'shots': 1, 'queries': 10, 'tasks': 4000}
    _, truth, _ = tasks(jax.random.key(3), labels, concentration=2.0, **options)
    counts = np.asarray((truth[:, 3:] == 0).sum(1))
    # Beta-binomial with n = 30, a = 2, b = 4: variance n a b (a + b + n) / ((a + b)^2 (a + b + 1)).
    np.testing.assert_allclose(counts.mean(), 10, atol=0.4)
    np.testing.assert_allclose(counts.var(), 30 * 2 * 4 * 36 / (36 * 7), rtol=0.08)


def test_rows_index_arrays():
    x = jnp.arange(64.0)
    drawn = episodes(jax.random.key(0), class_table(LABELS), ways=2, shots=1, queries=1, episodes=2)
    np.testing.assert_array_equal(x[drawn.support], drawn.support)
