"""Tables whose posterior is known: mixed columns with novel classes, linear teachers, madelon.

What belongs to the columns rather than to the rows (which of them matter, a teacher's weights) is
given by `truth`; it depends on the seed and the knobs, and the splits share it.
"""

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri, softmax

from jssl.data.generated import draw
from jssl.errors import Refusal

COUNTS = {'train': 2000, 'validation': 500, 'test': 1000}
LICENCE = 'Apache-2.0'
NOISE, INFORMATIVE, REDUNDANT = 0, 1, 2


def _mixed(
    random,
    *,
    classes=10,
    novel=4,
    numerical=8,
    categorical=4,
    levels=5,
    separation=3.0,
    nuisance=4,
    nuisance_scale=3.0,
    skew=0.5,
    missing=0.0,
):
    mean = separation / 2**0.5 * random.standard_normal((classes, numerical))
    mean -= mean.mean(0)
    chance = random.dirichlet(np.full(levels, 0.5), (classes, categorical))
    group_mean = nuisance_scale * random.standard_normal((4, nuisance))
    unit = np.exp(random.uniform(-2, 2, numerical + nuisance))  # columns have units of their own
    sides = random.choice([-1.0, 1.0], numerical + nuisance)
    novel_id = random.permutation(classes)[:novel]
    width = 2 * (numerical + categorical) + nuisance + 2

    def rows(u):
        label = np.minimum((u[:, 0] * classes).astype(np.int32), classes - 1)
        group = (u[:, 1] * 4).astype(np.int32)
        parts = np.cumsum([numerical, nuisance, categorical, numerical])
        z, other, level, gone, gone_level = np.split(u[:, 2:], parts, axis=1)
        z, other = mean[label] + ndtri(z), group_mean[group] + ndtri(other)
        category = (np.cumsum(chance, 2)[label][..., :-1] < level[..., None]).sum(2)
        gone, gone_level = gone < missing, gone_level < missing
        far = np.where(gone[:, None], 0, np.square(z[:, None] - mean)).sum(2)
        with np.errstate(divide='ignore'):
            log_chance = np.log(chance)
        likely = log_chance[:, np.arange(categorical), category].transpose(1, 0, 2)
        likely = np.where(gone_level[:, None], 0, likely).sum(2)
        # A monotone warp to one side: heavy tails, and the same information.
        plain = np.concatenate([z, other], 1)
        warped = np.sinh(skew * (plain * sides + 1)) / skew * sides if skew else plain
        hidden = np.pad(gone, ((0, 0), (0, nuisance)))
        return {
            'feature': np.where(hidden, np.nan, warped * unit).astype(np.float32),
            'category': np.where(gone_level, -1, category).astype(np.int32),
            'missing': np.concatenate([hidden, gone_level], 1),
            'label': label,
            'novel': np.isin(label, novel_id),
            'group': group,
            'posterior': softmax(likely - far / 2, 1).astype(np.float32),
        }

    relevance = np.repeat([INFORMATIVE, NOISE], [numerical, nuisance]).astype(np.int32)
    return {'relevance': relevance, 'novel': np.sort(novel_id)}, width, rows


def _linear(random, *, dimension=50, informative=None, snr=1.0):
    informative = dimension if informative is None else informative
    weight = np.zeros(dimension)
    chosen = random.permutation(dimension)[:informative]
    weight[chosen] = random.standard_normal(informative)
    weight *= np.sqrt(snr) / np.linalg.norm(weight)

    def rows(u):
        normal = ndtri(u)
        feature, noise = normal[:, :-1], normal[:, -1]
        signal = feature @ weight
        return {
            'feature': feature.astype(np.float32),
            'target': (signal + noise).astype(np.float32),
            'signal': signal.astype(np.float32),
            'label': (signal + noise > 0).astype(np.int32),
            'posterior': np.stack([ndtr(-signal), ndtr(signal)], 1).astype(np.float32),
        }

    truth = {'relevance': (weight != 0).astype(np.int32), 'weight': weight.astype(np.float32)}
    return truth, dimension + 1, rows


def _madelon(random, *, informative=5, redundant=15, noise=480, separation=1.5):
    corners = np.stack(np.unravel_index(np.arange(2**informative), (2,) * informative), 1)
    corners = separation * (2.0 * corners - 1)
    label_of = (random.permutation(len(corners)) % 2).astype(np.int32)
    mix = random.standard_normal((informative, redundant)) / informative**0.5
    order = random.permutation(informative + redundant + noise)

    def rows(u):
        corner = np.minimum((u[:, 0] * len(corners)).astype(np.int32), len(corners) - 1)
        normal = ndtri(u[:, 1:])
        own = corners[corner] + normal[:, :informative]
        feature = np.concatenate([own, own @ mix, normal[:, informative:]], 1)
        closeness = own @ corners.T  # corners are equally far from the middle
        share = [logsumexp(closeness[:, label_of == y], axis=1) for y in range(2)]
        return {
            'feature': feature[:, order].astype(np.float32),
            'label': label_of[corner],
            'component': corner,
            'posterior': softmax(np.stack(share, 1), 1).astype(np.float32),
        }

    sizes = [informative, redundant, noise]
    relevance = np.repeat([INFORMATIVE, REDUNDANT, NOISE], sizes).astype(np.int32)
    return {'relevance': relevance[order]}, 1 + informative + noise, rows


FAMILIES = {'mixed': _mixed, 'linear': _linear, 'madelon': _madelon}


def _made(family, seed, knobs):
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of tables: choose {", ".join(FAMILIES)}')
    return FAMILIES[family](np.random.default_rng([seed, 7]), **knobs)


def truth(family: str = 'mixed', *, seed: int = 0, **knobs) -> dict[str, np.ndarray]:
    """What is true of the columns of a table.

    Args:
      family, seed, **knobs: as `dataset`.

    Returns:
      relevance int32 [D] of the columns of `feature`: 0 noise, 1 informative, 2 redundant (a mix of
      informative ones); of mixed tables novel, the classes that count as new; of linear ones weight
      float32 [D].

    Design of experiments for the NIPS 2003 variable selection benchmark (Guyon, 2003).
    """
    return _made(family, seed, knobs)[0]


def dataset(
    split: str = 'train', *, family: str = 'mixed', count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """A split of a table, with p(class | what is seen of the row).

    Args:
      split: train, validation or test.
      family: 'mixed', 'linear' or 'madelon'.
      count: N; None is that of `COUNTS`.
      seed: of the columns and of the draws.
      **knobs: of the family,
        mixed: classes=10, novel=4 of them; numerical=8 columns whose means lie `separation`=3.0
          deviations apart in each; categorical=4 of levels=5; nuisance=4 columns that form four
          groups of their own, nuisance_scale=3.0 deviations apart; skew=0.5, of the heavy tail that
          each column has to one side, beside a unit of its own; missing=0.0, share of values of the
          informative columns.
        linear: dimension=50; informative=None, columns with a weight, or all; snr=1.0, variance of
          the signal over that of the noise, which is 1.
        madelon: informative=5, redundant=15, noise=480 columns in random order; a class is half of
          the corners of a cube; separation=1.5, from the middle of an edge to its end.

    Returns:
      feature float32 [N, D], NaN where missing; label int32 [N]; posterior float32 [N, C]; and of
        mixed: category int32 [N, E], -1 where missing; missing bool [N, D + E]; novel bool [N];
          group int32 [N], of the nuisance.
        linear: target float32 [N], signal float32 [N], its mean; label is target > 0.
        madelon: component int32 [N], the corner.

    Design of experiments for the NIPS 2003 variable selection benchmark (Guyon, 2003).
    """
    _, width, rows = _made(family, seed, knobs)
    count = COUNTS[split] if count is None else count
    # Row i of one stream is item i: quicker than a stream for each, and as independent of N.
    return rows(draw.generator(seed, split, 0).random((count, width)).clip(2.0**-54))
