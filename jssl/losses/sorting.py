"""Ranks and orders with gradients. All orders are ascending: rank 1 is the smallest value."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import normalise

FAR = 1e30


def soft_rank(values: jax.Array, *, strength: float = 1.0) -> jax.Array:
    """Ranks of a row's values, as a projection on the hull of all orders of 1 to N.

        argmin_{y in hull} |y - x / e|^2

    Values that are further apart than the strength have whole ranks; all ranks are equal in the
    limit of a large strength. Memory grows with B N^2.

    Args:
        values: x [B, N].
        strength: e.

    Returns:
        Ranks [B, N], each row adding up to N (N + 1) / 2.

    Reference: Fast Differentiable Sorting and Ranking (Blondel et al., 2020), with the quadratic
    regularisation.
    """
    check_axes(values=(values, 'B N'))
    x = widen(values)
    ranks = jnp.arange(1, x.shape[1] + 1, dtype=x.dtype)
    return jax.vmap(lambda row: _project(row / strength, ranks))(x)


def soft_sort(values: jax.Array, *, strength: float = 1.0) -> jax.Array:
    """A row's values in order, as a projection on the hull of all their orders.

        argmin_{y in hull} |y - (1 ... N) / e|^2

    Neighbours less than 1 / e apart are exact; further ones are drawn to each other. Memory grows
    with B N^2.

    Args:
        values: x [B, N].
        strength: e.

    Returns:
        Ascending values [B, N], each row with the sum of its values.

    Reference: Fast Differentiable Sorting and Ranking (Blondel et al., 2020), with the quadratic
    regularisation.
    """
    check_axes(values=(values, 'B N'))
    x = widen(values)
    ranks = jnp.arange(1, x.shape[1] + 1, dtype=x.dtype)
    return jax.vmap(lambda row: _project(ranks / strength, jnp.sort(row)))(x)


def sorting_network(
    values: jax.Array,
    *,
    network: str = 'odd_even',
    relaxation: str = 'logistic',
    steepness: float = 10.0,
    lambda_: float = 0.25,
) -> tuple[jax.Array, jax.Array]:
    """A network of compare-and-swap gates, each of which swaps in part.

        min(a, b) = f a + (1 - f) b,   max(a, b) = (1 - f) a + f b,   f = F(s d / |d|^lambda)
        d = b - a,   F(x) = 1 / (1 + exp(-x)) or 1/2 + atan(x) / pi

    Args:
        values: [B, N].
        network: 'odd_even', N layers; or 'bitonic', log N (log N + 1) / 2 of them, for a power of
            two.
        relaxation: 'logistic' or 'cauchy', of which the latter keeps the order of values.
        steepness: s.
        lambda_: how much small differences are enlarged; 0 for not.

    Returns:
        The values in soft order [B, N], and by how much the r-th of them is the i-th value
        [B, N, N], rows and columns adding up to 1.

    Reference: Differentiable Sorting Networks for Scalable Sorting and Ranking Supervision
    (Petersen et al., 2021); Monotonic Differentiable Sorting Networks (Petersen et al., 2022).
    """
    check_axes(values=(values, 'B N'))
    gates = {
        'logistic': jax.nn.sigmoid,
        'cauchy': lambda x: 0.5 + jnp.arctan(x) / math.pi,
    }
    networks = {'odd_even': _odd_even, 'bitonic': _bitonic}
    if relaxation not in gates:
        raise ValueError(f'relaxation must be one of {", ".join(gates)}, got {relaxation!r}')
    if network not in networks:
        raise ValueError(f'network must be one of {", ".join(networks)}, got {network!r}')

    def layer(state, wiring):
        x, p = state
        partner, sign = wiring
        d = (x[:, partner] - x) * sign[None].astype(x.dtype)
        # Equal values have a finite slope.
        larger = d / jnp.maximum(jnp.abs(d), 1e-6) ** lambda_
        keep = gates[relaxation](steepness * larger)
        x = keep * x + (1 - keep) * x[:, partner]
        return (x, keep[:, :, None] * p + (1 - keep[:, :, None]) * p[:, partner]), None

    x = widen(values)
    start = jnp.broadcast_to(jnp.eye(x.shape[1], dtype=x.dtype), (*x.shape, x.shape[1]))
    return jax.lax.scan(layer, (x, start), networks[network](x.shape[1]))[0]


def order_cross_entropy(permutation: jax.Array, ranks: jax.Array) -> jax.Array:
    """Binary cross-entropy of a soft permutation with the true one.

        L_b = mean_ri BCE(p_bri, [rank of i is r])

    Args:
        permutation: p [B, N, N], as of `sorting_network`.
        ranks: of the values, from 1 to N [B, N], integer.

    Returns:
        Loss of each row [B].

    Reference: Differentiable Sorting Networks for Scalable Sorting and Ranking Supervision
    (Petersen et al., 2021), as a mean over entries.
    """
    check_axes(permutation=(permutation, 'B N N'), ranks=(ranks, 'B N'))
    p = widen(permutation)
    true = ranks[:, None, :] == jnp.arange(1, p.shape[1] + 1)[None, :, None]
    return -jnp.log(jnp.maximum(jnp.where(true, p, 1 - p), 1e-7)).mean((1, 2))


def groco(
    z: jax.Array, positives: jax.Array, *, negatives: int = 10, steepness: float = 1.0
) -> jax.Array:
    """An anchor's positives have to come after its nearest negatives when all are sorted.

        L_i = mean_j BCE(sum_{r > k} p_rj, [j is a positive]),   p of the sorted cosines

    The order within positives and within negatives is free.

    Args:
        z: projections of the anchors [B, D]; the negatives are the other rows, without gradient.
        positives: projections of V other views [V, B, D], without gradient.
        negatives: k, how many of the nearest take part; B - 1 if that is fewer.
        steepness: of the Cauchy gates.

    Returns:
        Loss of each anchor [B].

    Reference: Learning by Sorting: Self-supervised Learning with Group Ordering Constraints
    (Shvetsova et al., 2023).
    """
    check_axes(z=(z, 'B D'), positives=(positives, 'V B D'))
    u, views = normalise(z), jax.lax.stop_gradient(normalise(positives))
    near = jnp.sort(jnp.einsum('bd,vbd->bv', u, views, precision='highest'))
    far = jnp.matmul(u, jax.lax.stop_gradient(u).T, precision='highest')
    far = jnp.where(jnp.eye(len(u), dtype=bool), -FAR, far)
    k = min(negatives, len(u) - 1)
    far = jnp.sort(far)[:, len(u) - k :]
    both = jnp.concatenate([far, near], axis=1)
    _, p = sorting_network(both, relaxation='cauchy', steepness=steepness)
    # Both sums, and not one minus the other: each is exact where it is small.
    right = jnp.concatenate([p[:, :k, :k].sum(1), p[:, k:, k:].sum(1)], axis=1)
    return -jnp.log(jnp.maximum(right, 1e-7)).mean(1)


def _project(z, ascending):
    """The nearest point to z [N] in the hull of all orders of w, by isotonic regression."""
    order = jnp.argsort(z)
    slack = z[order] - ascending
    # Not z - fit, which is the same but loses the digits of w beside a large z.
    return (ascending + (slack - _isotonic(slack)))[jnp.argsort(order)]


def _isotonic(y):
    """Least-squares fit that never falls: max_{j <= i} min_{k >= i} mean(y_j ... y_k)."""
    first = jnp.arange(len(y))

    def longer(mean, inputs):
        k, value = inputs
        length = jnp.maximum(k - first + 1, 1).astype(y.dtype)
        mean = jnp.where(k >= first, mean + (value - mean) / length, 0.0)
        return mean, mean

    # Running means: differences of a cumulative sum would lose digits.
    _, means = jax.lax.scan(longer, jnp.zeros_like(y), (first, y))

    def shorter(least, inputs):
        i, mean = inputs
        least = jnp.minimum(least, jnp.where(i >= first, mean, FAR))
        return least, jnp.where(i >= first, least, -FAR).max()

    return jax.lax.scan(shorter, jnp.full_like(y, FAR), (first, means), reverse=True)[1]


def _odd_even(count):
    """(partner of each place, 1 where it takes the smaller and -1 where the larger) [layers, N]."""
    place = np.arange(count)
    partners, signs = [], []
    for layer in range(count):
        low = (place - layer) % 2 == 0
        partner = np.where(low, place + 1, place - 1)
        alone = (partner < 0) | (partner >= count)
        partners.append(np.where(alone, place, partner))
        signs.append(np.where(low, 1, -1))
    return jnp.asarray(partners, jnp.int32), jnp.asarray(signs, jnp.int32)


def _bitonic(count):
    if count & (count - 1):
        raise ValueError(f"values must have a power of two as N for 'bitonic', got {count}")
    place = np.arange(count)
    partners, signs = [], []
    for block in (2**i for i in range(1, count.bit_length())):
        step = block // 2
        while step:
            partners.append(place ^ step)
            rising = place & block == 0
            signs.append(np.where((place < partners[-1]) == rising, 1, -1))
            step //= 2
    wiring = (np.reshape(x, (-1, count)) for x in (partners, signs))  # of one value: no layers
    return tuple(jnp.asarray(x, jnp.int32) for x in wiring)
