"""Tasks on strings of digits, whose test lengths are longer than any that is trained on.

A sequence is a question, '=', an answer and an end: 3 1 2 = 2 1 3 <end>. Whole tables of modular
addition are in `jssl.data.teachers`.
"""

import numpy as np

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 20000, 'validation': 1000, 'test': 1600}
LENGTHS = {'train': (1, 8), 'validation': (1, 8), 'test': (9, 16)}
LICENCE = 'Apache-2.0'
WORDS = ('<pad>', '<end>', '=', '+', ';', *map(str, range(32)))
PAD, END, EQUALS, PLUS, THEN, ZERO = range(6)


def answer(task: str, digits: list[int], modulus: int = 10) -> list[int]:
    """The right answer, and the oracle: digits of what a task makes of a string of digits.

    Args:
      task: one of `TASKS`.
      digits: of the question; of an addition those of both numbers, one after the other, the
        highest first.
      modulus: of 'sum'; 'parity' has 2.

    Returns:
      Digits; of an addition one more than a number has.

    The Impact of Positional Encoding on Length Generalization in Transformers (Kazemnejad et al.,
    2023).
    """
    return TASKS[task](digits, modulus)


def _addition(digits, _):
    half, carry, total = len(digits) // 2, 0, []
    for a, b in zip(digits[half - 1 :: -1], digits[: half - 1 : -1], strict=True):
        carry, digit = divmod(a + b + carry, 10)
        total.append(digit)
    return [carry, *total[::-1]]


TASKS = {
    'copy': lambda digits, _: list(digits),
    'reverse': lambda digits, _: digits[::-1],
    'sort': lambda digits, _: sorted(digits),
    'sum': lambda digits, modulus: [sum(digits) % modulus],
    'parity': lambda digits, _: [sum(digits) % 2],
    'addition': _addition,
}


def _steps(task, digits, modulus):
    """Running totals, or of each column both digits and the carry, the lowest first."""
    if task in ('sum', 'parity'):
        return list(np.cumsum(digits) % (2 if task == 'parity' else modulus))
    half, carry, steps = len(digits) // 2, 0, []
    for a, b in zip(digits[half - 1 :: -1], digits[: half - 1 : -1], strict=True):
        steps += [a, b, carry]
        carry = (a + b + carry) // 10
    return steps


def sample(
    random: np.random.Generator,
    *,
    task: str = 'reverse',
    lengths: tuple[int, int] = (1, 8),
    room: int = 16,
    symbols: int = 10,
    modulus: int = 10,
    repeats: bool = True,
    scratchpad: bool = False,
    lowest_first: bool = False,
) -> dict[str, np.ndarray]:
    """One question with its answer.

    Args:
      random: NumPy generator.
      task: one of `TASKS`.
      lengths: least and most digits, of each number where there are two; all are equally likely.
      room: most digits that the arrays have room for, so that splits have one shape.
      symbols: of copy, reverse, sort and sum, at most 32; parity has 2 and addition 10.
      modulus: of 'sum', at most `symbols`.
      repeats: or all digits of a question differ, if there are so many symbols.
      scratchpad: sums, parities and additions write their steps and ';' before the answer.
      lowest_first: an addition's numbers have their lowest digits first, in question and answer.

    Returns:
      tokens int32 [L], places in `WORDS`; length int32; answer bool [L], the tokens after '=', the
      end included, which are to be predicted; size int32, digits of a number; text str.

    The Impact of Positional Encoding on Length Generalization in Transformers (Kazemnejad et al.,
    2023).
    """
    if task not in TASKS:
        raise Refusal(f'no task {task!r}: choose {", ".join(TASKS)}')
    if scratchpad and task not in ('sum', 'parity', 'addition'):
        raise Refusal(f'{task} has no steps to write: choose sum, parity or addition')
    if lengths[1] > room:
        raise Refusal(f'{lengths[1]} digits do not fit a room of {room}: raise room')
    size = int(random.integers(lengths[0], lengths[1] + 1))
    numbers = 2 if task == 'addition' else 1
    kinds = {'parity': 2, 'addition': 10}.get(task, symbols)
    if repeats or task in ('parity', 'addition'):
        digits = random.integers(kinds, size=numbers * size).tolist()
    else:
        digits = random.permutation(kinds)[:size].tolist()
        size = len(digits)
    order = slice(None, None, -1 if lowest_first and task == 'addition' else 1)
    parts = [[ZERO + d for d in digits[i : i + size][order]] for i in range(0, len(digits), size)]
    question = parts[0] if numbers == 1 else [*parts[0], PLUS, *parts[1]]
    steps = [*(ZERO + int(d) for d in _steps(task, digits, modulus)), THEN] if scratchpad else []
    right = [ZERO + int(d) for d in answer(task, digits, modulus)[order]]
    written = [*question, EQUALS, *steps, *right, END]
    long = {'addition': 3 * room + 4 + scratchpad * (3 * room + 1)}.get(
        task, (1 + scratchpad) * room + scratchpad + 2 + (room if task in _AS_LONG else 1)
    )
    place = np.arange(long)
    return {
        'tokens': np.pad(np.array(written, np.int32), (0, long - len(written))),
        'length': np.int32(len(written)),
        'answer': (place > len(question)) & (place < len(written)),
        'size': np.int32(size),
        'text': np.str_(' '.join(WORDS[token] for token in written)),
    }


_AS_LONG = ('copy', 'reverse', 'sort')  # answers as long as the question


def source(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> draw.Drawn:
    """Questions that are drawn when they are asked for, of the split's `LENGTHS` unless told.

    The Impact of Positional Encoding on Length Generalization in Transformers (Kazemnejad et al.,
    2023).
    """
    knobs = {'lengths': LENGTHS[split], **knobs}
    return draw.Drawn(sample, split, COUNTS[split] if count is None else count, seed, **knobs)


def dataset(split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs) -> dict:
    """The questions of `source` in memory: the columns of `sample`, [N, ...].

    The Impact of Positional Encoding on Length Generalization in Transformers (Kazemnejad et al.,
    2023).
    """
    knobs = {'lengths': LENGTHS[split], **knobs}
    return draw.columns(sample, split, COUNTS[split] if count is None else count, seed, **knobs)
