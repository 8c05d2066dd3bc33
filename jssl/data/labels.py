"""Few labels: balanced budgets of them, few-shot episodes and tasks."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.batches import permutation


def class_balanced(labels: np.ndarray, per_class: int, *, seed: int) -> np.ndarray:
    """Chooses as many examples of each class; with one seed, a larger budget adds to a smaller.

    Args:
      labels: integers [N], the K classes that occur in it.
      per_class: examples of each class.
      seed: of the choice.

    Returns:
      Rows, int64 [K per_class], ascending.

    FixMatch: Simplifying Semi-Supervised Learning (Sohn et al., 2020), 40 labels of CIFAR-10.
    """
    chosen = []
    for y, rows in _by_class(labels).items():
        if not 0 < per_class <= len(rows):
            raise ValueError(f'per_class {per_class}: class {y} has {len(rows)} examples')
        chosen.append(rows[permutation(len(rows), seed, int(y))[:per_class]])
    return np.sort(np.concatenate(chosen))


class ClassTable(NamedTuple):
    """Rows of a data set by class, for `episodes`."""

    rows: jax.Array  # int32 [K, M], filled up with -1
    counts: jax.Array  # int32 [K]


def class_table(labels: np.ndarray, *, at_least: int = 1) -> ClassTable:
    """Lists the rows of each class, the classes in ascending order.

    Args:
      labels: integers [N]; choose the base or the novel classes before.
      at_least: examples that an episode takes of a class, shots + queries.

    Returns:
      `ClassTable` of K classes, M the size of the largest.

    Matching Networks for One Shot Learning (Vinyals et al., 2016).
    """
    groups = _by_class(labels)
    for y, rows in groups.items():
        if len(rows) < at_least:
            raise ValueError(f'class {y} has {len(rows)} examples, an episode takes {at_least}')
    counts = [len(rows) for rows in groups.values()]
    table = np.full((len(groups), max(counts)), -1, np.int32)
    for line, rows in zip(table, groups.values(), strict=True):
        line[: len(rows)] = rows
    return ClassTable(jnp.asarray(table), jnp.asarray(counts, jnp.int32))


class Episodes(NamedTuple):
    """Rows of the data set; the label within an episode is the place along the ways."""

    support: jax.Array  # int32 [E, ways, shots]
    query: jax.Array  # int32 [E, ways, queries]
    classes: jax.Array  # int32 [E, ways], places in the class table


@functools.partial(jax.jit, static_argnames=('ways', 'shots', 'queries', 'episodes'))
def episodes(
    key: jax.Array,
    table: ClassTable,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
) -> Episodes:
    """Draws few-shot tasks: classes without repetition, and of each examples without repetition.

    Args:
      key: random key.
      table: `class_table(labels, at_least=shots + queries)`.
      ways: classes of an episode.
      shots: labelled examples of a class.
      queries: examples of a class to classify, none of them a shot.
      episodes: E.

    Returns:
      `Episodes` of rows: `x[drawn.support]` is [E, ways, shots, ...].

    Matching Networks for One Shot Learning (Vinyals et al., 2016).
    """
    chex.assert_rank([table.rows, table.counts], [2, 1])
    classes, largest = table.rows.shape
    if ways > classes or shots + queries > largest:
        raise ValueError(
            f'{ways} ways of {shots} + {queries} examples: the table has {classes} classes of at '
            f'most {largest}'
        )

    def draw(key):
        of_classes, of_rows = jax.random.split(key)
        chosen = jax.random.permutation(of_classes, classes)[:ways]
        absent = jnp.arange(largest)[None, :] >= table.counts[chosen][:, None]
        noise = jnp.where(absent, jnp.inf, jax.random.uniform(of_rows, (ways, largest)))
        taken = jnp.argsort(noise, axis=1)[:, : shots + queries]
        rows = jnp.take_along_axis(table.rows[chosen], taken, axis=1)
        return Episodes(rows[:, :shots], rows[:, shots:], chosen.astype(jnp.int32))

    return jax.vmap(draw)(jax.random.split(key, episodes))


class Tasks(NamedTuple):
    """Few-shot tasks as rows of N = ways (shots + queries) examples, the labelled ones first."""

    rows: jax.Array  # int32 [E, N], of the data set
    labels: jax.Array  # int32 [E, N], the place along the ways
    known: jax.Array  # int32 [E, N], the same, but -1 for queries


def tasks(
    key: jax.Array,
    labels: np.ndarray,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    tasks: int = 600,
    concentration: float | None = None,
) -> Tasks:
    """Draws few-shot tasks for transduction, whose queries may be uneven.

        class of a query ~ Categorical(p),  p ~ Dirichlet(concentration, ..., concentration)

    Args:
      key: random key.
      labels: integers [M] of the data set, with shots + queries examples of every class, or with
        shots + ways queries where they are uneven.
      ways: classes of a task.
      shots: labelled examples of a class.
      queries: examples to classify, in the mean of the classes.
      tasks: E.
      concentration: None gives every class as many queries; the smaller, the less even.

    Returns:
      `Tasks`; no example is twice in a task.

    Realistic Evaluation of Transductive Few-Shot Learning (Veilleux et al., 2021), 2 for uneven.
    """
    most = queries if concentration is None else ways * queries
    table = class_table(labels, at_least=shots + most)
    return _tasks(key, table, concentration, ways, shots, queries, most, tasks)


@functools.partial(jax.jit, static_argnames=('ways', 'shots', 'queries', 'most', 'count'))
def _tasks(key, table, concentration, ways, shots, queries, most, count):
    of_rows, of_shares, of_classes = jax.random.split(key, 3)
    drawn = episodes(of_rows, table, ways=ways, shots=shots, queries=most, episodes=count)
    given = jnp.repeat(jnp.arange(ways, dtype=jnp.int32), shots)
    truth = jnp.repeat(jnp.arange(ways, dtype=jnp.int32), queries)
    given, truth = (jnp.broadcast_to(y, (count, len(y))) for y in (given, truth))
    query = drawn.query.reshape(count, -1)
    if concentration is not None:
        shares = jax.random.dirichlet(of_shares, jnp.full(ways, concentration), (count, 1))
        truth = jax.random.categorical(of_classes, jnp.log(shares), shape=truth.shape)
        places = jnp.arange(ways * queries)[None, :]
        query = drawn.query[jnp.arange(count)[:, None], truth, places]
    return Tasks(
        jnp.concatenate([drawn.support.reshape(count, -1), query], axis=1),
        jnp.concatenate([given, truth.astype(jnp.int32)], axis=1),
        jnp.concatenate([given, jnp.full_like(given, -1, shape=query.shape)], axis=1),
    )


def _by_class(labels) -> dict[int, np.ndarray]:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f'labels must be integers [N], got {labels.dtype} {labels.shape}')
    return {int(y): np.flatnonzero(labels == y) for y in np.unique(labels)}
