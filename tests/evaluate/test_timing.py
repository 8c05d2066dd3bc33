import time

import jax.numpy as jnp
import numpy as np

from jssl.evaluate.timing import timed


def test_timed_returns_the_result_and_the_seconds_of_its_making():
    def slow(x):
        time.sleep(0.05)
        return {'twice': 2 * x}

    result, seconds = timed(slow, jnp.arange(3))
    np.testing.assert_array_equal(result['twice'], [0, 2, 4])
    assert 0.05 <= seconds < 10
    assert timed(lambda: None)[1] < 0.05
