"""A model of images and sentences as functions; what is trained on its features."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl import models, zoo
from jssl.zoo import tiny_clip, tuning

QUICK = True
RNG = np.random.default_rng(0)
TEXT = models.TextEncoder(9, 8, models.Transformer(8, 1, 2, causal=True))
NETWORK = models.CLIP(models.ViT(4, 8, 1, 2, pooling=None), TEXT, 6)
TOKENS = np.array([[1, 3, 3, 4, 8, 0], [1, 3, 3, 5, 6, 8]])  # two places, then the class


@pytest.fixture(scope='module')
def towers():
    variables = jax.jit(NETWORK.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), 'f'), TOKENS)
    return zoo.Towers(NETWORK, variables)


def shifted(key, images):
    return images + jax.random.uniform(key)


def test_the_network_of_a_name():
    changed = {'widths': (8, 8, 8), 'joint': 16}
    recipe = tiny_clip.Recipe(**changed)
    assert zoo.two_towers('tiny_clip', **changed) == tiny_clip.network(recipe)
    assert zoo.two_towers('clip-vit-base-patch16') == zoo.backbone('clip-vit-base-patch16')


def test_images(towers):
    images = RNG.integers(0, 255, (5, 8, 8, 3)).astype(np.uint8)
    z = zoo.encode_images(towers, images)
    want = NETWORK.apply(towers.variables, images.astype('f') / 255, method='encode_image')
    np.testing.assert_allclose(z, want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-5)
    seen = [zoo.encode_images(towers, images, view=shifted, key=jax.random.key(i)) for i in (0, 1)]
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    np.testing.assert_allclose(towers.scale, 1 / 0.07, rtol=1e-5)


def test_learned_words_in_place_of_given_ones(towers):
    plain = zoo.encode_sentences(*towers[:2], TOKENS)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    words = NETWORK.apply(towers.variables, TOKENS, method='embed_words')
    np.testing.assert_allclose(
        zoo.encode_sentences(*towers[:2], TOKENS, words[0, 1:3]), plain, atol=1e-5
    )
    assert np.abs(zoo.encode_sentences(*towers[:2], TOKENS, words[0, 3:5]) - plain).max() > 1e-3
    frozen = tuning.text_tower(towers.variables)
    assert set(frozen['params']) == set(zoo.TEXT)
    np.testing.assert_array_equal(zoo.encode_sentences(NETWORK, frozen, TOKENS), plain)


def feature_batch(learners):
    h = RNG.normal(size=(8, learners, 6)).astype('f')
    return {'feature': h / np.linalg.norm(h, axis=2, keepdims=True),
            'label': RNG.integers(0, 2, (8, learners)).astype(np.int32)}  # fmt: skip


def made(method, learners, towers):
    """(state, step), of words or of keys."""
    optimiser = optax.adam(1e-2)
    if method == 'prompts':
        options = {'places': 2, 'classes': 2, 'length': 6}
        init, step = tuning.prompts(NETWORK, optimiser, learners=learners, **options)
        extra = {'frozen': tuning.text_tower(towers.variables), 'tokens': jnp.asarray(TOKENS)}
        params = 0.02 * jnp.arange(learners * 16.0).reshape(learners, 2, 8)
    else:
        init, step = tuning.keys(optimiser, learners=learners, count=3, classes=2, width=6)
        extra = {'text': zoo.encode_sentences(*towers[:2], TOKENS), 'values': jnp.eye(3, 2)}
        params = jnp.arange(learners * 18.0).reshape(learners, 3, 6) / 18
    state = jax.eval_shape(init, jax.random.key(0))
    extra['scale'] = towers.scale
    assert jax.tree.map(jnp.shape, state.extra) == jax.tree.map(jnp.shape, extra)
    assert state.params.shape == params.shape
    return init(jax.random.key(0))._replace(params=params, extra=extra), step


@pytest.mark.parametrize('method', ['prompts', 'keys'])
def test_learners_side_by_side_are_learners_alone(method, towers):
    batch = feature_batch(2)
    state, step = made(method, 2, towers)
    step, state, values = jax.jit(step), state, []
    for _ in range(5):
        state, metrics = step(state, batch, jax.random.key(0))
        values.append(float(metrics['mean']))
    assert values[-1] < values[0]
    second, alone = made(method, 1, towers)
    params = made(method, 2, towers)[0].params[1:]
    second, alone = second._replace(params=params), jax.jit(alone)
    only = jax.tree.map(lambda x: x[:, 1:], batch)
    for _ in range(5):
        second, _ = alone(second, only, jax.random.key(0))
    np.testing.assert_allclose(state.params[1:], second.params, atol=2e-5)
    jax.tree.map(np.testing.assert_array_equal, state.extra, second.extra)
