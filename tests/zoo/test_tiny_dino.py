"""The self-distilled ViT on digits, and where its class token looks."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jssl import models, train
from jssl.zoo import tiny_dino as zoo

ONE = train.make_mesh('data:1', jax.devices()[:1])
SIZES = {'patch': 2, 'width': 8, 'depth': 1, 'crops': (8, 4), 'counts': (2, 1), 'prototypes': 16}
TOY = zoo.Recipe(data='digits', options=(), **SIZES, steps=3, batch=8)


def test_the_teacher_is_an_average_and_is_what_is_kept():
    init, step = zoo.build(TOY)
    options = {'key': 0, 'mesh': ONE, 'progress': False}
    start, _ = train.fit(step, init, zoo.batches(TOY), steps=0, **options)
    after, _ = train.fit(step, start, zoo.batches(TOY), steps=1, **options)
    m = TOY.momentum
    average = jax.tree.map(lambda old, new: m * old + (1 - m) * new, start.average, after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.average, average)
    variables = zoo.variables(TOY, after)
    jax.tree.map(np.testing.assert_array_equal, variables['params'], after.average['vit'])
    found = zoo.measure(TOY, variables)  # digits have no masks
    assert set(found) == {'knn'}
    assert 0 <= float(found['knn']) <= 1


def test_focus_is_one_where_attention_is_even_and_more_where_it_follows_the_object():
    vit = zoo.network(dataclasses.replace(TOY, heads=2))
    masks = np.zeros((4, 8, 8), bool)
    masks[1:, 2:4, 4:8] = True  # the first picture has none
    images = np.where(masks, 255, 0).astype(np.uint8)[..., None]
    columns = {'image': images, 'mask': masks}
    attend = functools.partial(models.class_attention, vit)
    params = jax.jit(vit.init)(jax.random.key(0), images / np.float32(255))['params']
    attention = params['transformer']['block0']['attention']
    attention['query'] = jax.tree.map(np.zeros_like, attention['query'])
    assert zoo.focus_on_objects(attend, {'params': params}, columns) == pytest.approx(1.0, abs=1e-5)
    # a key of bright patches that the class token asks for, in the second head alone
    bright = params['embed']['kernel'].sum(0)
    attention['key']['kernel'] = np.zeros((8, 8), 'f') + np.eye(8, dtype='f')[7] * bright[:, None]
    attention['query']['bias'] = np.eye(8, dtype='f')[7] * 20
    assert zoo.focus_on_objects(attend, {'params': params}, columns) > 2
