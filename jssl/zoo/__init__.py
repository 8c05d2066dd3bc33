"""Pretrained networks: weights as other libraries publish them, read and written by name."""

from jssl.zoo.pixels import PIXELS, prepare
from jssl.zoo.weights import BACKBONES, backbone, load, save

__all__ = ['BACKBONES', 'PIXELS', 'backbone', 'load', 'prepare', 'save']
