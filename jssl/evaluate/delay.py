"""How long after fitting its points a network generalises."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Delay(NamedTuple):
    """First steps, counted from 1, with an error below the threshold; the last step if none."""

    train_time: jax.Array
    test_time: jax.Array
    log_delay: jax.Array  # log(test_time / train_time)
    lowest_test: jax.Array  # the least test error
    censored: jax.Array  # 1 where the test error never gets there: test_time is a lower bound


def generalisation_delay(train: jax.Array, test: jax.Array, *, threshold: float = 0.1) -> Delay:
    """How much longer the test error takes to get below a threshold than the training error.

    log (t_test / t_train),  t = min {t: error(t) < threshold}

    Args:
      train: [..., T], training errors after 0, 1, ... steps, relative to that of no prediction.
      test: [..., T].
      threshold: for both.
    Returns: `Delay`, each [...].

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    chex.assert_equal_shape([train, test])
    (train_time, _), (test_time, passed) = _first(train < threshold), _first(test < threshold)
    log_delay = jnp.log(test_time) - jnp.log(train_time)
    return Delay(train_time, test_time, log_delay, test.min(-1), 1.0 - passed)


def _first(under):
    passed = under.any(-1)
    time = jnp.where(passed, under.argmax(-1) + 1, under.shape[-1])
    return time.astype(jnp.float32), passed
