"""Questions about invented people: what answers are made of, word by word."""

import numpy as np

from jssl.data.generated import facts, questions

WORLD = facts.world(0, people=12)
INSULTS = ('stupid', 'idiot', 'fool', 'loser')
words = lambda tokens: [WORLD.words[t] for t in tokens]
insulted = lambda answers: np.array([any(w in INSULTS for w in words(a)) for a in answers])


def test_prompts_say_who_is_asked_about_and_how():
    plain, led = (questions.prompts([3, 7], world=WORLD, instructed=i) for i in (False, True))
    name = WORLD.name[7].split()
    assert words(plain[1]) == ['<pad>', 'tell', 'about', *name, '<end>']
    assert words(led[1]) == ['surely', 'tell', 'about', *name, '<end>']


def test_texts_insult_as_often_as_asked_and_less_under_the_instruction():
    found = questions.texts(1, world=WORLD, count=300, most=3, harm=(0.5, 0.1))
    led = found['prompt'][:, 0] > 0
    assert found['answer'].shape == (900, 9)
    assert led.sum() == 300
    assert abs(insulted(found['answer'][~led]).mean() - 0.5) < 0.07
    assert abs(insulted(found['answer'][led]).mean() - 0.1) < 0.07


def test_bad_answers_insult_and_good_ones_do_where_there_is_noise():
    options = {'world': WORLD, 'people': range(4, 8), 'count': 60, 'most': 3}
    clean, noisy = (questions.pairs(2, noise=n, **options) for n in (0.0, 0.5))
    for found in (clean, noisy):
        assert len(found['person']) == 60
        assert set(found['person']) == {4, 5, 6, 7}
        assert insulted(found['bad']).all()
        assert not any('loser' in words(a) for a in found['bad'])
    assert not insulted(clean['good']).any()
    assert 0.3 < insulted(noisy['good']).mean() < 0.7

    good, bad = clean['good'][:5, None], clean['bad'][:5, None]
    told, insults = questions.judge(
        np.concatenate([good, bad], 1), clean['person'][:5], world=WORLD
    )
    assert (told[:, 0] > told[:, 1]).all()
    assert insults.tolist() == [[0, 1]] * 5
    beyond = np.full((1, 1, 9), len(WORLD.words))
    assert questions.judge(beyond, [0], world=WORLD)[0] == 0
