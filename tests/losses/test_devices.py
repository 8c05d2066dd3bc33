"""One device and eight give the same value and gradient, for every loss."""

import jax
import numpy as np
import pytest

from .cases import CASES


def assert_equal(eight, single, tolerance):
    for many, one in zip(jax.tree.leaves(eight), jax.tree.leaves(single), strict=True):
        assert len(many.sharding.device_set) == 8
        scale = np.abs(one).max(initial=0)
        np.testing.assert_allclose(many, one, rtol=tolerance, atol=tolerance / 10 * scale)


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_eight_devices_equal_one_and_vmap_changes_nothing(case):
    assert_equal(case.found_by_eight, case.found[0]['drawn'], 1e-5)


IN_TILES = (
    'nt_xent', 'sup_con', 'multi_similarity', 'lifted_structure', 'n_pairs', 'histogram',
    'smooth_ap', 'koleo', 'mmd',
)  # fmt: skip


@pytest.mark.parametrize('name', IN_TILES)
def test_one_piece_on_one_device_equals_tiles_on_eight(name):
    case = CASES[name]
    eight = jax.jit(case.in_tiles(5).value_and_gradient)(*case.on_eight(case.drawn))
    assert_equal(eight, case.found[0]['drawn'], 1e-4)
