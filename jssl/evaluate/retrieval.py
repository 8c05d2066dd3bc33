"""Retrieval: whether what belongs to a query is among the items that score highest."""

import chex
import jax
import jax.numpy as jnp


def recall_at_k(scores: jax.Array, relevant: jax.Array, *, k: int = 1) -> jax.Array:
    """Whether an item that belongs to the query is among the k that score highest.

        r_i = [ max_(j in top_k(s_i)) relevant_ij ]

    The recall of two-tower models, whose queries have one item or a few: found or not, not how many
    of them. Of equal scores the first item is higher.

    Args:
      scores: [Q, N].
      relevant: bool [Q, N]; several items of a query where captions are alike.
      k: at most N.

    Returns:
      float32 [Q], 1 or 0; its mean is R@k.

    Deep Visual-Semantic Alignments for Generating Image Descriptions (Karpathy and Fei-Fei, 2015).
    """
    chex.assert_rank(scores, 2)
    chex.assert_equal_shape([scores, relevant])
    _, items = jax.lax.top_k(scores, k)
    return jnp.take_along_axis(jnp.asarray(relevant), items, axis=1).any(1).astype(jnp.float32)
