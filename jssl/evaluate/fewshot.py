"""Few-shot tasks, many at a time."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def few_shot(
    solve: Callable, z, tasks: Sequence, *parameters, together: int = 100
) -> tuple[np.ndarray, ...]:
    """Accuracy on the queries of few-shot tasks, each of which is solved by itself.

        1/Q sum_(p: known_p < 0) [ argmax_k s_pk = y_p ],  s = solve(z, known)

    Args:
        solve: (z [N, D], known [N], *parameters) -> scores [N, K], and more if it likes: a tuple of
            arrays. It is compiled once, so give the same function again.
        z: features of the data set [M, D].
        tasks: rows, labels and known labels, -1 for queries, each [E, N]: `data.tasks`.
        *parameters: numbers or arrays for every task.
        together: tasks that are solved at a time.

    Returns:
        Accuracies [E], and what else `solve` returns [E, ...].

    Reference: Matching Networks for One Shot Learning (Vinyals et al., 2016).
    """
    tasks = [np.asarray(column) for column in tasks]
    shapes = {column.shape for column in tasks}
    if len(tasks) != 3 or len(shapes) != 1 or tasks[0].ndim != 2:
        raise ValueError(f'tasks must be rows, labels and known, each [E, N], got {shapes}')
    z, found = np.asarray(z), []
    for start in range(0, len(tasks[0]), together):
        rows, labels, known = (column[start : start + together] for column in tasks)
        found.append(jax.device_get(_part(solve, z[rows], labels, known, parameters)))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


@partial(jax.jit, static_argnames='solve')
def _part(solve, z, labels, known, parameters):
    def task(z, labels, known):
        out = solve(z, known, *parameters)
        scores, *more = out if isinstance(out, tuple) else (out,)
        return jnp.mean(scores.argmax(1) == labels, where=known < 0), *more

    return jax.vmap(task)(z, labels, known)
