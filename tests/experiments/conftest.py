"""Experiments' tests run a few steps: what compiles quickly wins over what runs quickly."""

import jax
import pytest


@pytest.fixture(autouse=True, scope='module')
def quickly_compiled():
    jax.config.update('jax_disable_most_optimizations', True)  # as `jssl run --preset=smoke` does
    yield
    jax.config.update('jax_disable_most_optimizations', False)
