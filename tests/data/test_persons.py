"""Persons: an identity looks the same everywhere, a camera shifts all that it sees."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import RidgeClassifier

from jssl.data.generated import draw, persons
from jssl.errors import Refusal

# One program for all pictures: amounts and ranges compile nothing.
FEW = {'identities': (0, 12)}


@pytest.fixture(scope='module')
def pictures():
    return persons.dataset('train', count=384, **FEW)


def test_items_are_functions_of_seed_split_and_index(pictures):
    few = persons.dataset('train', count=3, **FEW)
    for name in pictures:
        np.testing.assert_array_equal(pictures[name][:3], few[name])
    for other in (persons.dataset('test', count=3), persons.dataset('train', count=3, seed=1)):
        assert (other['image'] != few['image']).mean() > 0.5


def test_splits_have_identities_and_cameras_of_their_own(pictures):
    assert set(pictures['label']) == set(range(12))
    assert set(pictures['camera']) == {0, 1, 2}
    test = persons.dataset('test', count=256)
    assert set(test['camera']) == {3, 4, 5, 6, 7}
    assert 2000 <= test['label'].min() <= test['label'].max() < 2060
    assert 0 <= pictures['facing'].min() < 40 < 140 < pictures['facing'].max() <= 180


def test_masks_cover_the_person():
    plain = persons.dataset('train', count=128, noise=0.0, occluded=0.0, cameras=(0, 1), **FEW)
    mask = plain['mask']
    assert 0.15 < mask.mean() < 0.45
    # The background is the same in all pictures of a camera, and persons differ from it.
    behind = np.median(plain['image'], 0)
    gap = np.abs(plain['image'] - behind).max(-1)
    far = ~ndimage.binary_dilation(mask, np.ones((1, 5, 5)))
    assert (gap[far] < 4).mean() > 0.97
    assert gap[mask].mean() > 60
    hidden = persons.dataset('train', count=128, occluded=1.0, **FEW)['mask']
    assert hidden.mean() < 0.85 * mask.mean()


def test_cameras_shift_more_the_farther_they_are():
    flat = {'noise': 0.0, 'occluded': 0.0, 'pose': 0.0, 'identities': (0, 1)}
    seen = [
        persons.dataset('train', count=48, cameras=(c, 1), shift=s, **flat)['image'].mean((0, 1, 2))
        for c, s in ((0, 0.0), (0, 1.0), (7, 0.0), (7, 1.0))
    ]
    moved = np.linalg.norm(seen[1] - seen[0]), np.linalg.norm(seen[3] - seen[2])
    assert moved[1] > 2 * moved[0] > 0


def test_clothes_tell_identities_and_pixels_across_cameras_do_not(pictures):
    """Pixels tell the camera at once; the nearest picture of another camera is of someone else."""
    flat, camera = pictures['image'].reshape(384, -1) / 255, pictures['camera']
    fit = RidgeClassifier().fit(flat[:256], camera[:256])
    assert fit.score(flat[256:], camera[256:]) > 0.9
    test = persons.dataset('test', count=384, cameras=(6, 2), identities=(2000, 40))
    there = test['mask'].mean((1, 2)) > 0.12
    near, far = (there & (test['camera'] == c) for c in (6, 7))

    def matched(x):
        apart = np.linalg.norm(x[near][:, None] - x[far], axis=-1)
        return (test['label'][far][apart.argmin(1)] == test['label'][near]).mean()

    near &= np.isin(test['label'], test['label'][far])
    looks = np.array([persons._numbers('identity', int(i)) for i in test['label']])
    assert matched(test['image'].reshape(384, -1) / 255) < 0.7
    assert matched(looks) == 1
    calm = persons.dataset('train', count=96, noise=0.0, shift=0.0, occluded=0.0, pose=0.0, **FEW)
    torso = [image[13:16, 6:10].mean((0, 1)) for image in calm['image']]
    inner, label = np.array(torso), calm['label']
    within = np.mean([inner[label == k].std(0).mean() for k in set(label)])
    assert within < 0.4 * inner.std(0).mean()


def test_clips_keep_their_people_and_shuffle_them():
    knobs = {'family': 'clip', 'frames': 3, 'people': 4}
    found = persons.dataset('train', count=40, **knobs)
    assert found['crop'].shape == (40, 3, 4, 32, 16, 3)
    for labels in found['label']:
        there = [set(frame[frame >= 0]) for frame in labels]
        assert len(set.union(*there)) <= 4
        assert all(
            len(set_) == (frame >= 0).sum() for set_, frame in zip(there, labels, strict=True)
        )
    assert 0.05 < (found['label'] < 0).mean() < 0.35
    assert (found['label'][:, 0] != found['label'][:, 1]).any(1).mean() > 0.7
    assert 0.05 < (np.diff(found['camera'][..., 0], axis=1) != 0).any(1).mean() < 0.5
    # The same person in two frames is nearer than two persons, yet not always the nearest.
    full = persons.dataset('train', count=40, leave=0.0, missed=0.0, cut=0.0, drift=0.0, **knobs)
    assert (full['label'] >= 0).all()
    crop = full['crop'].reshape(40, 3, 4, -1) / 255
    apart = np.linalg.norm(crop[:, 0, :, None] - crop[:, 1, None], axis=-1)
    same = full['label'][:, 0, :, None] == full['label'][:, 1, None]
    assert same.any(2).all()
    assert apart[same].mean() < 0.9 * apart[~same].mean()


def test_one_item_is_the_first_of_many(pictures):
    one = persons.sample(draw.generator(0, 'train', 0), **FEW)
    for name in pictures:
        np.testing.assert_array_equal(one[name], pictures[name][0])


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='colour'):
        persons.dataset('train', count=1, colour=1)
    with pytest.raises(Refusal, match='crowd'):
        persons.dataset('train', family='crowd')
    with pytest.raises(Refusal, match='people=9'):
        persons.clip(draw.generator(0, 'train', 0), people=9, identities=(0, 3))
