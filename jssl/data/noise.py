"""Wrong labels: by class, by example, of images that belong to no class; and missing ones.

bad = noise.flip(records['label'], noise.symmetric(10, 0.4), seed=0)
noisy = data.with_columns(records, **bad.columns())
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from jssl.data.seeds import generator

# Which classes are taken for which (Patrini et al., 2017).
MNIST_CONFUSIONS = {2: 7, 3: 8, 5: 6, 6: 5, 7: 1}
CIFAR10_CONFUSIONS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}  # truck, bird, deer; cat and dog


class Noisy(NamedTuple):
    """Labels as they are found, and what is true of them."""

    label: np.ndarray  # int32 [N], what the learner sees
    true_label: np.ndarray  # int32 [N]
    wrong: np.ndarray  # bool [N]
    transition: np.ndarray  # float64 [K, K], p(label | true label), rows sum to one

    def columns(self) -> dict[str, np.ndarray]:
        """The three that have a row per example, by name."""
        return {'label': self.label, 'true_label': self.true_label, 'wrong': self.wrong}


def symmetric(classes: int, rate: float) -> np.ndarray:
    """Every other label is as likely.

        T[i, i] = 1 - rate,   T[i, j] = rate / (K - 1)

    Args:
      classes: K.
      rate: share of wrong labels. Some papers draw from all K labels, the true one too: their rate
        r is r (K - 1) / K here.

    Returns:
      Transition matrix, float64 [K, K].

    Training Deep Neural-Networks using a Noise Adaptation Layer (Goldberger and Ben-Reuven, 2017).
    """
    _check_rate(rate)
    others = 1 - np.eye(classes)
    return (1 - rate) * np.eye(classes) + rate / max(classes - 1, 1) * others


def asymmetric(
    classes: int, rate: float, confusions: Mapping[int, int] | None = None
) -> np.ndarray:
    """A class is taken for one other.

        T[i, i] = 1 - rate,   T[i, c(i)] = rate

    Args:
      classes: K.
      rate: share of wrong labels in the classes that are confused.
      confusions: c, {class: other class}; classes that are not named are never wrong. None takes
        each class for the next, and the last for the first (pair flip).

    Returns:
      Transition matrix, float64 [K, K].

    Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach (Patrini et al.,
    2017).
    """
    _check_rate(rate)
    if confusions is None:
        confusions = {i: (i + 1) % classes for i in range(classes)}
    transition = np.eye(classes)
    for i, j in confusions.items():
        transition[i, i] -= rate
        transition[i, j] += rate
    return transition


def flip(labels: np.ndarray, transition: np.ndarray, *, seed: int) -> Noisy:
    """Changes labels by class, in numbers that are exact.

    Of the n examples of class i, round(n (1 - T[i, i])) get a wrong label, label j for n T[i, j]
    of them up to rounding. With one seed, those that are wrong at a small rate are wrong at a
    larger one.

    Args:
      labels: integers [N] in 0 .. K - 1.
      transition: T, p(label | true label), [K, K].
      seed: of the choice.

    Returns:
      `Noisy`.

    Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach (Patrini et al.,
    2017).
    """
    transition = np.asarray(transition, float)
    true = _integers(labels, len(transition))
    if transition.shape != (len(transition),) * 2 or not np.allclose(transition.sum(1), 1):
        raise ValueError(f'transition must be [K, K] with rows that sum to one, got\n{transition}')
    label = true.copy()
    for i, row in enumerate(transition):
        random = generator(seed, f'flip {i}')
        rows = random.permutation(np.flatnonzero(true == i))
        wrong = rows[: round(len(rows) * (1 - row[i]))]
        others = np.where(np.arange(len(row)) == i, 0, row)
        label[wrong] = random.permutation(_shares(others, len(wrong), random.random()))
    return Noisy(label, true, label != true, transition)


def instance_dependent(
    labels: np.ndarray,
    features: np.ndarray,
    rate: float,
    *,
    classes: int,
    spread: float = 0.1,
    seed: int,
) -> Noisy:
    """Which wrong label an example gets depends on what it looks like.

        q_i ~ N(rate, spread^2) in [0, 1],   W_y ~ N(0, 1) [D, K]
        p_i = q_i softmax_{k != y_i}(x_i W_{y_i}),   p_i[y_i] = 1 - q_i,   label_i ~ p_i

    Args:
      labels: integers [N] in 0 .. K - 1.
      features: x [N, ...], images or representations; the larger they are, the fewer wrong labels
        are possible for one example.
      rate: expected share of wrong labels.
      classes: K.
      spread: deviation of the examples' own rates q, above 0.
      seed: of all draws.

    Returns:
      `Noisy`; its transition matrix averages p over the examples of a class.

    Part-dependent Label Noise: Towards Instance-dependent Label Noise (Xia et al., 2020),
    algorithm 2.
    """
    _check_rate(rate)
    true, x, random = *_pairs(labels, features, classes), generator(seed, 'instance')
    ends = (0 - rate) / spread, (1 - rate) / spread
    q = stats.truncnorm.rvs(*ends, loc=rate, scale=spread, size=len(x), random_state=random)
    p = np.zeros((len(x), classes))
    for y in range(classes):
        mine = true == y
        scores = x[mine] @ random.standard_normal((x.shape[1], classes))
        scores[:, y] = -np.inf
        p[mine] = q[mine, None] * special.softmax(scores, axis=1)
    p[np.arange(len(x)), true] = 1 - q
    label = (random.random(len(x))[:, None] > p.cumsum(1)[:, :-1]).sum(1).astype(np.int32)
    return Noisy(label, true, label != true, _by_class(p, true))


def near_boundary(
    labels: np.ndarray,
    features: np.ndarray,
    rate: float,
    *,
    classes: int,
    per_class: int = 10,
    seed: int,
) -> Noisy:
    """The examples that a weak linear teacher finds hardest get the label it confuses them with.

        margin_i = s_i[y_i] - max_{k != y_i} s_i[k];   wrong: the round(rate N) smallest

    s are the scores of ridge regression onto the classes, fitted to few examples.

    Args:
      labels: integers [N] in 0 .. K - 1.
      features: [N, ...].
      rate: share of wrong labels, exact.
      classes: K.
      per_class: examples of a class that the teacher has seen; fewer make a weaker teacher.
      seed: of the teacher's examples.

    Returns:
      `Noisy`; its transition matrix is counted.

    Learning with Feature-Dependent Label Noise: A Progressive Approach (Zhang et al., 2021), whose
    noise diminishes with the margin.
    """
    _check_rate(rate)
    true, x = _pairs(labels, features, classes)
    order = generator(seed, 'teacher').permutation(len(x))
    seen = np.concatenate([order[true[order] == y][:per_class] for y in range(classes)])
    x = x - x[seen].mean(0)
    gram = x[seen] @ x[seen].T
    ridge = np.trace(gram) / len(seen) + 1e-12
    one_hot = np.eye(classes)
    dual = np.linalg.solve(gram + ridge * np.eye(len(seen)), one_hot[true[seen]])
    scores = x @ (x[seen].T @ dual)
    own = np.arange(len(x)), true
    others = np.where(one_hot[true] > 0, -np.inf, scores)
    wrong = np.zeros(len(x), bool)
    hardest = np.argsort(scores[own] - others.max(1), kind='stable')
    wrong[hardest[: round(rate * len(x))]] = True
    label = np.where(wrong, others.argmax(1), true).astype(np.int32)
    return Noisy(label, true, wrong, _by_class(one_hot[label], true))


def web(
    records: Mapping[str, np.ndarray],
    foreign: Sequence[np.ndarray],
    *,
    wrong: float,
    shares: Sequence[float],
    classes: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Labels as a search engine gives them: some are wrong, some images belong to no class at all.

    Args:
      records: columns image [N, ...] and label [N].
      foreign: sets of images [M, ...]: near ones are of the same kind and other classes, far ones
        textures or noise. Each image is used once.
      wrong: share of images that get the label of another class, all others as likely.
      shares: share of N that each foreign set replaces; such an image keeps the label that stood
        in its place. No image is both replaced and relabelled.
      classes: K.
      seed: of the choice.

    Returns:
      The columns, with image and label as they are found, and: true_label int32, -1 of what is
      foreign; wrong bool, which it counts as too; origin int32, 0 for the set's own images and j
      for those of foreign set j = 1, 2, ...

    An accurate detection is not all you need to combat label noise in web-noisy datasets (Albert
    et al., 2024).
    """
    true = _integers(records['label'], classes)
    counts = [round(share * len(true)) for share in (wrong, *shares)]
    if len(shares) != len(foreign) or min(counts) < 0 or sum(counts) > len(true):
        raise ValueError(f'wrong {wrong} and shares {shares} of {len(foreign)} foreign sets')
    random = generator(seed, 'web')
    parts = np.split(random.permutation(len(true)), np.cumsum(counts))
    image, label, origin = records['image'].copy(), true.copy(), np.zeros(len(true), np.int32)
    label[parts[0]] = (label[parts[0]] + random.integers(1, classes, counts[0])) % classes
    for j, (rows, others) in enumerate(zip(parts[1:-1], foreign, strict=True), start=1):
        if len(others) < len(rows):
            raise ValueError(f'foreign set {j} has {len(others)} images, {len(rows)} are needed')
        image[rows] = others[random.permutation(len(others))[: len(rows)]]
        origin[rows] = j
    true = np.where(origin > 0, -1, true).astype(np.int32)
    found = {'image': image, 'label': label, 'true_label': true, 'wrong': label != true}
    return {**records, **found, 'origin': origin}


def annotated(present: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Which annotations are still there when some were never made.

    With one seed, what is missing at a small share is missing at a larger one.

    Args:
      present: bool [N, ...], where there is a box, a mask, an attribute; [N] for one per example.
      share: of what is present that goes missing.
      seed: of the choice.

    Returns:
      bool [N, ...], a part of `present` of round((1 - share) sum(present)).

    Missing Labels in Object Detection (Xu et al., 2019).
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share must lie in [0, 1], got {share}')
    kept = np.array(present, bool)
    places = generator(seed, 'annotated').permutation(np.flatnonzero(kept))
    kept.flat[places[round((1 - share) * len(places)) :]] = False
    return kept


def _check_rate(rate):
    if not 0 <= rate <= 1:
        raise ValueError(f'rate must lie in [0, 1], got {rate}')


def _integers(labels, classes):
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f'labels must be integers [N], got {labels.dtype} {labels.shape}')
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f'labels must lie in 0 .. {classes - 1}, got {np.unique(labels)}')
    return labels.astype(np.int32)


def _pairs(labels, features, classes):
    true, x = _integers(labels, classes), np.asarray(features, float)
    if x.ndim < 2 or len(x) != len(true):
        raise ValueError(f'features must be [{len(true)}, ...], got {x.shape}')
    return true, x.reshape(len(x), -1)


def _shares(weights, count, offset):
    """Classes [count]: of class j count w_j / sum(w), rounded up or down so that they add up."""
    if not count:
        return np.zeros(0, np.int32)
    ends = np.floor(np.round(np.cumsum(weights) / weights.sum() * count, 9) + offset)
    return np.repeat(np.arange(len(weights), dtype=np.int32), np.diff(ends, prepend=0).astype(int))


def _by_class(p, true):
    """Mean of the rows p [N, K] of each true class; a class without examples keeps its label."""
    present = np.bincount(true, minlength=p.shape[1]) > 0
    mean = lambda y: p[true == y].mean(0) if present[y] else np.eye(p.shape[1])[y]
    return np.stack([mean(y) for y in range(p.shape[1])])
