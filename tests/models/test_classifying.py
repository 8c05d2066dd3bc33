"""The functions agree with the modules they join, and a mask cuts value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models
from jssl.models.classifying import classifier


def joined(norm='batch'):
    return classifier(models.MLP((6, 5), norm=norm), models.Classifier(3), (4,))


def test_classify_is_head_of_features():
    init, classify, features = joined()
    model = init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (7, 4))
    h = features(model, x)
    head = model.params['head']
    kernel, bias = (np.asarray(leaf) for leaf in (head['dense']['kernel'], head['dense']['bias']))
    np.testing.assert_allclose(classify(model, x), np.asarray(h) @ kernel + bias, rtol=1e-5)


def test_statistics_move_in_training_only():
    init, classify, _ = joined()
    model = init(jax.random.key(0))
    x = 3 + jax.random.normal(jax.random.key(1), (32, 4))
    _, stats = classify(model, x, training=True)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), stats, model.stats)
    assert max(jax.tree.leaves(moved)) > 0.01


def test_masked_weights_take_no_part():
    init, classify, _ = joined(norm=None)
    model = init(jax.random.key(0))
    mask = jax.tree.map(lambda m: m * (jnp.arange(m.size).reshape(m.shape) % 2), model.mask)
    wild = jax.tree.map(lambda p, m: jnp.where(m == 0, 1e6, p), model.params, mask)
    x = jax.random.normal(jax.random.key(1), (7, 4))
    np.testing.assert_array_equal(
        classify(model._replace(mask=mask), x), classify(model._replace(params=wild, mask=mask), x)
    )
    gradient = jax.grad(lambda p: (classify(model._replace(params=p, mask=mask), x) ** 2).sum())
    cut = jax.tree.map(lambda g, m: float(jnp.abs(g * (1 - m)).max()), gradient(wild), mask)
    assert max(jax.tree.leaves(cut)) == 0.0


def test_flattens_images_for_a_perceptron():
    flat = classifier(models.MLP((5,)), models.Classifier(3), (2, 2, 1), flatten=True)
    model = flat.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (7, 2, 2, 1))
    rows = classifier(models.MLP((5,)), models.Classifier(3), (4,))
    np.testing.assert_array_equal(flat.classify(model, x), rows.classify(model, x.reshape(7, 4)))
