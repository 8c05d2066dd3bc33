"""More directions than dimensions: vectors that are sums of a few of many known directions."""

import numpy as np


def directions(seed: int, *, count: int, width: int) -> np.ndarray:
    """Unit vectors drawn evenly on the sphere, float32 [J, D].

    Toy Models of Superposition (Elhage et al., 2022).
    """
    g = np.random.default_rng([seed, 7]).normal(size=(count, width)).astype(np.float32)
    return g / np.linalg.norm(g, axis=1, keepdims=True)


def sums(
    seed: int, g: np.ndarray, *, count: int, active: float, offset: float = 10.0
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of directions, some of them far oftener than others, in some sums more than in others.

        x_n = sum_j s_nj a_nj g_j,   P(s_nj = 1) = u_n p_j,   p_j ~ 1 / (j + offset)

    with u_n uniform in [1/2, 3/2] and a_nj too, so that a sum of u_n = 1 has `active` directions
    on average.

    Args:
        seed: of the draws.
        g: directions [J, D], the commonest first.
        count: N.
        active: mean number of directions of a sum.
        offset: the smaller, the commoner the first directions.

    Returns:
        x float32 [N, D]; how many directions each has, float32 [N].

    Toy Models of Superposition (Elhage et al., 2022); frequencies: Zipf (1949).
    """
    random = np.random.default_rng([seed, 8])
    p = 1 / (np.arange(1, len(g) + 1) + offset)
    p *= active / p.sum()
    chance = random.uniform(0.5, 1.5, (count, 1)) * p
    chosen = random.random(chance.shape, np.float32) < chance
    strength = random.uniform(0.5, 1.5, chance.shape).astype(np.float32)
    return (strength * chosen) @ g, chosen.sum(1).astype(np.float32)
