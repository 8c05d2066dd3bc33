"""What a small classifier makes of images that were drawn: for the recipes of generators."""

import functools

import jax
import numpy as np

from jssl import data, evaluate
from jssl.zoo.recipes import get


def closeness(recipe, drawn):
    """How much nearer than noise drawn images are to test images: 1 is as near as these themselves.

        (d(noise) - d(drawn)) / (d(noise) - d(test)),   d Frechet's distance to the rest of the test

    Args:
      recipe: with `data`, `options` and `steps`.
      drawn: images [B, H, W, C] in [0, 1], fewer than there are test images.

    Returns:
      A number; at most about 1.

    GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et
    al., 2017).
    """
    test = data.load(recipe.data, 'test', **dict(recipe.options))['image']
    noise = np.random.default_rng(0).random(drawn.shape, 'f')
    some, rest = test[: len(drawn)], test[len(drawn) :]
    h, *others = (seen(recipe, x, 'features') for x in (rest, some, drawn, noise))
    floor, reached, ceiling = (evaluate.frechet_distance(h, other) for other in others)
    return (ceiling - reached) / (ceiling - floor)


def agreement(recipe, drawn, labels):
    """Share of drawn images that the classifier takes for what was asked for."""
    return evaluate.accuracy(seen(recipe, drawn), labels)


def seen(recipe, images, method=None):
    """Logits, or features, of images: uint8, or float in [0, 1]."""
    judge = get(
        'tiny_classifier', data=recipe.data, options=recipe.options, steps=min(600, recipe.steps)
    )
    apply = functools.partial(judge.network.apply, method=method)
    return evaluate.features(jax.tree_util.Partial(apply, judge.variables), images)
