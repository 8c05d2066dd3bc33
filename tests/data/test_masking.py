"""Masks: exact numbers, complementary to what is kept, and the shares that were asked for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.data.masking import block_mask, hard_patch_mask, random_mask

KEY = jax.random.key(0)
SCORES = jax.random.normal(jax.random.key(1), (6, 64))
MAKERS = {
    'random': lambda key, ratio: random_mask(key, 6, 64, ratio=ratio),
    'block': lambda key, ratio: block_mask(key, 6, (8, 8), ratio=ratio),
    'hard': lambda key, ratio: hard_patch_mask(key, SCORES, ratio=ratio, hard_share=0.5),
    'ties': lambda key, ratio: hard_patch_mask(key, 0 * SCORES, ratio=ratio, hard_share=0.5),
}


@pytest.mark.parametrize('ratio', [0, 0.3, 0.75, 0.9, 1])
@pytest.mark.parametrize('maker', MAKERS)
def test_numbers_are_exact_and_keep_complements_mask(maker, ratio):
    mask, keep = MAKERS[maker](KEY, ratio)
    assert mask.shape == (6, 64)
    assert mask.dtype == jnp.float32
    assert keep.dtype == jnp.int32
    for row, kept in zip(np.asarray(mask), np.asarray(keep), strict=True):
        assert row.sum() == round(ratio * 64)
        np.testing.assert_array_equal(np.flatnonzero(row == 0), kept)


@pytest.mark.parametrize('maker', MAKERS)
def test_laws(maker):
    make = functools.partial(MAKERS[maker], ratio=0.6)
    mask, keep = make(KEY)
    jitted = jax.jit(make)(KEY)
    np.testing.assert_array_equal(mask, jitted[0])
    np.testing.assert_array_equal(keep, jitted[1])
    assert len({row.tobytes() for row in np.asarray(mask)}) == 6, 'rows differ'
    assert not np.array_equal(mask, make(jax.random.key(9))[0])


def test_random_masks_are_uniform():
    mask, _ = random_mask(KEY, 4000, 10, ratio=0.3)
    np.testing.assert_allclose(mask.mean(0), 0.3, atol=0.03)
    np.testing.assert_allclose(mask.T @ mask / 4000, (1 + 3.5 * np.eye(10)) / 15, atol=0.03)


def test_blocks_are_more_compact_than_noise():
    def borders(mask):
        grid = np.asarray(mask).reshape(-1, 12, 12)
        return np.abs(np.diff(grid, axis=1)).mean() + np.abs(np.diff(grid, axis=2)).mean()

    block, _ = block_mask(KEY, 200, (12, 12), ratio=0.4)
    noise, _ = random_mask(KEY, 200, 144, ratio=0.4)
    assert borders(block) < 0.5 * borders(noise)


def test_one_block_is_a_rectangle_of_the_area_asked_for():
    # 36 of 144 patches from blocks of just that area and no other shape: a square of 6 x 6.
    mask, _ = block_mask(KEY, 50, (12, 12), ratio=0.25, area=(0.25, 0.25), aspect=1.0)
    for grid in np.asarray(mask).reshape(-1, 12, 12):
        rows, columns = np.flatnonzero(grid.any(1)), np.flatnonzero(grid.any(0))
        assert len(rows) == len(columns) == 6
        assert rows[-1] - rows[0] == columns[-1] - columns[0] == 5


@pytest.mark.parametrize('ratio', [0.25, 0.75])
def test_all_hard_is_the_top_scores_whatever_the_key(ratio):
    count = round(ratio * 64)
    for seed in range(3):
        mask, _ = hard_patch_mask(jax.random.key(seed), SCORES, ratio=ratio, hard_share=1.0)
        for row, scores in zip(np.asarray(mask), np.asarray(SCORES), strict=True):
            assert set(np.flatnonzero(row)) == set(np.argsort(-scores)[:count])


def test_none_hard_is_uniform():
    scores = jnp.broadcast_to(jnp.arange(10.0), (4000, 10))
    mask, _ = hard_patch_mask(KEY, scores, ratio=0.3, hard_share=0.0)
    np.testing.assert_allclose(mask.mean(0), 0.3, atol=0.03)


def test_half_hard_takes_the_top_and_is_uniform_below():
    scores = jnp.broadcast_to(jnp.arange(12.0), (4000, 12))
    mask, _ = hard_patch_mask(KEY, scores, ratio=0.5, hard_share=0.5)
    np.testing.assert_array_equal(mask[:, 9:], 1)
    np.testing.assert_allclose(mask[:, :9].mean(0), 3 / 9, atol=0.03)


def test_the_share_may_be_traced():
    make = jax.jit(lambda share: hard_patch_mask(KEY, SCORES, ratio=0.5, hard_share=share))
    for share in (0.0, 0.3, 1.0):
        expected = hard_patch_mask(KEY, SCORES, ratio=0.5, hard_share=share)
        np.testing.assert_array_equal(make(share)[0], expected[0])
    assert make._cache_size() == 1


def test_bad_ratio():
    with pytest.raises(ValueError, match='ratio'):
        random_mask(KEY, 2, 8, ratio=1.2)
