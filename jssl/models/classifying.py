"""A backbone and its classifier as plain functions of (parameters, statistics, mask)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Model(NamedTuple):
    """A trained classifier: its parameters, batch statistics, and which weights are kept."""

    params: Any
    stats: Any
    mask: Any


class Functions(NamedTuple):
    """`init(key) -> Model`; `classify` and `features`: (model, x, training) -> array.

    With `training` both return (array, new statistics).
    """

    init: Callable
    classify: Callable
    features: Callable


def classifier(
    backbone: nn.Module, head: nn.Module, shape: tuple[int, ...], *, flatten: bool = False
) -> Functions:
    """Joins a backbone and a head; the mask of a fresh model keeps every weight.

    Args:
      backbone: images -> features [B, F].
      head: features -> logits [B, K].
      shape: of one input, without the batch axis.
      flatten: whether the backbone takes images as rows of numbers.

    Learning both Weights and Connections for Efficient Neural Networks (Han et al., 2015), for the
    mask: removed weights take no part, and get no gradient.
    """

    def view(x):
        return x.reshape(len(x), -1) if flatten else x

    def init(key):
        of_backbone, of_head = jax.random.split(key)
        x = view(jnp.zeros((1, *shape)))
        variables = backbone.init(of_backbone, x)
        h = backbone.apply(variables, x)
        params = {'backbone': variables['params'], 'head': head.init(of_head, h)['params']}
        stats = variables.get('batch_stats', {})
        return Model(params, stats, jax.tree.map(jnp.ones_like, params))

    def kept(model, part):
        return jax.tree.map(jnp.multiply, model.params[part], model.mask[part])

    def features(model, x, training=False):
        variables = {'params': kept(model, 'backbone'), 'batch_stats': model.stats}
        h, new = backbone.apply(variables, view(x), train=training, mutable=['batch_stats'])
        return (h, new.get('batch_stats', model.stats)) if training else h

    def classify(model, x, training=False):
        h = features(model, x, training)
        h, stats = h if training else (h, None)
        logits = head.apply({'params': kept(model, 'head')}, h)
        return (logits, stats) if training else logits

    return Functions(init, classify, features)
