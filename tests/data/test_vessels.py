"""Vessels whose fluid is all tied to the open side, right-hand sides, and rising smoke."""

import numpy as np
from scipy import ndimage

from jssl.data.generated import poisson
from jssl.data.generated.poisson import FLUID, OPEN, SOLID


def test_vessels_are_closed_but_for_the_top_and_cut_nothing_off():
    for seed in range(5):
        random = np.random.default_rng(seed)
        kind = poisson.vessel(random, size=16, obstacles=6)
        assert (kind[0] == OPEN).all()
        assert (kind[1:, [0, -1]] == SOLID).all()
        assert (kind[-1] == SOLID).all()
        parts, count = ndimage.label(kind[1:-1, 1:-1] == FLUID)
        assert all((parts[0] == part).any() for part in range(1, count + 1))
        assert (kind[1:-1, 1:-1] == SOLID).mean() > 0.02
    assert (poisson.vessel(random, size=4, dimensions=3)[1:-1, 1:-1, 1:-1] == FLUID).all()


def test_right_hand_sides_are_units_within_the_fluid():
    kind = poisson.vessel(np.random.default_rng(0), size=16, obstacles=3)
    b = poisson.right_sides(np.random.default_rng(1), kind, 6)
    np.testing.assert_allclose(np.square(b).sum((1, 2)), 1)
    assert not b[:, kind[1:-1, 1:-1] != FLUID].any()
    rough = np.square(np.diff(b, axis=1)).sum((1, 2))
    assert (rough[0::3] < rough[1::3] / 4).all()
    assert ((b[2::3] != 0).sum((1, 2)) == 2).all()


def test_smoke_rises_around_an_obstacle_and_never_stops():
    kind = poisson.vessel(np.random.default_rng(0), size=24, obstacles=1)
    b = poisson.plume(kind, 12, skip=2)
    assert b.shape == (12, 24, 24)
    np.testing.assert_allclose(np.square(b).sum((1, 2)), 1)
    assert not b[:, kind[1:-1, 1:-1] != FLUID].any()
    height = (np.square(b).sum(2) * np.arange(24)).sum(1)  # counted from the top
    assert height[-1] < height[0]
    # Left to itself a symmetric vessel stays symmetric.
    even = poisson.plume(poisson.vessel(np.random.default_rng(0), size=20), 8)
    np.testing.assert_allclose(even, even[:, :, ::-1], atol=1e-8)
