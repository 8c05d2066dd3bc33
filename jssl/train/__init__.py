"""Training: `fit`, steps, optimisers, schedules, sharding, checkpoints, adapters, merging."""

from jssl.train import adapters, averaging, runtime, schedules, sharding
from jssl.train.checkpoints import Checkpoint
from jssl.train.fit import fit
from jssl.train.optimisers import adamw, lamb, lars, sgd
from jssl.train.sharding import make_mesh
from jssl.train.steps import State, create, ema_update, gradient_step, mixed_precision

__all__ = [
    'Checkpoint',
    'State',
    'adamw',
    'adapters',
    'averaging',
    'create',
    'ema_update',
    'fit',
    'gradient_step',
    'lamb',
    'lars',
    'make_mesh',
    'mixed_precision',
    'runtime',
    'schedules',
    'sgd',
    'sharding',
]
