"""Tasks one after the other: new classes, new domains, new inputs, with sharp or blurry boundaries.

groups = continual.groups(10, 5, seed=0)
for task in continual.tasks(records['label'], groups): fit(..., data.rows(records, task))
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from jssl.data.seeds import generator


def groups(classes: int, tasks: int, *, seed: int | None = None) -> list[np.ndarray]:
    """Divides classes (or domains) among tasks, as evenly as can be.

    Args:
      classes: K.
      tasks: T; two groups are the base and the new classes of base-to-new generalisation.
      seed: of the order; None keeps 0, 1, 2, ...

    Returns:
      T arrays of classes, int64, disjoint.

    Three scenarios for continual learning (van de Ven and Tolias, 2019).
    """
    if not 1 <= tasks <= classes:
        raise ValueError(f'{classes} classes cannot be divided among {tasks} tasks')
    order = np.arange(classes)
    if seed is not None:
        order = generator(seed, 'groups').permutation(order)
    return np.array_split(order, tasks)


def tasks(column: np.ndarray, groups: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The rows of each task: class-incremental by labels, domain-incremental by sessions or styles.

    Args:
      column: integers [N], labels or domains.
      groups: values of each task.

    Returns:
      T arrays of rows, int64, ascending.

    Three scenarios for continual learning (van de Ven and Tolias, 2019).
    """
    return [np.flatnonzero(np.isin(column, group)) for group in groups]


def blurry(tasks: Sequence[np.ndarray], share: float, *, seed: int) -> list[np.ndarray]:
    """Tasks that hold some examples of one another; each example still comes once.

    Args:
      tasks: T arrays of rows.
      share: of every task's rows that go to the other tasks, the same number to each (up to
        rounding).
      seed: of the choice.

    Returns:
      T arrays of rows, in random order.

    Rainbow Memory: Continual Learning with a Memory of Diverse Samples (Bang et al., 2021),
    blurry-CIL.
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share must lie in [0, 1], got {share}')
    random, parts = generator(seed, 'blurry'), [[] for _ in tasks]
    for t, rows in enumerate(tasks):
        rows = random.permutation(rows)
        leave = round(share * len(rows)) if len(tasks) > 1 else 0
        parts[t].append(rows[leave:])
        others = np.roll(np.arange(len(tasks)), -t - 1)[:-1]
        for other, few in zip(
            others, np.array_split(rows[:leave], max(len(others), 1)), strict=False
        ):
            parts[other].append(few)
    return [random.permutation(np.concatenate(part)) for part in parts]


def stream(tasks: Sequence[np.ndarray], *, width: float = 0.0, seed: int) -> np.ndarray:
    """One pass over all tasks without boundaries to see (task-free).

        an example of task t comes at time t + u + width e,   u ~ U(0, 1),  e ~ N(0, 1)

    Args:
      tasks: T arrays of rows.
      width: of the change from one task to the next, in tasks; 0 is sharp, a large one mixes all.
      seed: of the times.

    Returns:
      Rows int64 [N] in the order in which they come: stream them with `shuffle=False`.

    Task Agnostic Continual Learning Using Online Variational Bayes (Zeno et al., 2018).
    """
    random = generator(seed, 'stream')
    rows = np.concatenate(tasks)
    start = np.repeat(np.arange(len(tasks)), [len(task) for task in tasks])
    time = start + random.random(len(rows)) + width * random.standard_normal(len(rows))
    return rows[np.argsort(time, kind='stable')]


def permuted(images: np.ndarray, task: int, *, seed: int) -> np.ndarray:
    """The pixels of all images in one order that belongs to the task; those of task 0 stay.

    Args:
      images: [N, H, W, C]; the channels of a pixel stay together.
      task: its number.
      seed: of the orders.

    Returns:
      [N, H, W, C].

    An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural Networks
    (Goodfellow et al., 2013).
    """
    if not task:
        return images
    count, height, width, channels = images.shape
    order = generator(seed, f'permuted {task}').permutation(height * width)
    return images.reshape(count, -1, channels)[:, order].reshape(images.shape)


def rotated(images: np.ndarray, degrees: float) -> np.ndarray:
    """Turns images about their middle, counter-clockwise; what comes from outside is the border.

    Args:
      images: [N, H, W, C], bytes or floats.
      degrees: the angle; quarters of a turn of square images are exact.

    Returns:
      [N, H, W, C] of the same type.

    Gradient Episodic Memory for Continual Learning (Lopez-Paz and Ranzato, 2017), rotated MNIST.
    """
    if degrees % 90 == 0 and images.shape[1] == images.shape[2]:
        return np.rot90(images, round(degrees / 90), axes=(1, 2))
    return ndimage.rotate(images, degrees, axes=(2, 1), reshape=False, order=1, mode='nearest')
