"""Tables and a series that river carries: they need the extra 'series'. Equal rows count once."""

import numpy as np

from jssl.data.readers import SPLITS, check_split, stratified_split

SURFACES = ('brickface', 'cement', 'foliage', 'grass', 'path', 'sky', 'window')  # of segments


def segments(split: str) -> dict[str, np.ndarray]:
    """Patches of outdoor photographs by eighteen measurements of their place and colour.

    Args:
      split: train, validation or test, in every class.

    Returns:
      feature float32 [N, 18]; label int32 [N], of SURFACES.

    Image Segmentation, UCI Machine Learning Repository (Brodley, 1990).
    """
    from river import datasets  # of the extra

    rows, kind = zip(*datasets.ImageSegments(), strict=True)
    return _labelled(rows, [SURFACES.index(name) for name in kind], split)


def yeast(split: str) -> dict[str, np.ndarray]:
    """Genes of yeast by 103 measurements, and what they do: any of fourteen functions.

    Args:
      split: train, validation or test.

    Returns:
      feature float32 [N, 103]; target bool [N, 14].

    A Kernel Method for Multi-Labelled Classification (Elisseeff and Weston, 2001).
    """
    from river import datasets  # of the extra

    rows, functions = zip(*datasets.Yeast(), strict=True)
    target = np.array([list(each.values()) for each in functions], bool)
    columns = _labelled(rows, np.arange(len(rows)), split, alike=True)
    return {'feature': columns['feature'], 'target': target[columns['label']]}


def shuttle(split: str) -> dict[str, np.ndarray]:
    """States of a space shuttle by nine readings, of which one in fourteen is anomalous.

    Args:
      split: train, validation or test, in both classes.

    Returns:
      feature float32 [N, 9]; label int32 [N], 1 is an anomaly.

    Statlog (Shuttle), UCI Machine Learning Repository, as Outlier Detection DataSets casts it.
    """
    from river import datasets  # of the extra

    return _labelled(*zip(*datasets.Shuttle(), strict=True), split)


def water_flow(split: str, *, length: int = 24) -> dict[str, np.ndarray]:
    """Water that ran through a pipe, hour by hour for some two months.

    Args:
      split: train, validation or test: the first seven tenths of the hours, the next, the rest.
      length: T, hours of a window; windows lie side by side.

    Returns:
      signal float32 [N, T, 1], litres a second; start int32 [N], the first hour of a window.

    Tecnojest, by way of River: Machine Learning for Streaming Data (Montiel et al., 2021).
    """
    from river import datasets  # of the extra

    check_split(split, SPLITS, 'water_flow')
    flow = np.array([value for _, value in datasets.WaterFlow()], np.float32)
    first, last = {'train': (0, 0.7), 'validation': (0.7, 0.8), 'test': (0.8, 1)}[split]
    first, last = round(first * len(flow)), round(last * len(flow))
    start = np.arange(first, last - length + 1, length)
    if not len(start):
        raise ValueError(f'length {length} is more than the {last - first} hours of {split}')
    signal = np.lib.stride_tricks.sliding_window_view(flow, length)[start]
    return {'signal': signal[..., None].copy(), 'start': start.astype(np.int32)}


def _labelled(rows, label, split, alike=False):
    """Columns of rows, each once; `alike` takes all labels for one when it cuts."""
    feature = np.array([list(row.values()) for row in rows], np.float32)
    label = np.array(label, np.int32)
    once = np.sort(np.unique(feature, axis=0, return_index=True)[1])
    feature, label = feature[once], label[once]
    tags = [row.tobytes() for row in feature]
    chosen = stratified_split(0 * label if alike else label, tags, split)
    return {'feature': feature[chosen], 'label': label[chosen]}
