"""Recognisers of sequences: what they say, and how far that is from what was said."""

import chex
import jax
import jax.numpy as jnp
import numpy as np


def ctc_greedy(logits: jax.Array, valid: jax.Array, *, blank: int = 0) -> jax.Array:
    """The likeliest label of every frame, runs taken as one and blanks left out.

    Args:
        logits: [B, T, V].
        valid: bool [B, T], False at padding.
        blank: the label that says nothing.

    Returns:
        Labels int32 [B, T], -1 after the last of a row.

    Reference: Connectionist Temporal Classification (Graves et al., 2006), best path decoding.
    """
    chex.assert_rank([logits, valid], [3, 2])
    best = jnp.where(valid, logits.argmax(-1), blank).astype(jnp.int32)
    before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
    said = (best != blank) & (best != before)
    order = jnp.argsort(~said, axis=1, stable=True)
    return jnp.take_along_axis(jnp.where(said, best, -1), order, 1)


def edit_distance(hypothesis: np.ndarray, reference: np.ndarray) -> int:
    """Insertions, deletions and substitutions that make one sequence the other, at the fewest.

        d_ij = min(d_i-1,j + 1, d_i,j-1 + 1, d_i-1,j-1 + [a_i != b_j])

    Args:
        hypothesis: [M], of any type that compares.
        reference: [N].

    Returns:
        Number of edits.

    Reference: Binary Codes Capable of Correcting Deletions, Insertions, and Reversals (Levenshtein,
    1966).
    """
    row = np.arange(len(reference) + 1)
    for label in hypothesis:
        # Deletions along a row add one a step: a running minimum of what is left without them.
        new = np.minimum(row[1:] + 1, row[:-1] + (np.asarray(reference) != label))
        new = np.concatenate([[row[0] + 1], new])
        row = np.minimum.accumulate(new - np.arange(len(new))) + np.arange(len(new))
    return int(row[-1])


def error_rate(hypotheses: np.ndarray, references: np.ndarray) -> float:
    """Edits per label of what was said, over a whole set: of words the WER, of phones the PER.

        sum_i edit_distance(a_i, b_i) / sum_i |b_i|

    Args:
        hypotheses: int [B, M], negative where there is no label.
        references: int [B, N], likewise.

    Returns:
        At least 0, and more than 1 where too much is said.

    Reference: Connectionist Temporal Classification (Graves et al., 2006), label error rate.
    """
    pairs = [(a[a >= 0], b[b >= 0]) for a, b in zip(hypotheses, references, strict=True)]
    return sum(edit_distance(a, b) for a, b in pairs) / max(1, sum(len(b) for _, b in pairs))
