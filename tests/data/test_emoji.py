"""Emoji: no drawing in two splits, names and classes that fit, views whose truth is exact."""

import numpy as np
import pytest

from jssl import data
from jssl.data.packaged import emoji
from jssl.errors import Refusal

SPLITS = ('train', 'validation', 'test')


@pytest.fixture(scope='module')
def whole():
    return {split: data.load('emoji', split, size=16) for split in SPLITS}


def test_counts_are_those_of_the_register(whole):
    found = {split: len(columns['label']) for split, columns in whole.items()}
    assert found == data.SETS['emoji'].sizes
    assert data.SETS['emoji'].classes == len(emoji.SUPERCLASSES)
    assert {len(column) for column in whole['test'].values()} == {found['test']}


def test_no_glyph_and_no_look_is_in_two_splits(whole):
    codes = [set(columns['code']) for columns in whole.values()]
    assert sum(map(len, codes)) == len(set.union(*codes))
    small = np.concatenate([columns['image'] for columns in whole.values()])
    small = small.reshape(len(small), -1).astype(np.float32)
    split = np.repeat(range(3), [len(columns['label']) for columns in whole.values()])
    square = (small**2).sum(1)
    apart = square[:, None] + square - 2 * small @ small.T
    alike = apart < 2**2 * small.shape[1]  # two grey levels apart, before white
    assert not alike[split[:, None] != split].any()


def test_kinds_of_one_glyph_share_a_split(whole):
    homes = {code: split for split, columns in whole.items() for code in columns['code']}
    for wave in ('👋', '👍', '🏃'):
        kin = [home for code, home in homes.items() if code[0] == wave]
        assert len(kin) > 5
        assert len(set(kin)) == 1
    assert homes['👩\u200d🚀'] == homes['👩🏿\u200d🚀']


def test_names_and_superclasses(whole):
    found = {}
    for columns in whole.values():
        named = [columns[name] for name in ('code', 'text', 'text_de', 'label')]
        for code, *rest in zip(*named, strict=True):
            found[code] = (*rest[:2], emoji.SUPERCLASSES[rest[2]])
    assert found['🦊'] == ('fox', 'fuchs', 'animal')
    assert found['🍕'] == ('pizza', 'pizza', 'food')
    assert found['🇨🇭'] == ('Switzerland', 'flagge schweiz', 'flag')
    assert found['😀'][2] == 'face'
    assert found['🚲'][2] == 'vehicle'
    assert found['🕐'][2] == 'clock'
    assert found['👩\u200d🚀'][2] == 'person'
    for columns in whole.values():
        assert len(np.unique(columns['label'])) == len(emoji.SUPERCLASSES)
        assert set(columns) >= {f'text_{language}' for language in emoji.LANGUAGES[1:]}
        assert all(columns['text_ja'])


def test_rows_are_the_same_at_every_size_and_yellow_alone_is_fewer(whole):
    large = data.load('emoji', 'test', size=64)
    np.testing.assert_array_equal(large['code'], whole['test']['code'])
    blurred = large['image'].reshape(-1, 16, 4, 16, 4, 3).mean((2, 4))
    assert np.abs(blurred - whole['test']['image']).max() < 1.5
    yellow = data.load('emoji', 'test', size=16, tones=False)['code']
    assert set(yellow) == {c for c in large['code'] if not set(c) & set('🏻🏼🏽🏾🏿')}
    with pytest.raises(Refusal, match='choose 16, 32, 64'):
        data.load('emoji', 'test', size=24)


def test_alpha_composites_to_the_same_picture(whole):
    clear = data.load('emoji', 'validation', size=16, background=None)['image'].astype(float)
    for ground, name in ((255, 'white'), (0, 'black')):
        solid = data.load('emoji', 'validation', size=16, background=(ground,) * 3)['image']
        alpha = clear[..., 3:] / 255
        assert np.abs(clear[..., :3] * alpha + ground * (1 - alpha) - solid).max() < 1.5, name


def test_views_depend_on_seed_split_and_index_alone():
    few, many = (data.load('emoji_views', 'train', count=n) for n in (20, 120))
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][:20])
    np.testing.assert_array_equal(many['label'][100:], few['label'])
    for other in ({'seed': 1}, {'background': 'plain'}):
        image = data.load('emoji_views', 'train', count=20, **other)['image']
        assert (image != few['image']).any((1, 2, 3)).all()
    test = data.load('emoji_views', 'test', count=20)
    np.testing.assert_array_equal(test['text'], few['text'])  # the same classes, other views
    assert (test['angle'] != few['angle']).all()


def test_boxes_hold_masks_and_masks_hold_the_glyph():
    views = data.load('emoji_views', 'test', count=60, background='plain', scale=(0.5, 0.5))
    for image, mask, box in zip(views['image'], views['mask'], views['box'], strict=True):
        left, top, right, bottom = (box * 32).round().astype(int)
        assert mask[top:bottom, left:right].sum() == mask.sum()
        assert mask[top, left:right].any()
        assert mask[top:bottom, right - 1].any()
        ground = image[0, 0].astype(int)
        assert np.abs(image[~mask] - ground).max() <= 32  # an eighth of a pixel is not the glyph's
        assert max(right - left, bottom - top) <= 16 * np.sqrt(2) + 2


def test_rotation_and_scale_do_what_they_say():
    angle = data.load('emoji_views', 'train', count=200, rotation=5, scale=(0.7, 0.8))
    assert np.abs(angle['angle']).max() <= 5
    assert angle['angle'].std() > 2
    assert (angle['width'] >= 0.7).all() and (angle['width'] <= 0.8).all()  # noqa: PT018
    upright, turned = (
        data.load('emoji_views', 'train', count=1, rotation=r, background='plain')['image']
        for r in (0, 90)
    )
    assert (upright != turned).any()


def test_novel_classes_are_those_of_their_split(whole):
    for split in SPLITS:
        text = data.load('emoji_views', split, count=60, classes=60, novel=True)['text']
        assert set(text) <= set(whole[split]['text'])
        assert len(set(text)) == 60
    with pytest.raises(Refusal, match='there are 1 to'):
        data.load('emoji_views', 'validation', classes=2000, novel=True)
    with pytest.raises(Refusal, match='choose photo, plain'):
        data.load('emoji_views', 'train', background='sky')
