"""Training: `fit`, step builders, optimisers, schedules, sharding, checkpoints."""

from jssl.train import runtime, schedules, sharding
from jssl.train.checkpoints import Checkpoint
from jssl.train.fit import fit
from jssl.train.optimisers import adamw, lamb, lars, sgd
from jssl.train.sharding import make_mesh
from jssl.train.steps import State, create, ema_update, gradient_step, mixed_precision

__all__ = [
    'Checkpoint',
    'State',
    'adamw',
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
