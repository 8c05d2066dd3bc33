"""A score is a float in every respect, except that it knows its protocol."""

import copy
import inspect
import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from jssl import evaluate
from jssl.evaluate import Score

# Change a default, and the version in `Score(..., 'name/version')` and here must change with it.
DEFAULTS = {
    'linear_probe/1': {'classes': None, 'l2': 1e-4, 'iterations': 200, 'standardise': True},
    'linear_probe_sgd/1': {
        'classes': None,
        'epochs': 100,
        'batch': 1024,
        'learning_rate': 0.1,
        'momentum': 0.9,
        'standardise': True,
    },
    'mlp_probe/1': {
        'classes': None,
        'width': 512,
        'steps': 1000,
        'batch': 256,
        'learning_rate': 1e-3,
        'weight_decay': 1e-4,
        'standardise': True,
    },
    'knn/1': {'k': 20, 'temperature': 0.07, 'classes': None},
    'clustering_accuracy/1': {},
    'nmi/1': {},
    'ari/1': {},
}


@pytest.mark.parametrize('protocol', DEFAULTS)
def test_defaults_of_a_protocol_change_with_its_version_only(protocol):
    function = getattr(evaluate, protocol.split('/')[0])
    found = {
        name: p.default
        for name, p in inspect.signature(function).parameters.items()
        if p.default is not p.empty
    }
    assert found == DEFAULTS[protocol]
    assert repr(protocol) in inspect.getsource(function)


def test_number_and_protocol():
    score = Score(0.9, 'knn/1')
    assert score == 0.9
    assert hash(score) == hash(0.9)
    assert isinstance(score, float)
    assert score.protocol == 'knn/1'
    assert repr(score) == "Score(0.9, 'knn/1')"
    assert eval(repr(score)).protocol == 'knn/1'
    assert f'{score:.2f}' == '0.90'
    assert sorted([Score(2, 'knn/1'), 1.0]) == [1.0, 2.0]


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol):
    loaded = pickle.loads(pickle.dumps(Score(0.5, 'knn/2'), protocol))
    assert (type(loaded), loaded, loaded.protocol) == (Score, 0.5, 'knn/2')


@pytest.mark.parametrize('duplicate', [copy.copy, copy.deepcopy])
def test_copy(duplicate):
    copied = duplicate([Score(0.5, 'knn/2')])[0]
    assert (type(copied), copied, copied.protocol) == (Score, 0.5, 'knn/2')


@pytest.mark.parametrize(
    'operation',
    [lambda s: s + s, lambda s: -s, lambda s: s * 1, lambda s: abs(s), lambda s: max(s, 1) - s],
)
def test_arithmetic_gives_plain_floats(operation):
    assert type(operation(Score(0.5, 'knn/1'))) is float


def test_json_numpy_and_jax_see_the_number():
    score = Score(0.5, 'knn/1')
    assert json.dumps({'score': score}) == '{"score": 0.5}'
    assert np.mean([score, score]) == 0.5
    assert float(jnp.asarray(score) * 2) == 1.0


@pytest.mark.parametrize('protocol', ['', 'knn', 'knn/', 'knn/0', 'Knn/1', 'knn/1.2', 'k nn/1'])
def test_protocol_without_version_is_refused(protocol):
    with pytest.raises(ValueError, match='protocol'):
        Score(0.5, protocol)
