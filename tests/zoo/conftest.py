"""Programs that run once, and so compile quickly."""

import jax
import pytest


@pytest.fixture(autouse=True)
def quick_compilation():
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
