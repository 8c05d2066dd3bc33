"""Languages: translations mean the same, probabilities are exact, and parses spell the text."""

import collections
import itertools

import numpy as np
import pytest
from sklearn.naive_bayes import MultinomialNB

from jssl.data.generated import languages
from jssl.data.generated.languages import ENGLISH, Grammar
from jssl.errors import Refusal

FOREIGN = languages.language(1, order='VSO', shared=0.2)


@pytest.fixture(scope='module')
def texts():
    return languages.dataset(count=800)


def test_texts_depend_on_seed_split_and_index_alone(texts):
    few = languages.dataset(count=5)
    for name in texts:
        np.testing.assert_array_equal(few[name], texts[name][:5])
    drawn = languages.source('train', count=900)
    assert drawn[4]['text'] == texts['text'][4]
    for other in (languages.dataset('test', count=5), languages.dataset(count=5, seed=1)):
        assert (other['text'] != few['text']).all()


def test_columns_agree_with_the_text(texts):
    words = languages.vocabulary(ENGLISH)
    for i in range(50):
        tokens = texts['tokens'][i, : texts['length'][i]]
        assert tokens[-1] == languages.END
        assert not texts['tokens'][i, texts['length'][i] :].any()
        assert ' '.join(words[t] for t in tokens[:-1]) + '.' == texts['text'][i]
        assert (texts['sentence'][i] == np.where(np.arange(20) < texts['length'][i], 0, -1)).all()
        leaves = [part.split(')')[0] for part in texts['tree'][i].split('(') if ')' in part]
        tags = [languages.TAGS[tag] for tag in texts['tag'][i, : texts['length'][i] - 1]]
        assert leaves == [f'{tag} {words[t]}' for tag, t in zip(tags, tokens, strict=False)]
        verb = words[tokens[tags.index('verb')]]
        assert verb.endswith('s') != texts['plural'][i]  # no verb's stem ends in s


def test_a_sentence_has_the_probability_of_its_choices():
    grammar = Grammar(recursion=0.0, describe=0.0, locate=0.0, date=0.0, topicality=0.6)
    found = languages.dataset(count=20, grammar=grammar)
    for role, value in zip(found['role'][:, 0], found['log_probability'], strict=True):
        own = lambda concept, per, count, t: 0.4 / count + 0.6 * (concept // per == t) / per
        slow = sum(
            own(role[0], 6, 42, t) * own(role[1], 3, 21, t) * own(role[2], 6, 42, t) / 6
            for t in range(6)
        )
        # Two articles, two numbers, three synonyms.
        np.testing.assert_allclose(value, np.log(slow * 0.5**7), rtol=1e-5)


def test_the_mean_of_log_p_is_the_entropy():
    grammar = Grammar(topicality=0.0, polarity=0.0)
    bits = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))
    phrase = 3 * np.log(2) + np.log(42) + bits(0.5) + 0.5 * np.log(36)
    entropy = 2 * (phrase + bits(0.15) + 0.15 * (np.log(2) + phrase)) + np.log(42)
    entropy += bits(0.5) + 0.5 * np.log(12) + bits(0.4) + 0.4 * np.log(20)
    found = -languages.dataset(count=800, grammar=grammar)['log_probability']
    assert abs(found.mean() - entropy) < 4 * found.std() / np.sqrt(800)


def test_no_unigram_model_reaches_the_true_perplexity(texts):
    counts = np.bincount(np.concatenate(list(texts['tokens'])))
    counts[0] = 0
    unigram = np.exp(-(counts * np.log(np.maximum(counts, 1) / counts.sum())).sum() / counts.sum())
    assert languages.perplexity(texts) < 0.3 * unigram


@pytest.mark.parametrize(('latent', 'posterior'), [('label', 'topic'), ('sentiment', 'sentiment')])
def test_posteriors_are_calibrated_and_beat_a_bag_of_words(texts, latent, posterior):
    share = texts[f'{posterior}_posterior'].astype(float)
    right = share.argmax(1) == texts[latent]
    best = share.max(1)
    assert abs((right - best).sum()) < 4 * np.sqrt((best * (1 - best)).sum())
    bags = np.stack([np.bincount(row, minlength=319) for row in texts['tokens']])
    line = MultinomialNB().fit(bags[:500], texts[latent][:500])
    assert right[500:].mean() > line.score(bags[500:], texts[latent][500:])


def test_topics_of_a_text_are_summed_out():
    grammar = Grammar(recursion=0.0, locate=0.0, date=0.0)
    found = languages.dataset(count=6, sentences=3, stay=0.6, aimless=0.1, grammar=grammar)
    assert (found['topic'][:, 0] == found['label']).all()
    random = languages.draw.generator(0, 'train', 2)
    random.random((4, 2))  # topics and sentiment
    meaning = random.random((3, 32))
    topics, sentiment = found['topic'][2], found['sentiment'][2]
    events = [
        languages._event(u, t, sentiment, grammar) for u, t in zip(meaning, topics, strict=True)
    ]
    parts = [languages.log_likelihood(event, grammar) for event in events]
    slow = 0.0
    for path in itertools.product(range(7), repeat=3):
        p = 0.1 if path[0] == 6 else 0.9 / 6
        for before, after in itertools.pairwise(path):
            none = (before == 6) + (after == 6)
            p *= [0.4 / 6 + 0.6 * (before == after), 0, 1][none]
        slow += p * np.exp(sum(part[1][t] for part, t in zip(parts, path, strict=True)))
    slow *= 0.5 * np.exp(sum(part[2] for part in parts)).sum()
    np.testing.assert_allclose(
        found['log_probability'][2], np.log(slow) + sum(part[0] for part in parts), rtol=1e-5
    )
    moved = languages.dataset(count=150, sentences=3, stay=0.6)['topic']
    assert abs((moved[:, 1:] == moved[:, :-1]).mean() - (0.6 + 0.4 / 6)) < 0.09
    assert (languages.dataset(count=50, aimless=1.0)['label'] == -1).all()


def test_the_same_item_in_another_language_is_its_translation(texts):
    abroad = languages.dataset(count=100, language=FOREIGN)
    again = languages.dataset(count=100, paraphrase=1)
    for other in (abroad, again):
        np.testing.assert_array_equal(other['role'], texts['role'][:100])
        np.testing.assert_array_equal(other['length'], texts['length'][:100])
    assert (again['text'] != texts['text'][:100]).mean() > 0.9
    np.testing.assert_array_equal(abroad['log_probability'], texts['log_probability'][:100])
    # Verb, subject, object: the first tag is the verb, or behind a time that comes first.
    first = np.where(abroad['tag'][:, 0] == 8, abroad['tag'][:, 1], abroad['tag'][:, 0])
    assert (first == languages.TAGS.index('verb')).all()
    both = languages.vocabulary(ENGLISH, FOREIGN)
    joint = languages.dataset(count=20, language=FOREIGN, words=both)
    assert joint['tokens'].max() < len(both)
    assert not (joint['tokens'] == languages.UNKNOWN).any()
    assert (languages.dataset(count=5, language=FOREIGN, words=ENGLISH.words)['tokens'] == 2).any()


@pytest.mark.parametrize('order', [''.join(order) for order in itertools.permutations('SVO')])
def test_trees_hold_the_words_in_every_order(order):
    other = languages.language(0, order=order)
    found = languages.dataset(count=10, language=other, grammar=Grammar(date=0.0))
    for tree, text in zip(found['tree'], found['text'], strict=True):
        assert [p.split(')')[0].split()[1] for p in tree.split('(') if ')' in p] == text[
            :-1
        ].split()
        assert ('VP' in tree) == (order[1] != 'S')
    with pytest.raises(Refusal, match='order'):
        languages.language(0, order='SVV')


def test_words_are_distinct_and_shared_as_asked():
    twins = [languages.dialect(ENGLISH, 2, changed=0.4), languages.language(2, shared=0.3)]
    for other in (ENGLISH, FOREIGN, *twins):
        assert len(set(other.words)) == len(languages.FORMS)
    same = [np.mean([a == b for a, b in zip(t.words, ENGLISH.words, strict=True)]) for t in twins]
    np.testing.assert_allclose(same, [0.6, 0.3], atol=0.06)


def test_a_dialect_flips_borrows_and_respells():
    odd = languages.dialect(ENGLISH, 0, changed=0.3, flips=0.5)
    assert len(odd.false_friends) == 12
    pairs = {ENGLISH.words[i]: odd.words[i] for i in odd.false_friends}
    assert all(pairs[pairs[word]] == word for word in pairs)
    groups = {languages.FORMS[i][1] // 6 for i in odd.false_friends}
    assert groups == {0, 1}
    found = languages.dataset(count=100, language=odd, words=ENGLISH.words)
    friend = found['false_friend']
    assert 0 < friend.mean() < 0.2
    assert (found['tag'][friend] == 3).all()
    lent = languages.dialect(ENGLISH, 0, changed=0.0, lender=FOREIGN, borrowed=0.25)
    share = np.mean([a == b for a, b in zip(lent.words, FOREIGN.words, strict=True)])
    assert 0.3 < share < 0.55  # a fifth was shared before
    spelt = languages.dialect(ENGLISH, 0, changed=0.0, respelt=True)
    assert spelt.words[ENGLISH.words.index('the')] == 'de'
    assert len(set(spelt.words)) == len(spelt.words)


def test_pairs_are_alike_in_the_roles_they_share():
    found = languages.pairs(count=300)
    same = (found['role'] == found['other_role']).sum(1)
    np.testing.assert_array_equal(found['similarity'], same)
    assert set(same) == {0, 1, 2, 3, 4, 5}
    swapped = (found['role'][:, 0] == found['other_role'][:, 2]) & (same == 3)
    assert 0.15 < swapped.mean() < 0.35
    bag = lambda role: collections.Counter(role[[0, 2]])
    for i in np.flatnonzero(swapped)[:5]:
        assert bag(found['role'][i]) == bag(found['other_role'][i])


@pytest.mark.parametrize('fault', ['agreement', 'order', 'sentiment'])
@pytest.mark.parametrize('suffix', [None, 0, 3])
def test_the_rejected_sentence_has_one_fault(fault, suffix):
    found = languages.preferences(count=20, fault=fault, suffix=suffix)
    differ = found['chosen'] != found['rejected']
    assert (differ.sum(1) == (2 if fault == 'order' else 1)).all()
    np.testing.assert_array_equal(differ.argmax(1), found['edit'])
    last = differ.shape[1] - 1 - differ[:, ::-1].argmax(1)
    if suffix is not None:
        np.testing.assert_array_equal(found['length'], last + 1 + suffix)
    np.testing.assert_array_equal((found['chosen'] > 0).sum(1), found['length'])
    with pytest.raises(Refusal, match='fault'):
        languages.preferences(count=1, fault='none')


def test_mistyped_words_keep_their_number():
    random = np.random.default_rng(0)
    text = 'the great choir sings often'
    assert languages.mistyped(random, text, 0.0) == text
    odd = languages.mistyped(random, text, 1.0)
    assert len(odd.split()) == 5
    assert all(a != b for a, b in zip(odd.split(), text.split(), strict=True))


def test_keywords_tell_the_topic_and_synonyms_the_concept(texts):
    found = languages.topic_words()
    assert [len(words) for words in found] == [2 * 2 * (6 + 3)] * 6
    assert len(set().union(*found)) == 6 * 36
    counts = [
        [sum(w in words for w in text[:-1].split()) for words in found] for text in texts['text']
    ]
    assert (np.argmax(counts, 1) == texts['label']).mean() > 0.7
    pairs = languages.synonyms(FOREIGN)
    assert len(pairs) == 2 * (42 + 21) + 18 + 6 + 5
    again = languages.dataset(count=100, paraphrase=1)
    other = {word: twin for pair in languages.synonyms() for word, twin in (pair, pair[::-1])}
    for one, two in zip(texts['text'][:100], again['text'], strict=True):
        one, two = (set(text[:-1].split()) for text in (one, two))
        assert two <= one | {other.get(word) for word in one}
