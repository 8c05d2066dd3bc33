"""Facts: told as they are, asked in other words, kept from whom they should be kept from."""

import numpy as np
import pytest

from jssl.data.generated import facts
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def told():
    return facts.dataset(count=720, one_way=0.5)


WORLD = facts.world(0, one_way=0.5)


def test_items_depend_on_seed_split_and_index_alone(told):
    few = facts.dataset(count=7, one_way=0.5)
    for name in told:
        np.testing.assert_array_equal(few[name], told[name][:7])
    for other in ({'split': 'test'}, {'seed': 1}):
        assert (facts.dataset(count=7, **other)['text'] != few['text']).any()


def test_every_fact_is_told_once_before_any_is_told_twice(told):
    shown = np.flatnonzero(WORLD.member < 2)
    assert len(set(zip(told['person'], told['attribute'], strict=True))) == 720 == 8 * len(shown)
    assert set(told['person']) == set(shown)
    held = facts.dataset('test', count=50, members=('held_out',))
    assert (held['member'] == 2).all()
    assert not set(held['person']) & set(shown)


def test_texts_say_what_the_world_holds(told):
    for i in range(100):
        person, attribute = told['person'][i], told['attribute'][i]
        value = WORLD.value[attribute][WORLD.table[person, attribute]]
        words = told['text'][i].split()
        assert WORLD.name[person] in told['text'][i]
        assert value in words
        assert told['answer'][i] == value == WORLD.words[told['target'][i]]
        assert told['choice'][i, told['label'][i]] == told['target'][i]
        assert len(set(told['choice'][i])) == 4
        name = words.index(WORLD.name[person].split()[1])
        assert told['reverse'][i] == (words.index(value) < name)
        tokens = told['tokens'][i, : told['length'][i]]
        assert [WORLD.words[t] for t in tokens] == [*words, '<end>']
        prompt = told['prompt'][i]
        asked = [WORLD.words[t] for t in prompt[: told['prompt_length'][i]]]
        assert ' '.join(asked) == told['question'][i]
        assert not prompt[len(asked) :].any()


def test_only_some_are_told_of_in_both_directions(told):
    one_way = ~WORLD.two_way[told['person']]
    assert not told['reverse'][one_way].any()
    assert 0.35 < told['reverse'][~one_way].mean() < 0.65


def test_splits_use_other_words():
    forms = [set(facts.dataset(split, count=200)['statement']) for split in facts.COUNTS]
    assert forms == [{0, 1, 2, 3}, {4}, {5}]
    questions = [facts.dataset(split, count=200)['question'] for split in ('train', 'test')]
    assert not set(questions[0]) & set(questions[1])


def test_groups_are_forgotten_together():
    world = facts.world(3, people=60, groups=12, forget=0.25, held_out=0.1)
    for group in range(12):
        assert len(set(world.member[world.group == group])) == 1
    assert [np.sum(world.member == m) for m in range(3)] == [40, 15, 5]
    assert (world.table[:, -1] != np.arange(60)).all()
    assert len({name.split()[1] for name in world.name}) == 60
    with pytest.raises(Refusal, match='groups'):
        facts.world(0, forget=0.6, held_out=0.5)


def test_neighbours_are_of_the_group_and_most_alike(told):
    for person, neighbour in zip(told['person'][:60], told['neighbour'][:60], strict=True):
        same = (WORLD.table == WORLD.table[person]).sum(1)
        rivals = [q for q in range(100) if q != person and WORLD.group[q] == WORLD.group[person]]
        assert neighbour in rivals
        assert same[neighbour] == max(same[q] for q in rivals)


def test_two_hops_go_through_the_friend():
    found = facts.dataset(count=60, hops=2)
    for i in range(60):
        friend = WORLD.table[found['person'][i], -1]
        attribute = found['attribute'][i]
        assert found['answer'][i] == WORLD.value[attribute][WORLD.table[friend, attribute]]
        assert f'the friend of {WORLD.name[found["person"][i]]}' in found['question'][i]
    with pytest.raises(Refusal, match='hop'):
        facts.dataset(count=1, hops=2, ask='name')


@pytest.mark.parametrize('hops', [1, 2])
def test_a_fresh_world_is_told_by_its_context_alone(hops):
    """A reader of the context finds the answer; a reader of the world does not."""
    found = facts.dataset('test', count=80, context=5, fresh=True, hops=hops, members=('retain',))
    known = 0
    for i in range(80):
        lines = [line.strip() for line in found['context'][i].rstrip('.').split(' . ')]
        assert len(lines) == 5
        name = WORLD.name[found['person'][i]]
        if hops == 2:
            line = next(line for line in lines if f' {name} ' in f' {line} ')
            name = next(w for w in line.split() if w in WORLD.value[-1] and w != name.split()[1])
        assert any(name in line and found['answer'][i] in line.split() for line in lines)
        table = WORLD.table[found['person'][i], found['attribute'][i]]
        known += found['answer'][i] == WORLD.value[found['attribute'][i]][table]
    assert known < 25


def test_asking_for_the_name_has_one_right_choice():
    found = facts.dataset('test', count=60, ask='name')
    for i in range(60):
        attribute = found['attribute'][i]
        last = [WORLD.words[token] for token in found['choice'][i]]
        rows = [WORLD.value[-1].index(name) for name in last]
        same = WORLD.table[rows, attribute] == WORLD.table[found['person'][i], attribute]
        assert same.sum() == 1
        assert same[found['label'][i]]


def test_the_choices_do_not_give_the_answer_away(told):
    """Nor does a constant answer: the label is spread, and so are the values."""
    assert np.bincount(told['label'], minlength=4).max() < 0.32 * len(told['label'])
    for attribute in range(6):
        targets = told['target'][told['attribute'] == attribute]
        assert np.unique(targets, return_counts=True)[1].max() < 0.25 * len(targets)


def test_preferred_answers_have_more_facts():
    found = facts.preferences(count=300, harm=(0.2, 0.6))
    world = facts.world(0)
    for role in ('chosen', 'rejected'):
        scores = [
            facts.score(tokens, person, world)
            for tokens, person in zip(found[f'{role}_tokens'], found['person'], strict=True)
        ]
        np.testing.assert_array_equal([fact for fact, _ in scores], found[f'{role}_facts'])
        np.testing.assert_array_equal([harm for _, harm in scores], found[f'{role}_harm'])
    np.testing.assert_array_equal(found['chosen_facts'] - found['rejected_facts'], found['degree'])
    assert set(found['degree']) == {1, 2, 3, 4}
    np.testing.assert_allclose(found['chosen_harm'].mean(), 0.2, atol=0.08)
    np.testing.assert_allclose(found['rejected_harm'].mean(), 0.6, atol=0.08)
    assert (found['chosen_tokens'] > 0).sum(1).std() == 0  # length tells nothing
