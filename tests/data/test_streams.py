"""Sequences of tasks: labels from 0, related figures, words that are vectors."""

import numpy as np

from jssl.data import shapes, streams


def test_related_tasks_have_the_figures_of_earlier_ones():
    names = list(shapes.CLASSES)
    figures = {task: [names[i] for i in ids] for task, ids in streams.FIGURES.items()}
    for kind in ('striped', 'spotted'):
        for part in '12':
            wanted = [f'{kind}_{name}' for name in figures[f'plain {part}']]
            assert figures[f'{kind} {part}'] == wanted
    assert len({name for task in figures.values() for name in task}) == 40


def test_figures_are_drawn_with_labels_from_zero():
    ((records, test),) = streams.figures(tasks=1, classes=2, size=8, train=6, test=4)
    assert records['image'].shape == (6, 8, 8, 3)
    assert set(test['label']) == {0, 1}


def test_a_word_is_the_same_vector_everywhere_and_nothing_follows_the_end():
    pairs = streams.topics(tasks=2, width=3, train=5, test=2)
    words, label = pairs[0][0]['image'], pairs[0][0]['label']
    assert words.shape[2] == 3
    assert set(label) <= set(range(6))
    assert not words[:, -1].any()
    first = {tuple(word) for word in words.reshape(-1, 3)}
    assert len(first) < words.shape[0] * words.shape[1]
    others = {tuple(word) for word in pairs[1][0]['image'].reshape(-1, 3)}
    assert len(first & others) <= 4  # the end, what follows it, and words of no language


def test_classes_in_turn_count_from_zero_and_come_again_with_other_pixels():
    label = np.array([0, 1, 2, 3, 3, 2, 1, 0])
    image = np.arange(8 * 4, dtype=np.uint8).reshape(8, 2, 2, 1)
    found = streams.classes_in_turn(
        [{'image': image, 'label': label}] * 2, classes=2, tasks=3, most=(4, 3)
    )
    assert [len(pair) for pair in found] == [2, 2, 2]
    np.testing.assert_array_equal(found[1][0]['label'], [0, 1, 1, 0])
    np.testing.assert_array_equal(found[1][1]['label'], [0, 1, 1])
    np.testing.assert_array_equal(found[1][0]['image'], image[[2, 3, 4, 5]])
    again, first = found[2][0]['image'], found[0][0]['image']
    assert (again != first).any()
    np.testing.assert_array_equal(np.sort(again.reshape(4, -1)), np.sort(first.reshape(4, -1)))


def test_joined_sets_keep_their_labels_apart():
    sets = [{'image': np.full((2, 1), t), 'label': np.array([1, 0], np.int32)} for t in range(3)]
    found = streams.joined(sets, classes=2)
    np.testing.assert_array_equal(found['label'], [1, 0, 3, 2, 5, 4])
    np.testing.assert_array_equal(found['image'][:, 0], [0, 0, 1, 1, 2, 2])
