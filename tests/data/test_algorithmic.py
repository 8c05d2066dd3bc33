"""String tasks: answers are right, lengths are apart, steps lead to the answer."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import algorithmic
from jssl.errors import Refusal

SLOW = {
    'copy': lambda s: s,
    'reverse': lambda s: s[::-1],
    'sort': lambda s: ''.join(sorted(s)),
    'sum': lambda s: str(sum(map(int, s)) % 7),
    'parity': lambda s: str(s.count('1') % 2),
}


@pytest.mark.parametrize('task', SLOW)
def test_answers_are_right(task):
    found = algorithmic.dataset('test', task=task, count=100, modulus=7)
    for text, size in zip(found['text'], found['size'], strict=True):
        question, answer = text.removesuffix('<end>').replace(' ', '').split('=')
        assert answer == SLOW[task](question)
        assert len(question) == size


@pytest.mark.parametrize('lowest_first', [False, True])
@pytest.mark.parametrize('scratchpad', [False, True])
def test_sums_of_numbers_are_right(lowest_first, scratchpad):
    knobs = {'lowest_first': lowest_first, 'scratchpad': scratchpad}
    found = algorithmic.dataset(task='addition', count=100, lengths=(1, 6), **knobs)
    for text in found['text']:
        question, answer = text.removesuffix('<end>').replace(' ', '').split('=')
        answer = answer.split(';')[-1]
        numbers = [*question.split('+'), answer]
        a, b, c = (int(n[::-1] if lowest_first else n) for n in numbers)
        assert a + b == c
        assert len(answer) == len(numbers[0]) + 1


def test_steps_are_running_totals_and_columns():
    sums = algorithmic.dataset(task='sum', scratchpad=True, count=50)
    for text in sums['text']:
        question, answer = (part.split() for part in text.removesuffix(' <end>').split('='))
        steps = [sum(map(int, question[: i + 1])) % 10 for i in range(len(question))]
        assert answer == [*map(str, steps), ';', str(steps[-1])]
    item = algorithmic.dataset(task='addition', scratchpad=True, count=1, lengths=(2, 2))
    question, rest = item['text'][0].split(' = ')
    steps = list(map(int, rest.split(';')[0].split()))
    a, b = (list(map(int, number.split())) for number in question.split('+'))
    assert steps == [a[1], b[1], 0, a[0], b[0], (a[1] + b[1]) // 10]


@pytest.mark.parametrize('task', algorithmic.TASKS)
def test_items_depend_on_seed_split_and_index_alone(task):
    few, many = (algorithmic.dataset(task=task, count=n) for n in (5, 40))
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][:5])
    drawn = algorithmic.source(task=task, count=10**9)
    assert drawn[4]['text'] == few['text'][4]
    assert drawn[10**9 - 1]['tokens'].shape == few['tokens'].shape[1:]
    for other in ({'split': 'validation'}, {'seed': 1}):
        assert (algorithmic.dataset(task=task, count=5, **other)['text'] != few['text']).any()


@pytest.mark.parametrize('task', algorithmic.TASKS)
def test_test_questions_are_longer_and_arrays_are_not(task):
    train, test = (algorithmic.dataset(split, task=task, count=200) for split in ('train', 'test'))
    assert (set(train['size']), set(test['size'])) == (set(range(1, 9)), set(range(9, 17)))
    assert train['tokens'].shape == test['tokens'].shape
    assert test['length'].max() == test['tokens'].shape[1]  # no room is wasted
    for tokens, length, answer in zip(
        *(test[k] for k in ('tokens', 'length', 'answer')), strict=True
    ):
        assert tokens[length - 1] == algorithmic.END
        assert not tokens[length:].any()
        assert tokens[answer.argmax() - 1] == algorithmic.EQUALS
        assert answer.sum() == length - answer.argmax()


def test_digits_repeat_or_do_not():
    unlike = algorithmic.dataset(count=50, repeats=False, symbols=12)
    for text in unlike['text']:
        question = text.split(' =')[0].split()
        assert len(set(question)) == len(question)
    few = algorithmic.dataset(count=50, symbols=2)
    assert few['tokens'].max() == algorithmic.ZERO + 1


def test_a_line_does_not_find_the_parity():
    train, test = (
        algorithmic.dataset(s, task='parity', count=600, lengths=(8, 8)) for s in ('train', 'test')
    )
    last = lambda d: d['tokens'][np.arange(600), d['length'] - 2]
    line = LogisticRegression().fit(train['tokens'][:, :8], last(train))
    assert line.score(test['tokens'][:, :8], last(test)) < 0.6


@pytest.mark.parametrize(
    ('knobs', 'word'),
    [({'task': 'dance'}, 'choose'), ({'scratchpad': True}, 'steps'), ({'room': 4}, 'room')],
)
def test_what_cannot_be_drawn_is_refused(knobs, word):
    with pytest.raises(Refusal, match=word):
        algorithmic.dataset(count=1, **knobs)
