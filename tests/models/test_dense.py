"""Maps of a ViT's last block against NumPy, and the classifier whose maps average to its logits."""

import jax
import numpy as np
import pytest

from jssl import models

IMAGES = np.random.default_rng(0).random((2, 8, 12, 3), np.float32)
HEADS = 2


@pytest.fixture(scope='module')
def seen(draw):
    """What the functions give of a ViT with one register, and what its last block is given."""
    vit = models.ViT(4, 8, 2, HEADS, registers=1)
    variables = draw(vit, IMAGES)

    def all_maps(variables, images):
        maps = [
            f(vit, variables, images)
            for f in (models.patch_features, models.patch_keys, models.class_attention)
        ]
        tokens, taps = vit.clone(pooling=None).apply(variables, images, taps=True)
        return maps, tokens, taps[0]

    return *jax.device_get(jax.jit(all_maps)(variables, IMAGES)), variables['params']


def last_block(params, x):
    """Queries and keys [B, T, D] of the last block."""
    block = params['transformer']['block1']
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    x = x * block['attention_norm']['scale'] + block['attention_norm']['bias']
    dense = lambda name: x @ block['attention'][name]['kernel'] + block['attention'][name]['bias']
    return dense('query'), dense('key')


def test_patch_features_are_the_tokens_in_rows(seen):
    (features, *_), tokens, *_ = seen
    assert features.shape == (2, 2, 3, 8)
    np.testing.assert_allclose(features[1, 1, 2], tokens[1, 2 + 5], atol=1e-6)


def test_patch_keys_are_those_of_the_last_block(seen):
    (_, keys, _), _, x, params = seen
    np.testing.assert_allclose(keys[1, 0, 2], last_block(params, x)[1][1, 2 + 2], atol=1e-4)


def test_class_attention_is_what_the_class_token_gives_to_patches(seen):
    (_, _, attention), _, x, params = seen
    assert attention.shape == (2, HEADS, 2, 3)
    q, k = last_block(params, x)
    for head in range(HEADS):
        part = slice(4 * head, 4 * head + 4)
        e = np.exp(k[1, :, part] @ q[1, 0, part] / 2)
        np.testing.assert_allclose(attention[1, head].ravel(), (e / e.sum())[2:], atol=1e-5)


def test_no_class_token_no_attention_of_it():
    vit = models.ViT(4, 8, 1, 2, class_token=False, pooling=None)
    with pytest.raises(ValueError, match='needs class_token=True'):
        models.class_attention(vit, {}, IMAGES)


@pytest.mark.parametrize(
    'backbone',
    [
        models.ConvNet((4, 6), strides=(2, 1)),
        models.ViT(4, 8, 1, 2, registers=1, pooling=None),
    ],
    ids=['convnet', 'vit'],
)
def test_activation_maps_average_to_the_logits(backbone, draw):
    model = models.ImageClassifier(backbone, 5)
    variables = draw(model, IMAGES)

    def every(variables, x):
        names = ('__call__', 'features', 'maps', 'activation_maps')
        return [model.apply(variables, x, method=name) for name in names]

    logits, h, maps, places = jax.jit(every)(variables, IMAGES)
    dense = variables['params']['head']['dense']
    np.testing.assert_allclose(maps.mean((1, 2)), h, atol=1e-5)
    np.testing.assert_allclose(places.mean((1, 2)), logits, atol=1e-5)
    np.testing.assert_allclose(places, maps @ dense['kernel'] + dense['bias'], atol=1e-5)


def test_a_segmenter_is_a_u_net_between_patches(draw):
    net = models.Segmenter(3, widths=(4, 8), patch=2)
    variables = draw(net, IMAGES)
    unet = models.UNet((4, 8), out_channels=3 * 2 * 2)

    def run(variables):
        inner = {'params': variables['params']['unet']}
        y, taps = unet.apply(inner, models.space_to_depth(IMAGES, 2), taps=True)
        features = net.apply(variables, IMAGES, method='features')
        return net.apply(variables, IMAGES), features, models.depth_to_space(y, 2), taps[-1]

    logits, features, expected, last = jax.jit(run)(variables)
    assert (logits.shape, features.shape) == ((2, 8, 12, 3), (2, 4, 6, 4))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(features, last, atol=1e-5)
