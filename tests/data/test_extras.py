"""Sets of packages that an extra brings: refused in one line without, alike at every load with."""

import importlib.metadata
import re

import numpy as np
import pytest

from jssl import data
from jssl.errors import Refusal

EXTRAS = [name for name, known in data.SETS.items() if known.extra]
SPLITS = ('train', 'validation', 'test')
SAME = {  # what must not be in two splits
    'earth': lambda c: map(tuple, np.floor((c['place'] * (-1, 1) + (90, 180)) / 6.4)),
    'dialogues': lambda c: [text.split('\n')[0].lower() for text in c['text']],
    'g2': lambda c: c['name'],
    'lexicon': lambda c: c['text'],
    'mni152': lambda c: c['place'],
    'nci': lambda c: [
        ring or smiles for ring, smiles in zip(c['scaffold'], c['text'], strict=True)
    ],
    'segments': lambda c: [row.tobytes() for row in c['feature']],
    'translations': lambda c: c['text'],
    'water_flow': lambda c: c['start'],
}
OPTIONS = {'rollouts': {'count': 4, 'length': 32}}


def loaded(name, split):
    if line := data.missing(name):
        pytest.skip(line)
    return data.load(name, split, **OPTIONS.get(name, {}))


@pytest.mark.parametrize('name', EXTRAS)
def test_without_its_package_a_set_is_refused_in_one_line(name, monkeypatch):
    def none(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, 'distribution', none)
    extra = data.SETS[name].extra
    line = f'{name} needs the extra {extra!r}: pip install jssl[{extra}]'
    for split in SPLITS:
        with pytest.raises(Refusal, match=f'^{re.escape(line)}$'):
            data.load(name, split)


@pytest.mark.parametrize('name', EXTRAS)
def test_splits_have_their_sizes_and_nothing_in_common(name):
    found = {split: loaded(name, split) for split in SPLITS}
    if name not in OPTIONS:  # the others have as many as they are asked for
        sizes = {split: len(next(iter(c.values()))) for split, c in found.items()}
        assert sizes == data.SETS[name].sizes
    for columns in found.values():
        assert len({len(column) for column in columns.values()}) == 1
        for column in columns.values():
            assert column.dtype in (object, bool, np.uint8, np.int32, np.float32)
            assert column.dtype != np.float32 or np.isfinite(column).all()
    if name in SAME:
        kinds = [set(SAME[name](columns)) for columns in found.values()]
        assert sum(map(len, kinds)) == len(set.union(*kinds))


@pytest.mark.parametrize('name', EXTRAS)
def test_a_set_is_the_same_at_every_load(name):
    for first, again in zip(*(loaded(name, 'test').values() for _ in '12'), strict=True):
        np.testing.assert_array_equal(first, again)


def test_earth_has_land_where_it_is_green_and_cities_on_land():
    columns = loaded('earth', 'test')
    mask, image = columns['mask'], columns['image'].astype(int)
    assert mask.mean((1, 2)).min() >= 0.5
    red_over_blue = image[..., 0] - image[..., 2]
    assert red_over_blue[mask].mean() > 10 > 0 > red_over_blue[~mask].mean()
    north, east = columns['place'].T
    alps = (np.abs(north - 46) < 3) & (np.abs(east - 9) < 4)
    assert columns['city'].sum() > 1000
    sahara = (np.abs(north - 22) < 4) & (np.abs(east - 10) < 20)
    assert not alps.any() or columns['city'][alps].mean() > 10 * columns['city'][sahara].mean()
    assert len(data.load('earth', 'test', size=96, land=0)['place']) > len(set(east)) / 9


def test_molecules_are_graphs_of_their_smiles():
    columns = loaded('nci', 'test')
    adjacency, atom = columns['adjacency'], columns['atom']
    np.testing.assert_array_equal(adjacency, adjacency.transpose(0, 2, 1))
    assert set(np.unique(adjacency)) <= {0, 1, 1.5, 2, 3}
    assert not adjacency[atom == 0].any()
    letters = [sum(c.isalpha() for c in text if c not in 'Hlr') for text in columns['text']]
    same = np.array(letters) == (atom > 0).sum(1)
    assert same.mean() > 0.95  # two-letter symbols aside
    weight = columns['target'][:, 2]
    assert np.corrcoef(weight, atom.sum(1))[0, 1] > 0.95


def test_geometries_have_bonds_of_known_lengths():
    found = [loaded('g2', split) for split in SPLITS]
    columns = {name: np.concatenate([c[name] for c in found]) for name in found[0]}
    i = list(columns['name']).index('CH4')
    points = columns['points'][i][columns['atom'][i] > 0]
    assert columns['atom'][i][:5].tolist() == [6, 1, 1, 1, 1]
    np.testing.assert_allclose(np.linalg.norm(points[1:] - points[0], axis=1), 1.09, atol=0.01)
    assert columns['target'][i] == np.float32(-17.9)


def test_tables_are_those_of_the_literature():
    segments = loaded('segments', 'train')
    assert segments['feature'].shape[1] == 18
    yeast = loaded('yeast', 'train')
    assert (yeast['feature'].shape[1], yeast['target'].shape[1]) == (103, 14)
    assert yeast['target'].sum(1).mean() == pytest.approx(4.24, abs=0.1)
    assert loaded('shuttle', 'test')['label'].mean() == pytest.approx(0.0715, abs=0.001)
    flow = loaded('water_flow', 'train')
    assert np.all(np.diff(flow['start']) == 24)
    with pytest.raises(ValueError, match='length 500 is more than the 126 hours of validation'):
        data.load('water_flow', 'validation', length=500)


def test_texts_are_in_the_languages_they_are_said_to_be():
    columns = loaded('translations', 'train')
    assert list(columns) == ['text', 'de', 'es', 'fr', 'ja', 'ru']
    cyrillic = [any('а' <= c <= 'я' for c in text.lower()) for text in columns['ru']]
    assert np.mean(cyrillic) > 0.98
    assert np.mean([any(ord(c) > 0x3000 for c in text) for text in columns['ja']]) > 0.98
    more = data.load('translations', 'train', languages=('ar',))
    assert len(more['text']) > len(columns['text'])
    with pytest.raises(Refusal, match="translations has no language 'xx'"):
        data.load('translations', 'train', languages=('xx',))


def test_a_lexicon_knows_countries_and_languages():
    found = [loaded('lexicon', split) for split in SPLITS]
    told = {
        t: (de, y) for c in found for t, de, y in zip(c['text'], c['de'], c['label'], strict=True)
    }
    assert told['Switzerland'] == ('Schweiz', 0)
    assert told['Swahili'] == ('Suaheli', 1)
    with pytest.raises(Refusal, match=r'lexicon: .*xx'):
        data.load('lexicon', 'train', languages=('xx',))


def test_dialogues_have_turns_and_topics():
    columns = loaded('dialogues', 'train')
    assert [text.count('\n') + 1 for text in columns['text']] == columns['turns'].tolist()
    assert set(columns['topic'][columns['label'] == 0]) == {'ai'}
    assert columns['turns'].min() >= 1
    with pytest.raises(Refusal, match="no language 'klingon': choose bengali, "):
        data.load('dialogues', 'train', language='klingon')


def test_rollouts_go_on_from_where_they_were():
    columns = loaded('rollouts', 'train')
    ended = columns['terminated'] | columns['truncated']
    after = columns['next_observation'][:, :-1][~ended[:, :-1]]
    before = columns['observation'][:, 1:][~ended[:, :-1]]
    np.testing.assert_allclose(after, before, atol=1e-6)
    held = data.load('rollouts', 'train', count=4, length=32, hold=1.0)['action']
    assert (held == held[:, :1]).all()
    assert (columns['action'] != columns['action'][:, :1]).any()
