"""The notebooks run from top to bottom, here at sizes that take seconds."""

import json
import pathlib

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jssl import zoo

QUICK = True
FOLDER = pathlib.Path(__file__).parents[1] / 'experiments' / 'notebooks'
# What stands in for the first cell of code, which names the sizes.
SMALL = {
    'compose_a_loss': 'STEPS, BATCH = 30, 64',
    'temperature': 'STEPS, BATCH, TEMPERATURES = 40, 64, (0.05, 1.0)',
    'a_large_batch': 'BATCHES, CHUNK, INFORMATION = (64, 512), 32, 4.0',
    'import_a_backbone': "NAME, FILE, SIZE = 'vit_tiny_patch16', None, 16",
}


def cells(name):
    found = json.loads((FOLDER / f'{name}.ipynb').read_text())['cells']
    return [cell for cell in found if cell['cell_type'] == 'code']


@pytest.fixture(scope='module')
def run():
    plt.switch_backend('agg')

    def names_of(name):
        sizes, *rest = (''.join(cell['source']) for cell in cells(name))
        assert {*sized(sizes)} == {*sized(SMALL[name])}
        names = {}
        for number, source in enumerate([SMALL[name], *rest]):
            exec(compile(source, f'{name}.ipynb, cell {number}', 'exec'), names)
        plt.close('all')
        return names

    return names_of


def sized(source):
    names = {}
    exec(source, names)
    return names


def test_every_notebook_is_run_and_none_keeps_its_output():
    assert {path.stem for path in FOLDER.glob('*.ipynb')} == SMALL.keys()
    assert not [cell for name in SMALL for cell in cells(name) if cell['outputs']]


def test_a_loss_of_three_trains(run):
    names = run('compose_a_loss')
    loss = names['history']['loss']
    assert loss[-1] < loss[0]
    assert names['after'] > names['before']


def test_a_low_temperature_uses_more_directions(run):
    sharp, soft = run('temperature')['histories'].values()
    assert sharp['rank'][-1] > soft['rank'][-1]
    assert sharp['alignment'][-1] > soft['alignment'][-1]


def test_a_larger_batch_measures_more(run):
    names = run('a_large_batch')
    assert names['tiled'] < names['plain'] / 4
    few, many = names['found']
    assert few < many < np.log(512)
    np.testing.assert_allclose(many, 4, atol=0.4)


def test_an_imported_backbone_knows_digits(run, monkeypatch):
    shallow = zoo.backbone('vit_tiny_patch16').clone(depth=2)
    monkeypatch.setitem(zoo.BACKBONES, 'vit_tiny_patch16', shallow)
    names = run('import_a_backbone')
    assert names['h'].shape == (1258, 192)
    assert min(names['scores'].values()) > 0.5
    assert (names['y'][names['nearest']] == names['y_test'][:6, None]).mean() > 0.5
