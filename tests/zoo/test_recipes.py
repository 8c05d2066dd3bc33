"""Small models are kept by all that they depend on: a toy recipe, a line through four points."""

import dataclasses
import json
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import data, train, zoo
from jssl.errors import Refusal
from jssl.experiment import command, small_models
from jssl.zoo import recipes

X = np.arange(8, dtype=np.float32)[:, None]
TRAININGS = []


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A line."""

    slope: float = 2.0  # of the data
    steps: int = 5  # of training
    seed: int = 0  # of the parameters


def toy(tmp_path):
    """A module as `jssl/zoo/tiny_*.py` is."""
    module = types.ModuleType('jssl.zoo.tiny_toy')
    module.__file__ = str(tmp_path / 'tiny_toy.py')
    (tmp_path / 'tiny_toy.py').write_text('"""A line through points."""\n')
    module.rate, module.order, module.dense = 0.01, 0, nn.Dense(1)

    def build(recipe):
        def loss(params, state, batch, key):
            return jnp.square(module.dense.apply(params, batch['x']) - batch['y']).mean()

        optimiser = train.sgd(module.rate)
        init = lambda key: train.create(module.dense.init(key, X), optimiser)
        return init, train.gradient_step(loss, optimiser)

    def batches(recipe):
        columns = {'x': X, 'y': recipe.slope * X}
        return data.batches(columns, 4, seed=module.order)

    def measure(recipe, variables):
        TRAININGS.append(recipe)
        return {'fit': -float(jnp.square(module.dense.apply(variables, X) - 2 * X).mean())}

    module.Recipe, module.build, module.batches, module.measure = Recipe, build, batches, measure
    module.network = lambda recipe: module.dense
    module.variables = lambda recipe, state: state.params
    module.NEEDS = {'fit': -0.1}
    return module


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    module = toy(tmp_path)
    monkeypatch.setitem(sys.modules, 'jssl.zoo.tiny_toy', module)
    monkeypatch.setattr(recipes, 'small_models', lambda: ['tiny_toy'])
    monkeypatch.setenv('JSSL_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(small_models, 'FOLDER', tmp_path)
    monkeypatch.setattr(small_models, 'FILE', tmp_path / 'measured.json')
    recipes._get.cache_clear()
    TRAININGS.clear()
    return module


def again(**changes):
    """As another process would ask."""
    recipes._get.cache_clear()
    return zoo.get('tiny_toy', **changes)


def test_a_model_trains_once_and_reads_back_to_the_bit():
    first, second = zoo.get('tiny_toy'), again()
    assert len(TRAININGS) == 1
    jax.tree.map(np.testing.assert_array_equal, first.variables, second.variables)
    assert first.quality == second.quality
    assert first.parameters == 2
    x = jnp.ones((1, 1))
    np.testing.assert_array_equal(*(m.network.apply(m.variables, x) for m in (first, second)))


def test_what_a_model_depends_on_makes_it_train_anew(module, monkeypatch):
    zoo.get('tiny_toy')
    again(slope=3.0)  # the recipe, and the data
    again(steps=6)
    monkeypatch.setattr(module, 'order', 1)  # the order of the data
    again()
    monkeypatch.setattr(module, 'rate', 0.02)  # a number in the program
    again()
    monkeypatch.setattr(module, 'dense', nn.Dense(1, use_bias=False))  # the network
    again()
    monkeypatch.setattr(sys.modules[__name__], 'X', X[::-1].copy())  # the data alone
    again()
    with open(module.__file__, 'a') as file:  # the recipe's text, so what is measured
        file.write('# more\n')
    again()
    assert len(TRAININGS) == 8
    again()
    assert len(TRAININGS) == 8


def test_a_killed_training_goes_on(module, monkeypatch):
    whole = zoo.get('tiny_toy', steps=8)
    folder = next((recipes.runtime.cache_folder() / 'zoo').iterdir())
    (folder / 'model.json').unlink()
    (folder / 'weights.safetensors').unlink()
    init, step = module.build(whole.recipe)
    stop = train.Checkpoint(folder / 'training', seconds=60)
    train.fit(step, init, module.batches(whole.recipe), steps=3, key=0, checkpoint=stop)
    resumed, fit = [], train.fit
    said = lambda *a, **k: fit(*a, **k, log=resumed.append)
    monkeypatch.setattr(train, 'fit', said)
    jax.tree.map(np.testing.assert_array_equal, again(steps=8).variables, whole.variables)
    assert 'tiny_toy: resumed at step 3 of 8' in resumed


def test_a_broken_file_names_the_folder_to_delete():
    zoo.get('tiny_toy')
    folder = next((recipes.runtime.cache_folder() / 'zoo').iterdir())
    (folder / 'weights.safetensors').write_bytes(b'half')
    with pytest.raises(Refusal, match=f'delete {folder}, and it is trained again'):
        again()


def test_unknown_names_and_fields_are_refused():
    with pytest.raises(Refusal, match="no small model is called 'tiny_toi'; the nearest is tiny_t"):
        zoo.get('tiny_toi')
    with pytest.raises(Refusal, match="tiny_toy has no field 'slop'; the nearest is slope"):
        zoo.get('tiny_toy', slop=1)
    assert zoo.recipe_module('tiny_toy').NEEDS == {'fit': -0.1}


def test_the_command_lists_and_trains(module, monkeypatch, capsys):
    source = '"""A line through points."""\nclass Recipe:\n    steps: int = 5  # of training\n'
    with open(module.__file__, 'w') as file:
        file.write(source)
    monkeypatch.setattr('jssl.train.runtime.configure', lambda **_: None)
    command.main(['zoo'])
    assert capsys.readouterr().out.startswith(f'{"tiny_toy":20} A line through points.\n')
    command.main(['zoo', 'tiny_toy', '--steps=7'])
    out = capsys.readouterr().out
    assert '--steps=7' in out
    assert out.rstrip().endswith('(-0.1, falls short)')
    assert TRAININGS[0].steps == 7
    for flags in (['tiny_toi'], ['tiny_toy', '--step=7'], ['tiny_toy', '--steps=x']):
        with pytest.raises(SystemExit) as stopped:
            command.main(['zoo', *flags])
        assert stopped.value.code == 2
    monkeypatch.setattr(sys, 'argv', ['zoo'])
    monkeypatch.setattr('jssl.experiment.ledger.write_tables', lambda: None)
    small_models.main()
    row = json.loads(small_models.FILE.read_text())['tiny_toy']
    assert row['parameters'] == 2
    assert row['needs'] == {'fit': -0.1}
    assert '| tiny_toy | A line through points. | 2 |' in small_models.table()
