"""Peptides: kin are in one split, and tokens spell them."""

from jssl import data
from jssl.data.packaged import chemistry


def test_no_two_splits_share_eight_residues_in_a_row():
    found = {split: data.load('peptides', split) for split in ('train', 'validation', 'test')}
    assert {split: len(c['label']) for split, c in found.items()} == data.SETS['peptides'].sizes
    runs = [
        {text[i : i + 8] for text in columns['text'] for i in range(max(1, len(text) - 7))}
        for columns in found.values()
    ]
    assert sum(map(len, runs)) == len(set.union(*runs))


def test_tokens_spell_the_sequence():
    columns = data.load('peptides', 'test', length=20)
    for tokens, text in zip(columns['tokens'], columns['text'], strict=True):
        assert ''.join(chemistry.RESIDUES[t - 1] for t in tokens if t) == text[:20]


def test_other_proteins_begin_with_methionine():
    columns = data.load('peptides', 'train')
    first = columns['tokens'][:, 0] == chemistry.RESIDUES.index('M') + 1
    assert first[columns['label'] == 1].mean() < 0.05
    assert first[columns['label'] == 0].mean() > 0.5
