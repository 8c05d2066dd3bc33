"""What the generic smoke test leaves out: clips under tubes, and what L_pred may not touch."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from experiments.masked import hpm

CLIPS = replace(hpm.SMOKE, frames=4, batch=2)


def test_clips_train_under_tubes():
    init, step = hpm.build(CLIPS)
    state = jax.eval_shape(init, jax.random.key(0))
    key = jax.eval_shape(lambda: jax.random.key(0))
    after, _ = jax.eval_shape(step, state, hpm.inputs(CLIPS), key)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    places, hidden = 25, 19
    difficulty = jax.random.normal(jax.random.key(1), (3, 2 * places))
    mask, keep = hpm.draw_mask(CLIPS, jax.random.key(2), difficulty, 1.0)
    np.testing.assert_array_equal(mask[:, :places], mask[:, places:])
    np.testing.assert_array_equal(keep[:, 6:], keep[:, :6] + places)
    for row, scores in zip(mask, difficulty.reshape(3, 2, places).mean(1), strict=True):
        assert set(np.flatnonzero(row[:places])) == set(np.argsort(-scores)[:hidden])


def test_video_of_the_paper_has_shapes():
    video = replace(
        hpm.PAPER, frames=16, ratio=0.9, decoder_width=384, decoder_depth=4, decoder_heads=6
    )
    init, step = hpm.build(replace(video, batch=8))
    state = jax.eval_shape(init, jax.random.key(0))
    key = jax.eval_shape(lambda: jax.random.key(0))
    jax.eval_shape(step, state, hpm.inputs(replace(video, batch=8)), key)
    assert state.params['encoder']['embed']['kernel'].shape == (2 * 16 * 16 * 3, 768)


def test_the_absolute_loss_is_of_standardised_values_and_moves_no_target():
    rng = np.random.default_rng(0)
    predicted, actual = rng.normal(size=(2, 2, 6)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 1, 0], [0, 1, 0, 1, 1, 1]], np.float32)
    wanted = []
    for p, a, m in zip(predicted, actual, mask, strict=True):
        values = [x for x, hidden in zip(a, m, strict=True) if hidden]
        centre, spread = np.mean(values), np.std(values)
        wanted += [(y - (x - centre) / spread) ** 2 for x, y, h in zip(a, p, m, strict=True) if h]
    found = hpm.prediction_loss(predicted, actual, mask, 0.0)
    np.testing.assert_allclose(found, np.mean(wanted), rtol=1e-4)
    for relative in (0.0, 1.0):
        moves = jax.grad(hpm.prediction_loss, argnums=(0, 1))(
            jnp.asarray(predicted), jnp.asarray(actual), mask, relative
        )
        assert np.abs(moves[0][mask > 0]).min() > 0
        assert not np.abs(moves[0][mask == 0]).any()
        assert not np.abs(moves[1]).any()
