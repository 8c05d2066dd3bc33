"""These tests are all compilation: skip the costly half of the code generator."""

import jax
import pytest


@pytest.fixture(autouse=True)
def quick_compilation():
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
