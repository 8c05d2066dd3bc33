"""What the smoke run leaves out: that every method solves a task that is easy for all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.fewshot import transductive_clustering as experiment

CONFIG = experiment.SMOKE
NAMES = sorted({name for name, *_ in experiment.arms(CONFIG).values()})


@pytest.mark.parametrize('name', NAMES)
def test_groups_far_apart_are_told_apart(name):
    rng = np.random.default_rng(0)
    labels = np.r_[0, 1, 2, rng.permutation(np.repeat([0, 1, 2], 6))]
    centres = np.eye(3, 8)[[2, 0, 1]]
    z = (centres[labels] + 0.05 * rng.normal(size=(21, 8))).astype(np.float32)
    known = np.where(np.arange(21) < 3, labels, -1)
    solve = jax.jit(experiment.solver(CONFIG, 3, name))
    scores, rise, _ = solve(jnp.asarray(z), jnp.asarray(known), 10.0, 0.1)
    np.testing.assert_array_equal(scores.argmax(1), labels)
    assert rise <= 1e-6


def test_base_validation_and_novel_classes_are_disjoint():
    pools = experiment.split(CONFIG)
    classes = [set(pools[name]['label'].tolist()) for name in ('base', 'validation', 'novel')]
    assert [len(c) for c in classes] == list(CONFIG.classes)
    assert len(set.union(*classes)) == sum(CONFIG.classes)
