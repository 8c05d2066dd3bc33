"""Scans: labels, lesions, warp and raters are what the phantom says; knobs move what they name."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import draw, volumes
from jssl.errors import Refusal

SMALL = {'shape': (12, 16, 16)}


def scan(index=0, **knobs):
    return volumes.sample(draw.generator(0, 'train', index), **{**SMALL, **knobs})


def test_items_are_functions_of_seed_split_and_index():
    many, few = (volumes.dataset('train', count=n, raters=2, **SMALL) for n in (4, 2))
    lazy = volumes.source('train', count=4, raters=2, **SMALL)[1]
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
        np.testing.assert_array_equal(many[name][1], lazy[name])
        assert many[name].dtype in (np.float32, np.int32, bool)
    for other in (
        volumes.dataset('test', count=2, **SMALL),
        volumes.dataset(count=2, seed=1, **SMALL),
    ):
        assert (other['volume'] != few['volume']).all()


def holds(form, local, radii):
    """Whether one place of the body lies in a form, point by point."""
    z, y, x = local
    if form == 'ball':
        return sum((a / r) ** 2 for a, r in zip(local, radii, strict=True)) < 1
    if form == 'column':
        return (y / radii[1]) ** 2 + (x / radii[2]) ** 2 < 1
    if form == 'shell':
        reach = sum((a / r) ** 2 for a, r in zip(local, radii, strict=True))
        return 0.72 < reach < 1 and y < -0.45 * radii[1]
    bend = radii[1] * np.sin(np.pi * x / radii[0])
    return (z - bend) ** 2 + y**2 + max(abs(x) - radii[0], 0) ** 2 < radii[2] ** 2


@pytest.mark.parametrize('anatomy', ['torso', 'prostate'])
def test_the_deformation_leads_to_the_organs(anatomy):
    """Where patients do not vary, each voxel's place tells its organ (a brain has an age too)."""
    item = scan(anatomy=anatomy, variation=0.0, lesions=(0, 0))
    voxel = 2 / np.array(SMALL['shape'])
    wrong = 0
    for index in np.ndindex(SMALL['shape']):
        place = -1 + voxel * (np.array(index) + 0.5 + item['deformation'][index])
        expected = 0
        for k, (form, middle, radii, _) in enumerate(volumes.ANATOMY[anatomy].values()):
            if holds(form, place - middle, radii):
                expected = k + 1
        wrong += item['organ'][index] != expected
    assert wrong < 10  # float32 on an outline


def test_the_deformation_is_smooth_and_turns_nothing_inside_out():
    for index in range(5):
        field = scan(index, shape=(16, 16, 16), warp=1.0)['deformation'].astype(float)
        slopes = np.stack(np.gradient(field, axis=(0, 1, 2)), -1)
        assert (np.linalg.det(np.eye(3) + slopes) > 0.3).all()
        assert 0.1 < np.linalg.norm(field, axis=-1).mean() < 2.5
    assert not scan(warp=0.0)['deformation'].any()


def test_organs_are_nested_and_mostly_there():
    found = volumes.dataset(count=10, anatomy='brain', domain='t1', shape=(24, 24, 24))
    names = list(volumes.ANATOMY['brain'])
    volume = [(found['organ'] == k + 1).mean((1, 2, 3)) for k in range(len(names))]
    for k in range(len(names)):
        assert (volume[k] > 0).all()
    # Default classes leave out skull and fluid.
    np.testing.assert_array_equal(found['mask'], np.maximum(found['organ'] - 2, 0))
    torso = volumes.dataset(count=10, shape=(24, 24, 24))
    for k in range(1, len(volumes.ANATOMY['torso'])):
        assert ((torso['organ'] == k + 1).sum((1, 2, 3)) > 0).mean() >= 0.9


def test_domains_look_different_on_the_same_body():
    knobs = {'noise': 0.0, 'bias': 0.0, 'lesions': (0, 0), 'anatomy': 'brain', 'blur': (0, 0, 0)}
    item = {name: scan(domain=name, **knobs) for name in volumes.DOMAINS}
    for one in item.values():
        np.testing.assert_array_equal(one['organ'], item['t1']['organ'])
    white, fluid = item['t1']['organ'] == 4, item['t1']['organ'] == 2
    contrast = {n: i['volume'][white].mean() - i['volume'][fluid].mean() for n, i in item.items()}
    assert contrast['t1'] > 0.3
    assert contrast['t2'] < -0.3
    assert contrast['flair'] > 0.1
    mixed = volumes.dataset(count=12, domain=('ct', 'pet'), **SMALL)['domain']
    assert set(mixed) == {0, 4}


def test_bias_noise_blur_and_warp_move_what_they_name():
    plain = {'noise': 0.0, 'bias': 0.0, 'lesions': (0, 0), 'blur': (0, 0, 0)}
    clean = scan(**plain)['volume']
    noisy = scan(**plain | {'noise': 0.1})['volume']
    assert (noisy - clean).std() == pytest.approx(0.1, rel=0.05)
    gain = (scan(**plain | {'bias': 0.3})['volume'] / clean)[clean > 0.1]
    assert 0.15 < np.log(gain).std() < 0.5
    along = scan(**plain | {'blur': (2, 0, 0)})['volume']
    rough = lambda v, axis: abs(np.diff(v, axis=axis)).mean()
    assert rough(along, 0) < 0.6 * rough(clean, 0)
    assert rough(along, 1) > 0.8 * rough(clean, 1)
    still = volumes.dataset(count=6, variation=0.0, warp=0.0, lesions=(0, 0), **SMALL)['organ']
    assert (still == still[0]).all()


def test_lesions_lie_where_they_may_and_show():
    knobs = {'lesions': (1, 2), 'within': ('liver', 'spleen'), 'lesion_contrast': (0.4, 0.5)}
    places = [3, 4]
    for index in range(6):
        item = scan(index, shape=(24, 24, 24), bias=0.0, **knobs)
        bare = scan(index, shape=(24, 24, 24), bias=0.0, **knobs | {'lesion_contrast': (0.1, 0.1)})
        hurt = item['lesion'] > 0
        assert item['label'] == 1
        assert hurt.any()
        np.testing.assert_array_equal(hurt, bare['lesion'] > 0)
        shown = (item['volume'] - bare['volume'])[item['lesion'] == 2]
        assert shown.mean() > 0.2
        assert abs((item['volume'] - bare['volume'])[~hurt]).mean() < 0.01
        for middle, size in zip(item['lesion_middle'], item['lesion_size'], strict=True):
            if size:
                at = tuple(np.rint(middle).astype(int).clip(0, 23))
                near = item['organ'][tuple(slice(max(a - 1, 0), a + 2) for a in at)]
                assert np.isin(near, places).any()
                assert item['lesion'][at] == 2
    none = volumes.dataset(count=5, lesions=(0, 0), **SMALL)
    assert not none['lesion'].any()
    assert not none['label'].any()


def test_the_relation_of_two_lesions():
    found = volumes.dataset(count=40, lesions=(2, 2), **SMALL)
    one, two = found['lesion_middle'].transpose(1, 0, 2)
    expected = (one[:, 0] > two[:, 0]) == (one[:, 2] > two[:, 2])
    np.testing.assert_array_equal(found['relation'], expected)
    assert 0.2 < expected.mean() < 0.8
    # An oracle reads it from the lesions' middles; a linear probe on voxels does not.
    x = found['volume'].reshape(40, -1)
    probe = LogisticRegression(max_iter=200).fit(x[:20], expected[:20])
    assert probe.score(x[20:], expected[20:]) < 0.85
    assert (volumes.dataset(count=5, lesions=(0, 1), **SMALL)['relation'] == -1).all()


def test_raters_differ_as_their_manners_do():
    knobs = {'lesions': (1, 1), 'lesion_radius': (0.3, 0.3), 'lesion_contrast': (0.3, 0.5)}
    found = volumes.dataset(count=20, raters=7, shape=(16, 24, 24), **knobs)
    area = found['rating'].sum((2, 3, 4)) / (found['lesion'] > 0).sum((1, 2, 3))[:, None]
    assert area.shape == (20, 7)
    mean = area.mean(0)
    assert mean[1] > 1.5 > 1.15 > mean[0] > 0.85 > mean[2]  # volumes: growth to the third
    faint = volumes.dataset(count=20, raters=7, **SMALL, **knobs | {'lesion_contrast': (0.1, 0.12)})
    missed = ~faint['rating'].any((2, 3, 4))
    assert missed[:, 2].all()
    assert missed[:, 4].all()
    assert not missed[:, 0].any()


def test_age_and_disease_widen_the_ventricles():
    found = volumes.dataset(count=40, anatomy='brain', domain='t1', shape=(20, 20, 20))
    wide = (found['organ'] >= 6).mean((1, 2, 3))
    load = found['age'] * 0.5 + found['disease'] * 0.4
    assert np.corrcoef(wide, load)[0, 1] > 0.5
    series = scan(anatomy='brain', visits=3, shape=(20, 20, 20), variation=0.0, noise=0.0)
    assert series['volume'].shape == (3, 20, 20, 20)
    np.testing.assert_allclose(np.diff(series['age']), 0.15, rtol=1e-5)
    grown = (series['organ'] >= 6).sum((1, 2, 3))
    assert grown[0] < grown[1] < grown[2]
    skull = series['organ'] == 1
    np.testing.assert_array_equal(skull[0], skull[2])


def test_taxonomies_and_label_rates():
    merged = scan(taxonomy=(('liver',), ('kidney_left', 'kidney_right')))
    names = list(volumes.ANATOMY['torso'])
    for name, label in (('liver', 1), ('kidney_left', 2), ('kidney_right', 2), ('spine', 0)):
        assert (merged['mask'][merged['organ'] == names.index(name) + 1] == label).all()
    rate = volumes.dataset(count=40, label_rate=0.25, **SMALL)['labelled'].mean()
    assert rate == pytest.approx(0.25, abs=0.07)


def test_a_wider_window_has_slices_almost_without_organs():
    sparse = volumes.dataset(count=6, window=(-2.6, 1.0), lesions=(0, 0), shape=(24, 16, 16))
    organ = (sparse['mask'] > 1).mean((0, 2, 3))
    assert organ[:8].max() < 0.06 < organ[15:21].min()


def test_mistakes_are_named():
    for knobs, line in [
        ({'anatomy': 'knee'}, 'knee'),
        ({'domain': 'xray'}, 'xray'),
        ({'taxonomy': (('heart',),)}, 'heart'),
    ]:
        with pytest.raises(Refusal, match=line):
            scan(**knobs)
