"""Vendored files are those on record, are small, and name whom they are from."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from jssl.data import vendored

FOLDER = Path(vendored.__file__).parent
ROOT = FOLDER.parents[2]
SOURCES = vendored.sources()


def test_every_file_is_on_record_and_every_record_has_its_file():
    held = {path.name for path in FOLDER.iterdir() if path.suffix in ('.gz', '.npz')}
    assert held == set(SOURCES)
    texts = {source['licence_text'] for entry in SOURCES.values() for source in entry['sources']}
    assert texts == {f'licences/{path.name}' for path in (FOLDER / 'licences').iterdir()}


@pytest.mark.parametrize('name', SOURCES)
def test_a_file_is_the_one_on_record(name):
    content, entry = (FOLDER / name).read_bytes(), SOURCES[name]
    assert hashlib.sha256(content).hexdigest() == entry['sha256']
    assert len(content) == entry['bytes'] <= 1_000_000
    assert (ROOT / entry['maker']).is_file()
    assert entry['changes'].endswith('.')


@pytest.mark.parametrize('name', SOURCES)
def test_a_source_names_package_licence_and_holder(name):
    for source in SOURCES[name]['sources']:
        assert source['package']
        assert source['version']
        assert source['files'] > 0
        assert len(source['sha256']) == 64
        assert len((FOLDER / source['licence_text']).read_text()) > 300
        assert source['licence'] in vendored.credit(name)
        assert source['credit'] in vendored.credit(name)


@pytest.mark.parametrize('name', [name for name in SOURCES if name.endswith('.npz')])
def test_arrays_are_plain(name):
    for array in vendored.arrays(name.removesuffix('.npz')).values():
        assert array.dtype != object


def test_lines_are_strings():
    column = np.frombuffer('Zoë\nB'.encode(), np.uint8)
    assert vendored.lines(column).tolist() == ['Zoë', 'B']
