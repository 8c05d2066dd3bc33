"""Small real tables of scikit-learn, in their own units; rows that are there twice count once."""

import functools

import numpy as np
import sklearn.datasets

from jssl.data.readers import stratified_split


def iris(split: str) -> dict[str, np.ndarray]:
    """Three kinds of iris by four lengths in centimetres.

    Args:
      split: train, validation or test, in every class.

    Returns:
      feature float32 [N, 4]; label int32 [N].

    The Use of Multiple Measurements in Taxonomic Problems (Fisher, 1936).
    """
    return _labelled('iris', split)


def wine(split: str) -> dict[str, np.ndarray]:
    """Wines of three growers by thirteen chemical measurements.

    Args:
      split: train, validation or test, in every class.

    Returns:
      feature float32 [N, 13]; label int32 [N].

    Wine, UCI Machine Learning Repository (Aeberhard and Forina, 1992).
    """
    return _labelled('wine', split)


def breast_cancer(split: str) -> dict[str, np.ndarray]:
    """Tumours, malignant (0) or benign (1), by thirty measurements of cell nuclei.

    Args:
      split: train, validation or test, in every class.

    Returns:
      feature float32 [N, 30]; label int32 [N].

    Nuclear Feature Extraction for Breast Tumor Diagnosis (Street et al., 1993).
    """
    return _labelled('breast_cancer', split)


def diabetes(split: str) -> dict[str, np.ndarray]:
    """Patients by ten measurements, and how far their diabetes went within a year.

    Args:
      split: train, validation or test, alike in every fifth of the target's range of values.

    Returns:
      feature float32 [N, 10]; target float32 [N], 25 to 346.

    Least Angle Regression (Efron et al., 2004).
    """
    feature, target = _distinct('diabetes')
    fifth = np.searchsorted(np.quantile(target, [0.2, 0.4, 0.6, 0.8]), target)
    rows = stratified_split(fifth, _tags(feature, target), split)
    return {'feature': feature[rows], 'target': target[rows].astype(np.float32)}


def names(table: str) -> tuple[list[str], list[str]]:
    """Names of a table's columns and of its classes, the latter empty for diabetes.

    Args:
      table: 'iris', 'wine', 'breast_cancer' or 'diabetes'.

    Returns:
      Two lists, in the order of features and of labels.

    UCI Machine Learning Repository, by way of scikit-learn.
    """
    found = _found(table)
    return list(map(str, found.feature_names)), list(map(str, found.get('target_names', [])))


def _labelled(table, split):
    feature, label = _distinct(table)
    rows = stratified_split(label, _tags(feature, label), split)
    return {'feature': feature[rows], 'label': label[rows].astype(np.int32)}


@functools.cache
def _found(table):
    options = {'scaled': False} if table == 'diabetes' else {}
    return getattr(sklearn.datasets, f'load_{table}')(**options)


def _distinct(table):
    found = _found(table)
    feature = found.data.astype(np.float32)
    rows = np.unique(np.column_stack([feature, found.target]), axis=0, return_index=True)[1]
    return feature[np.sort(rows)], found.target[np.sort(rows)]


def _tags(feature, target):
    return [x.tobytes() + b'%g' % y for x, y in zip(feature, target, strict=True)]
