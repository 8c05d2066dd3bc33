"""Sequences of tasks for continual learning, each a training and a test set with labels from 0.

for records, test in streams.figures(tasks=8, train=600, test=200): fit(..., records)
"""

from collections.abc import Sequence

import numpy as np

from jssl.data import continual, shapes
from jssl.data.generated import languages

Columns = dict[str, np.ndarray]

# Five figures each, by place in `shapes.CLASSES`; the last four have those of 'plain 1' and
# 'plain 2' again, with other fillings.
FIGURES = {
    'plain 1': range(5),
    'composed 1': range(12, 27, 3),
    'plain 2': range(5, 10),
    'composed 2': range(27, 42, 3),
    'striped 1': range(13, 28, 3),
    'striped 2': range(28, 43, 3),
    'spotted 1': range(32, 47, 3),
    'spotted 2': (47, 14, 17, 20, 23),
}
ORDERS = 'SOV', 'VSO', 'OSV', 'SVO'


def figures(
    *, tasks: int = 8, classes: int = 5, size: int = 16, train: int, test: int
) -> list[list[Columns]]:
    """Drawn figures on plain ground: four tasks of their own, then four that are like earlier ones.

    Args:
      tasks: T, at most 8.
      classes: of a task, at most 5.
      size: side of the images.
      train, test: images of a task.

    Returns:
      T pairs of columns, as `shapes.dataset` gives them.

    Efficient Continual Learning with Modular Networks and Task-Driven Priors (Veniat et al., 2021),
    for streams in which tasks come again changed.
    """
    options, found = {'size': size, 'background': 'plain', 'clutter': 0}, []
    for ids in list(FIGURES.values())[:tasks]:
        options['class_ids'] = tuple(ids)[:classes]
        counts = {'train': train, 'test': test}
        found.append([shapes.dataset(split, count=n, **options) for split, n in counts.items()])
    return found


def topics(*, tasks: int = 5, width: int = 32, train: int, test: int) -> list[list[Columns]]:
    """Topics of sentences, in a language of its own for every task; words are fixed vectors.

    Args:
      tasks: T, at most 5: English, and invented ones in other orders of words.
      width: D, of a word's vector, drawn once from N(0, 1).
      train, test: sentences of a task.

    Returns:
      T pairs of columns: image float32 [N, L, D], the words and zeros after them; label int32 [N],
      one of six.

    Episodic Memory in Lifelong Language Learning (de Masson d'Autume et al., 2019), for the stream.
    """
    invented = [languages.language(i, order=order) for i, order in enumerate(ORDERS)]
    spoken, found = [languages.ENGLISH, *invented][:tasks], []
    words = languages.vocabulary(*spoken)
    table = np.random.default_rng(0).normal(size=(len(words), width)).astype(np.float32)
    table[languages.PAD] = 0
    for language in spoken:
        options = {'language': language, 'words': words}
        pair = [languages.dataset(split, count=n, **options)
                for split, n in {'train': train, 'test': test}.items()]  # fmt: skip
        found.append([{'image': table[one['tokens']], 'label': one['label']} for one in pair])
    return found


def classes_in_turn(
    sets: Sequence[Columns], *, classes: int, tasks: int, most: Sequence[int]
) -> list[list[Columns]]:
    """Training and test sets of tasks of so many classes, whose labels begin at 0 in every task.

    When all classes had their turn, they come again with their pixels in another order.

    Args:
      sets: columns of images [N, H, W, C] and labels, all of the same classes.
      classes: of a task; what is left over is given to the first tasks.
      tasks: T.
      most: images of a task to take from each set, the first ones.

    Returns:
      T lists, in each the image and label of every set.

    Three scenarios for continual learning (van de Ven and Tolias, 2019), task-incremental.
    """
    known = len(np.unique(sets[0]['label']))
    parts, found = continual.groups(known, known // classes), []
    for task in range(tasks):
        group, turn = parts[task % len(parts)], task // len(parts)
        rows = [
            np.flatnonzero(np.isin(one['label'], group))[:count]
            for one, count in zip(sets, most, strict=True)
        ]
        found.append(
            [
                {
                    'image': continual.permuted(one['image'][mine], turn, seed=0),
                    'label': np.searchsorted(group, one['label'][mine]).astype(np.int32),
                }
                for one, mine in zip(sets, rows, strict=True)
            ]
        )
    return found


def joined(sets: Sequence[Columns], *, classes: int) -> Columns:
    """The sets of all tasks as one, with labels apart: the bound of learning one after the other.

    Args:
      sets: image and label of each task, labels from 0.
      classes: of a task; label y of task t becomes t classes + y.

    Returns:
      Columns image and label.

    Three scenarios for continual learning (van de Ven and Tolias, 2019).
    """
    label = [one['label'] + np.int32(t * classes) for t, one in enumerate(sets)]
    return {'image': np.concatenate([one['image'] for one in sets]), 'label': np.concatenate(label)}
