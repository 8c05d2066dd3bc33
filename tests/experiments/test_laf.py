"""What the generic smoke test leaves out: LAF forgets data of which it is told no label."""

import jax
import numpy as np

from experiments.unlearning import laf
from jssl.experiment.context import Context


def test_images_are_all_that_laf_is_given(tmp_path):
    config, quiet = laf.SMOKE, {'log': lambda _: None, 'progress': False}
    ctx = Context(config, slug='laf', folder=tmp_path, **quiet)
    unlabelled = {'image': np.random.default_rng(0).random((32, 14, 14, 1), np.float32)}
    before = laf.network(config).init(jax.random.key(0)).params
    gone = np.arange(32) % 2 == 0
    after = laf.label_agnostic(config, ctx, before, unlabelled, gone, 'random', 0)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), after, before)
    assert max(jax.tree.leaves(moved['backbone'])) > 0
    # its losses are of representations: the head behind them has no part in it
    assert max(jax.tree.leaves(moved['head'])) == 0
