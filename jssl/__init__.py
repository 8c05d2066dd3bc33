"""jssl: learning with few or no labels in JAX, built from shared pure functions."""

import importlib

__version__ = '0.1.0'

_ROOMS = ('algorithms', 'data', 'evaluate', 'experiment', 'losses', 'models', 'train', 'zoo')


def __getattr__(name: str):
    """Imports a room on first use, so that `jssl list` and `--help` never wait for jax."""
    if name in _ROOMS:
        return importlib.import_module(f'jssl.{name}')
    raise AttributeError(f'module jssl has no attribute {name!r}')


def __dir__():
    return [*globals(), *_ROOMS]
