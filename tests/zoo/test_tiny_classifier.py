"""The classifier of eight by eight digits, three steps old, with and without classes left out."""

import dataclasses

import jax
import numpy as np
import pytest

from jssl import data, train
from jssl.errors import Refusal
from jssl.zoo import tiny_classifier as zoo

TOY = zoo.Recipe(data='digits', width=8, depth=2, patch=4, steps=3, batch=8)
ONE = train.make_mesh('data:1', jax.devices()[:1])
LEFT_OUT = dataclasses.replace(TOY, left_out=(2, 5), network='vit', width=32, depth=1)


def test_trains_and_measures():
    init, step = zoo.build(LEFT_OUT)
    options = {'steps': 3, 'key': 0, 'mesh': ONE, 'progress': False}
    state, _ = train.fit(step, init, zoo.batches(LEFT_OUT), **options)
    variables, test = zoo.variables(LEFT_OUT, state), zoo.load(LEFT_OUT, 'test')
    found = zoo.measure(LEFT_OUT, variables)
    logits = np.asarray(zoo.network(LEFT_OUT).apply(variables, test['image'] / np.float32(255)))
    assert logits.shape == (len(test['label']), 8)
    seen = np.array([y not in LEFT_OUT.left_out for y in test['label']])
    right = np.array(zoo.known(LEFT_OUT))[logits.argmax(1)] == test['label']
    assert float(found['accuracy']) == pytest.approx(right[seen].mean())
    p = np.exp(logits - logits.max(1, keepdims=True))
    sure = 1 / p.sum(1)
    above = sure[seen][:, None] - sure[~seen][None]
    share = ((above > 0) + 0.5 * (above == 0)).mean()
    assert float(found['auroc']) == pytest.approx(share, abs=1e-3)


def test_a_convnet_sees_a_quarter_of_the_places():
    net = zoo.network(TOY)
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), 'float32')
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    maps = jax.eval_shape(lambda v, x: net.apply(v, x, method='maps'), variables, images)
    logits = jax.eval_shape(net.apply, variables, images)
    assert maps.shape == (2, 2, 2, 8)
    assert logits.shape == (2, 10)


def test_labels_left_out_are_never_seen():
    assert zoo.known(LEFT_OUT) == (0, 1, 3, 4, 6, 7, 8, 9)
    seen = zoo.batches(LEFT_OUT).source
    whole = data.load('digits', 'train')
    rows = [i for i, y in enumerate(whole['label']) if y not in (2, 5)]
    np.testing.assert_array_equal(seen['image'], whole['image'][rows])
    names = np.array(zoo.known(LEFT_OUT))
    np.testing.assert_array_equal(names[seen['label']], whole['label'][rows])


def test_an_unknown_network_is_refused():
    with pytest.raises(Refusal, match="'convnet' or 'vit'"):
        zoo.network(dataclasses.replace(TOY, network='mlp'))
