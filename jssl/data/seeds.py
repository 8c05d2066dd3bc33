"""Random numbers on the host, by seed and purpose."""

import numpy as np


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers that no other purpose shares.

    With one seed for all, the labels that are few are then not the same that are wrong.

    Args:
      seed: at least 0.
      purpose: any text.

    Returns:
      A NumPy generator.

    Random number generation: NumPy's SeedSequence (Harris et al., 2020, Array programming with
    NumPy).
    """
    return np.random.default_rng([seed, *purpose.encode()])
