"""Which pairs and triplets of a labelled batch are worth a loss: masks, pure and of fixed shape.

`d` are the distances of all rows [B, B], of any kind; for a likeness, pass its negative. Pairs come
as two masks (positive, negative), of shape [B, B] as those of `pair_masks`; triplets as one, of
shape [B, B, B] for anchor, positive, negative. A loss then is a mean over a mask:

    positive, negative = miners.batch_hard(d, labels)
    near, far = (jnp.where(mask, d, 0).sum(1) for mask in (positive, negative))
    cost = jnp.where(positive.any(1), jax.nn.relu(near - far + margin), 0)
"""

import math

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes
from jssl.losses.pairs import pair_masks
from jssl.losses.similarity import distance_matrix, normalise, squared_distance_matrix

STRATEGIES = 'easy', 'hard', 'semihard', 'all'


def triplets(labels: jax.Array) -> jax.Array:
    """All triplets of two rows of a class and one of another.

    Args:
        labels: classes [B], integer.

    Returns:
        Mask [B, B, B], bool.

    Reference: FaceNet (Schroff et al., 2015).
    """
    positive, negative = pair_masks(labels)
    return positive[:, :, None] & negative[:, None, :]


def triplet_margin(
    d: jax.Array, labels: jax.Array, *, margin: float = 0.2, above: float = -math.inf
) -> jax.Array:
    """Triplets whose negative is farther than the positive by at most a margin.

        above < d_an - d_ap <= margin

    Semi-hard ones with above = 0, hard ones with margin = 0; easy ones with margin = inf.

    Args:
        d: distances [B, B].
        labels: classes [B], integer.
        margin: what a triplet that costs something does not exceed.
        above: what it exceeds.

    Returns:
        Mask [B, B, B], bool.

    Reference: FaceNet (Schroff et al., 2015).
    """
    check_axes(labels=(labels, 'B'), d=(d, 'B B'))
    gap = d[:, None, :] - d[:, :, None]
    return triplets(labels) & (gap <= margin) & (gap > above)


def angular(z: jax.Array, labels: jax.Array, *, angle: float = 20.0) -> jax.Array:
    """Triplets whose negative sees half the pair under more than an angle, from the pair's middle.

        |a - p| / (2 |n - (a + p) / 2|) > tan(angle),   rows of unit length

    pytorch-metric-learning takes the rows as they are: pass it unit rows for the same triplets.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        angle: in degrees.

    Returns:
        Mask [B, B, B], bool.

    Reference: Deep Metric Learning with Angular Loss (Wang et al., 2017).
    """
    check_axes(labels=(labels, 'B'), z=(z, 'B D'))
    u = normalise(z)
    square = squared_distance_matrix(u, u)
    pair = square[:, :, None]
    # Of the triangle's median, which takes no array of B B D middles.
    middle = (square[:, None, :] + square[None, :, :]) / 2 - pair / 4
    return triplets(labels) & (pair > 4 * math.tan(math.radians(angle)) ** 2 * middle)


def batch_hard(d: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The farthest positive and the nearest negative of each row.

    Args:
        d: distances [B, B].
        labels: classes [B], integer.

    Returns:
        Two masks [B, B], bool, one pair a row; none in a row that lacks one kind.

    Reference: In Defense of the Triplet Loss for Person Re-Identification (Hermans et al., 2017).
    """
    return batch_easy_hard(d, labels, positive='hard', negative='hard')


def batch_easy_hard(
    d: jax.Array, labels: jax.Array, *, positive: str = 'easy', negative: str = 'semihard'
) -> tuple[jax.Array, jax.Array]:
    """One positive and one negative of each row, or all of a kind.

    Easy is the nearest positive and the farthest negative, hard the other way round. A semi-hard
    negative is the nearest that is farther than the positive, a semi-hard positive the farthest
    that is nearer than the negative.

    Args:
        d: distances [B, B].
        labels: classes [B], integer.
        positive, negative: 'easy', 'hard', 'semihard' or 'all'; 'semihard' beside easy or hard.

    Returns:
        Two masks [B, B], bool; none in a row that lacks one kind, unless the other is 'all'.

    Reference: Improved Embeddings with Easy Positive Triplet Mining (Xuan et al., 2020).
    """
    check_axes(labels=(labels, 'B'), d=(d, 'B B'))
    chosen = (positive, negative)
    if not set(chosen) <= set(STRATEGIES):
        raise ValueError(f'positive and negative must be of {STRATEGIES}, got {chosen}')
    if 'semihard' in chosen and not {'easy', 'hard'} & set(chosen):
        raise ValueError(f"'semihard' needs 'easy' or 'hard' beside it, got {chosen}")
    near, far = pair_masks(labels)
    if positive not in ('all', 'semihard'):
        near = _farthest(d if positive == 'hard' else -d, near)
    if negative == 'semihard':
        far &= d > _chosen(d, near)
    if negative != 'all':
        far = _farthest(d if negative == 'easy' else -d, far)
    if positive == 'semihard':
        near = _farthest(d, near & (d < _chosen(d, far)))
    if 'all' in chosen:
        return near, far
    both = (near.any(1) & far.any(1))[:, None]
    return near & both, far & both


def multi_similarity(
    d: jax.Array, labels: jax.Array, *, epsilon: float = 0.1
) -> tuple[jax.Array, jax.Array]:
    """Positives about as far as the nearest negative or farther, negatives the other way round.

        d_ip > min_n d_in - epsilon,   d_in < max_p d_ip + epsilon

    Args:
        d: distances [B, B]; the paper's are negative cosines.
        labels: classes [B], integer.
        epsilon: slack.

    Returns:
        Two masks [B, B], bool; none in a row that lacks one kind.

    Reference: Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning (Wang et
    al., 2019).
    """
    check_axes(labels=(labels, 'B'), d=(d, 'B B'))
    positive, negative = pair_masks(labels)
    nearest = jnp.where(negative, d, jnp.inf).min(1, keepdims=True)
    farthest = jnp.where(positive, d, -jnp.inf).max(1, keepdims=True)
    return positive & (d > nearest - epsilon), negative & (d < farthest + epsilon)


def pair_margin(
    d: jax.Array, labels: jax.Array, *, positive: float = 0.2, negative: float = 0.8
) -> tuple[jax.Array, jax.Array]:
    """Positives beyond a distance, negatives within another.

    Args:
        d: distances [B, B].
        labels: classes [B], integer.
        positive: what positives that cost something exceed.
        negative: what negatives that cost something stay below.

    Returns:
        Two masks [B, B], bool.

    Reference: Dimensionality Reduction by Learning an Invariant Mapping (Hadsell et al., 2006).
    """
    check_axes(labels=(labels, 'B'), d=(d, 'B B'))
    near, far = pair_masks(labels)
    return near & (d > positive), far & (d < negative)


def hardest_share(
    d: jax.Array, labels: jax.Array, *, share: float = 0.5
) -> tuple[jax.Array, jax.Array]:
    """The farthest positives and the nearest negatives of the whole batch: HDC's mining.

    Args:
        d: distances [B, B].
        labels: classes [B], integer.
        share: how many of either kind stay, rounded up.

    Returns:
        Two masks [B, B], bool.

    Reference: Hard-Aware Deeply Cascaded Embedding (Yuan et al., 2017).
    """
    check_axes(labels=(labels, 'B'), d=(d, 'B B'))
    positive, negative = pair_masks(labels)
    return _top(d, positive, share), _top(-d, negative, share)


def maximum_loss(cost: jax.Array, *, count: int) -> jax.Array:
    """The rows of the highest loss.

    Args:
        cost: loss of each row [B].
        count: how many rows stay.

    Returns:
        Mask [B], bool.

    Reference: Training Region-based Object Detectors with Online Hard Example Mining (Shrivastava
    et al., 2016).
    """
    check_axes(cost=(cost, 'B'))
    return _ranks(-cost) < count


def distance_weighted(
    z: jax.Array, labels: jax.Array, *, cutoff: float = 0.5, limit: float = 1.4
) -> jax.Array:
    """Shares with which to draw a row's negative, so that all distances come up alike.

        w_ij ~ 1 / q(max(d_ij, cutoff)) where d_ij < limit
        q(d) = d^(D - 2) (1 - d^2 / 4)^((D - 3) / 2),   the density of distances on the sphere

    jax.random.categorical(key, jnp.log(w)) draws a negative of each row; a row of zeros has none.

    Args:
        z: embeddings [B, D].
        labels: classes [B], integer.
        cutoff: distance below which weights stay as they are.
        limit: distance from which a negative costs nothing, in (0, 2).

    Returns:
        Shares [B, B], whose rows sum to one or zero.

    Reference: Sampling Matters in Deep Embedding Learning (Wu et al., 2017).
    """
    check_axes(labels=(labels, 'B'), z=(z, 'B D'))
    _, negative = pair_masks(labels)
    u = normalise(z)
    d = distance_matrix(u, u)
    within = negative & (d < limit)
    d = jnp.clip(d, cutoff, limit)
    dimension = z.shape[1]
    logits = (2 - dimension) * jnp.log(d) - (dimension - 3) / 2 * jnp.log1p(-jnp.square(d) / 4)
    shares = jax.nn.softmax(jnp.where(within, logits, -1e30))
    return jnp.where(within, shares, 0.0)


def uniform_histogram(
    key: jax.Array, d: jax.Array, labels: jax.Array, *, bins: int = 100, count: int = 10
) -> tuple[jax.Array, jax.Array]:
    """As many pairs of all distances, from equal bins between the least and the greatest.

    Drawn without replacement; pytorch-metric-learning draws with it.

    Args:
        key: of the draw.
        d: distances [B, B].
        labels: classes [B], integer.
        bins: of positives, and of negatives.
        count: how many pairs of a bin stay, at most.

    Returns:
        Two masks [B, B], bool.

    Reference: A Metric Learning Reality Check (Musgrave et al., 2020), whose library has it.
    """
    check_axes(labels=(labels, 'B'), d=(d, 'B B'))
    keys = jax.random.split(key)
    near, far = pair_masks(labels)
    return tuple(
        _of_bins(k, d, mask, bins, count) for k, mask in zip(keys, (near, far), strict=True)
    )


def _of_bins(key, d, mask, bins, count):
    low, high = jnp.where(mask, d, jnp.inf).min(), jnp.where(mask, d, -jnp.inf).max()
    width = jnp.where(high > low, high - low, 1.0) / bins
    place = jnp.clip(jnp.floor((d - low) / width), 0, bins - 1)
    place = jnp.where(mask, place, bins).ravel()
    # In the order of bins, and at random within one, a pair's rank is its distance from the first.
    order = jnp.lexsort((jax.random.uniform(key, place.shape), place))
    ordered = place[order]
    rank = jnp.arange(place.size) - jnp.searchsorted(ordered, ordered)
    return mask & jnp.zeros(place.shape, bool).at[order].set(rank < count).reshape(mask.shape)


def _farthest(d, mask):
    """The one pair of each row's mask with the greatest distance."""
    column = jnp.where(mask, d, -jnp.inf).argmax(1)
    return mask & (column[:, None] == jnp.arange(d.shape[1])[None, :])


def _chosen(d, mask):
    """Distance of the one pair of each row's mask [B, 1], zero without one."""
    return jnp.where(mask, d, 0.0).sum(1, keepdims=True)


def _ranks(values):
    """Place of each value from the least on; ties by position."""
    return jnp.argsort(jnp.argsort(values))


def _top(values, mask, share):
    """A share of the values that a mask chooses, the greatest ones."""
    count = jnp.ceil(share * mask.sum() - 1e-4)  # 1e-4: not one more by rounding
    ranks = _ranks(jnp.where(mask, -values, jnp.inf).ravel())
    return mask & (ranks < count).reshape(mask.shape)
