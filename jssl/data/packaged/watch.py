"""Shoulder exercises as a smartwatch feels them: ten people, seven exercises, either arm."""

import functools

import numpy as np

from jssl.data import vendored
from jssl.data.readers import SPLITS, check_split, stratified_split

EXERCISES = (
    'pendulum',
    'abduction',
    'forward elevation',
    'internal rotation',
    'external rotation',
    'trapezius extension',
    'upright row',
)
CHANNELS = ('ax', 'ay', 'az', 'wx', 'wy', 'wz')  # acceleration in g, rotation in rad/s
RATE = 25  # samples a second
STEP = np.repeat(np.float32([0.01, 0.02]), 3)  # of the stored whole numbers


def watch(split: str, *, length: int = 100, hop: int | None = None) -> dict[str, np.ndarray]:
    """Windows of the recordings of some people; no person is in two splits.

    Args:
      split: train (seven people), validation (one) or test (two).
      length: T, samples of a window, 25 a second.
      hop: samples from one window to the next; None is `length`.

    Returns:
      signal float32 [N, T, 6], CHANNELS; label int32 [N], of EXERCISES; subject int32 [N], 1 to
      10; side int32 [N], 1 for the right arm; recording int32 [N] and start int32 [N], where a
      window is from. Windows of a recording stand together in order.

    Shoulder Physiotherapy Exercise Recognition (Burns et al., 2018).
    """
    check_split(split, SPLITS, 'watch')
    hop = hop or length
    found = vendored.arrays('watch')
    people = np.unique(found['subject'])
    tags = [b'%d' % person for person in people]
    chosen = people[stratified_split(np.zeros(len(people), int), tags, split)]
    numbers = np.flatnonzero(np.isin(found['subject'], chosen))
    windows = [(n, s) for n in numbers for s in range(0, len(_signals()[n]) - length + 1, hop)]
    if not windows:
        raise ValueError(f'length {length} is more than any recording has')
    recording, start = np.array(windows, np.int32).T
    signal = np.stack([_signals()[n][s : s + length] for n, s in windows])
    columns = {
        name: found[name][recording].astype(np.int32) for name in ('label', 'subject', 'side')
    }
    return {'signal': signal, **columns, 'recording': recording, 'start': start}


@functools.cache
def _signals():
    """float32 [T_i, 6] of every recording."""
    found = vendored.arrays('watch')
    folded = found['low'].astype(np.int32) + (found['high'].astype(np.int32) << 8)
    change = np.where(folded & 1, -(folded + 1) // 2, folded // 2)  # sign is the last bit
    parts = np.split(change.T, np.cumsum(found['length'].astype(int))[:-1])
    return [np.cumsum(part, 0).astype(np.float32) * STEP for part in parts]
