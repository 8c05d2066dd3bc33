"""Packaged texts: splits by file, no copies between them, parts that make the whole."""

import ast
import functools
import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from jssl.data.packaged import text
from jssl.data.readers import SPLITS
from jssl.errors import Refusal

CORPORA = ('stdlib_code', 'stdlib_prose', 'docstrings')


@functools.cache
def load(name, split):
    return getattr(text, name)(split)


def triples(document):
    words = re.findall(r'\w+', document.lower())
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


@pytest.mark.parametrize('name', CORPORA)
def test_splits_hold_whole_files_and_all_of_them(name):
    files = [set(load(name, split)['file']) for split in SPLITS]
    assert not files[0] & files[1] | files[0] & files[2] | files[1] & files[2]
    rows = [len(load(name, split)['label']) for split in SPLITS]
    assert sum(rows) == {'stdlib_code': 5947, 'stdlib_prose': 5872, 'docstrings': 8599}[name]
    assert rows[0] > 0.6 * sum(rows)
    assert min(rows) > 0.05 * sum(rows)
    for split in SPLITS:
        columns = load(name, split)
        assert {len(column) for column in columns.values()} == {len(columns['label'])}
        assert columns['label'].dtype == np.int32
        assert all(isinstance(each, str) for each in columns['text'])
    with pytest.raises(Refusal, match='no split'):
        getattr(text, name)('all')


@pytest.mark.parametrize('name', CORPORA)
def test_no_test_text_is_a_copy_of_a_training_text(name):
    train, test = (load(name, split)['text'] for split in ('train', 'test'))
    assert not set(train) & set(test)
    known = set().union(*map(triples, train))
    shares = [
        len(found & known) / len(found) for found in map(triples, test[::5]) if len(found) > 20
    ]
    assert np.median(shares) < 0.5


@pytest.mark.parametrize('name', CORPORA)
def test_a_file_stands_together(name):
    file = load(name, 'test')['file']
    starts = np.flatnonzero(np.r_[True, file[1:] != file[:-1]])
    assert len(starts) == len(set(file))


def test_code_is_python_and_its_parts_make_it():
    columns = load('stdlib_code', 'test')
    for whole, signature, docstring, body in list(
        zip(*(columns[k] for k in ('text', 'signature', 'docstring', 'body')), strict=True)
    )[::3]:
        (node,) = ast.parse(whole).body
        assert (ast.get_docstring(node) or '') == docstring
        assert whole.startswith(signature + '\n')
        assert whole.endswith(body)
        assert ':' in signature
        assert docstring or whole == f'{signature}\n{body}'


def test_every_project_is_in_every_split():
    for project in ('email', 'asyncio', 'xml', 'multiprocessing', 'unittest'):
        for split in SPLITS:
            columns = load('stdlib_code', split)
            assert (columns['package'] == project).sum() > 0, (project, split)
        assert len(set(columns['label'][columns['package'] == project])) == 1


def test_keywords_find_their_family_better_than_chance():
    columns = load('stdlib_prose', 'train')
    score = np.array(
        [
            [sum(word in document.lower() for word in words) for words in text.KEYWORDS.values()]
            for document in columns['text']
        ]
    )
    names = [text.FAMILIES.index(name) for name in text.KEYWORDS]
    known = np.isin(columns['label'], names) & (score.max(1) > 0)
    guess = np.array(names)[score.argmax(1)]
    assert (guess == columns['label'])[known].mean() > 0.5  # of six


def test_a_library_is_known_by_its_words_to_other_files():
    train, test = load('docstrings', 'train'), load('docstrings', 'test')
    words = CountVectorizer(max_features=3000)
    model = MultinomialNB().fit(words.fit_transform(train['text'][::3]), train['label'][::3])
    accuracy = model.score(words.transform(test['text'][::3]), test['label'][::3])
    assert 0.55 < accuracy < 0.99


def test_the_import_graph_is_whole_and_its_features_do_not_name_modules():
    graph = text.import_graph()
    assert graph['feature'].shape == (608, 1000)
    assert graph['edges'].shape == (3098, 2)
    assert graph['edges'].max() < 608
    assert (graph['edges'][:, 0] != graph['edges'][:, 1]).all()
    assert len(np.unique(graph['edges'], axis=0)) == 3098
    parts = {part for name in graph['name'] for part in name.split('.')}
    assert not parts & set(graph['word'])
    index = graph['name'].tolist().index
    assert [index('json'), index('json.decoder')] in graph['edges'].tolist()
    nodes = [text.stdlib_imports(split) for split in SPLITS]
    assert sorted(np.concatenate([part['node'] for part in nodes])) == list(range(608))
    for part in nodes:
        np.testing.assert_array_equal(part['feature'], graph['feature'][part['node']])
        assert set(part['label']) == set(range(len(text.FAMILIES)))
    linked = graph['label'][graph['edges']]
    chance = (np.bincount(graph['label']) / 608) @ (np.bincount(graph['label']) / 608)
    assert (linked[:, 0] == linked[:, 1]).mean() > 3 * chance
