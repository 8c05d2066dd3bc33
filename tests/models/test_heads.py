"""Heads: layers, normalised columns, zero and huge rows."""

import jax
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)
H = RNG.normal(size=(6, 5)).astype('f')


def test_projection_layers(draw, run):
    module = models.ProjectionHead((7, 7, 3), norm='layer')
    variables = draw(module, H)
    layers = run(module, variables, H, layers=True)
    assert [x.shape for x in layers] == [(6, 5), (6, 7), (6, 7), (6, 3)]
    np.testing.assert_array_equal(layers[0], H)
    np.testing.assert_array_equal(layers[-1], run(module, variables, H))
    assert layers[1].min() == 0.0
    assert layers[-1].min() < 0.0


def test_projection_against_its_formula(draw, run):
    module = models.ProjectionHead((7, 3), norm=None)
    params = draw(module, H)['params']
    a, b = params['dense0'], params['dense1']
    want = np.maximum(H @ np.asarray(a['kernel']) + a['bias'][None], 0) @ np.asarray(b['kernel'])
    np.testing.assert_allclose(
        run(module, {'params': params}, H), want + b['bias'][None], atol=1e-5
    )


@pytest.mark.parametrize('final_norm', [False, True])
def test_final_norm(final_norm, draw, run):
    module = models.ProjectionHead((7, 3), final_norm=final_norm)
    variables = draw(module, H)
    z, _ = run(module, variables, H, train=True, mutable=['batch_stats'])
    assert np.allclose(z.std(0), 1.0, atol=1e-2) == final_norm
    assert ('bias' in variables['params']['dense1']) != final_norm
    assert 'norm1' not in variables['params']  # without scale and offset


def test_prototypes_against_a_loop(draw, run):
    module = models.Prototypes(4)
    kernel = RNG.normal(2.0, 3.0, size=(5, 4)).astype('f')
    scores = run(module, {'params': {'prototypes': kernel}}, H)
    for b, k in np.ndindex(6, 4):
        z, c = H[b].astype('d'), kernel[:, k].astype('d')
        want = z @ c / (np.linalg.norm(z) * np.linalg.norm(c))
        np.testing.assert_allclose(scores[b, k], want, atol=1e-6)
    longer = {'params': {'prototypes': kernel * np.array([[1.0, 2.0, 3.0, 4.0]], 'f')}}
    np.testing.assert_allclose(run(module, longer, 7 * H), scores, atol=1e-6)


def test_prototypes_at_zero_and_huge_rows(draw, run):
    module = models.Prototypes(4)
    rows = np.stack([np.zeros(5), np.full(5, 1e30), np.full(5, 1e-30)]).astype('f')
    variables = draw(module, rows)
    scores = run(module, variables, rows)
    np.testing.assert_array_equal(scores[0], 0.0)
    np.testing.assert_allclose(
        scores[1], run(module, variables, np.ones((1, 5), 'f'))[0], atol=1e-6
    )
    gradients = jax.jit(jax.grad(lambda v, x: module.apply(v, x).sum(), (0, 1)))(variables, rows)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_dino_scores_are_cosines(draw, run):
    module = models.DINOHead(9, hidden=8, bottleneck=4)
    variables = draw(module, H)
    scores = run(module, variables, 10 * H)
    assert scores.shape == (6, 9)
    assert 0.1 < np.abs(scores).max() <= 1.0 + 1e-5
    assert variables['params']['last']['prototypes'].shape == (4, 9)


def test_classifier_starts_at_zero_when_told():
    for zero in (True, False):
        start = jax.jit(lambda key: models.Classifier(3, zero=zero).init_with_output(key, H)[0])
        assert (np.abs(start(jax.random.key(0))).max() == 0.0) == zero


def test_prediction_head_is_two_layers(draw, run):
    module = models.PredictionHead(7, 4)
    variables = draw(module, H)
    assert run(module, variables, H).shape == (6, 4)
    assert 'bias' not in variables['params']['mlp']['dense0']
    assert 'bias' in variables['params']['mlp']['dense1']


def test_mlp_options(draw, run):
    module = models.MLP((7, 3), norm='batch', final_activation=True, activation=jax.nn.relu)
    variables = draw(module, H)
    assert run(module, variables, H).min() >= 0.0
    _, state = run(module, variables, H, train=True, mutable=['batch_stats'])
    assert set(state['batch_stats']) == {'norm0', 'norm1'}
    plain = models.MLP((3,))
    variables = draw(plain, H)
    layer = variables['params']['dense0']
    np.testing.assert_allclose(
        run(plain, variables, H), H @ layer['kernel'] + layer['bias'], atol=1e-5
    )
