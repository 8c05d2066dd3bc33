"""One device and eight give the same value and gradient, for every loss."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from .cases import CASES


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_one_device_equals_eight(case):
    assert len(jax.devices()) == 8
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    arguments = case.arguments(batch=16)
    sharded = [
        jax.device_put(
            a,
            NamedSharding(
                mesh,
                PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, 'data'),
            ),
        )
        for a, axis in zip(arguments, case.axes, strict=True)
    ]
    single = jax.tree.leaves(case.gradient(*arguments))
    for one, eight in zip(single, jax.tree.leaves(case.gradient(*sharded)), strict=True):
        assert len(eight.sharding.device_set) == 8
        scale = np.abs(one).max(initial=0)
        np.testing.assert_allclose(eight, one, rtol=1e-5, atol=1e-6 * scale)
