"""Models of images and sentences, published or of our own, as functions into their joint space."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jssl import evaluate, losses, models
from jssl.zoo import pixels, recipes, weights

# What `Towers.variables` keeps for sentences alone.
TEXT = ('text', 'text_projection', 'log_scale')


class Towers(NamedTuple):
    """A `models.CLIP` and its variables; the side of its images where it is published."""

    network: nn.Module
    variables: dict
    side: int | None = None

    @property
    def scale(self) -> jax.Array:
        """s of logits s cos(image, text)."""
        return jnp.exp(self.variables['params']['log_scale'])


def two_towers(name: str, **changes) -> nn.Module:
    """The network of a name, without weights.

    Args:
      name: of a small model or in `BACKBONES`.
      changes: of the small model's recipe.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    if name not in recipes.small_models():
        return weights.backbone(name)
    recipe = recipes.recipe_module(name)
    return recipe.network(recipe.Recipe(**changes))


def towers(name: str, *, path: str = '', side: int = 224, **changes) -> Towers:
    """A trained model of images and sentences.

    Args:
      name: of a small model, which is trained when first asked for; or in `BACKBONES`.
      path: of the published weights, as `load` takes it.
      side: of a published model's images, in pixels.
      changes: of the small model's recipe.

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    if name in recipes.small_models():
        model = recipes.get(name, **changes)
        return Towers(model.network, model.variables)
    return Towers(*weights.load(name, path), side)


def encode_images(
    towers: Towers, images, *, view: Callable | None = None, key: jax.Array | None = None
) -> np.ndarray:
    """Unit features of many images, batch by batch.

    Args:
      towers: the model.
      images: uint8, or float in [0, 1], [N, H, W, C].
      view: (key, images float [B, H, W, C]) -> images; the same function for every call, so that
        it is compiled once. None sees images as they are.
      key: of the view; a batch's views are drawn together.

    Returns:
      z [N, D].

    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
    """
    apply = _image_encoder(towers.network, towers.side, view)
    known = towers.variables, jax.random.key(0) if key is None else key
    return evaluate.features(jax.tree_util.Partial(apply, known), images)


def encode_sentences(
    network: nn.Module, variables: dict, tokens: jax.Array, prompt: jax.Array | None = None
) -> jax.Array:
    """Unit features of sentences, some of whose words may be learned.

    Args:
      network: a `models.CLIP`.
      variables: its own, or those of `TEXT` alone.
      tokens: int [K, T].
      prompt: vectors [P, W] in place of the words behind the first, as in `models.prompted`.

    Returns:
      z [K, D].

    Learning to Prompt for Vision-Language Models (Zhou et al., 2022).
    """
    words = network.apply(variables, tokens, method='embed_words')
    words = words if prompt is None else models.prompted(words, prompt)
    return losses.normalise(network.apply(variables, tokens, words=words, method='encode_text'))


@functools.lru_cache
def _image_encoder(network, side, view):
    def encode(known, images):
        variables, key = known
        images = images if view is None else view(key, images)
        images = images if side is None else pixels.prepare(images, size=side, pixels='clip')
        return losses.normalise(network.apply(variables, images, method='encode_image'))

    return encode
