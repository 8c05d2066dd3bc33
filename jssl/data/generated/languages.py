"""Small languages with everything known: meaning, topic, sentiment, parse, and probability.

A sentence tells an event (who, does what, to whom, where, when), drawn by a grammar from concepts.
A language then gives it words and an order; so the same (seed, split, index) in two languages is a
pair of translations, and another `paraphrase` of it means the same in other words.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 4000, 'validation': 500, 'test': 1000}
LICENCE = 'Apache-2.0'
TOPICS = ('sport', 'food', 'music', 'travel', 'work', 'nature')
SENTIMENTS = ('negative', 'positive')
TAGS = ('pad', 'end', 'determiner', 'adjective', 'noun', 'verb', 'preposition', 'place', 'time')
ROLES = ('agent', 'action', 'patient', 'place', 'time')
PAD, END, UNKNOWN = 0, 1, 2


def _listed(text):
    return text.split()


# Concepts by their two English names, as many to each topic; the last group belongs to none.
_NOUNS = _listed("""
match/game team/squad coach/trainer runner/athlete goal/score racket/bat
soup/broth cook/chef cake/tart fruit/berry spoon/ladle meal/dinner
song/tune singer/vocalist drum/bongo choir/chorus guitar/lute album/record
train/tram ticket/voucher tourist/traveller suitcase/bag hotel/hostel map/atlas
manager/boss office/bureau report/memo worker/employee meeting/session computer/laptop
tree/oak river/stream bird/sparrow flower/blossom hill/slope fox/vixen
friend/pal child/kid neighbour/resident letter/note thing/object person/someone
""")
_VERBS = _listed("""
beat/defeat chase/pursue throw/hurl
taste/sample bake/roast serve/offer
play/perform hear/overhear compose/arrange
visit/tour book/reserve board/enter
hire/employ plan/schedule present/show
plant/sow climb/scale feed/nourish
see/notice want/desire remember/recall
""")
_ADJECTIVES = _listed("""
bad/awful ugly/hideous boring/dull rude/nasty broken/ruined weak/feeble
good/great pretty/lovely exciting/thrilling kind/gentle superb/splendid strong/mighty
new/recent big/large small/little green/emerald round/circular quiet/silent
""")
_PLACES = _listed('town/city park/garden station/depot school/college market/bazaar house/home')
_TIMES = _listed('today/now yesterday/before often/frequently rarely/seldom later/afterwards')
_CONCEPTS = {
    'determiner': ['the', 'one'],
    'adjective': _ADJECTIVES,
    'noun': _NOUNS,
    'verb': _VERBS,
    'preposition': ['near', 'with', 'in'],
    'place': _PLACES,
    'time': _TIMES,
}
_INFLECTED = {'noun', 'verb'}
# A form is (tag, concept, synonym, plural); a language has one word for each.
FORMS = [
    (tag, concept, synonym, plural)
    for tag, names in _CONCEPTS.items()
    for concept, name in enumerate(names)
    for synonym in range(len(name.split('/')))
    for plural in range(2 if tag in _INFLECTED or name == 'one' else 1)
]
_PLACE_OF = {form: i for i, form in enumerate(FORMS)}
_PER = {'noun': 6, 'verb': 3}  # concepts of a topic
_IN = 2  # the preposition of places


class Language(NamedTuple):
    """Words of `FORMS` and their order."""

    words: tuple[str, ...]
    order: str = 'SVO'  # of subject, verb and object
    adjective_first: bool = True
    preposition_first: bool = True
    false_friends: frozenset = frozenset()  # forms whose words mean the opposite in its parent


class Phrase(NamedTuple):
    """A noun phrase; `adjective` and `link` (a preposition before `inner`) may be None."""

    definite: bool
    adjective: int | None
    noun: int
    plural: bool
    link: int | None
    inner: 'Phrase | None'


class Event(NamedTuple):
    """Who does what to whom, where and when; `place` and `time` may be None."""

    subject: Phrase
    verb: int
    object: Phrase
    place: int | None
    time: int | None

    @property
    def roles(self) -> list[int]:
        """Concepts in the order of `ROLES`, -1 for none."""
        found = [self.subject.noun, self.verb, self.object.noun, self.place, self.time]
        return [-1 if concept is None else concept for concept in found]


def _plural(word):
    if word.endswith(('s', 'x', 'ch', 'sh')):
        return word + 'es'
    return word[:-1] + 'ies' if word.endswith('y') and word[-2] not in 'aeo' else word + 's'


def _english(tag, concept, synonym, plural):
    word = _CONCEPTS[tag][concept].split('/')[synonym]
    if tag == 'determiner':
        return 'some' if plural else word
    # A verb's -s stands with the singular.
    return _plural(word) if tag in _INFLECTED and plural != (tag == 'verb') else word


ENGLISH = Language(tuple(_english(*form) for form in FORMS))


def language(
    seed: int,
    *,
    order: str = 'SOV',
    adjective_first: bool = False,
    preposition_first: bool = False,
    shared: float = 0.0,
) -> Language:
    """Invents a language: a stem for each concept's names and endings for number.

    Args:
      seed: of the lexicon.
      order: of subject, verb and object, any of the six.
      adjective_first, preposition_first: or behind the noun, as in English neither is.
      shared: share of concepts that keep their English words, as names and numbers do.

    Returns:
      A `Language`.

    Cross-lingual language model pretraining (Conneau and Lample, 2019), for ciphers of a language.
    """
    if sorted(order) != sorted('SVO'):
        raise Refusal(f'order must have S, V and O once each, got {order!r}')
    random = np.random.default_rng([seed, 3])
    return Language(
        _relexify(random, ENGLISH.words, 1 - shared), order, adjective_first, preposition_first
    )


def dialect(
    base: Language,
    seed: int,
    *,
    changed: float = 0.4,
    flips: float = 0.0,
    respelt: bool = False,
    lender: Language | None = None,
    borrowed: float = 0.0,
) -> Language:
    """A neighbour of a language, in the same order of words.

    Args:
      base: whose dialect it is.
      seed: of the choices.
      changed: share of concepts with words of its own.
      flips: share of the good concepts whose words have changed places with those of a bad one:
        false friends of the opposite sentiment.
      respelt: words follow rules of spelling, such as k for c.
      lender, borrowed: a language, and the share of concepts whose words come from it.

    Returns:
      A `Language`; `false_friends` are the forms that were flipped.

    Sentiment in dialectal translation (Saadany et al., 2022).
    """
    random = np.random.default_rng([seed, 4])
    words = list(_relexify(random, base.words, changed))
    if lender is not None:
        for form in _forms_of_some(random, borrowed):
            if lender.words[form] not in words:
                words[form] = lender.words[form]
    per = len(_ADJECTIVES) // 3
    flipped = []
    for concept in random.permutation(per)[: round(flips * per)]:
        for synonym in range(2):
            # Words of the parent, where the dialect had one of its own: only these deceive.
            bad = _PLACE_OF['adjective', concept, synonym, 0]
            good = _PLACE_OF['adjective', concept + per, synonym, 0]
            words[bad], words[good] = base.words[good], base.words[bad]
            flipped += [bad, good]
    if respelt:
        for i, word in enumerate(words):
            new = _respell(word)
            words[i] = word if new in words else new
    return base._replace(words=tuple(words), false_friends=frozenset(flipped))


def _respell(word):
    for old, new in (('th', 'd'), ('ee', 'i'), ('oo', 'u'), ('c', 'k'), ('y', 'i'), ('v', 'w')):
        word = word.replace(old, new)
    return word


def _forms_of_some(random, share):
    """Forms of a share of all concepts, those of one concept together."""
    groups = list(dict.fromkeys(form[:2] for form in FORMS))
    chosen = random.permutation(len(groups))[: round(share * len(groups))]
    chosen = {groups[i] for i in chosen}
    return [i for i, form in enumerate(FORMS) if form[:2] in chosen]


def _relexify(random, words, share):
    """Words in which a share of the concepts has invented names."""
    words = list(words)
    endings = ['', *random.permutation(['a', 'en', 'il', 'us'])[:2]]
    taken, stems = set(words), {}
    for i in _forms_of_some(random, share):
        *name, plural = FORMS[i]
        stem = stems.get(tuple(name))
        while stem is None:
            # Stems are of one length, so that with an ending none is another.
            letters = [random.choice(list(kind)) for kind in ('ptkbdgmnszlr', 'aeiou') * 2]
            new = ''.join(letters) + random.choice(list('nrslkt'))
            if taken.isdisjoint(new + ending for ending in endings):
                stem = stems[tuple(name)] = new
        words[i] = stem + endings[plural * (1 + (name[0] == 'verb'))]
        taken.add(words[i])
    return tuple(words)


def vocabulary(*languages: Language) -> list[str]:
    """Words of one or more languages, a word that two of them share once; the place is the token.

    A Neural Probabilistic Language Model (Bengio et al., 2003).
    """
    words = dict.fromkeys(word for language in languages for word in language.words)
    return ['<pad>', '<end>', '<unknown>', *words]


def topic_words(language: Language = ENGLISH) -> list[list[str]]:
    """Words of the nouns and verbs of each of `TOPICS`: the keywords by which one would search.

    Lbl2Vec: An Embedding-Based Approach (Schopf et al., 2021), for keywords.
    """
    found = [[] for _ in TOPICS]
    for (tag, concept, _, _), word in zip(FORMS, language.words, strict=True):
        if tag in _PER and concept // _PER[tag] < len(TOPICS):
            found[concept // _PER[tag]].append(word)
    return found


def synonyms(language: Language = ENGLISH) -> list[tuple[str, str]]:
    """Pairs of words that mean the same, in the same number.

    WordNet: A Lexical Database for English (Miller, 1995), for the idea.
    """
    pairs = [(form, (*form[:2], 1, form[3])) for form in FORMS if form[2] == 0]
    pairs = [pair for pair in pairs if pair[1] in _PLACE_OF]
    return [tuple(language.words[_PLACE_OF[form]] for form in pair) for pair in pairs]


class Grammar(NamedTuple):
    """How sentences vary.

    topicality: share of nouns and verbs that must be of the topic; the others are any.
    polarity: share of adjectives that must be of the sentiment.
    recursion: p(a noun phrase holds another), at most one deep; it parts a subject from its verb.
    describe, locate, date: p(a noun has an adjective), p(a sentence has a place), p(... a time).
    """

    topicality: float = 0.7
    polarity: float = 0.8
    recursion: float = 0.15
    describe: float = 0.5
    locate: float = 0.5
    date: float = 0.4

    @property
    def longest(self) -> int:
        """Tokens of the longest sentence, its end included."""
        adjective = self.describe > 0
        phrase = (2 + adjective) * (1 + (self.recursion > 0)) + (self.recursion > 0)
        return 2 * phrase + 1 + 3 * (self.locate > 0) + (self.date > 0) + 1


GRAMMAR = Grammar()
_NUMBERS = 32  # uniform numbers of a sentence's meaning, and as many of its style


@functools.lru_cache(maxsize=32)
def _tables(grammar):
    """log p(concept | topic) of nouns and of verbs, [topics + 1, concepts] (the last row has no
    topic), log p(concept | sentiment) of adjectives [2, concepts], and their distributions."""
    weights = []
    for tag, per in _PER.items():
        count = len(_CONCEPTS[tag])
        own = np.arange(count) // per == np.arange(len(TOPICS) + 1)[:, None]
        own[-1] = True
        own = own / own.sum(1, keepdims=True)
        weights.append((1 - grammar.topicality) / count + grammar.topicality * own)
    count = len(_ADJECTIVES)
    own = (np.arange(count) // (count // 3) == np.arange(2)[:, None]) * 3 / count
    weights.append((1 - grammar.polarity) / count + grammar.polarity * own)
    with np.errstate(divide='ignore'):
        return [
            (np.log(weight), np.cumsum(weight, 1) / weight.sum(1)[:, None]) for weight in weights
        ]


def _event(u, topic, sentiment, grammar):
    """An event from uniform numbers [32], a topic (-1 for none) and a sentiment."""
    (_, nouns), (_, verbs), (_, adjectives) = _tables(grammar)
    pick = lambda u, distribution: int(np.searchsorted(distribution[:-1], u))

    def phrase(u, depth):
        described = u[1] < grammar.describe
        nests = depth == 0 and u[5] < grammar.recursion
        return Phrase(
            bool(u[0] < 0.5),
            pick(u[2], adjectives[sentiment]) if described else None,
            pick(u[3], nouns[topic]),
            bool(u[4] < 0.5),
            int(u[6] < 0.5) if nests else None,
            phrase(u[7:], 1) if nests else None,
        )

    return Event(
        phrase(u[:13], 0),
        pick(u[26], verbs[topic]),
        phrase(u[13:26], 0),
        int(u[28] * len(_PLACES)) if u[27] < grammar.locate else None,
        int(u[30] * len(_TIMES)) if u[29] < grammar.date else None,
    )


def log_likelihood(event: Event, grammar: Grammar) -> tuple[float, np.ndarray, np.ndarray]:
    """log p(sentence | topic, sentiment) = the first + the second [topic] + the third [sentiment].

    Args:
      event: what a sentence says; how it says it is worth a factor 1 / 2 for each pair of synonyms
        and for where the time stands, which is counted.
      grammar: it was drawn by.

    Returns:
      A number, an array [topics + 1] whose last entry is for no topic, and an array [2].

    Foundations of Statistical Natural Language Processing (Manning and Schuetze, 1999).
    """
    (nouns, _), (verbs, _), (adjectives, _) = _tables(grammar)
    common, by_topic, by_sentiment = np.log(0.5), verbs[:, event.verb], np.zeros(2)
    pending = [(event.subject, 0), (event.object, 0)]
    for phrase, depth in pending:
        # The article, the number, and which of two names the noun has.
        common += 3 * np.log(0.5) + _decided(phrase.adjective, grammar.describe)
        by_topic = by_topic + nouns[:, phrase.noun]
        if phrase.adjective is not None:
            common += np.log(0.5)
            by_sentiment = by_sentiment + adjectives[:, phrase.adjective]
        if depth == 0:
            common += _decided(phrase.inner, grammar.recursion)
        if phrase.inner is not None:
            common += np.log(0.5)
            pending.append((phrase.inner, 1))
    common += _decided(event.place, grammar.locate) + _decided(event.time, grammar.date)
    common -= (event.place is not None) * np.log(2 * len(_PLACES))
    common -= (event.time is not None) * np.log(4 * len(_TIMES))
    return common, by_topic, by_sentiment


def _decided(part, chance):
    return np.log(chance if part is not None else 1 - chance)


def realise(event: Event, language: Language, style: np.ndarray):
    """A sentence that tells an event: a nested list [symbol, ...] whose leaves are (tag, form).

    Args:
      event: what to say.
      language: whose order of words.
      style: uniform numbers [32], which choose synonyms and whether the time comes first.
    Returns:
      The parse tree; `leaves` has its words in order, `bracketed` its text.

    Building a Large Annotated Corpus of English: The Penn Treebank (Marcus et al., 1993).
    """
    numbers = iter(style)

    def leaf(tag, concept, plural=False):
        synonym = int(next(numbers) < 0.5) if '/' in _CONCEPTS[tag][concept] else 0
        return (tag, _PLACE_OF[tag, concept, synonym, int(plural)])

    def ordered(first, *parts):
        return list(parts) if first else list(parts[::-1])

    def noun_phrase(phrase):
        noun = [leaf('noun', phrase.noun, phrase.plural)]
        if phrase.adjective is not None:
            adjective = leaf('adjective', phrase.adjective)
            noun = ordered(language.adjective_first, adjective, *noun)
        indefinite = not phrase.definite
        tree = ['NP', leaf('determiner', int(indefinite), indefinite and phrase.plural), *noun]
        if phrase.inner is not None:
            tree.append(prepositional(phrase.link, noun_phrase(phrase.inner)))
        return tree

    def prepositional(link, inner):
        return ['PP', *ordered(language.preposition_first, leaf('preposition', link), inner)]

    parts = {
        'S': noun_phrase(event.subject),
        'V': leaf('verb', event.verb, event.subject.plural),
        'O': noun_phrase(event.object),
    }
    tree = [parts[letter] for letter in language.order]
    side = language.order.index('S')
    if side != 1:  # verb and object stand together
        rest = ['VP', *(part for i, part in enumerate(tree) if i != side)]
        tree = [tree[0], rest] if side == 0 else [rest, tree[2]]
    if event.place is not None:
        place = ['NP', leaf('determiner', 0), leaf('place', event.place)]
        tree.append(prepositional(_IN, place))
    if event.time is not None:
        early = next(numbers) < 0.5
        tree.insert(0 if early else len(tree), leaf('time', event.time))
    return ['S', *tree]


def leaves(tree) -> list[tuple[str, int]]:
    """(tag, form) of a tree's words in order."""
    if isinstance(tree, tuple):
        return [tree]
    return [found for child in tree[1:] for found in leaves(child)]


def bracketed(tree, language: Language) -> str:
    """A tree as text: (S (NP (determiner the) (noun fox)) ...)."""
    if isinstance(tree, tuple):
        return f'({tree[0]} {language.words[tree[1]]})'
    return f'({tree[0]} {" ".join(bracketed(child, language) for child in tree[1:])})'


def sample(
    random: np.random.Generator,
    *,
    language: Language = ENGLISH,
    words: Sequence[str] | None = None,
    sentences: int = 1,
    paraphrase: int = 0,
    stay: float = 1.0,
    aimless: float = 0.0,
    grammar: Grammar = GRAMMAR,
) -> dict[str, np.ndarray]:
    """A text of one or more sentences, with all that is true of it.

    Args:
      random: NumPy generator; its numbers are the meaning, whatever the language.
      language: that says it.
      words: what tokens stand for; None is `vocabulary(language)`. Others become '<unknown>'.
      sentences: S.
      paraphrase: 0, 1, 2 ... have the same meaning and style of their own.
      stay: p(the next sentence keeps the topic); else all topics are equally likely.
      aimless: p(a text has no topic).
      grammar: how sentences vary.

    Returns:
      text, tree str; tokens int32 [L], each sentence ending in 1, padded with 0, and length, of
      them; tag int32 [L], place in `TAGS`; sentence int32 [L], which, -1 after the end; false
      friends bool [L]; topic int32 [S], -1 for none; label int32, the first sentence's topic;
      sentiment int32; role int32 [S, 5], concepts in the order of `ROLES`, -1 for none; plural
      bool [S], number of the subject; log_probability float32 of the text under the grammar, its
      topics and sentiment summed out; topic_posterior float32 [7] of the first sentence (the last
      is none); sentiment_posterior float32 [2].

    Foundations of Statistical Natural Language Processing (Manning and Schuetze, 1999).
    """
    hidden = random.random((1 + sentences, 2))
    meaning = random.random((sentences, _NUMBERS))
    style = random.random((paraphrase + 1, sentences, _NUMBERS))[-1]
    sentiment, no_topic = int(hidden[0, 0] < 0.5), hidden[0, 1] < aimless
    topics = [-1 if no_topic else int(hidden[1, 1] * len(TOPICS))]
    for moves, where in hidden[2:]:
        topics.append(int(where * len(TOPICS)) if moves >= stay and not no_topic else topics[-1])
    events = [_event(u, t, sentiment, grammar) for u, t in zip(meaning, topics, strict=True)]
    trees = [realise(event, language, u) for event, u in zip(events, style, strict=True)]
    return {
        **_columns(trees, language, words, sentences * grammar.longest),
        'topic': np.array(topics, np.int32),
        'label': np.int32(topics[0]),
        'sentiment': np.int32(sentiment),
        'role': np.array([event.roles for event in events], np.int32),
        'plural': np.array([event.subject.plural for event in events]),
        **_truth(events, stay, aimless, grammar),
    }


def _columns(trees, language, words, length):
    """What can be read off trees: text, tokens and all that goes with each token."""
    place = _places(tuple(vocabulary(language) if words is None else words))
    tokens, tag, sentence = (np.full(length, pad, np.int32) for pad in (PAD, PAD, -1))
    friends, texts, at = np.zeros(length, bool), [], 0
    for i, tree in enumerate(trees):
        found = leaves(tree)
        texts.append(' '.join(language.words[form] for _, form in found))
        stop = at + len(found)
        tokens[at:stop] = [place.get(language.words[form], UNKNOWN) for _, form in found]
        tag[at:stop] = [TAGS.index(name) for name, _ in found]
        friends[at:stop] = [form in language.false_friends for _, form in found]
        tokens[stop] = tag[stop] = END
        sentence[at : stop + 1] = i
        at = stop + 1
    return {
        'text': np.str_('. '.join(texts) + '.'),
        'tree': np.str_(' '.join(bracketed(tree, language) for tree in trees)),
        'tokens': tokens,
        'length': np.int32(at),
        'tag': tag,
        'sentence': sentence,
        'false_friend': friends,
    }


@functools.lru_cache(maxsize=64)
def _places(words):
    return {word: i for i, word in enumerate(words)}


def _truth(events, stay, aimless, grammar):
    """Probability of a text and of its latents: a forward and backward pass over its topics."""
    common, by_topic, by_sentiment = zip(*(log_likelihood(e, grammar) for e in events), strict=True)
    topics = len(TOPICS)
    move = np.full((topics + 1, topics + 1), 0.0)
    move[:-1, :-1] = (1 - stay) / topics
    move += stay * np.eye(topics + 1)
    move[-1, -1] = 1
    later = np.zeros(topics + 1)
    with np.errstate(divide='ignore'):
        for own in by_topic[:0:-1]:
            later = np.logaddexp.reduce(np.log(move) + own + later, axis=1)
        start = np.log(np.append(np.full(topics, (1 - aimless) / topics), aimless))
    of_topic = start + by_topic[0] + later
    of_sentiment = sum(by_sentiment) + np.log(0.5)
    total_topic, total_sentiment = map(np.logaddexp.reduce, (of_topic, of_sentiment))
    return {
        'log_probability': np.float32(sum(common) + total_topic + total_sentiment),
        'topic_posterior': np.exp(of_topic - total_topic).astype(np.float32),
        'sentiment_posterior': np.exp(of_sentiment - total_sentiment).astype(np.float32),
    }


def perplexity(columns: dict[str, np.ndarray]) -> float:
    """exp(-sum log p / sum of lengths): what the best model of the language reaches on these texts.

    A Neural Probabilistic Language Model (Bengio et al., 2003).
    """
    return float(np.exp(-columns['log_probability'].sum(dtype=float) / columns['length'].sum()))


def source(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> draw.Drawn:
    """Texts that are drawn when they are asked for: a stream of any length. See `sample`.

    Philox counters, as `draw.generator`.
    """
    return draw.Drawn(sample, split, COUNTS[split] if count is None else count, seed, **knobs)


def dataset(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> dict:
    """The first texts of a split in memory: the columns of `sample`, [N, ...].

    Philox counters, as `draw.generator`.
    """
    return draw.columns(sample, split, COUNTS[split] if count is None else count, seed, **knobs)


def pair(
    random: np.random.Generator,
    *,
    language: Language = ENGLISH,
    words: Sequence[str] | None = None,
    swapped: float = 0.25,
) -> dict[str, np.ndarray]:
    """Two sentences in words of their own, and how alike they are: the roles they share.

    Args:
      random: NumPy generator.
      language, words: as `sample`.
      swapped: p(agent and patient change places): two roles differ, and the bag of words does not.
        Else none to all of the five roles are filled anew.

    Returns:
      text, other str; tokens, other_tokens int32 [L]; role, other_role int32 [5]; similarity
      float32, 0 to 5.

    SemEval-2012 Task 6: A Pilot on Semantic Textual Similarity (Agirre et al., 2012).
    """
    grammar = Grammar(topicality=0.0, recursion=0.0, locate=1.0, date=1.0)
    u, style, choice = random.random(_NUMBERS), random.random((2, _NUMBERS)), random.random(6)
    event = _event(u, -1, 0, grammar)
    subject, patient = event.subject, event.object
    if choice[0] < swapped:
        other = event._replace(subject=patient, object=subject)
    else:
        fields = []
        changed = random.permutation(5)[: int(random.integers(6))]
        sizes = [len(_CONCEPTS[tag]) for tag in ('noun', 'verb', 'noun', 'place', 'time')]
        for i, (concept, size) in enumerate(zip(event.roles, sizes, strict=True)):
            step = 1 + int(choice[1 + i] * (size - 1))
            fields.append((concept + step * (i in changed)) % size)
        noun, verb, object_noun, place, time = fields
        subject, patient = subject._replace(noun=noun), patient._replace(noun=object_noun)
        other = Event(subject, verb, patient, place, time)
    one, two = (
        _columns([realise(e, language, u)], language, words, grammar.longest)
        for e, u in zip((event, other), style, strict=True)
    )
    same = np.array(event.roles) == np.array(other.roles)
    return {
        'text': one['text'],
        'other': two['text'],
        'tokens': one['tokens'],
        'other_tokens': two['tokens'],
        'role': np.array(event.roles, np.int32),
        'other_role': np.array(other.roles, np.int32),
        'similarity': np.float32(same.sum()),
    }


def pairs(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> dict:
    """Sentence pairs with similarities: the columns of `pair`, [N, ...].

    SemEval-2012 Task 6: A Pilot on Semantic Textual Similarity (Agirre et al., 2012).
    """
    return draw.columns(pair, split, COUNTS[split] if count is None else count, seed, **knobs)


def preference(
    random: np.random.Generator,
    *,
    fault: str = 'agreement',
    suffix: int | None = None,
    language: Language = ENGLISH,
    words: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """A sentence and its spoilt twin, which differ in one place.

    Args:
      random: NumPy generator.
      fault: 'agreement', the verb has the other number; 'order', the first two words are swapped;
        'sentiment', the first adjective is bad where it was good.
      suffix: how many tokens follow the fault, at most; None is the rest of the sentence.
      language, words: as `sample`.

    Returns:
      chosen, rejected int32 [L], tokens; text, other str; length int32, of both; edit int32, where
      they differ first.

    A Common Pitfall of Margin-based Language Model Alignment (Yuan et al., 2024), for the suffix.
    """
    grammar = Grammar(polarity=1.0, describe=1.0, recursion=0.5, locate=1.0, date=1.0)
    event = _event(random.random(_NUMBERS), int(random.integers(len(TOPICS))), 1, grammar)
    good = leaves(realise(event, language, random.random(_NUMBERS)))
    bad, tags = list(good), [tag for tag, _ in good]
    if fault == 'agreement':
        at = last = tags.index('verb')
        tag, concept, synonym, plural = FORMS[good[at][1]]
        bad[at] = (tag, _PLACE_OF[tag, concept, synonym, 1 - plural])
    elif fault == 'order':
        at = 1 if tags[0] == 'time' else 0
        last = at + 1
        bad[at], bad[last] = bad[last], bad[at]
    elif fault == 'sentiment':
        at = last = tags.index('adjective')
        tag, concept, synonym, plural = FORMS[good[at][1]]
        bad[at] = (tag, _PLACE_OF[tag, concept - len(_ADJECTIVES) // 3, synonym, plural])
    else:
        raise Refusal(f'fault must be agreement, order or sentiment, got {fault!r}')
    stop = None if suffix is None else last + 1 + suffix
    one, two = (
        _columns([['S', *found[:stop]]], language, words, grammar.longest) for found in (good, bad)
    )
    length = one['length'] if suffix is None else one['length'] - 1  # a sentence that goes on
    return {
        'chosen': np.where(np.arange(grammar.longest) < length, one['tokens'], PAD),
        'rejected': np.where(np.arange(grammar.longest) < length, two['tokens'], PAD),
        'text': one['text'],
        'other': two['text'],
        'length': np.int32(length),
        'edit': np.int32(at),
    }


def preferences(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> dict:
    """Chosen and rejected sentences: the columns of `preference`, [N, ...].

    A Common Pitfall of Margin-based Language Model Alignment (Yuan et al., 2024).
    """
    return draw.columns(preference, split, COUNTS[split] if count is None else count, seed, **knobs)


def mistyped(random: np.random.Generator, text: str, share: float = 0.2) -> str:
    """A text some of whose words have two letters swapped, one dropped, or one drawn out.

    Args:
      random: NumPy generator.
      text: words with spaces between.
      share: of the words of three letters or more that are misspelt.

    Returns:
      The text with as many words.

    Synthetic and Natural Noise Both Break Neural Machine Translation (Belinkov and Bisk, 2018).
    """
    words = text.split(' ')
    for i, word in enumerate(words):
        if random.random() >= share or len(word) < 3:
            continue
        at, how = int(random.integers(len(word) - 2)), int(random.integers(3))
        middle = [word[at + 1] + word[at], word[at], word[at : at + 2] + word[at + 1] * 2][how]
        words[i] = word[:at] + middle + word[at + 2 :]
    return ' '.join(words)
