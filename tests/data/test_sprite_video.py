"""Sprites in motion: flow reprojects, masks, boxes and presence agree, knobs move their factor."""

import jax
import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jssl.data.generated import sprite_video
from jssl.errors import Refusal

QUICK = True
# One program for all: knobs that are amounts compile nothing.
CLIP = {'size': 24, 'frames': 8, 'scenes': 12, 'identities': 40}
TWO = CLIP | {'sprites': 2, 'distractors': 1}
EVENTFUL = TWO | {'occluder': 0.7, 'leave': 0.4, 'swap': 0.4, 'event': 0.5, 'noise': 0.0}
EVENTFUL |= {'wander': 3.0, 'shake': 0.5}


@pytest.fixture(scope='module')
def pairs():
    """Two sprites in a busy world, without what changes their light."""
    return sprite_video.dataset('train', count=50, **EVENTFUL)


def test_items_are_functions_of_seed_split_and_index(pairs):
    few = sprite_video.dataset('train', count=3, **EVENTFUL)
    for name in pairs:
        np.testing.assert_array_equal(pairs[name][:3], few[name])
    for other in (
        sprite_video.dataset('test', count=3, **EVENTFUL),
        sprite_video.dataset('train', count=3, seed=1, **EVENTFUL),
    ):
        assert not np.isclose(other['position'][..., 0], few['position'][..., 0]).any()


def test_flow_leads_to_the_same_thing(pairs):
    """The next frame, read where flow points, is this frame; for what stays in sight."""
    still, moved, on = [], [], []
    rows, columns = np.mgrid[:24, :24]
    for i in range(50):
        for t in range(7):
            flow, seen = pairs['flow'][i, t], pairs['flow_seen'][i, t]
            this, later = pairs['video'][i, t : t + 2] / 255
            places = [rows + flow[..., 1], columns + flow[..., 0]]
            warped = np.stack(
                [
                    ndimage.map_coordinates(later[..., c], places, order=1, mode='nearest')
                    for c in range(3)
                ],
                axis=-1,
            )
            # A pixel on an outline shows two things.
            inner, next_inner = (
                ndimage.maximum_filter(ids, 3) == ndimage.minimum_filter(ids, 3)
                for ids in pairs['mask'][i, t : t + 2]
            )
            ends = [np.clip(np.rint(place).astype(int), 0, 23) for place in places]
            seen = seen & inner & next_inner[ends[0], ends[1]]
            still.append(np.abs(later - this).mean(-1)[seen])
            moved.append(np.abs(warped - this).mean(-1)[seen])
            on.append(pairs['mask'][i, t][seen])
    still, moved, on = map(np.concatenate, (still, moved, on))
    assert (on == 0).mean() > 0.3
    for thing in (0, 1, 2, 3, 4):  # behind, sprites, distractor, occluder
        assert moved[on == thing].mean() < 0.55 * still[on == thing].mean(), thing
    assert np.median(moved) < 0.02


def test_the_background_flows_as_the_camera_moves(pairs):
    world = (pairs['mask'][:, :-1] == 0) | (pairs['mask'][:, :-1] == 4)
    expected = -np.diff(pairs['camera'], axis=1)[:, :, None, None]
    gap = np.abs(pairs['flow'] - expected).max(-1)
    assert gap[world].max() < 1e-5
    assert gap[~world].mean() > 0.5


def test_masks_boxes_presence_and_place_agree(pairs):
    for i in range(50):
        for o in range(2):
            for t in range(8):
                seen = pairs['mask'][i, t] == o + 1
                box = pairs['box'][i, o, t] * 24
                if not seen.any():
                    assert not box.any()
                    continue
                assert pairs['present'][i, o, t]
                across, down = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
                edges = [across[0], down[0], across[-1] + 1, down[-1] + 1]
                np.testing.assert_allclose(box, edges, atol=1e-4)
                if pairs['hidden'][i, o, t] == 0 and edges[0] > 0 and edges[2] < 24:
                    middle = (across[0] + across[-1] + 1) / 48
                    assert abs(middle - pairs['position'][i, o, t, 0]) < 0.2
    assert 0.6 < pairs['present'].mean() < 0.95
    np.testing.assert_array_equal(pairs['label'], pairs['identity'] % 10)
    assert (pairs['identity'][:, 0] != pairs['identity'][:, 1]).all()


def test_frames_out_of_order_are_those_in_order():
    calm = {'noise': 0.0, **TWO}
    straight = sprite_video.dataset('train', count=10, **calm)
    mixed = sprite_video.dataset('train', count=10, shuffle=1.0, **calm)
    np.testing.assert_array_equal(straight['order'], np.tile(np.arange(8), (10, 1)))
    assert (mixed['order'] != straight['order']).any(1).all()
    for i in range(10):
        back = np.argsort(mixed['order'][i])
        gap = np.abs(mixed['video'][i][back].astype(int) - straight['video'][i])
        assert gap.max() <= 2
        rate = (0.5, 1.0, 2.0)[straight['rate'][i]]
        np.testing.assert_allclose(straight['time'][i], rate * np.arange(8))


def test_amounts_move_their_statistic():
    draws = lambda **knobs: sprite_video.dataset('train', count=50, **TWO | knobs)
    plain, fast = draws(), draws(speed=(2.0, 2.8))
    step = lambda found: np.linalg.norm(np.diff(found['position'], axis=2), axis=-1).mean()
    assert step(fast) > 1.5 * step(plain)
    assert step(draws(speed=(0.0, 0.0))) < 1e-6
    assert draws(occluder=1.0)['hidden'].mean() > plain['hidden'].mean() + 0.05
    assert plain['present'].all()
    np.testing.assert_array_equal(draws(tied=1.0)['scene'], draws(tied=1.0)['motion'][:, 0])
    assert (plain['scene'] == plain['motion'][:, 0]).mean() < 0.4
    assert draws(tail=1.5)['identity'].mean() < 0.7 * plain['identity'].mean()
    light = lambda found: np.diff(found['video'].mean((2, 3, 4)), axis=1).std()
    assert light(draws(flicker=0.3)) > 3 * light(plain)
    assert draws(pan=0.0)['camera'].std(1).max() < 1e-5
    carried = draws(follow=0.0, pan=3.0, speed=(0.0, 0.0))
    shift = -np.diff(carried['camera'], axis=1)[:, None] / 24
    np.testing.assert_allclose(np.diff(carried['position'], axis=2)[:, :1], shift, atol=1e-4)


def test_sound_tells_events_from_what_is_merely_busy():
    found = sprite_video.dataset('train', count=100, event=0.8, busy=0.8, **TWO)
    event = found['event'].ravel()
    assert 0.05 < event.mean() < 0.3
    assert not (found['event'] & found['busy']).any()
    change = np.abs(np.diff(found['video'].astype(float), axis=1)).mean((2, 3, 4))
    assert roc_auc_score(event, found['sound'][..., 4].ravel()) > 0.99
    assert roc_auc_score(found['event'][:, 1:].ravel(), change.ravel()) < 0.75
    assert roc_auc_score(found['busy'][:, 1:].ravel(), change.ravel()) > 0.75


def test_paths_tell_motions_apart_and_pixels_do_not():
    found = sprite_video.dataset('train', count=300, motions=3, rates=(1.0,) * 3, **TWO)
    step = np.diff(found['position'][:, 0], axis=1)
    turn = (step[:, :-1, 0] * step[:, 1:, 1] - step[:, :-1, 1] * step[:, 1:, 0]).mean(1)
    assert (
        np.where(np.abs(turn) < 1e-5, 0, np.where(turn > 0, 1, 2)) == found['motion'][:, 0]
    ).all()
    frames = found['video'][:, ::3, ::2, ::2].reshape(300, -1) / 255
    probe = LogisticRegression(max_iter=200, tol=0.01).fit(frames[:200], found['motion'][:200, 0])
    assert probe.score(frames[200:], found['motion'][200:, 0]) < 0.6


@pytest.mark.parametrize('look', ['digits', 'emoji'])
def test_digits_and_glyphs_are_seen(look):
    found = sprite_video.dataset('test', count=50, look=look, **TWO)
    area = (found['mask'][..., None] == [1, 2]).mean((1, 2, 3))
    assert (area > 0.01).mean() > 0.9
    assert set(found['label'].ravel()) == set(range(10))


def test_one_clip_has_the_columns_of_many():
    one = jax.eval_shape(lambda key: sprite_video.sample(key, **TWO), jax.random.key(0))
    many = sprite_video.dataset('train', count=2, **TWO)
    shapes = {name: (value.shape[1:], value.dtype) for name, value in many.items()}
    assert {name: (value.shape, value.dtype) for name, value in one.items()} == shapes
    alone = jax.eval_shape(lambda key: sprite_video.sample(key, **CLIP), jax.random.key(0))
    assert alone['label'].shape == ()
    assert alone['box'].shape == (8, 4)


def test_mistakes_are_named():
    for knobs, line in [
        ({'look': 'cats'}, 'cats'),
        ({'colour': 1}, 'colour'),
        ({'classes': 57}, 'classes=57'),
        ({'size': 100}, 'size 100'),
        ({'motions': 9}, 'motions=9'),
        ({'identities': 1}, 'identities=1'),
    ]:
        with pytest.raises(Refusal, match=line):
            sprite_video.dataset('train', count=1, **knobs)
