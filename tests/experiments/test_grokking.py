"""What the generic smoke test leaves out: the update rule, the padding, the frozen kernel."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.theory import grokking

TINY = replace(grokking.SMOKE, dimension=5, units=4, points=12, steps=6, stride=3, draws=2)


def descend(w, x, y, beta, arm, steps):
    """Gradient descent as the paper writes it: (train errors, test errors, weights)."""
    start, dimension = w.copy(), len(beta)
    phi = lambda h: h + arm.epsilon / 2 * h * h
    train, test = [], []
    for _ in range(steps):
        h, h0 = x @ w.T, x @ start.T
        change, slope = phi(h) - phi(h0), 1 + arm.epsilon * h
        if arm.frozen:
            slope = 1 + arm.epsilon * h0
            change = slope * (h - h0)
        gap = arm.alpha * change.mean(1) - y
        train.append(np.mean(gap**2) / np.mean(y**2))
        moved = w - start
        second = (start.T @ moved + moved.T @ start + (1 - arm.frozen) * moved.T @ moved) / len(w)
        a = arm.alpha * arm.epsilon * second - np.outer(beta, beta)
        linear = arm.alpha**2 * np.sum(moved.mean(0) ** 2) / dimension
        test.append(linear + (np.trace(a) ** 2 + 2 * np.sum(a**2)) / (4 * dimension**2))
        step = (gap[:, None] * slope).T @ x / (arm.alpha * len(y))
        w = w - arm.rate * (step + arm.decay * w)
    return train, np.array(test) / 0.75, w


@pytest.mark.parametrize(
    'arm',
    [
        grokking.Arm(12, 1.0, 2.0),
        grokking.Arm(7, 0.5, 0.5, epsilon=0.5, decay=1e-2),
        grokking.Arm(12, 1.0, 2.0, planted=1.0, frozen=1.0),
    ],
)
def test_follows_the_paper(arm):
    """Also with fewer points than rows: the rest has no weight."""
    state, batch = grokking.draw(TINY, arm, jax.random.key(0))
    _, step = grokking.build(TINY)
    beta = np.float64(grokking.direction(TINY))
    start = np.float64(state.state.params)
    for i in range(TINY.steps // TINY.stride):
        state, metrics = jax.jit(step)(state, batch, jax.random.key(i))
    x, y = (np.float64(batch[k][0][:, : arm.points]) for k in 'xy')
    for draw in range(TINY.draws):
        expected = descend(start[draw], x[draw], y[draw], beta, arm, TINY.steps)
        found = (*(state.curves[k][draw] for k in ('train', 'test')), state.state.params[draw])
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)
    assert (metrics['kernel_movement'] == 0) == bool(arm.frozen)


def test_tasks_hold_out_what_they_test_on():
    for config, arm in grokking.arms(grokking.SMOKE).values():
        batch = grokking.draw.eval_shape(config, arm, jax.random.key(0))[1]
        for known, new in batch.values():
            assert arm.points <= known.shape[1] == config.points
            assert known.shape[0] == new.shape[0] == config.draws
            assert new.shape[1] > 0
