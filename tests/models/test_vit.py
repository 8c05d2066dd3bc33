"""Patches, visible tokens, positions, the masked decoder, sizes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 8, 12, 3)).astype('f')
KEEP = np.array([[4, 0, 3], [1, 5, 2]])


def tiny(**options):
    options = {'pooling': None, **options}
    return models.ViT(4, 8, options.pop('depth', 1), 2, **options)


def test_patchify_against_a_loop_and_back():
    patches = models.patchify(IMAGES, 4)
    assert patches.shape == (2, 6, 48)
    for n, (i, j) in enumerate(np.ndindex(2, 3)):
        window = IMAGES[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        np.testing.assert_array_equal(patches[:, n], window.reshape(2, 48))
    np.testing.assert_array_equal(models.unpatchify(patches, 4, (8, 12, 3)), IMAGES)
    folded = models.space_to_depth(IMAGES, 2)
    np.testing.assert_array_equal(models.depth_to_space(folded, 2), IMAGES)
    with pytest.raises(ValueError, match='divisible by 5'):
        models.patchify(IMAGES, 5)
    with pytest.raises(ValueError, match='tile'):
        models.unpatchify(patches, 4, (8, 8, 3))
    with pytest.raises(ValueError, match='channels'):
        models.depth_to_space(IMAGES, 2)


@pytest.mark.parametrize('positions', ['sincos', 'rotary'])
def test_kept_tokens(positions, draw):
    module = tiny(positions=positions, registers=2)
    variables = draw(module, IMAGES)
    apply = jax.jit(lambda keep: module.apply(variables, IMAGES, keep=keep))
    whole = np.asarray(jax.jit(lambda: module.apply(variables, IMAGES))())
    assert whole.shape == (2, 3 + 6, 8)
    np.testing.assert_allclose(apply(np.tile(np.arange(6), (2, 1))), whole, atol=1e-5)

    kept = np.asarray(apply(KEEP))
    assert kept.shape == (2, 3 + 3, 8)
    order = np.array([2, 0, 1])
    shuffled = np.asarray(apply(KEEP[:, order]))
    np.testing.assert_allclose(shuffled[:, :3], kept[:, :3], atol=1e-5)
    np.testing.assert_allclose(shuffled[:, 3:], kept[:, 3:][:, order], atol=1e-5)
    assert np.abs(kept[:, 0] - whole[:, 0]).max() > 1e-4


def test_without_blocks_a_kept_token_is_that_of_the_whole_image(draw, run):
    module = tiny(depth=0, positions='learned')
    variables = draw(module, IMAGES)
    whole = run(module, variables, IMAGES)[:, module.prefix :]
    kept = run(module, variables, IMAGES, keep=KEEP)[:, module.prefix :]
    np.testing.assert_allclose(kept, np.take_along_axis(whole, KEEP[..., None], 1), rtol=1e-5)


@pytest.mark.parametrize('positions', ['sincos', 'learned', 'rotary'])
def test_positions_matter_and_fit_any_crop(positions, draw):
    module = tiny(positions=positions)
    apply = jax.jit(partial(module.apply, draw(module, IMAGES)))
    assert jax.eval_shape(apply, IMAGES[:, :4, :8]).shape == (2, 3, 8)
    patches = np.asarray(models.patchify(IMAGES, 4))
    turned = np.asarray(models.unpatchify(patches[:, ::-1], 4, (8, 12, 3)))
    a, b = np.asarray(apply(IMAGES)), np.asarray(apply(turned))
    assert np.abs(a[:, 1:] - b[:, 1:][:, ::-1]).max() > 1e-3


def test_pooling_taps_and_weights(draw):
    module = tiny(registers=1)
    variables = draw(module, IMAGES)

    @jax.jit
    def apply(variables):
        pooled = [tiny(registers=1, pooling=p).apply(variables, IMAGES) for p in ('class', 'mean')]
        return module.apply(variables, IMAGES, taps=True, weights=True), pooled

    (tokens, taps, weights), (first, mean) = jax.device_get(apply(variables))
    assert [t.shape for t in taps] == [(2, 8, 8)]
    assert [w.shape for w in weights] == [(2, 2, 8, 8)]
    np.testing.assert_allclose(first, tokens[:, 0], atol=1e-5)
    np.testing.assert_allclose(mean, tokens[:, 2:].mean(1), atol=1e-5)


def test_refusals():
    for options, words in [
        ({'positions': 'absolute'}, 'positions'),
        ({'pooling': 'max'}, 'pooling'),
        ({'pooling': 'class', 'class_token': False}, 'class_token'),
    ]:
        with pytest.raises(ValueError, match=words):
            tiny(**options).init(jax.random.key(0), IMAGES)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def test_the_decoder_fills_the_hidden_patches(draw, run):
    tokens = RNG.normal(size=(2, 2 + 3, 5)).astype('f')
    module = models.MaskedDecoder(8, 0, 2, (2, 3), 4)
    variables = draw(module, tokens, KEEP)
    params = variables['params']
    table = np.asarray(models.sincos_table((2, 3), 8))
    embedded = tokens @ params['embed']['kernel'] + params['embed']['bias']
    full = np.zeros((2, 6, 8))
    for b, n in np.ndindex(2, 6):
        at = np.flatnonzero(KEEP[b] == n)
        full[b, n] = embedded[b, 2 + at[0]] if len(at) else params['mask_token']
    norm, head = params['transformer']['norm'], params['head']
    want = layer_norm(full + table) * norm['scale'] + norm['bias']
    want = want @ head['kernel'] + head['bias']
    np.testing.assert_allclose(run(module, variables, tokens, KEEP), want, atol=1e-5)


def test_the_decoder_does_not_see_the_order_of_keep(draw):
    tokens = RNG.normal(size=(2, 1 + 3, 5)).astype('f')
    context = RNG.normal(size=(2, 4, 6)).astype('f')
    module = models.MaskedDecoder(8, 1, 2, (6,), 4, cross=True)
    variables = draw(module, tokens, KEEP, context=context)
    order = np.array([1, 2, 0])
    shuffled = np.concatenate([tokens[:, :1], tokens[:, 1:][:, order]], axis=1)
    apply = jax.jit(lambda t, k, c: module.apply(variables, t, k, context=c))
    y = np.asarray(apply(tokens, KEEP, context))
    np.testing.assert_allclose(apply(shuffled, KEEP[:, order], context), y, atol=1e-5)
    assert np.abs(apply(tokens, KEEP, 2 * context) - y).max() > 1e-4
    with pytest.raises(ValueError, match='fewer'):
        module.init(jax.random.key(0), tokens[:, :2], KEEP, context=context)


def test_several_outputs_share_the_embedding_and_the_mask_token(draw):
    tokens = RNG.normal(size=(2, 1 + 3, 5)).astype('f')
    both, single = (
        models.MaskedDecoder(8, 1, 2, (6,), (4, 3)),
        models.MaskedDecoder(8, 1, 2, (6,), 3),
    )
    params = draw(both, tokens, KEEP)['params']
    first, second = both.apply({'params': params}, tokens, KEEP)
    assert (first.shape, second.shape) == ((2, 6, 4), (2, 6, 3))
    shared = {name: params[name] for name in ('embed', 'mask_token')}
    own = {name: params[f'{name}1'] for name in ('transformer', 'head')}
    alone = single.apply({'params': shared | own}, tokens, KEEP)
    np.testing.assert_allclose(second, alone, atol=1e-5)
    moved = {name: jax.tree.map(jnp.ones_like, params[name]) for name in ('transformer0', 'head0')}
    again = both.apply({'params': params | moved}, tokens, KEEP)[1]
    np.testing.assert_array_equal(second, again)


# Dosovitskiy et al. count one more position, the class token's (768 values for ViT-B/16, 85,798,656
# in all): here the class token, itself learned, stands for both.
SIZES = [
    (models.vit_tiny, 5_524_416 - 192),
    (models.vit_small, 21_665_664 - 384),
    (models.vit_base, 85_798_656 - 768),
    (models.vit_large, 303_301_632 - 1024),
]


@pytest.mark.parametrize(('make', 'count'), SIZES)
def test_parameter_counts(make, count):
    module = make(patch=16, positions='learned', scan=True)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), image)['params']
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
