"""The recipe at toy size: what is exposed, learned prompts, what it never saw."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import evaluate, models, train
from jssl.data import captions
from jssl.zoo import tiny_clip

RECIPE = dataclasses.replace(
    tiny_clip.Recipe(),
    **{'size': 16, 'count': 200, 'widths': (4, 8), 'strides': (2, 2), 'heads': 2},
    **{'text_width': 32, 'text_depth': 1},
    **{'sentences': 2, 'joint': 16, 'steps': 3, 'batch': 16},
)
ONE = train.make_mesh('data:1', jax.devices()[:1])


@pytest.fixture(autouse=True)
def noise_for_drawings(monkeypatch):
    def dataset(split, *, count, size, class_ids, scale, **others):
        rng = np.random.default_rng(len(split))
        return {
            'image': rng.integers(0, 256, (count, size, size, 3), np.uint8),
            'class_id': rng.choice(class_ids, count),
            'colour_id': rng.integers(8, size=count),
            'position': rng.uniform(-1, 1, (count, 2)),
            'scale': rng.uniform(*scale, count),
        }

    monkeypatch.setattr(tiny_clip.shapes, 'dataset', dataset)


@functools.cache
def trained():
    init, step = tiny_clip.build(RECIPE)
    stream = tiny_clip.batches(RECIPE)
    state, history = train.fit(step, init, stream, steps=3, key=0, mesh=ONE, progress=False)
    assert np.isfinite(history['loss']).all()
    assert float(state.params['log_scale']) <= models.clip.LARGEST
    return tiny_clip.variables(RECIPE, state)


def test_what_is_measured():
    found = tiny_clip.measure(RECIPE, trained())
    assert set(tiny_clip.NEEDS) <= set(found)
    assert np.isfinite(list(found.values())).all()
    drawn = tiny_clip.draw(RECIPE, 'test', 1000)
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    z = evaluate.features(tiny_clip.image_encoder(RECIPE, trained()), drawn['image'])
    text = tiny_clip.encode_texts(RECIPE, trained(), captions.sentences(size=range(2)))
    weights = unit(unit(text).mean(0))
    right = (unit(z) @ weights.T).argmax(1) == captions.factors(drawn)['size']
    assert found['size'] == pytest.approx(right.mean(), abs=0.003)


def test_what_is_held_out_is_never_seen():
    drawn = tiny_clip.draw(RECIPE, 'train', RECIPE.count)
    known = captions.factors(drawn)
    pairs = list(zip(known['shape'].tolist(), known['colour'].tolist(), strict=True))
    seen = [i for i, pair in enumerate(pairs) if pair not in tiny_clip.HELD_OUT]
    assert 150 < len(seen) < 190
    source = tiny_clip.batches(RECIPE).source
    np.testing.assert_array_equal(source['image'], drawn['image'][seen])
    shape, colour = zip(*tiny_clip.HELD_OUT, strict=True)
    assert set(shape) == set(range(12))
    assert set(colour) == set(range(8))


def test_encoders_and_prompts():
    network = tiny_clip.network(RECIPE)
    text = tiny_clip.encode_texts(RECIPE, trained(), [['a red disc'], ['a blue ring']])
    assert text.shape == (2, 1, RECIPE.joint)
    longer = captions.LENGTH + tiny_clip.PROMPT
    spare = captions.encode(['x x red disc'], length=longer)
    said = captions.encode(['this is red disc'], length=longer)

    @jax.jit
    def all_of(variables):
        call = lambda *args, **options: network.apply(variables, *args, **options)
        embedding = variables['params']['text']['embed']['embedding']
        words = models.prompted(call(spare, method='embed_words'), embedding[said[0, 1:3]])
        images = jnp.ones((2, RECIPE.size, RECIPE.size, 3))
        return (
            call(spare, words=words, method='encode_text'),
            call(said, method='encode_text'),
            call(images, taps=True, method='encode_image'),
            call(images, method='encode_patches'),
        )

    learned, spoken, (image, taps), patches = all_of(trained())
    np.testing.assert_allclose(learned, spoken, atol=1e-5)
    assert image.shape == (2, RECIPE.joint)
    assert [tap.shape for tap in taps] == [(2, 8, 8, 4), (2, 4, 4, 8)]
    assert patches.shape == (2, 16, RECIPE.joint)
