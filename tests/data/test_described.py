"""Sets whose classes have names: determinism, classes, styles, sentences."""

import numpy as np
import pytest

from jssl.data import captions, described, domains
from jssl.errors import Refusal

CLASSES = {'shades': 16, 'textures': 36, 'outlines': 12, 'digits': 10, 'inverted': 36}


@pytest.mark.parametrize('name', CLASSES)
def test_images_classes_and_sentences(name):
    drawn = described.load(name, 'test', count=72, size=16)
    again = described.load(name, 'test', count=36, size=16)
    assert drawn['image'].shape == (72, 16, 16, 3)
    assert drawn['image'].dtype == np.uint8
    np.testing.assert_array_equal(drawn['image'][:36], again['image'])
    assert set(drawn['label'].tolist()) <= set(range(CLASSES[name]))
    texts = described.sentences(name, templates=['{}', 'a photo of {}'])
    assert [len(each) for each in texts] == [CLASSES[name]] * 2
    assert captions.encode(texts[1]).shape == (CLASSES[name], captions.LENGTH)


def test_the_label_is_what_its_sentence_says():
    drawn = described.load('textures', 'train', count=36, size=16, seed=3)
    assert sorted(drawn['label']) == list(range(36))  # every class once in 36
    names = described.sentences('textures', templates=['{}'])[0]
    assert [names[0], names[10]] == ['a plain disc', 'a striped star']
    assert described.sentences('digits', templates=['{}'])[0][7] == 'a digit seven'


def test_deep_colours_are_darker_in_the_figure_alone():
    plain = described.load('textures', 'train', count=8, size=16)['image'].astype(float)
    shades = described.load('shades', 'train', count=8, size=16)
    deep = shades['label'] % 2 == 1
    np.testing.assert_array_equal(deep, np.arange(8) % 2 == 1)
    np.testing.assert_array_equal(shades['image'][~deep], plain[~deep])
    darker = plain[deep] - shades['image'][deep]
    assert (darker >= 0).all()
    assert 0.02 < (darker > 0).mean() < 0.9
    # the pale and the deep one are called the same
    names = described.sentences('shades', templates=['{}'])[0]
    assert names[0] == names[1] != names[2]


def test_styles_are_those_of_domains():
    plain, found = (
        described.load(n, 'test', count=4, size=16)['image'] for n in ('textures', 'inverted')
    )
    np.testing.assert_array_equal(found, 255 - plain)
    lines = described.load('outlines', 'test', count=4, size=16)['image']
    want = np.asarray(domains.sketch(np.float32(plain) / 255))
    np.testing.assert_allclose(lines / 255, want, atol=0.003)


def test_an_unknown_set_is_refused():
    with pytest.raises(Refusal, match="no described set is called 'shade'; the nearest is shades"):
        described.load('shade', 'test')
    with pytest.raises(Refusal, match='no described set'):
        described.sentences('shade')
