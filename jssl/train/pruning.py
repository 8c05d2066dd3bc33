"""Unstructured pruning: masks over parameter trees, by magnitude or by synaptic flow.

A mask has the tree of the parameters: 1.0 keeps a weight, 0.0 removes it. Kernels are pruned
together, by one threshold for the whole network, or a layer at a time; biases, norms and other
leaves with fewer than two dimensions stay.
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


def prune_further(params, mask, shares, *, together: bool = False):
    """Removes some of the weights that are left: of a layer, or of all, those nearest to zero.

    m' = m [|theta| >= q],  q the quantile of |theta| where m = 1 at the layer's share

    The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks (Frankle and Carbin,
    2019), sections 2 and 4.

    Args:
      params: the trained parameters.
      mask: what is left of them so far.
      shares: a tree of their form, of the shares that go; 0 leaves a leaf as it is.
      together: one threshold for all leaves with a share, which must then be the same.
    """
    weights, tree = jax.tree.flatten(params)
    masks, shares = jax.tree.leaves(mask), jax.tree.leaves(shares)
    some = [i for i, share in enumerate(shares) if share]
    if together and len({shares[i] for i in some}) > 1:
        raise ValueError(f'layers pruned together need one share: {sorted(set(shares))}')
    for group in [some] if together else [[i] for i in some]:
        left = [jnp.where(masks[i] > 0, jnp.abs(weights[i]), jnp.inf).reshape(-1) for i in group]
        ranked = jnp.sort(jnp.concatenate(left))
        gone = jnp.round(shares[group[0]] * jnp.isfinite(ranked).sum()).astype(jnp.int32)
        for i in group:
            masks[i] = masks[i] * (jnp.abs(weights[i]) >= ranked[gone])
    return jax.tree.unflatten(tree, masks)


def shuffled_mask(key: jax.Array, mask):
    """A mask that keeps as many weights of every kernel, but drawn at random."""
    leaves, tree = jax.tree.flatten(mask)
    keys = jax.random.split(key, len(leaves))
    draw = lambda key, m: jax.random.permutation(key, m.reshape(-1)).reshape(m.shape)
    drawn = [draw(k, m) if m.ndim > 1 else m for k, m in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)
