"""Directions found again, against cosines one by one."""

import numpy as np

from jssl import evaluate


def test_each_true_direction_counts_its_nearest():
    random = np.random.default_rng(0)
    true, found = random.normal(size=(5, 3)), random.normal(size=(4, 3))
    found[1], true[4] = 2 * true[0], 0
    cosine = lambda a, b: a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    wanted = [max(cosine(g, u) for u in found) for g in true[:4]]
    best = evaluate.direction_recovery(true.astype(np.float32), found.astype(np.float32))
    np.testing.assert_allclose(best, [*wanted, 0], rtol=1e-5)
    assert np.isclose(best[0], 1)
