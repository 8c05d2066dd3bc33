"""Supermasks: the weights of a network that a task uses, found by gradients on scores.

A mask has the tree of the parameters: 1.0 uses a weight, 0.0 does not. Kernels are masked a layer
at a time, each with the same share; biases, norms and other leaves with fewer than two dimensions
are used always.
"""

import math

import jax
import jax.numpy as jnp

INFINITY = 0x7F800000  # the bits of a float that no finite one exceeds


def signed_constants(key: jax.Array, params):
    """Kernels of one magnitude, sqrt(2 / fan in), whose signs are drawn; other leaves as they are.

    What's Hidden in a Randomly Weighted Neural Network? (Ramanujan et al., 2020), section 4.4.
    """
    draw = lambda key, w: math.sqrt(2 / _fan_in(w)) * jax.random.rademacher(key, w.shape, w.dtype)
    return _drawn(draw, key, params)


def first_scores(key: jax.Array, params):
    """Scores of every kernel from U(-1, 1) / sqrt(fan in); other leaves are ones.

    What's Hidden in a Randomly Weighted Neural Network? (Ramanujan et al., 2020).
    """
    uniform = lambda key, w: jax.random.uniform(key, w.shape, w.dtype, -1, 1) / _fan_in(w) ** 0.5
    return _drawn(uniform, key, jax.tree.map(jnp.ones_like, params))


def supermask(scores, density: float | jax.Array):
    """Uses the share of every kernel whose scores are largest, with a gradient straight through.

        m = [|s| is among the largest round(k n) of the layer's n],   dm / ds = sign(s)

    What's Hidden in a Randomly Weighted Neural Network? (Ramanujan et al., 2020), edge-popup.

    Args:
      scores: the tree of the parameters.
      density: k, the share that is used, of at least one weight a layer; may be traced.
    """

    def of_layer(s):
        if s.ndim < 2:
            return jnp.ones_like(s)
        size = jnp.abs(s)
        kept = jnp.clip(jnp.round(density * s.size), 1, s.size)
        hard = size >= jax.lax.stop_gradient(_largest(size, kept))
        return hard.astype(s.dtype) + (size - jax.lax.stop_gradient(size))

    return jax.tree.map(of_layer, scores)


def unused(mask, used):
    """The weights of a mask that no earlier task has: m and not used; none of the other leaves.

    Exclusive Supermask Subnetwork Training for Continual Learning (Yadav and Bansal, 2023).
    """
    free = lambda m, u: m * (1 - u) if m.ndim > 1 else jnp.zeros_like(m)
    return jax.tree.map(free, mask, used)


def share(mask) -> jax.Array:
    """Share of all kernel weights that a mask uses."""
    kernels = [m for m in jax.tree.leaves(mask) if m.ndim > 1]
    return sum(m.sum() for m in kernels) / sum(m.size for m in kernels)


def occupancy(masks) -> tuple[list[float], list[float]]:
    """What masks take of a network one after the other.

    Returns: the share of all kernel weights that the first t masks use together; and the share of
    its own that each has in common with those before it.

    Exclusive Supermask Subnetwork Training for Continual Learning (Yadav and Bansal, 2023).
    """
    used, shares, common = jax.tree.map(jnp.zeros_like, masks[0]), [], []
    for mask in masks:
        both = jax.tree.map(jnp.multiply, mask, used)
        used = jax.tree.map(jnp.maximum, mask, used)
        shares.append(float(share(used)))
        common.append(float(share(both) / share(mask)))
    return shares, common


def bits(mask) -> float:
    """What it takes to write a mask down: the entropy n H(k) of its n kernel weights.

    Supermasks in Superposition (Wortsman et al., 2020), for masks as all that a task leaves.
    """
    count, k = sum(m.size for m in jax.tree.leaves(mask) if m.ndim > 1), float(share(mask))
    return -count * sum(p * math.log2(p) for p in (k, 1 - k) if p)


def _largest(size, count):
    """The count-th largest of non-negative numbers, whose order is that of their bits.

    By halving: on a CPU a sort of a layer's scores takes twenty times as long.
    """
    bits = jax.lax.bitcast_convert_type(size.astype(jnp.float32), jnp.int32)

    def halve(_, bounds):
        low, high = bounds
        middle = low + (high - low) // 2
        enough = (bits >= middle).sum() >= count
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    low, _ = jax.lax.fori_loop(0, 31, halve, (jnp.int32(0), jnp.int32(INFINITY)))
    return jax.lax.bitcast_convert_type(low, jnp.float32)


def _fan_in(w):
    return math.prod(w.shape[:-1])


def _drawn(draw, key, params):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    new = [draw(k, w) if w.ndim > 1 else w for k, w in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, new)
