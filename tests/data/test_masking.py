"""Masks: exact numbers, complementary to what is kept, and the shares that were asked for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.data.masking import (
    block_mask,
    context_and_targets,
    hard_patch_mask,
    random_mask,
    region_mask,
    scribble_mask,
    span_mask,
    tube_mask,
)

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


def test_a_tube_hides_the_same_patches_in_every_frame():
    mask, keep = random_mask(KEY, 6, 16, ratio=0.3)
    tube, through = jax.jit(tube_mask, static_argnums=2)(mask, keep, 4)
    np.testing.assert_array_equal(tube.reshape(6, 4, 16), np.stack([mask] * 4, 1))
    for row, kept in zip(np.asarray(tube), np.asarray(through), strict=True):
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


def jitted(maker, *sizes, key=KEY, **options):
    """One program instead of forty operations."""
    make = jax.jit(lambda key: maker(key, *sizes, **options))
    return jax.tree.map(np.asarray, make(key))


def runs(row):
    """Lengths of the runs of ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize('stop', [0.0, 0.2])
@pytest.mark.parametrize('ratio', [0, 0.15, 0.49, 1])
def test_spans_have_their_number_and_respect_padding(ratio, stop):
    lengths = jnp.array([40, 25, 7, 33])
    make = jax.jit(lambda key, n: span_mask(key, 4, 40, ratio=ratio, stop=stop, lengths=n))
    mask = np.asarray(make(KEY, lengths))
    assert mask.shape == (4, 40)
    for row, n in zip(mask, np.asarray(lengths), strict=True):
        assert row.sum() == np.round(np.float32(ratio) * np.float32(n))
        assert not row[n:].any()
    if ratio == 0.49:
        eager = span_mask(KEY, 4, 40, ratio=ratio, stop=stop, lengths=lengths)
        np.testing.assert_array_equal(mask, eager)
    assert ratio in (0, 1) or not np.array_equal(mask, make(jax.random.key(3), lengths))


def test_runs_are_as_long_as_asked():
    whole = jitted(span_mask, 500, 60, ratio=1 / 6, span=10)
    lengths = np.concatenate([runs(row) for row in whole])
    # One run of ten fills the share, unless it starts among the last nine places.
    assert (lengths == 10).mean() > 0.7
    single = jitted(span_mask, 500, 60, ratio=1 / 6, span=1)
    noise, _ = jitted(random_mask, 500, 60, ratio=1 / 6)
    mean = lambda masks: np.concatenate([runs(row) for row in masks]).mean()
    np.testing.assert_allclose(mean(single), mean(noise), rtol=0.03)
    # SpanBERT: the truncated geometric distribution has mean 3.8.
    first = jitted(span_mask, 1000, 200, ratio=0.02, span=10, stop=0.2)
    geometric = 0.8 ** np.arange(10) / sum(0.8 ** np.arange(10))
    expected = np.minimum(np.arange(1, 11), 4) @ geometric  # the first run, cut at four places
    longest = np.array([max(runs(row)) for row in first])
    assert expected - 0.2 < longest.mean() < expected + 0.6


def test_spans_cover_all_places_but_the_first_alike():
    mask = jitted(span_mask, 4000, 40, ratio=0.3, span=5).mean(0)
    np.testing.assert_allclose(mask[5:], mask[5:].mean(), atol=0.04)
    assert mask[0] < 0.6 * mask[5:].mean(), 'fewer runs reach the first place'


def test_logits_guide_the_starts():
    logits = jnp.where(jnp.arange(40) == 25, 50.0, 0.0) * jnp.ones((50, 1))
    mask = jitted(span_mask, 50, 40, ratio=0.1, span=4, logits=logits)
    np.testing.assert_array_equal(mask[:, 25:29], 1)
    assert mask.sum() == 50 * 4
    never = jnp.where(jnp.arange(40) < 20, -jnp.inf, 0.0) * jnp.ones((50, 1))
    mask = jitted(span_mask, 50, 40, ratio=0.3, span=3, logits=never)
    assert not mask[:, :20].any()


def test_regions_have_shares_from_the_range():
    make = functools.partial(jitted, region_mask, 32, (12, 12), ratios=(0.1, 0.5))
    mask = make()
    shares = np.sort(mask.mean(1))
    assert (shares[:16] == 0).all()
    np.testing.assert_allclose(shares[16:], np.linspace(0.1, 0.5, 16), atol=0.5 / 144)
    assert not np.array_equal(mask.any(1), make(key=jax.random.key(5)).any(1))
    every = make(masked=1.0).reshape(-1, 12, 12)
    assert every.any((1, 2)).all()
    borders = np.abs(np.diff(every, axis=1)).mean() + np.abs(np.diff(every, axis=2)).mean()
    p = every.mean((1, 2))
    assert borders < 0.5 * np.mean(4 * p * (1 - p)), 'more compact than noise'


@pytest.mark.parametrize('grid', [(14, 14), (8, 10)])
def test_context_has_no_target_in_it(grid):
    target, context = ((4, 5), (12, 12)) if grid[0] == 14 else ((2, 3), (7, 8))
    drawn = jitted(context_and_targets, 64, grid, target=target, context=context, keep=30)
    assert drawn.context.shape == (64, 30)
    assert drawn.targets.shape == (64, 4, target[0] * target[1])
    seen = set()
    for places, blocks in zip(*map(np.asarray, drawn), strict=True):
        assert not set(places) & set(blocks.ravel())
        assert 15 < len(set(places)) <= 30
        assert (np.diff(places) >= 0).all()
        for block in blocks:
            rows, columns = np.unique(block // grid[1]), np.unique(block % grid[1])
            assert (len(rows), len(columns)) == target
            assert len(set(block)) == block.size
            assert np.ptp(rows) + 1 == target[0]
            assert np.ptp(columns) + 1 == target[1]
            seen.add((rows[0], columns[0]))
        spread = np.ptp(places // grid[1]), np.ptp(places % grid[1])
        assert spread[0] < context[0]
        assert spread[1] < context[1]
    assert len(seen) > 0.6 * (grid[0] - target[0] + 1) * (grid[1] - target[1] + 1)


def test_targets_that_leave_no_context_are_refused():
    with pytest.raises(ValueError, match='cover'):
        context_and_targets(KEY, 2, (8, 8), target=(4, 4), context=(8, 8))
    with pytest.raises(ValueError, match='fit'):
        context_and_targets(KEY, 2, (8, 8))


def test_scribbles_are_strokes_of_their_width():
    mask = jitted(scribble_mask, 24, (32, 48))
    assert mask.shape == (24, 32, 48)
    assert set(np.unique(mask)) == {0, 1}
    shares = mask.mean((1, 2))
    assert 0.1 < shares.min() < shares.max() < 0.9
    assert mask.mean() < jitted(scribble_mask, 24, (32, 48), strokes=12).mean()
    # A straight stroke is two half disks and a rectangle, where the border does not cut it.
    line = {'strokes': 1, 'corners': 2, 'length': (0.3, 0.3), 'width': (0.1, 0.1)}
    areas = jitted(scribble_mask, 40, (64, 64), **line).mean((1, 2))
    np.testing.assert_allclose(np.quantile(areas, 0.75), 0.03 + np.pi / 400, rtol=0.03)
    assert areas.max() < 1.06 * (0.03 + np.pi / 400)
