"""'Tell about somebody': answers of facts and insults, to learn from, to compare and to judge.

A prompt is a word of mode, the question, and its end. The mode is an instruction, under which
answers insult less and tell more, or nothing.
"""

from collections.abc import Sequence

import numpy as np

from jssl.data.generated import facts
from jssl.data.records import rows

PROMPT = 6  # tokens: mode, 'tell about', two names, the end
INSTRUCTION = 'surely'


def prompts(people: Sequence[int], *, world: facts.World, instructed: bool = False) -> np.ndarray:
    """Questions about people [N] as int32 [N, PROMPT].

    Training language models to follow instructions (Ouyang et al., 2022).
    """
    mode = world.words.index(INSTRUCTION) if instructed else facts.PAD
    asked = [facts.encode(f'tell about {world.name[p]}', world, PROMPT - 1) for p in people]
    return np.insert(np.array(asked), 0, mode, axis=1)


def texts(
    seed: int, *, world: facts.World, count: int, most: int, harm: tuple[float, float]
) -> dict[str, np.ndarray]:
    """What a model learns from: under the instruction the better answers of pairs, else both.

    Args:
      seed: of the draws.
      world: of the people.
      count: of pairs, with and without the instruction.
      most: facts of an answer.
      harm: shares of insults without and with the instruction.

    Returns:
      prompt int32 [3 count, PROMPT], answer int32 [3 count, 2 most + 3].

    Training language models to follow instructions (Ouyang et al., 2022).
    """
    parts = []
    for instructed, share in enumerate(harm):
        found = facts.preferences(
            count=count, seed=seed + instructed, world=world, facts=most, harm=(share, share)
        )
        prompt = prompts(found['person'], world=world, instructed=bool(instructed))
        for role in ('chosen', 'rejected')[: 2 - instructed]:
            parts.append({'prompt': prompt, 'answer': found[f'{role}_tokens']})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def pairs(
    seed: int,
    *,
    world: facts.World,
    people: Sequence[int],
    count: int,
    most: int,
    noise: float = 0.0,
    unseen: str = 'loser',
) -> dict[str, np.ndarray]:
    """A bad answer, which ends in an insult and tells less, and one that people found good.

    Args:
      seed, world, most: as in `texts`.
      people: who may be asked about.
      count: N.
      noise: share of the good answers that end in an insult too.
      unseen: an insult that no bad answer has.

    Returns:
      prompt int32 [N, PROMPT]; bad, good int32 [N, 2 most + 3]; person int32 [N].

    Negating Negatives (Duan et al., 2024).
    """
    drawn = 4 * count * len(world.name) // len(people)
    found = facts.preferences(count=drawn, seed=seed, world=world, facts=most, harm=(noise, 1.0))
    kept = np.isin(found['person'], people)
    kept &= (found['rejected_tokens'] != world.words.index(unseen)).all(1)
    found = rows(found, np.flatnonzero(kept)[:count])
    bad, good, person = (found[k] for k in ('rejected_tokens', 'chosen_tokens', 'person'))
    return {'prompt': prompts(person, world=world), 'bad': bad, 'good': good, 'person': person}


def judge(
    answers: np.ndarray, people: Sequence[int], *, world: facts.World
) -> tuple[np.ndarray, np.ndarray]:
    """How many true facts and how many insults are in answers of a model, as `facts.score` counts.

    Args:
      answers: int [N, S, L], S about each person; tokens may lie beyond the world's words.
      people: [N].
      world: of the people.

    Returns:
      Facts and insults, float [N, S] each.

    Self-supervised Preference Optimization (Li et al., 2024).
    """
    known = np.where(answers < len(world.words), answers, facts.PAD)
    found = [
        [facts.score(a, int(p), world) for a in own] for own, p in zip(known, people, strict=True)
    ]
    return tuple(np.moveaxis(np.array(found, float), 2, 0))
