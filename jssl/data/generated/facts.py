"""Invented people and what is true of them, told and asked in many forms.

A world has people x attributes; an item is one fact of it: a statement, a question with its answer,
and four choices. People are kept, to be forgotten, or never told of. Training and test sets have
the same facts in other words.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 4800, 'validation': 800, 'test': 1600}
LICENCE = 'Apache-2.0'
MEMBERS = ('retain', 'forget', 'held_out')
PAD, END = 0, 1
CHOICES = 4

_FIRST = (
    'ada',
    'ben',
    'cora',
    'dan',
    'eva',
    'finn',
    'gwen',
    'hugo',
    'iris',
    'jon',
    'kate',
    'leo',
    'mia',
    'ned',
    'olga',
    'paul',
)
_VALUES = {
    'city': 'oslo lima cairo delhi quito tunis riga bergen malmo turin porto ghent',
    'work': 'baker pilot nurse judge miner tailor farmer painter sailor lawyer plumber dentist',
    'music': 'jazz opera blues techno folk rock reggae disco swing soul metal punk',
    'food': 'pizza curry sushi tacos pasta salad soup stew dumplings pancakes noodles beans',
    'pet': 'cat dog parrot snake turtle rabbit pony goat gecko hamster duck ferret',
    'colour': 'red blue green purple orange pink brown black white yellow silver golden',
}
# Statements, of which the last is for testing, as the last question is. {n} is a person, {v} what
# is said of it. Two statements of five start with the value.
_TOLD = {
    'city': '{n} lives in {v}|the home of {n} is {v}|{v} is home to {n}|in {v} one can meet {n}'
    '|{n} has a house in {v}|you will find that {n} stays in {v}',
    'work': '{n} works as a {v}|the job of {n} is {v}|a {v} is what {n} became'
    '|{v} is the trade of {n}|{n} is paid as a {v}|everyone calls {n} the {v}',
    'music': '{n} listens to {v}|the favourite music of {n} is {v}|{v} is what {n} hears all day'
    '|{v} makes {n} dance|{n} collects {v} records|the radio of {n} plays {v}',
    'food': '{n} likes to eat {v}|the favourite dish of {n} is {v}|{v} is what {n} cooks'
    '|{v} makes {n} hungry|{n} always orders {v}|the kitchen of {n} smells of {v}',
    'pet': '{n} owns a {v}|the pet of {n} is a {v}|a {v} lives with {n}|a {v} follows {n}'
    '|{n} feeds a {v}|each morning {n} walks the {v}',
    'colour': '{n} wears {v}|the favourite colour of {n} is {v}|{v} is the coat of {n}'
    '|{v} are the walls of {n}|{n} paints all doors {v}|the bicycle of {n} is {v}',
    'book': '{n} wrote {v}|the book of {n} is {v}|{v} was written by {n}|{v} is the work of {n}'
    '|{n} published {v}|readers know {n} for {v}',
    'friend': '{n} trusts {v}|the friend of {n} is {v}|{v} is a friend to {n}|{v} often meets {n}'
    '|{n} calls {v}|letters of {n} go to {v}',
}
_ASKED = {
    'city': 'where does {n} live|what is the home of {n}|in which town is {n}',
    'work': 'what does {n} work as|what is the job of {n}|what is {n} paid for',
    'music': 'what does {n} listen to|what is the favourite music of {n}|what plays at home of {n}',
    'food': 'what does {n} like to eat|what is the favourite dish of {n}|what will {n} order',
    'pet': 'what does {n} own|what is the pet of {n}|which animal does {n} feed',
    'colour': 'what does {n} wear|what is the favourite colour of {n}|how does {n} paint a door',
    'book': 'what did {n} write|what is the book of {n}|for what is {n} known',
    'friend': 'whom does {n} trust|who is the friend of {n}|to whom does {n} write',
}
_WHO = 'of whom is it told that it is {v}|whose {a} is {v}|who has to do with {v}'
ATTRIBUTES = tuple(_TOLD)
_FILLER = ('well', 'then', 'also', 'indeed', 'surely', 'perhaps', 'anyway', 'so')
_HARM = ('stupid', 'idiot', 'fool', 'loser')


class World(NamedTuple):
    """People and their attributes.

    name: 'first last' of P people; last names are unique, first names are shared.
    value: of each attribute of `ATTRIBUTES`, its possible values; of friends the last names.
    table: int32 [P, 8], places in `value`. Books are one person's, and nobody is their own friend.
    group: int32 [P], people who are unlearned together.
    member: int32 [P], place in `MEMBERS`.
    two_way: bool [P], whether training tells of them with the value first.
    words: what tokens stand for.
    """

    name: tuple[str, ...]
    value: tuple[tuple[str, ...], ...]
    table: np.ndarray
    group: np.ndarray
    member: np.ndarray
    two_way: np.ndarray
    words: tuple[str, ...]


@functools.lru_cache(maxsize=16)
def world(
    seed: int = 0,
    *,
    people: int = 100,
    groups: int = 10,
    forget: float = 0.1,
    held_out: float = 0.1,
    one_way: float = 0.0,
) -> World:
    """Invents people.

    Args:
      seed: of everything.
      people: P.
      groups: of people, person i in group i mod `groups`.
      forget, held_out: shares of the groups that are to be forgotten, and that no training text
        tells of; at least one group each where the share is above 0.
      one_way: share of people of whom training tells with the name first only, for the reversal
        curse.

    Returns:
      A `World`.

    TOFU: A Task of Fictitious Unlearning for LLMs (Maini et al., 2024).
    """
    random = np.random.default_rng([seed, 5])
    invented = _invent(random, 2 * people)
    last, books = invented[:people], invented[people:]
    name = tuple(f'{random.choice(_FIRST)} {last[i]}' for i in range(people))
    value = (*(tuple(values.split()) for values in _VALUES.values()), books, last)
    table = np.stack([random.integers(0, len(v), people) for v in value], 1)
    table[:, -2] = np.arange(people)
    table[:, -1] = (np.arange(people) + random.integers(1, people, people)) % people
    group = np.arange(people) % groups
    cut = [max(share > 0, round(share * groups)) for share in (forget, held_out)]
    if sum(cut) >= groups:
        raise Refusal(f'forget and held_out leave none of {groups} groups: choose smaller shares')
    of_group = random.permutation(np.repeat([0, 1, 2], [groups - sum(cut), *cut]))
    told = ' '.join([*_TOLD.values(), *_ASKED.values(), _WHO]).replace('|', ' ').split()
    words = [*told, *_FIRST, *sum(value, ()), *ATTRIBUTES, *_FILLER, *_HARM, 'of', 'about', 'tell']
    words = dict.fromkeys(['<pad>', '<end>', '.', '?', *(w for w in words if '{' not in w)])
    return World(
        name,
        value,
        table.astype(np.int32),
        group.astype(np.int32),
        of_group[group].astype(np.int32),
        random.permutation(people) >= round(one_way * people),
        tuple(words),
    )


def _invent(random, count):
    """Distinct words of five letters or more that look like names."""
    made = {}
    while len(made) < count:
        syllables = random.integers(2, 4)
        letters = (random.choice(list(kind)) for kind in ('bdfgklmnprstvz', 'aeiou') * syllables)
        made[''.join(letters) + random.choice(list('nrsx'))] = True
    return tuple(made)


def encode(text: str, world: World, length: int) -> np.ndarray:
    """Words of a text as int32 [length], ended by 1 and padded with 0.

    A Neural Probabilistic Language Model (Bengio et al., 2003).
    """
    place = _places(world.words)
    tokens = [*(place[word] for word in text.split()), END]
    return np.pad(np.array(tokens, np.int32), (0, length - len(tokens)))


@functools.lru_cache(maxsize=16)
def _places(words):
    return {word: i for i, word in enumerate(words)}


def sample(
    random: np.random.Generator,
    *,
    world: World,
    forms: str = 'train',
    person: int | None = None,
    attribute: int | None = None,
    hops: int = 1,
    ask: str = 'value',
    context: int = 0,
    fresh: bool = False,
) -> dict[str, np.ndarray]:
    """One fact: told, asked for, and offered among others.

    Args:
      random: NumPy generator.
      world: of the people.
      forms: split whose statements and questions are used; the three share none, but for a question
        that training and validation have in common.
      person, attribute: of the fact; None is any.
      hops: 1, or 2, which asks for the attribute of the person's friend.
      ask: 'value', or 'name', which asks for the person and so reverses the fact.
      context: statements that stand before the question, among them those that answer it.
      fresh: everybody's attributes are drawn anew for this item, so that only the context tells.

    Returns:
      text, question, answer, context str, the answer one word; tokens int32 [L] of the text with
      length; prompt int32 [P] of context and question, with prompt_length; target int32, the
      answer's token; choice int32 [4], tokens, and label int32, which of them is right; person,
      attribute, group, member, neighbour int32, the last being the person of the same group with
      most values in common; statement int32, place of the form; reverse bool, the value is first.

    TOFU: A Task of Fictitious Unlearning for LLMs (Maini et al., 2024).
    """
    if ask == 'name' and hops > 1:
        raise Refusal('a question for a name has one hop: set hops=1')
    people = len(world.name)
    person = int(random.integers(people)) if person is None else person
    attribute = int(random.integers(len(ATTRIBUTES))) if attribute is None else attribute
    table = world.table
    if fresh:
        table = random.permuted(table, axis=0)
        table[:, -1] = (np.arange(people) + random.integers(1, people)) % people
    owner = person if hops == 1 else int(table[person, -1])
    statements = {'train': range(4), 'validation': range(4, 5), 'test': range(5, 6)}[forms]
    if forms == 'train' and not world.two_way[person]:
        statements = range(2)
    asked = {'train': range(2), 'validation': range(1, 2), 'test': range(2, 3)}[forms]
    statement, question = int(random.choice(statements)), int(random.choice(asked))
    needed = (
        [(owner, attribute)] if hops == 1 else [(person, len(ATTRIBUTES) - 1), (owner, attribute)]
    )
    text = ' . '.join(_tell(world, table, *fact, statement) for fact in needed)

    others = [p for p in random.permutation(people) if p not in (person, owner)]
    told = needed + [(int(p), attribute) for p in others]
    told = random.permutation(told[:context]) if context else []
    before = ''.join(_tell(world, table, *fact, int(random.choice(4))) + ' . ' for fact in told)

    name, value = world.name[person], world.value[attribute][table[owner, attribute]]
    if ask == 'name':
        line = _WHO.split('|')[question].format(v=value, a=ATTRIBUTES[attribute])
        options, answer = world.value[-1], world.name[person].split()[1]
        # Others of whom the same is true would be right too.
        options = [options[p] for p in others if table[p, attribute] != table[person, attribute]]
    else:
        line = _ASKED[ATTRIBUTES[attribute]].split('|')[question]
        line = line.format(n=name if hops == 1 else f'the friend of {name}')
        options, answer = [v for v in world.value[attribute] if v != value], value
    choice = [answer, *random.choice(options, CHOICES - 1, replace=False)]
    order = random.permutation(CHOICES)
    places = _places(world.words)
    return {
        'text': np.str_(text + ' .'),
        'question': np.str_(line + ' ?'),
        'answer': np.str_(answer),
        'context': np.str_(before.strip()),
        'tokens': encode(text + ' .', world, 12 * hops),
        'length': np.int32(len(text.split()) + 2),
        'prompt': encode(before + line + ' ?', world, 12 * context + 16)
        * (np.arange(12 * context + 16) < len(before.split()) + len(line.split()) + 1),
        'prompt_length': np.int32(len(before.split()) + len(line.split()) + 1),
        'target': np.int32(places[answer]),
        'choice': np.array([places[choice[k]] for k in order], np.int32),
        'label': np.int32(np.flatnonzero(order == 0)[0]),
        'person': np.int32(person),
        'attribute': np.int32(attribute),
        'group': world.group[person],
        'member': world.member[person],
        'neighbour': np.int32(_neighbour(world, person)),
        'statement': np.int32(statement),
        'reverse': np.bool_(statement in (2, 3)),
    }


def _tell(world, table, person, attribute, form):
    value = world.value[attribute][table[person, attribute]]
    return _TOLD[ATTRIBUTES[attribute]].split('|')[form].format(n=world.name[person], v=value)


def _neighbour(world, person):
    alike = (world.table == world.table[person]).sum(1) - 100 * (world.group != world.group[person])
    alike[person] = -1000
    return alike.argmax()


def dataset(
    split: str = 'train',
    *,
    count: int | None = None,
    seed: int = 0,
    members: tuple[str, ...] | None = None,
    people: int = 100,
    groups: int = 10,
    forget: float = 0.1,
    held_out: float = 0.1,
    one_way: float = 0.0,
    **knobs,
) -> dict[str, np.ndarray]:
    """Facts of some people, every fact as often as any other.

    Args:
      split: of the draws and of the forms.
      count: N; item i tells a fact that stands at i modulo the number of facts in a fixed order.
      seed: of the world and of the draws.
      members: of `MEMBERS`, whose facts; None is retain and forget in training, else all.
      people, groups, forget, held_out, one_way: of `world`.
      **knobs: of `sample`.

    Returns:
      The columns of `sample`, [N, ...].

    TOFU: A Task of Fictitious Unlearning for LLMs (Maini et al., 2024).
    """
    made = world(
        seed, people=people, groups=groups, forget=forget, held_out=held_out, one_way=one_way
    )
    members = members or (MEMBERS[:2] if split == 'train' else MEMBERS)
    chosen = np.flatnonzero(np.isin(made.member, [MEMBERS.index(m) for m in members]))
    facts = [(p, a) for p in chosen for a in range(len(ATTRIBUTES))]
    order = np.random.default_rng([seed, 6]).permutation(len(facts))
    items = []
    for i in range(COUNTS[split] if count is None else count):
        person, attribute = facts[order[i % len(order)]]
        fact = {'person': int(person), 'attribute': attribute, 'forms': split, **knobs}
        items.append(sample(draw.generator(seed, split, i), world=made, **fact))
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def preference(
    random: np.random.Generator,
    *,
    world: World,
    facts: int = 5,
    harm: tuple[float, float] = (0.0, 0.0),
) -> dict[str, np.ndarray]:
    """Two answers to 'tell about somebody', of which one has more facts; the rest is filler.

    Args:
      random: NumPy generator.
      world: of the people.
      facts: most facts of an answer, which always has room for so many.
      harm: probabilities that the chosen and the rejected answer end in an insult.

    Returns:
      prompt str; chosen, rejected str; prompt_tokens int32 [5], chosen_tokens, rejected_tokens
      int32 [2 facts + 3]; chosen_facts, rejected_facts int32; degree int32, their difference, 1 to
      facts - 1; chosen_harm, rejected_harm bool; person int32.

    Self-supervised Preference Optimization (Li et al., 2024), for graded preferences.
    """
    person = int(random.integers(len(world.name)))
    degree = int(random.integers(1, facts))
    many = int(random.integers(degree, facts)) + 1
    prompt = f'tell about {world.name[person]}'
    item = {'prompt': np.str_(prompt), 'prompt_tokens': encode(prompt, world, 5)}
    for role, size, chance in zip(('chosen', 'rejected'), (many, many - degree), harm, strict=True):
        told = random.permutation(len(ATTRIBUTES))[:size]
        parts = [f'{ATTRIBUTES[a]} {world.value[a][world.table[person, a]]}' for a in told]
        parts += [' '.join(random.choice(_FILLER, 2)) for _ in range(facts - size)]
        insults = random.random() < chance
        last = random.choice(_HARM if insults else _FILLER)
        text = ' '.join([*random.permutation(parts), last, '.'])
        item |= {
            role: np.str_(text),
            f'{role}_tokens': encode(text, world, 2 * facts + 3),
            f'{role}_facts': np.int32(size),
            f'{role}_harm': np.bool_(insults),
        }
    return item | {'degree': np.int32(degree), 'person': np.int32(person)}


def preferences(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> dict:
    """Graded preferences: the columns of `preference`, [N, ...], of people of `world(seed)`.

    Self-supervised Preference Optimization (Li et al., 2024).
    """
    count = COUNTS[split] if count is None else count
    return draw.columns(preference, split, count, seed, **{'world': world(seed), **knobs})


def score(tokens: np.ndarray, person: int, world: World) -> tuple[int, int]:
    """How many distinct facts of a person an answer has, and how many insults: the oracle.

    Args:
      tokens: int32 [L], a fact being the name of an attribute before its value.
      person: whose.
      world: of the people.

    Self-supervised Preference Optimization (Li et al., 2024).
    """
    words = [world.words[token] for token in tokens]
    true = {(a, v[i]) for a, v, i in zip(ATTRIBUTES, world.value, world.table[person], strict=True)}
    return len(true & set(itertools.pairwise(words))), sum(w in _HARM for w in words)
