"""Weighted nearest-neighbour classification of frozen features."""

from functools import partial

import jax
import jax.numpy as jnp

from jssl.evaluate.score import Score
from jssl.evaluate.split import check_split, share_right
from jssl.losses.similarity import normalise

_ENTRIES = 2**26  # of the matrix of similarities, held at a time: 256 MiB in float32


def knn(
    train_h,
    train_y,
    test_h,
    test_y,
    *,
    k: int = 20,
    temperature: float = 0.07,
    classes: int | None = None,
) -> Score:
    """Accuracy of a vote of the k nearest training rows, by cosine similarity.

        argmax_c sum_(j in N_k(h)) exp(cos(h, h_j) / temperature) [y_j = c]

    Args:
        train_h: training features [N, D].
        train_y: training labels [N].
        test_h: test features [M, D].
        test_y: test labels [M].
        k: number of neighbours, at most N.
        temperature: how fast a vote's weight falls with its distance.
        classes: number of classes; one more than the largest label when None.

    Returns:
        `Score` in [0, 1].

    Reference: Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021);
    Unsupervised Feature Learning via Non-Parametric Instance Discrimination (Wu et al., 2018).
    """
    classes = check_split(train_h, train_y, test_h, test_y, classes=classes)
    if not 1 <= k <= len(train_h):
        raise ValueError(f'k must lie in [1, {len(train_h)}], the training rows; got {k}')
    votes = _votes(train_h, train_y, test_h, temperature, k=k, classes=classes)
    return Score(share_right(votes, test_y), 'knn/1')


@partial(jax.jit, static_argnames=('k', 'classes'))
def _votes(train_h, train_y, test_h, temperature, *, k, classes):
    """Weight of the votes for each class [M, C], the nearest neighbour's being 1."""
    train_h, test_h = normalise(train_h), normalise(test_h)

    def vote(h):
        similarity, nearest = jax.lax.top_k(jnp.matmul(train_h, h, precision='highest'), k)
        weights = jnp.exp((similarity - similarity[0]) / temperature)
        return weights @ jax.nn.one_hot(train_y[nearest], classes, dtype=weights.dtype)

    batch = max(1, min(len(test_h), _ENTRIES // len(train_h)))
    return jax.lax.map(vote, test_h, batch_size=batch)
