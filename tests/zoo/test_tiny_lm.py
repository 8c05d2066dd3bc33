"""The causal language model at toy size: what it says of text, how it goes on, what it recalls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import train
from jssl.data.generated import facts
from jssl.errors import Refusal
from jssl.train import adapters
from jssl.zoo import tiny_lm as zoo

ALONE = train.make_mesh('data:1', jax.devices()[:1])
TEXTS = {'data': 'languages', 'options': (('count', 40),)}
TOY = zoo.Recipe(**TEXTS, vocabulary=280, length=16, width=16, depth=1, heads=2, steps=3, batch=4)
FACTS = dataclasses.replace(TOY, data='facts', options=(('count', 64),), vocabulary=420)


def drawn(recipe):
    """Variables as trained ones, none zero; drawn in NumPy, which compiles nothing."""
    blank = np.zeros((1, 2), int)
    shapes = jax.eval_shape(zoo.network(recipe).init, jax.random.key(0), blank)
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda s: 0.5 * draw(size=s.shape).astype('f'), shapes)


def test_it_trains():
    init, step = zoo.build(TOY)
    options = {'steps': TOY.steps, 'key': 0, 'mesh': ALONE, 'progress': False}
    state, history = train.fit(step, init, zoo.batches(TOY), **options)
    assert history['loss'][-1] < history['loss'][0] < 2 * np.log(280)
    found, wanted = (jax.tree.structure(tree) for tree in (zoo.variables(TOY, state), drawn(TOY)))
    assert found == wanted


def test_compression_of_a_model_that_knows_nothing():
    params = {**drawn(TOY)['params'], 'embed': {'embedding': np.zeros((280, 16), 'f')}}
    words = zoo.vocabulary(TOY)
    pieces = [*map(len, words.pieces), 0]
    stream = np.concatenate([[*d, len(words.pieces)] for d in zoo.documents(TOY, 'validation')])
    rows = np.resize(stream, (-(-len(stream) // 16), 16))[:256]
    length = sum(pieces[token] for row in rows for token in row[1:])
    wanted = 8 * length / (rows[:, 1:].size * np.log2(280))
    found = zoo.measure(TOY, {'params': params})
    assert found['compression'] == pytest.approx(wanted, rel=1e-4)


def test_what_it_writes_has_the_probability_that_it_says():
    network, prompt = zoo.network(TOY), np.array([[3, 40, 7], [250, 1, 1]])

    @jax.jit
    def found(variables):
        tokens, log_p = zoo.generate(jax.random.key(1), network, variables, prompt, steps=4)
        whole = jnp.concatenate([prompt, tokens], axis=1)
        return tokens, log_p, zoo.log_probs(network, variables, whole)[:, 2:]

    tokens, log_p, read = found(drawn(TOY))
    assert tokens.shape == (2, 4)
    np.testing.assert_allclose(log_p, read, atol=1e-4)


def test_low_rank_adapters_fit_it():
    trained = drawn(TOY)
    low = adapters.lora_init(jax.random.key(0), trained, rank=2)
    network, tokens = zoo.network(TOY), np.arange(8)[None]

    def loss(low):
        return zoo.log_probs(network, adapters.lora_merge(trained, low), tokens).mean()

    gradient = jax.jit(jax.grad(loss))(low)
    moved = [np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient)]
    assert sum(moved) == 2  # b of queries and values; a b = 0, so a has no gradient yet


def test_facts_are_told_and_asked_and_recalled():
    found, world = zoo.documents(FACTS, 'train'), facts.world()
    told, asked = (' '.join(world.words[t] for t in row) for row in (found[0], found[64]))
    columns = facts.dataset('train', count=64)
    assert told == columns['text'][0]
    assert asked == f'{columns["question"][0]} {columns["answer"][0]}'
    with pytest.raises(Refusal, match='vocabulary=100 has no room'):
        zoo.documents(dataclasses.replace(FACTS, vocabulary=100), 'train')
    variables = drawn(FACTS)
    items = facts.dataset('validation', count=64, members=('retain', 'forget'))
    last = items['prompt_length'] - 1
    behind = np.arange(16) > last[:, None]  # the answer's place and after, which nobody sees
    logits = np.asarray(
        jax.jit(zoo.network(FACTS).apply)(variables, np.where(behind, 9, items['prompt']))
    )
    right = [row[t].argmax() == y for row, t, y in zip(logits, last, items['target'], strict=True)]
    assert zoo.measure(FACTS, variables) == {'recall': np.mean(right)}
