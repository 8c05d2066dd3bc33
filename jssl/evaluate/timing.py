"""How long something takes."""

import time
from collections.abc import Callable
from typing import Any

import jax


def timed(function: Callable, *arguments) -> tuple[Any, float]:
    """Calls a function once and waits for its arrays; compiling counts, where it happens.

        seconds = t(all arrays ready) - t(call)

    Args:
        function: what to measure.
        *arguments: handed to it.

    Returns:
        What it returned, and seconds of wall clock.

    Reference: asynchronous dispatch, JAX documentation (The JAX authors, 2018), for the wait.
    """
    started = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - started
