"""The protocol of an experiment: Config, claims, the entry point. Importing it imports no jax."""

from jssl.experiment.claims import (
    Bound,
    Claim,
    Correlation,
    Equality,
    Ordering,
    Range,
)
from jssl.experiment.command import main
from jssl.experiment.config import Config

__all__ = ['Bound', 'Claim', 'Config', 'Correlation', 'Equality', 'Ordering', 'Range', 'main']
