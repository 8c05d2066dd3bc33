"""Unstructured pruning: masks over parameter trees, by magnitude or by synaptic flow.

A mask has the tree of the parameters: 1.0 keeps a weight, 0.0 removes it. Kernels are pruned
together, by one threshold for the whole network; biases, norms and other leaves with fewer than two
dimensions stay.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def magnitude_mask(params, sparsity: float):
    """Keeps the largest (1 - sparsity) of all kernel weights by |theta|, across layers.

    Learning both Weights and Connections for Efficient Neural Networks (Han et al., 2015).
    """
    return top_mask(jax.tree.map(jnp.abs, params), sparsity)


def top_mask(scores, sparsity: float):
    """Keeps the highest-scored (1 - sparsity) of all kernel entries; other leaves are all ones."""
    kernels = [s.reshape(-1) for s in jax.tree.leaves(scores) if s.ndim > 1]
    ranked = jnp.sort(jnp.concatenate(kernels))
    removed = round(sparsity * ranked.size)
    # The threshold is the largest score that goes; with none to remove it lies below all.
    threshold = ranked[removed - 1] if removed else -jnp.inf
    return jax.tree.map(
        lambda s: (s > threshold).astype(jnp.float32) if s.ndim > 1 else jnp.ones(s.shape), scores
    )


def synflow_mask(
    apply: Callable, params, shape: tuple[int, ...], *, sparsity: float, rounds: int = 100
):
    """Keeps the weights through which most flows, |theta| dR/d|theta|, pruning a little per round.

    R is the sum of the outputs of the network with weights |theta| on an input of ones, so no data
    is needed; round r of n leaves a share (1 - sparsity)^(r / n), which keeps layers alive.
    Pruning neural networks without any data (Tanaka et al., 2020), algorithm 1.

    Args:
      apply: (params, inputs) -> outputs.
      params: the network.
      shape: of one input, without the batch axis.
      sparsity: share of kernel weights that goes.
      rounds: n.
    """
    positive = jax.tree.map(jnp.abs, params)
    flow = jax.grad(lambda p: jnp.sum(apply(p, jnp.ones((1, *shape)))))

    @jax.jit
    def scores(mask):
        kept = masked(positive, mask)
        # Removed weights must stay removed: their score is below every other.
        return jax.tree.map(lambda g, p, m: jnp.abs(g * p) - (m == 0), flow(kept), kept, mask)

    mask = jax.tree.map(jnp.ones_like, params)
    for number in range(1, rounds + 1):
        mask = top_mask(scores(mask), 1 - (1 - sparsity) ** (number / rounds))
    return mask


def masked(params, mask):
    """The parameters with the removed ones at zero."""
    return jax.tree.map(jnp.multiply, params, mask)


def keep_pruned(optimiser: optax.GradientTransformation, mask) -> optax.GradientTransformation:
    """`optimiser` whose updates leave removed weights where they are."""
    cut = optax.stateless(lambda updates, params: jax.tree.map(jnp.multiply, updates, mask))
    return optax.chain(optimiser, cut)


def sparsity(params) -> jax.Array:
    """Share of kernel weights that are exactly zero."""
    kernels = [p for p in jax.tree.leaves(params) if p.ndim > 1]
    return sum(jnp.sum(p == 0) for p in kernels) / sum(p.size for p in kernels)
