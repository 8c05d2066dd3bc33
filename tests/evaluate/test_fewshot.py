"""Accuracy on few-shot tasks."""

import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate import few_shot

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(30, 4)).astype(np.float32)
LABELS = np.tile([0, 0, 0, 1, 1, 1], (5, 1))
KNOWN = np.tile([0, -1, -1, 1, -1, -1], (5, 1))
TASKS = np.stack([RNG.permutation(30)[:6] for _ in range(5)]), LABELS, KNOWN


def nearest(z, known, stretch):
    shots = jnp.stack([z[0], z[3]])
    squares = ((z[:, None] - shots[None]) ** 2).sum(-1)
    return -squares, stretch * z.sum(), z[:, 0]


@pytest.mark.parametrize('together', [1, 2, 100])
def test_it_is_a_loop_over_tasks_and_queries(together):
    right, total, first = few_shot(nearest, Z, TASKS, 2.0, together=together)
    for e, (rows, labels, known) in enumerate(zip(*TASKS, strict=True)):
        hits = []
        for row, label, given in zip(rows, labels, known, strict=True):
            if given < 0:
                squares = [np.square(Z[row] - Z[rows[shot]]).sum() for shot in (0, 3)]
                hits.append(int(np.argmin(squares)) == label)
        np.testing.assert_allclose(right[e], np.mean(hits), rtol=1e-6)
        np.testing.assert_allclose(total[e], 2 * Z[rows].sum(), rtol=1e-5)
        np.testing.assert_array_equal(first[e], Z[rows, 0])


def test_scores_alone_will_do_and_shots_do_not_count():
    (right,) = few_shot(lambda z, known: jnp.eye(2)[1 - known.clip(0)], Z, TASKS)
    np.testing.assert_allclose(
        right, 0.5
    )  # queries are all called 1; the shots, all wrong, are out


def test_columns_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match='tasks must be rows'):
        few_shot(nearest, Z, (TASKS[0][:, :5], LABELS, KNOWN), 1.0)
