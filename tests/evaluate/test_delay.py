import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate.delay import generalisation_delay


def oracle(train, test, threshold):
    def first(errors):
        for step, error in enumerate(errors, 1):
            if error < threshold:
                return step, 0
        return len(errors), 1

    (train_time, _), (test_time, censored) = first(train), first(test)
    return train_time, test_time, np.log(test_time / train_time), min(test), censored


@pytest.mark.parametrize('threshold', [0.02, 0.3, 2.0])
def test_equals_the_loops(threshold):
    train, test = np.random.default_rng(0).uniform(size=(2, 4, 3, 20)).astype(np.float32)
    found = generalisation_delay(train, test, threshold=threshold)
    for index in np.ndindex(4, 3):
        expected = oracle(train[index], test[index], threshold)
        np.testing.assert_allclose([part[index] for part in found], expected, rtol=1e-6)


def test_the_first_time_counts():
    train, test = jnp.array([1.0, 0.05, 1.0, 0.05]), jnp.array([1.0, 1.0, 0.05, 1.0])
    found = jax.jit(generalisation_delay)(train, test)
    np.testing.assert_allclose(found, [2, 3, np.log(1.5), 0.05, 0], rtol=1e-6)
    with pytest.raises(AssertionError):
        generalisation_delay(train, test[:2])
