"""Graph networks on dense, weighted adjacency matrices, and graphs learned from features."""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.algorithms.spectral import normalised_affinity
from jssl.losses.similarity import cosine_matrix


class GCN(nn.Module):
    """Graph convolutions, with rectifiers between them: [N, D] -> [N, widths[-1]].

    h_l = relu(A h_{l-1} W_l + b_l);  A = D^-1/2 (graph + I) D^-1/2 as `propagation` makes it

    Semi-Supervised Classification with Graph Convolutional Networks (Kipf and Welling, 2017).
    """

    widths: Sequence[int]
    _: dataclasses.KW_ONLY
    dropout: float = 0.0  # of the inputs of every layer
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, adjacency: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [N, D] on a graph [N, N]; in training dropout needs the generator 'dropout'."""
        chex.assert_rank([x, adjacency], 2)
        for i, width in enumerate(self.widths):
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            x = adjacency @ nn.Dense(width, dtype=self.dtype, name=f'layer{i}')(x)
            x = nn.relu(x) if i < len(self.widths) - 1 else x
        return x


def propagation(adjacency: jax.Array) -> jax.Array:
    """The matrix by which graph convolutions average: loops added, degrees divided out.

        D^-1/2 (A + I) D^-1/2

    Args:
      adjacency: symmetric non-negative weights [N, N].

    Returns:
      [N, N].

    Semi-Supervised Classification with Graph Convolutional Networks (Kipf and Welling, 2017).
    """
    chex.assert_rank(adjacency, 2)
    loops = jnp.eye(len(adjacency), dtype=adjacency.dtype)
    return normalised_affinity(adjacency + loops)


def cosine_graph(h: jax.Array, k: int) -> jax.Array:
    """A weighted graph between nearest neighbours, differentiable in its weights.

        S = relu((T + T') / 2),  T[i, j] = cos(h_i, h_j) for the k nodes j nearest to i, and itself

    Which nodes are near has no gradient; the similarity of those that are has one.

    Args:
      h: [N, D].
      k: neighbours, fewer than N.

    Returns:
      [N, N], symmetric, with loops of weight one.

    Iterative Deep Graph Learning for Graph Neural Networks (Chen et al., 2020).
    """
    chex.assert_rank(h, 2)
    similarity = cosine_matrix(h, h)
    # Not the last of them, [:, -1:]: XLA fuses the two slices, and sorts whole rows for it.
    least = jax.lax.top_k(jax.lax.stop_gradient(similarity), k + 1)[0].min(1, keepdims=True)
    kept = jnp.where(similarity >= least, similarity, 0)
    return nn.relu(0.5 * (kept + kept.T))
