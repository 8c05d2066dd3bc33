"""Shapes, the silent start, what a denoiser hears, taps, attention and refusals.

What the numbers are is tested against a slow forward pass in tests/zoo/test_dit_names.py.
"""

import jax
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 6, 3)).astype('f')
TIME = np.array([10, 700])
LABEL = np.array([1, 4])
CONTEXT = RNG.normal(size=(2, 5, 7)).astype('f')
DIT = models.DiT(2, 8, 1, 2, channels=6, classes=4, cross=True)


def given(**changes):
    return {'time': TIME, 'label': LABEL, 'context': CONTEXT} | changes


def test_shapes_taps_and_weights():
    call = lambda key: DIT.init_with_output(key, X, **given(), taps=True, weights=True)
    (y, taps, weights), variables = jax.eval_shape(call, jax.random.key(0))
    assert y.shape == (2, 4, 6, 6)
    assert [tap.shape for tap in taps] == [(2, 6, 8)]
    assert [w.shape for w in weights[0]] == [(2, 2, 6, 6), (2, 2, 6, 5)]
    assert variables['params']['label']['embedding'].shape == (5, 8)


def test_output_and_modulations_start_at_zero():
    params = jax.jit(DIT.init)(jax.random.key(0), X, **given())['params']
    silent = [params['output'], params['output_modulation'], params['block0']['modulation']]
    assert not any(np.any(x) for x in jax.tree.leaves(silent))
    assert all(np.any(x) for x in (params['label']['embedding'], params['embed']['kernel']))


def test_time_label_context_and_place_are_heard(draw):
    variables = draw(DIT, X, **given())
    apply = jax.jit(lambda x, given: DIT.apply(variables, x, **given))
    y = apply(X, given())
    others = (
        given(time=TIME + 5),
        given(label=LABEL - 1),
        given(context=CONTEXT + np.arange(5)[:, None]),
    )
    for other in others:
        change = np.abs(apply(X, other) - y).max((1, 2, 3))
        assert (change > 1e-3).all()
    # nothing but the context knows an order, and each example sees its own alone
    turned = apply(X, given(context=CONTEXT[:, ::-1]))
    np.testing.assert_allclose(turned, y, atol=1e-4)
    first = apply(X, given(label=np.array([2, 4])))
    np.testing.assert_allclose(first[1], y[1], atol=1e-5)
    blank = apply(np.ones_like(X), given())
    assert np.abs(blank[:, :2, :2] - blank[:, 2:, 4:]).max() > 1e-3


def test_captions_are_words_or_vectors_of_one_meaning(draw):
    module = models.CaptionDiT(DIT.clone(classes=None), words=7, length=4, width=8)
    words = np.array([[1, 5, 0], [2, 2, 6]])
    variables = draw(module, X, TIME, words)

    @jax.jit
    def both(words):
        vectors = module.apply(variables, words, method='vectors')
        calls = (module.apply(variables, X, TIME, caption) for caption in (words, vectors))
        return vectors, *calls

    vectors, y, same = both(words)
    assert vectors.shape == (2, 3, 8)
    np.testing.assert_array_equal(same, y)
    assert np.abs(both(words[:, ::-1])[1] - y).max((1, 2, 3)).min() > 1e-3  # their order counts


def test_refusals():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match='a label is needed'):
        DIT.init(key, X, **given(label=None))
    with pytest.raises(ValueError, match='a context is needed'):
        models.DiT(2, 8, 1, 2, channels=3).init(key, X, TIME, context=CONTEXT)
    with pytest.raises(ValueError, match='divisible by 4'):
        models.DiT(4, 8, 1, 2, channels=3).init(key, X, TIME)


def test_a_small_base_tells_the_places_of_a_small_grid_apart():
    def alike(base):
        p = np.asarray(DIT.clone(width=96, base=base).positions((4, 4)))
        return np.corrcoef(p)[~np.eye(16, dtype=bool)].mean()

    assert alike(10.0) < 0.4
    assert alike(10000.0) > 0.8
