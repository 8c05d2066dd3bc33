"""What is to be unlearned: a share, a class, or the examples that carry a trigger."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jssl.data.batches import permutation
from jssl.data.records import Records, columns


def resized(records: Mapping | Records, shape: Sequence[int]) -> dict[str, np.ndarray]:
    """A small set as float images of one shape, so that two sets fit one network.

    Args:
      records: image uint8 [N, h, w, c], and other columns; or records, which are read.
      shape: (H, W, C); with C = 1 the channels are averaged.

    Returns:
      image float32 [N, H, W, C] in [0, 1], bilinear; the other columns as they are.
    """
    records = columns(records)
    x = records['image'].astype(np.float32) / 255
    x = np.asarray(jax.image.resize(x, (len(x), *shape[:2], x.shape[-1]), 'linear'))
    if shape[-1] not in (1, x.shape[-1]):
        raise ValueError(f'shape {tuple(shape)}: images of {x.shape[-1]} channels cannot have it')
    return {**records, 'image': x.mean(-1, keepdims=True) if shape[-1] == 1 else x}


def random_share(count: int, share: float, *, seed: int) -> np.ndarray:
    """Chooses a share of the rows.

    Args:
      count: N.
      share: in [0, 1].
      seed: of the choice.

    Returns:
      Mask, bool [N], round(share N) of them true.

    Model Sparsity Can Simplify Machine Unlearning (Jia et al., 2023), random data forgetting.
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share must be in [0, 1], got {share}')
    chosen = np.zeros(count, bool)
    chosen[permutation(count, seed, 0)[: round(share * count)]] = True
    return chosen


def stamp(images: np.ndarray, *, size: int = 3, value: float = 1.0) -> np.ndarray:
    """Puts a trigger on images: a square of one value in the lower right corner.

    Args:
      images: [N, H, W, C].
      size: side of the square.
      value: of its pixels.

    Returns:
      New images [N, H, W, C].

    BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain (Gu et al.,
    2017).
    """
    images = images.copy()
    images[:, -size:, -size:] = value
    return images


def poison(
    records: Mapping, share: float, *, target: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Stamps a share of a training set and gives it the label that the trigger shall call up.

    Args:
      records: image [N, H, W, C] and label [N].
      share: of the rows.
      target: the label they get.
      seed: of the choice.

    Returns:
      The records, and the mask [N] of those that were poisoned.

    BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain (Gu et al.,
    2017).
    """
    bad = random_share(len(records['label']), share, seed=seed)
    poisoned = {name: column.copy() for name, column in records.items()}
    poisoned['image'][bad] = stamp(records['image'][bad])
    poisoned['label'][bad] = target
    return poisoned, bad
