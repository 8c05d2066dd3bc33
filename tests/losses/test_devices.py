"""One device and eight give the same value and gradient, for every loss."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from .cases import CASES


def on_eight(case, arguments):
    assert len(jax.devices()) == 8
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    return [
        jax.device_put(
            a,
            NamedSharding(
                mesh,
                PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, 'data'),
            ),
        )
        for a, axis in zip(arguments, case.axes, strict=True)
    ]


def assert_equal(eight, single, tolerance):
    for many, one in zip(jax.tree.leaves(eight), jax.tree.leaves(single), strict=True):
        assert len(many.sharding.device_set) == 8
        scale = np.abs(one).max(initial=0)
        np.testing.assert_allclose(many, one, rtol=tolerance, atol=tolerance / 10 * scale)


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_one_device_equals_eight(case):
    arguments = case.arguments(batch=16)
    eight = case.gradient(*on_eight(case, arguments))
    assert_equal(eight, case.gradient(*arguments), 1e-5)


IN_TILES = (
    'nt_xent', 'sup_con', 'multi_similarity', 'lifted_structure', 'n_pairs', 'histogram',
    'smooth_ap', 'koleo', 'mmd',
)  # fmt: skip


@pytest.mark.parametrize('name', IN_TILES)
def test_one_piece_on_one_device_equals_tiles_on_eight(name):
    case = CASES[name]
    arguments = case.arguments(batch=16)
    eight = case.in_tiles(5).gradient(*on_eight(case, arguments))
    assert_equal(eight, case.gradient(*arguments), 1e-4)
