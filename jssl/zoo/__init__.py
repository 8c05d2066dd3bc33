"""Pretrained networks: weights as others publish them, by name; small models of our own."""

from jssl.zoo.pixels import PIXELS, prepare
from jssl.zoo.recipes import Model, get, recipe_module, small_models
from jssl.zoo.towers import (
    TEXT,
    Towers,
    encode_images,
    encode_sentences,
    towers,
    two_towers,
)
from jssl.zoo.weights import BACKBONES, backbone, load, save

__all__ = [
    'BACKBONES',
    'PIXELS',
    'TEXT',
    'Model',
    'Towers',
    'backbone',
    'encode_images',
    'encode_sentences',
    'get',
    'load',
    'prepare',
    'recipe_module',
    'save',
    'small_models',
    'towers',
    'two_towers',
]
