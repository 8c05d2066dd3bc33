"""Models merged in weight space: averages, task vectors, and what is done to them before adding.

All take trees of one structure, of models that share a start; the layers' units are not permuted.
The moving average of one run is `ema_update`.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import optax


def average(trees: Sequence, *, weights=None):
    """Weighted mean of parameters, sum_k w_k theta_k / sum_k w_k.

    Equal weights make a uniform soup, sizes of data sets weigh by them, and (1 - t, t) interpolates
    between two, or extrapolates. Model soups (Wortsman et al., 2022).

    Args:
      trees: K of parameters.
      weights: [K], or None for equal ones.
    """
    weights = jnp.ones(len(trees)) if weights is None else jnp.asarray(weights)
    return _combined(trees, weights / weights.sum(), name='weights')


def slerp(start, end, t):
    """Turns every tensor of `start` towards that of `end` by the share t of their angle omega.

    (sin((1 - t) omega) start + sin(t omega) end) / sin omega, a straight line where no angle is
    defined: parallel, opposite or zero tensors. Animating rotation with quaternion curves
    (Shoemake, 1985).
    """
    chex.assert_trees_all_equal_shapes(start, end)

    def turned(u, v):
        lengths = jnp.sum(u * u) * jnp.sum(v * v)
        cosine = jnp.sum(u * v) / jnp.sqrt(jnp.where(lengths > 0, lengths, 1.0))
        straight = (lengths == 0) | (jnp.abs(cosine) > 1 - 1e-5)
        omega = jnp.arccos(jnp.where(straight, 0.0, cosine))
        share = lambda s: jnp.where(straight, s, jnp.sin(s * omega) / jnp.sin(omega))
        return share(1 - t) * u + share(t) * v

    return jax.tree.map(turned, start, end)


def task_vector(params, start):
    """What training added: tau = theta - theta_0.

    Editing Models with Task Arithmetic (Ilharco et al., 2023).
    """
    chex.assert_trees_all_equal_shapes(params, start)
    return jax.tree.map(jnp.subtract, params, start)


def add_tasks(start, vectors: Sequence, coefficients):
    """theta_0 + sum_k a_k tau_k, differentiable in a.

    A negative coefficient forgets the task. Editing Models with Task Arithmetic
    (Ilharco et al., 2023).

    Args:
      start: theta_0.
      vectors: K task vectors.
      coefficients: a [K], or one number for all.
    """
    coefficients = jnp.asarray(coefficients)
    if coefficients.ndim == 0:
        coefficients = jnp.broadcast_to(coefficients, (len(vectors),))
    return jax.tree.map(jnp.add, start, _combined(vectors, coefficients, name='coefficients'))


def ties(vectors: Sequence, *, density: float = 0.2):
    """One task vector of many: trim each, elect a sign for every entry, average those that agree.

    tau_k keeps the share `density` of its entries that is largest in size;
    gamma = sign(sum_k tau_k);  tau = mean over {k: sign(tau_k) = gamma} of tau_k, else 0

    TIES-Merging: Resolving Interference When Merging Models (Yadav et al., 2023).
    """
    if not 0 < density <= 1:
        raise ValueError(f'density must be in (0, 1], got {density}')
    _check(vectors)

    def elected(*leaves):
        stacked = jnp.stack(leaves)
        agree = stacked * jnp.sign(stacked.sum(0))[None] > 0
        return jnp.where(agree, stacked, 0).sum(0) / jnp.maximum(agree.sum(0), 1)

    return jax.tree.map(elected, *(_trimmed(vector, density) for vector in vectors))


def dare(key: jax.Array, vector, *, drop: float):
    """Drops entries of a task vector at random and rescales the rest: tau m / (1 - drop).

    Language Models are Super Mario (Yu et al., 2024).
    """
    if not 0 <= drop < 1:
        raise ValueError(f'drop must be in [0, 1), got {drop}')
    draws = optax.tree.random_like(key, vector, sampler=jax.random.uniform)
    return jax.tree.map(lambda x, u: jnp.where(u < drop, 0, x / (1 - drop)), vector, draws)


def _trimmed(vector, density):
    """The largest share of all entries, across tensors; the others are zero."""
    sizes = jnp.concatenate([jnp.abs(x).reshape(-1) for x in jax.tree.leaves(vector)])
    kept = max(1, round(density * sizes.size))
    threshold = jnp.sort(sizes)[sizes.size - kept]
    return jax.tree.map(lambda x: jnp.where(jnp.abs(x) >= threshold, x, 0), vector)


def _combined(trees, weights, *, name):
    """sum_k weights_k trees_k, each leaf in its own type."""
    _check(trees)
    if weights.shape != (len(trees),):
        raise ValueError(f'{name} must be [{len(trees)}], one for every tree, got {weights.shape}')

    def total(*leaves):
        return sum(w * x for w, x in zip(weights, leaves, strict=True)).astype(leaves[0].dtype)

    return jax.tree.map(total, *trees)


def _check(trees):
    if not trees:
        raise ValueError('there is no tree to merge')
    chex.assert_trees_all_equal_shapes(trees[0], *trees)
