"""The recipe at toy size: it trains, and obeys the laws of guidance and inversion."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from jssl import data, train
from jssl.data import captions
from jssl.zoo import judging, tiny_diffusion, tiny_vae

RNG = np.random.default_rng(0)
TOY = dataclasses.replace(
    tiny_diffusion.Recipe(), data='digits', options=(), width=32, depth=1, steps=2, batch=4
)
CAPTIONS = dataclasses.replace(TOY, data='shapes', options=(('size', 8),), condition='caption')
NOISE = RNG.normal(size=(3, 8, 8, 1)).astype('f')
LABELS = np.array([0, 4, 9])


def outspoken(recipe, *given):
    """Variables of which none is zero, so that every condition has something to say."""
    x = np.zeros((1, *tiny_diffusion.shape(recipe)), 'f')
    init = functools.partial(tiny_diffusion.network(recipe).init, jax.random.key(0), x, np.zeros(1))
    return jax.tree.map(drawn, jax.eval_shape(init, *given))


def drawn(x):
    return (RNG.normal(size=x.shape) / 10).astype('f')


def test_it_trains():
    init, step = tiny_diffusion.build(TOY)
    batches = tiny_diffusion.batches(TOY)
    state, history = train.fit(step, init, batches, steps=2, key=0, progress=False)
    assert 0.2 < history['loss'][0] < 3  # the network starts at zero, and v has a variance near one
    shapes = jax.tree.map(np.shape, tiny_diffusion.variables(TOY, state))
    assert shapes == jax.tree.map(np.shape, outspoken(TOY, np.zeros(1, int)))


def test_it_is_measured_by_its_samples_and_inversions(monkeypatch):
    pixels = lambda recipe, images, method=None: np.float32(images).reshape(len(images), -1)
    monkeypatch.setattr(judging, 'seen', pixels)
    found = tiny_diffusion.measure(TOY, outspoken(TOY, np.zeros(1, int)))
    assert set(found) == set(tiny_diffusion.NEEDS)
    assert found['closeness'] < 0.9
    assert found['inversion'] > 18
    assert judging.closeness(TOY, data.load('digits', 'train')['image'][:128]) > 0.9


def test_codes_are_drawn_where_the_recipe_says_so(monkeypatch):
    recipe = dataclasses.replace(TOY, latent=True)
    assert tiny_diffusion.shape(recipe) == (2, 2, 8)
    vae = tiny_vae.network(tiny_diffusion.coder(recipe))
    shapes = jax.eval_shape(vae.init, jax.random.key(0), np.zeros((1, 8, 8, 1), 'f'))
    kept = jax.tree.map(drawn, shapes) | {'spread': np.float32(2)}
    monkeypatch.setattr(tiny_diffusion, 'get', lambda *_, **__: SimpleNamespace(variables=kept))
    x = tiny_diffusion.batches(recipe)[0]['x']
    assert x.shape == (4, 2, 2, 8)
    images = tiny_diffusion.load(recipe, 'train')['image']
    codes = tiny_vae.encode(tiny_diffusion.coder(recipe), kept, np.float32(images) / 255)
    assert np.abs(x[0] - codes).max((1, 2, 3)).min() < 1e-4  # that of one of the images
    sample = functools.partial(tiny_diffusion.sample, recipe, condition=LABELS)
    variables = outspoken(recipe, np.zeros(1, int)) | {'coder': kept}
    assert jax.eval_shape(sample, variables, np.zeros((3, 2, 2, 8), 'f')).shape == (3, 8, 8, 1)


def test_guidance_extrapolates():
    variables = outspoken(TOY, np.zeros(1, int))
    denoiser = functools.partial(tiny_diffusion.denoiser, TOY, variables)
    t = np.array([10, 300, 700])

    @jax.jit
    def denoised(x):
        plain, one, none = (denoiser(LABELS, guidance=w)(x, t) for w in (None, 1.0, 0.0))
        return plain, one, none, denoiser()(x, t)

    plain, one, none, free = denoised(NOISE)
    np.testing.assert_allclose(one, plain, atol=1e-5)
    np.testing.assert_allclose(none, free, atol=1e-5)
    assert np.abs(plain - free).max((1, 2, 3)).min() > 1e-3


def test_a_prompt_of_vectors_is_one_of_words():
    prompt = captions.encode(['a large red star', 'a photo of a disc', ''])
    variables = outspoken(CAPTIONS, prompt[:1])
    network = tiny_diffusion.network(CAPTIONS)
    x = np.repeat(NOISE, 3, axis=-1)

    @jax.jit
    def both(x):
        vectors = network.apply(variables, prompt, method='vectors')
        denoiser = functools.partial(tiny_diffusion.denoiser, CAPTIONS, variables, guidance=2.0)
        return [denoiser(given)(x, np.full(3, 300)) for given in (jnp.array(prompt), vectors)]

    words, vectors = both(x)
    np.testing.assert_allclose(words, vectors, atol=1e-5)


def test_prompts_say_what_is_drawn():
    ids = captions.KNOBS['class_ids']
    columns = {'scale': [0.4, 0.7], 'colour_id': [0, 5], 'class_id': [ids[1], ids[27]]}
    columns = {name: np.array(x) for name, x in columns.items()} | {'position': np.zeros((2, 2))}
    texts = ['a striped red disc', 'a plain blue letter t']
    np.testing.assert_array_equal(tiny_diffusion.prompts(columns), captions.encode(texts))


def test_training_hears_one_sentence_or_none():
    key, sentences = jax.random.key(0), np.tile(np.arange(2, 6)[:, None], (400, 1, captions.LENGTH))
    recipe = dataclasses.replace(CAPTIONS, drop=0.3)
    said = np.asarray(tiny_diffusion.heard(key, recipe, sentences))
    silent = (said == captions.encode([''])).all(1)
    assert abs(silent.mean() - 0.3) < 0.06
    spoken = said[~silent]
    assert (spoken == spoken[:, :1]).all()
    assert set(spoken[:, 0]) == {2, 3, 4, 5}
    labels = tiny_diffusion.heard(key, dataclasses.replace(TOY, drop=0.3), np.full(400, 5))
    assert abs(np.mean(np.asarray(labels) == 10) - 0.3) < 0.06
    assert set(np.unique(labels)) == {5, 10}
