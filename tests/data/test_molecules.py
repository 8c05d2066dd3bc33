"""Molecules: graphs keep to valences, properties are those of textbooks, rdkit agrees."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score

from jssl.data.generated import draw, molecules
from jssl.errors import Refusal


@pytest.fixture(scope='module')
def found():
    return molecules.dataset('train', count=400)


def test_items_are_functions_of_seed_split_and_index(found):
    few = molecules.dataset('train', count=3)
    for name in found:
        np.testing.assert_array_equal(found[name][:3], few[name])
    for other in (molecules.dataset('test', count=3), molecules.dataset('train', count=3, seed=1)):
        assert (other['text'] != few['text']).any()


@pytest.mark.parametrize(
    ('text', 'mass', 'rings'),
    [
        *(('c1ccccc1', 78.11, 1), ('c1cc(C(=O)O)ccc1', 122.12, 1), ('c1ccc2ccccc2c1', 128.17, 2)),
        *(('CCO', 46.07, 0), ('c1ccncc1', 79.10, 1), ('C1CCNCC1', 85.15, 1), ('CC#N', 41.05, 0)),
        ('c1ccccc1c1ccccc1', 154.21, 2),
    ],
)
def test_masses_of_textbooks(text, mass, rings):
    one = molecules.sample(draw.generator(0, 'train', 0), scaffolds=(text,))
    np.testing.assert_allclose(one['property'][[0, 3]], [mass, rings], atol=0.02)


def test_valences_are_filled(found):
    there = found['element'] >= 0
    valence = np.where(there, np.array([4, 3, 2, 1, 2, 1])[found['element']], 0)
    bound = found['adjacency'].sum(2) + found['hydrogen']
    np.testing.assert_array_equal(found['adjacency'], found['adjacency'].swapaxes(1, 2))
    # In an aromatic ring the electrons of oxygen and of fused carbon count as half a bond more.
    ring = (found['adjacency'] == 1.5).any(2)
    np.testing.assert_array_equal(bound[~ring], valence[~ring])
    assert (np.abs(bound - valence)[ring] <= 1).all()
    assert not bound[~there].any()


def test_scaffolds_are_disjoint_and_groups_a_knob(found):
    kinds = [set(scaffolds) for scaffolds in molecules.SCAFFOLDS.values()]
    assert not kinds[0] & kinds[1] | kinds[0] & kinds[2] | kinds[1] & kinds[2]
    assert set(found['scaffold']) == set(range(8))
    plain = molecules.dataset('train', count=30, groups=('F',))
    assert set(plain['element'][:, 1:].ravel()) >= {3}
    assert not plain['label'].any()
    bare = molecules.dataset('train', count=40, empty=1.0)
    assert len(set(bare['text'])) <= 8


def test_the_rule_is_about_distance_and_counts_do_not_tell_it(found):
    assert 0.2 < found['label'].mean() < 0.8
    wide = molecules.dataset('train', count=100, apart=(2, 9))
    assert wide['label'].mean() > found['label'][:100].mean() + 0.05
    count = (found['element'][..., None] == range(6)).sum(1)
    count = np.concatenate([count, found['hydrogen'].sum(1, keepdims=True)], 1)
    probe = RidgeClassifier().fit(count[:300], found['label'][:300])
    guess = probe.predict(count[300:])
    assert balanced_accuracy_score(found['label'][300:], guess) < 0.85
    acid = molecules.sample(draw.generator(0, 'train', 0), scaffolds=('c1ccccc1C(=O)O',))
    assert not acid['label'], 'a group is not two'
    salicylic = molecules.sample(draw.generator(0, 'train', 0), scaffolds=('c1cccc(O)c1C(=O)O',))
    assert salicylic['label']


def test_rdkit_agrees(found):
    chem = pytest.importorskip('rdkit.Chem')
    descriptors = pytest.importorskip('rdkit.Chem.Descriptors')
    for text, known in zip(found['text'][:100], found['property'], strict=False):
        molecule = chem.MolFromSmiles(str(text))
        assert molecule is not None
        np.testing.assert_allclose(descriptors.MolWt(molecule), known[0], atol=0.05)
        assert molecule.GetRingInfo().NumRings() == known[3]


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='Br'):
        molecules.graph('CBr')
