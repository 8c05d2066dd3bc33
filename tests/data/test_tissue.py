"""Tissue: masks, nuclei and boxes agree; stains and slides shift what their knobs say."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import draw, tissue
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def sections():
    return tissue.dataset('train', count=300)


@pytest.mark.parametrize('family', tissue.FAMILIES)
def test_items_are_functions_of_seed_split_and_index(family):
    knobs = {'family': family, 'size': 12}
    many, few = (tissue.dataset('test', count=n, **knobs) for n in (4, 2))
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
    for other in (
        tissue.dataset('validation', count=2, **knobs),
        tissue.dataset('test', count=2, seed=1, **knobs),
    ):
        assert (other['image'] != few['image']).mean() > 0.5


def test_masks_tell_the_kind_of_their_nucleus(sections):
    instance, mask = sections['instance'], sections['mask']
    np.testing.assert_array_equal(instance > 0, mask > 0)
    for i in range(30):
        for nucleus in np.unique(instance[i])[1:]:
            where = instance[i] == nucleus
            assert len(set(mask[i][where])) == 1
            kind = sections['kind'][i, nucleus - 1]
            if kind < 0:
                continue  # its middle lies outside
            assert mask[i][where][0] == 1 + kind
            middle = (np.argwhere(where).mean(0)[::-1] + 0.5) / 32
            if where.sum() > 8 and 0.15 < middle.min() < middle.max() < 0.85:
                assert np.abs(middle - sections['position'][i, nucleus - 1]).max() < 0.08
    dark = sections['image'].mean(-1)
    assert dark[mask > 0].mean() < 0.75 * dark[mask == 0].mean()
    assert set(mask.ravel()) == set(range(6))


def test_diseases_crowd_and_enlarge_nuclei(sections):
    ill = sections['label'] == 1
    assert 0.35 < ill.mean() < 0.65
    area = (sections['mask'] > 0).mean((1, 2))
    assert area[ill].mean() > 1.4 * area[~ill].mean()
    new = (sections['mask'] == 2).mean((1, 2))
    assert new[ill].mean() > 10 * new[~ill].mean()
    assert not tissue.dataset('train', count=20, tumour=0.0)['label'].any()


def test_slides_are_disjoint_and_late_codes_rare(sections):
    found = [set(tissue.dataset(split, count=200, size=2)['slide']) for split in draw.SPLITS]
    assert not found[0] & found[1] | found[0] & found[2] | found[1] & found[2]
    slides = np.array([[slide, tissue._slide(slide, 1.0)[0]] for slide in range(200)])
    count = np.bincount(slides[:, 1], minlength=12)
    assert count[0] > 4 * count[8:].mean() > 0
    code = dict(slides)
    for i in range(50):
        slide = sections['slide'][i]
        assert sections['site'][i] == slide % 5
        assert sections['code'][i] == code[slide]
        assert sections['tissue'][i] == tissue.ORGAN[code[slide]]


def test_stains_tell_hospitals_and_can_be_made_alike(sections):
    """The dyes' colour is the hospital's; without them a probe of colours is at chance."""

    def score(found):
        x = -np.log((found['image'].reshape(300, -1, 3) + 9.0) / 264).mean(1)
        x = x / x.sum(1, keepdims=True)
        x = (x - x.mean(0)) / x.std(0)
        return (
            LogisticRegression()
            .fit(x[:200], found['site'][:200])
            .score(x[200:], found['site'][200:])
        )

    assert score(sections) > 0.6
    assert score(tissue.dataset('train', count=300, stain=0.0)) < 0.4
    assert set(tissue.dataset('train', count=20, size=2, sites=(2, 4))['site']) == {2, 4}


def test_kinds_and_magnification():
    kinds = (0, 2)
    few = tissue.dataset('train', count=30, kinds=kinds)
    assert set(few['kind'].ravel()) == {-1, *kinds}
    wide, near = (tissue.dataset('train', count=30, magnification=m) for m in (0.5, 1.0))
    count = lambda found: np.mean((found['kind'] >= 0).sum(1))
    assert 3 < count(wide) / count(near) < 5
    assert len(tissue.COARSE) == len(tissue.KINDS)


def test_nuclei_tell_the_disease_and_pixels_do_not(sections):
    half, label = slice(0, 150), sections['label']
    counts = np.stack([(sections['mask'] == 1 + k).mean((1, 2)) for k in range(5)], 1)
    pixels = sections['image'].reshape(300, -1) / 255 - 0.5
    scores = [
        LogisticRegression(max_iter=50, C=c, tol=0.01)
        .fit(x[half], label[half])
        .score(x[150:], label[150:])
        for x, c in ((counts, 1e4), (pixels, 1e-2))
    ]
    assert scores[0] > 0.9
    assert scores[1] < 0.8


def test_lesions():
    found = tissue.dataset('train', family='lesion', count=300, size=24)
    np.testing.assert_array_equal(found['label'], 3 * found['colour'] + found['outline'])
    assert set(found['label']) == set(range(9))
    assert 0.4 < (found['artefact'] > 0).mean() < 0.6
    mask = found['mask']
    assert 0.05 < mask.mean((1, 2)).min() < mask.mean((1, 2)).max() < 0.6
    grey = found['image'].mean(-1)
    assert all(g[m].mean() < g[~m].mean() for g, m in zip(grey, mask, strict=True))
    # Within its mask the colour is plain; a round outline has the least perimeter for its area.
    colour = np.stack([image[m].mean(0) for image, m in zip(found['image'], mask, strict=True)])
    edge = (mask[:, 1:] != mask[:, :-1]).sum((1, 2)) + (mask[:, :, 1:] != mask[:, :, :-1]).sum(
        (1, 2)
    )
    rough = edge / np.sqrt(mask.sum((1, 2)))
    assert rough[found['outline'] == 2].mean() > 1.15 * rough[found['outline'] == 0].mean()
    probe = lambda x, y: (
        LogisticRegression(max_iter=60, tol=0.01).fit(x[:200], y[:200]).score(x[200:], y[200:])
    )
    assert probe(colour / 50, found['colour']) > 0.8
    assert probe(found['image'][:, ::2, ::2].reshape(300, -1) / 255, found['label']) < 0.6


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='bone'):
        tissue.source('train', family='bone')
    with pytest.raises(Refusal, match='7'):
        tissue.dataset('train', count=1, sites=(7,))
