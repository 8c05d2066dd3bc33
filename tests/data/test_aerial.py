"""Towns: both views show the same plan, which agrees with itself wherever it is asked."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from jssl.data.generated import aerial


@pytest.fixture(scope='module')
def found():
    return aerial.dataset('train', count=80, size=32, light=0.0, noise=0.0)


def test_items_are_functions_of_seed_split_and_index():
    few, many = (aerial.dataset('validation', count=n, size=8) for n in (2, 4))
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
    np.testing.assert_array_equal(aerial.source('validation', size=8)[3]['mask'], many['mask'][3])
    for other in (aerial.dataset('test', count=2), aerial.dataset('validation', count=2, seed=1)):
        assert (other['position'] != few['position']).any()
    assert aerial.dataset('test', count=1, size=4)['town'] == [1]
    assert aerial.dataset('test', count=1, size=4, town=0)['town'] == [0]


def test_the_view_from_above_is_the_plan(found):
    for i in range(5):
        for row, column in ((0, 0), (3, 30), (17, 16), (31, 5)):
            across, down = 1.5 * (np.array([column, row]) - 15.5)
            x, y = np.add(found['position'][i].astype(float), (across, down))
            mask, height, colour = aerial.plan(np.array(x), np.array(y))
            assert mask == found['mask'][i, row, column]
            np.testing.assert_allclose(height, found['height'][i, row, column], rtol=1e-3)
            np.testing.assert_allclose(255 * colour, found['image'][i, row, column], atol=1.5)


def test_places_are_on_streets_and_towns_hold_all_classes(found):
    middle = found['mask'][:, 15:17, 15:17]
    assert np.isin(middle, (1, 2, 3)).mean() > 0.95
    shares = np.bincount(found['mask'].ravel(), minlength=7) / found['mask'].size
    assert (shares > 0).all()
    assert shares[6] < 0.01 < shares[4], 'pools are rare'
    flat, tall = np.isin(found['mask'], (0, 1, 2, 6)), found['mask'] == 5
    assert not found['height'][flat].any()
    assert (found['height'][tall] >= 4).all()
    other = aerial.plan(*np.mgrid[:60.0, :60.0], 1)[0]
    assert (other != aerial.plan(*np.mgrid[:60.0, :60.0], 0)[0]).mean() > 0.2


def test_the_panorama_shows_what_stands_around(found):
    """Sky over open ground, none where a tall house is near; turning it rolls its columns."""
    north = found['height'][:, :15, 15:17].max((1, 2))
    blue = found['panorama'][..., 2].astype(int) - found['panorama'][..., 0]
    sky = (blue[:, :8, 30:34] > 50).mean((1, 2))
    assert np.corrcoef(north, sky)[0, 1] < -0.5
    ahead = aerial._panorama(found['position'][0].astype(float), 0.0, (16, 64), 0)
    right = aerial._panorama(found['position'][0].astype(float), 90.0, (16, 64), 0)
    np.testing.assert_allclose(np.roll(ahead, -16, 1), right, atol=1e-9)
    assert aerial.dataset('train', count=30, size=4, turn=180.0)['heading'].std() > 60


def test_views_of_a_place_are_found_by_the_plan_and_not_by_pixels(found):
    """An oracle that has the map finds every panorama; a linear map of pixels does not."""
    image, panorama = (found[k].reshape(80, -1) / 255 for k in ('image', 'panorama'))
    guess = Ridge(1.0).fit(image[:60], panorama[:60]).predict(image[60:])
    apart = np.linalg.norm(guess[:, None] - panorama[60:], axis=-1)
    assert (apart.argmin(1) == np.arange(20)).mean() < 0.5
    again = [
        aerial._panorama(place.astype(float), 0.0, (16, 64), 0) for place in found['position'][60:]
    ]
    apart = np.linalg.norm(np.reshape(again, (20, 1, -1)) - panorama[60:], axis=-1)
    assert (apart.argmin(1) == np.arange(20)).all()


def test_pixels_of_classes_are_not_told_by_colour_alone():
    fine = aerial.dataset('train', count=12, size=32, metres=24.0)
    assert (fine['mask'] == 2).mean() > 0.003
    colour, label = fine['image'].reshape(-1, 3)[::7] / 255, fine['mask'].ravel()[::7]
    probe = LogisticRegression(max_iter=200).fit(colour[::2], label[::2])
    assert 0.5 < probe.score(colour[1::2], label[1::2]) < 0.93
