"""Domains: rows that differ in their classes or in what goes with them, and images in other styles.

for rows in domains.shifted(labels, domains.mixes(5, 10, alpha=0.5, seed=0), seed=0): ...
night = domains.low_light(key, to_float(images))
"""

from collections.abc import Sequence

import chex
import dm_pix
import jax
import jax.numpy as jnp
import numpy as np

from jssl.data.seeds import generator


def mixes(
    domains: int, classes: int, *, alpha: float, condition: float = np.inf, seed: int
) -> np.ndarray:
    """Shares of the classes in several domains, of which none is a blend of the others.

        p(y | d) ~ Dirichlet(alpha, ..., alpha), drawn again until cond(p) <= condition

    Args:
      domains: D.
      classes: K.
      alpha: a small one gives each domain few classes, a large one makes them alike.
      condition: largest condition number of the matrix; needs D >= K to be finite.
      seed: of the draws.

    Returns:
      float64 [D, K], rows sum to one.

    Unsupervised Learning under Latent Label Shift (Roberts et al., 2022).
    """
    random = generator(seed, 'mixes')
    for _ in range(10_000):
        p = random.dirichlet(np.full(classes, alpha), domains)
        if condition == np.inf or np.linalg.cond(p) <= condition:
            return p
    raise ValueError(f'condition {condition} is hardly reached by {domains} domains at {alpha=}')


def shifted(labels: np.ndarray, mixes: np.ndarray, *, seed: int) -> list[np.ndarray]:
    """Divides a set into domains that differ in their classes alone: p(x | y) stays (label shift).

    The domains are disjoint, of one size, and as large as the scarcest class allows.

    Args:
      labels: integers [N] in 0 .. K - 1.
      mixes: p(y | d), [D, K].
      seed: of the choice.

    Returns:
      D arrays of rows, int64, ascending.

    Detecting and Correcting for Label Shift with Black Box Predictors (Lipton et al., 2018).
    """
    classes = mixes.shape[1]
    have = np.bincount(labels, minlength=classes)
    size = int((have / np.maximum(mixes.sum(0), 1e-12)).min())
    # Rounded down, so that a class that several domains share is never asked for too often.
    counts = np.floor(size * mixes + 1e-9).astype(int)
    domains = [[] for _ in mixes]
    for y in range(classes):
        rows = generator(seed, f'shifted {y}').permutation(np.flatnonzero(labels == y))
        parts = np.split(rows, np.cumsum(counts[:, y]))[:-1]
        for domain, part in zip(domains, parts, strict=True):
            domain.append(part)
    return [np.sort(np.concatenate(domain)) for domain in domains]


def mismatched(
    labels: np.ndarray,
    known: Sequence[int],
    *,
    per_class: int,
    unlabelled: int,
    share: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """A labelled set of some classes, and unlabelled examples of which many belong to none of them.

    Args:
      labels: integers [N].
      known: the classes that are labelled; all others are unknown.
      per_class: labelled examples of each known class.
      unlabelled: how many; the known ones are disjoint from the labelled.
      share: of the unlabelled that is of an unknown class.
      seed: of the choice; with one seed, the labelled ones are the same at any share.

    Returns:
      Rows of the labelled and of the unlabelled set, int64, ascending.

    Realistic Evaluation of Deep Semi-Supervised Learning Algorithms (Oliver et al., 2018), section
    4.4.
    """
    inside = np.isin(labels, known)
    random = generator(seed, 'mismatched')
    ours, others = (random.permutation(np.flatnonzero(part)) for part in (inside, ~inside))
    labelled = np.concatenate([ours[labels[ours] == y][:per_class] for y in known])
    rest = ours[~np.isin(ours, labelled)]
    foreign = round(share * unlabelled)
    if len(labelled) < per_class * len(known):
        raise ValueError(f'per_class {per_class}: a known class has fewer examples')
    if foreign > len(others) or unlabelled - foreign > len(rest):
        raise ValueError(
            f'{unlabelled} unlabelled at share {share}: there are {len(rest)} of known classes, '
            f'{len(others)} of unknown ones'
        )
    drawn = np.concatenate([rest[: unlabelled - foreign], others[:foreign]])
    return np.sort(labelled), np.sort(drawn)


def correlated(
    labels: np.ndarray, factor: np.ndarray, rho: float, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses examples so that a factor that should not matter tells the class, with strength rho.

        of each class y, rho of the examples have factor a(y) = y mod A

    as many of each class, and as many as the scarcest group allows; the others' factors are as
    they come.

    Args:
      labels: integers [N] in 0 .. K - 1.
      factor: integers [N] in 0 .. A - 1: a background, a colour, a style.
      rho: share that agrees; 1 / A is about none, 1 all, 0 contradicts.
      seed: of the choice.

    Returns:
      Rows int64, ascending; and for each of them whether it agrees, bool.

    Distributionally Robust Neural Networks for Group Shifts (Sagawa et al., 2019), waterbirds.
    """
    if not 0 <= rho <= 1:
        raise ValueError(f'rho must lie in [0, 1], got {rho}')
    agrees = factor == labels % (factor.max() + 1)
    random, classes = generator(seed, 'correlated'), np.unique(labels)
    groups = [
        [random.permutation(np.flatnonzero((labels == y) & (agrees == side))) for side in (1, 0)]
        for y in classes
    ]
    shares = (rho, 1 - rho)
    size = min(
        int(len(rows) / share + 1e-9)
        for pair in groups
        for rows, share in zip(pair, shares, strict=True)
        if share > 0
    )
    counts = (round(rho * size), size - round(rho * size))
    chosen = [r[:n] for pair in groups for r, n in zip(pair, counts, strict=True)]
    rows = np.sort(np.concatenate(chosen))
    return rows, agrees[rows]


def colour_cast(
    images: jax.Array, gain: jax.Array, *, offset: jax.Array | float = 0.0
) -> jax.Array:
    """The colours of a camera, or of a stain.

        x' = x gain + offset

    Args:
      images: float [B, H, W, C] in [0, 1].
      gain: of each channel [C]; the same for a domain, for instance jax.random.uniform(
        fold_in(key, domain), (3,), minval=0.5, maxval=1.2).
      offset: of each channel [C], or of all.

    Returns:
      [B, H, W, C] in [0, 1].

    Camera-Driven Representation Learning for Unsupervised Domain Adaptive Person Re-identification
    (Lee et al., 2023): cameras as domains.
    """
    chex.assert_rank(images, 4)
    gain, offset = (
        jnp.broadcast_to(jnp.asarray(v, images.dtype), images.shape) for v in (gain, offset)
    )
    return jnp.clip(images * gain + offset, 0, 1)


def low_light(
    key: jax.Array, images: jax.Array, *, light: float = 0.2, photons: float = 200.0
) -> jax.Array:
    """A short exposure: dim, and grainy where it is dim.

        x' = y + sqrt(y / photons) e,   y = light x^2,   e ~ N(0, 1)

    Args:
      key: random key.
      images: float [B, H, W, C] in [0, 1].
      light: brightness of what was white.
      photons: that a white pixel counts at light 1; the fewer, the noisier.

    Returns:
      [B, H, W, C] in [0, 1].

    Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data (Foi et al.,
    2008).
    """
    chex.assert_rank(images, 4)
    dim = light * jnp.square(images)
    grain = jax.random.normal(key, images.shape, images.dtype)
    return jnp.clip(dim + jnp.sqrt(dim / photons) * grain, 0, 1)


def posterise(images: jax.Array, *, levels: int = 4) -> jax.Array:
    """Few values of each channel, as in a print.

        x' = round((L - 1) x) / (L - 1)

    Args:
      images: float [B, H, W, C] in [0, 1].
      levels: L, at least 2.

    Returns:
      [B, H, W, C] in [0, 1].

    AutoAugment: Learning Augmentation Policies from Data (Cubuk et al., 2018), its posterize.
    """
    chex.assert_rank(images, 4)
    return jnp.round(images * (levels - 1)) / (levels - 1)


def sketch(images: jax.Array, *, strength: float = 4.0) -> jax.Array:
    """Dark lines on white where the picture has edges.

        x' = 1 - min(1, strength |grad luma|)

    Args:
      images: float [B, H, W, C] in [0, 1].
      strength: how soon a line is black; the gradient is Sobel's, divided by 4.

    Returns:
      [B, H, W, C] in [0, 1], all channels alike.

    Learning Robust Global Representations by Penalizing Local Predictive Power (Wang et al., 2019),
    whose test set is sketches.
    """
    chex.assert_rank(images, 4)
    grey = (
        dm_pix.rgb_to_grayscale(images) if images.shape[-1] == 3 else images.mean(-1, keepdims=True)
    )
    smooth = lambda x, axis: _shift(x, axis, -1) + 2 * x + _shift(x, axis, 1)
    slope = lambda x, axis: _shift(x, axis, 1) - _shift(x, axis, -1)
    down, across = slope(smooth(grey, 2), 1), slope(smooth(grey, 1), 2)
    edge = jnp.sqrt(jnp.square(down) + jnp.square(across) + 1e-12) / 4
    return jnp.broadcast_to(1 - jnp.minimum(1, strength * edge), images.shape)


def inverted(images: jax.Array) -> jax.Array:
    """The negative, 1 - x.

    Args:
      images: float [B, H, W, C] in [0, 1].

    Returns:
      [B, H, W, C] in [0, 1].

    Boosting Novel Category Discovery Over Domains with Soft Contrastive Learning and All-in-One
    Classifier (Zang et al., 2023).
    """
    chex.assert_rank(images, 4)
    return 1 - images


def _shift(x, axis, by):
    """The neighbours along an axis; the border is its own neighbour."""
    place = jnp.clip(jnp.arange(x.shape[axis]) + by, 0, x.shape[axis] - 1)
    return jnp.take(x, place, axis=axis)
