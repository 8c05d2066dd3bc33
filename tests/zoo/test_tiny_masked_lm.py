"""The masked language model at toy size: its noise, its rows, and vectors that padding spares."""

import jax
import numpy as np
import pytest

from jssl import train
from jssl.data import tokens as codes
from jssl.zoo import tiny_masked_lm as zoo

ALONE = train.make_mesh('data:1', jax.devices()[:1])
TOY = zoo.Recipe(
    data='languages',
    options=(('count', 40),),
    vocabulary=300,
    length=12,
    width=16,
    depth=1,
    heads=2,
    dropout=0.1,
    steps=3,
    batch=4,
)


def test_it_trains_and_is_measured():
    init, step = zoo.build(TOY)
    options = {'steps': TOY.steps, 'key': 0, 'mesh': ALONE, 'progress': False}
    state, history = train.fit(step, init, zoo.batches(TOY), **options)
    assert history['loss'][-1] < history['loss'][0]
    variables = zoo.variables(TOY, state)
    # one that always says the same token is right as often as that token is hidden
    params = jax.tree.map(np.zeros_like, variables['params'])
    tokens = zoo.rows(TOY, 'validation')[:512]
    hidden = np.random.default_rng(0).random(tokens.shape) < 0.15
    hidden &= tokens < len(zoo.vocabulary(TOY).pieces)  # what training never hides
    common = np.bincount(tokens[hidden]).argmax()
    params['bias'] = np.eye(300, dtype='f')[common]
    share = (tokens[hidden] == common).mean()
    assert zoo.measure(TOY, {'params': params})['accuracy'] == pytest.approx(share)


def test_noise_is_berts():
    words = zoo.vocabulary(TOY)
    row = [words.token('start'), *range(200), words.token('pad')]
    tokens = np.tile(row, (200, 1))
    seen, hidden = jax.device_get(
        jax.jit(lambda key: zoo.corrupt(key, tokens, words))(jax.random.key(0))
    )
    assert not hidden[:, [0, -1]].any()
    np.testing.assert_array_equal(seen[~hidden], tokens[~hidden])
    masked = seen == words.token('mask')
    same = (seen == tokens) & hidden
    total = hidden.sum()
    np.testing.assert_allclose(total / 40000, 0.15, atol=0.01)
    np.testing.assert_allclose(masked.sum() / total, 0.8, atol=0.03)
    np.testing.assert_allclose(same.sum() / total, 0.1, atol=0.03)
    assert seen[hidden & ~masked].max() < len(words.pieces)
    few = jax.jit(lambda key: zoo.corrupt(key, tokens[:, :4], words, share=0.0))(jax.random.key(0))
    assert (np.asarray(few[1]).sum(1) == 1).all()


def test_rows_begin_alike_and_lose_nothing():
    words, rows = zoo.vocabulary(TOY), zoo.rows(TOY, 'train')
    assert rows.shape[1] == TOY.length
    assert (rows[:, 0] == words.token('start')).all()
    text = codes.decode(words, rows[:, 1:].ravel())
    found = zoo.data.load('languages', 'train', count=40)['text']
    assert text.startswith(''.join(found))


def test_a_text_has_one_vector_whatever_the_padding():
    words, texts = zoo.vocabulary(TOY), ['the cat', 'a singer praises the old town']
    short, long = (zoo.encode(TOY, texts, length=n) for n in (9, 14))
    assert codes.decode(words, short[0]) == 'the cat'
    assert short[0, 0] == words.token('start')
    assert words.token('end') in short[0]
    assert short[1, -1] == words.token('end')  # cut
    network = zoo.network(TOY)
    shapes = jax.eval_shape(network.init, jax.random.key(0), long)
    draw = np.random.default_rng(0).normal
    variables = jax.tree.map(lambda s: 0.3 * draw(size=s.shape).astype('f'), shapes)
    embed = jax.jit(lambda tokens: zoo.embed(TOY, variables, tokens))
    one, other = embed(short), embed(long)
    assert one.shape == (2, 16)
    np.testing.assert_allclose(one[0], other[0], atol=1e-5)
    assert np.abs(one[1] - other[1]).max() > 1e-3
