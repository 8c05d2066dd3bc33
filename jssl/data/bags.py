"""Bags of examples of which only a response for the whole bag is known.

    members = bags.members(len(x), 8, seed=0)
    batches = {'x': x[members], 'response': bags.proportions(labels[members], classes=10)}

Means and sums need no function of ours: `y[members].mean(1)`, `y[members].sum(1)`.
"""

import numpy as np

from jssl.data.seeds import generator


def members(count: int, size: int, *, seed: int) -> np.ndarray:
    """Divides examples at random into disjoint bags of one size; what is left over is left out.

    Args:
      count: N.
      size: examples of a bag.
      seed: of the division.

    Returns:
      Rows, int64 [N // size, size].

    Learning from Aggregate responses: Instance Level versus Bag Level Loss Functions (Javanmard et
    al., 2024).
    """
    if not 1 <= size <= count:
        raise ValueError(f'size {size}: bags of {count} examples')
    order = generator(seed, 'bags').permutation(count)
    return order[: count // size * size].reshape(-1, size)


def mixed(labels: np.ndarray, size: int, *, alpha: float, classes: int, seed: int) -> np.ndarray:
    """The same, but the bags differ in their classes.

        each bag draws p ~ Dirichlet(alpha, ..., alpha), and its members one after the other from p
        times the number of examples that are left of each class

    Args:
      labels: integers [N] in 0 .. K - 1.
      size: examples of a bag.
      alpha: small for bags of nearly one class; large for bags that are alike, which say least.
      classes: K.
      seed: of the division.

    Returns:
      Rows, int64 [N // size, size], disjoint. The last bags have to take what the others left.

    Learning from Label Proportions: A Mutual Contamination Framework (Scott and Zhang, 2020).
    """
    random = generator(seed, 'mixed')
    left = [list(random.permutation(np.flatnonzero(labels == y))) for y in range(classes)]
    bags = np.zeros((len(labels) // size, size), np.int64)
    for bag in bags:
        p = random.dirichlet(np.full(classes, alpha))
        for place in range(size):
            weights = (p + 1e-9) * [len(rows) for rows in left]
            bag[place] = left[random.choice(classes, p=weights / weights.sum())].pop()
    return bags


def witnesses(positive: np.ndarray, bags: int, size: int, *, witness: int, seed: int) -> np.ndarray:
    """Bags for learning from the maximum: half hold some positive examples, half none.

    Args:
      positive: bool [N].
      bags: how many; the first half, rounded up, are the positive ones.
      size: examples of a bag.
      witness: positive examples of a positive bag; the fewer, the harder.
      seed: of the choice.

    Returns:
      Rows, int64 [bags, size], disjoint: `positive[rows].max(1)` is the bag's label.

    Solving the multiple instance problem with axis-parallel rectangles (Dietterich et al., 1997).
    """
    random, half = generator(seed, 'witnesses'), (bags + 1) // 2
    yes, no = (random.permutation(np.flatnonzero(positive == side)) for side in (True, False))
    if (
        not 1 <= witness <= size
        or half * witness > len(yes)
        or bags * size - half * witness > len(no)
    ):
        raise ValueError(
            f'{bags} bags of {size} with {witness} witnesses: there are {len(yes)} positive and '
            f'{len(no)} negative examples'
        )
    found = yes[: half * witness].reshape(half, witness)
    with_yes = np.hstack([found, no[: half * (size - witness)].reshape(half, -1)])
    without = no[half * (size - witness) :][: (bags - half) * size].reshape(-1, size)
    return random.permuted(np.vstack([with_yes, without]), axis=1)


def proportions(labels: np.ndarray, *, classes: int) -> np.ndarray:
    """Shares of the classes in each bag.

        p_b[k] = (1 / size) sum_{i in b} [y_i = k]

    Args:
      labels: integers [M, size] in 0 .. K - 1.
      classes: K.

    Returns:
      float32 [M, K], rows sum to one.

    Estimating Labels from Label Proportions (Quadrianto et al., 2009).
    """
    return (labels[..., None] == np.arange(classes)).mean(1, dtype=np.float32)
