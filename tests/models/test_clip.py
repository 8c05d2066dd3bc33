"""Two towers: what a sentence's end sees, words as vectors, patches, the zero-shot classifier."""

import jax
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 8, 8, 3)).astype('f')
END = 9
TOKENS = np.array([[8, 3, 4, END, 0, 0], [8, 1, 2, 5, 6, END], [8, 3, 4, END, END, 7]])


def text(length, *sizes):
    return models.TextEncoder(10, length, models.Transformer(*sizes, causal=True))


def tower(**options):
    return models.ViT(4, 8, 2, 2, positions='learned', stem_norm=True, pooling=None, **options)


@pytest.fixture(scope='module')
def clip(draw):
    module = models.CLIP(tower(), text(6, 12, 2, 3), 5)
    variables = draw(module, IMAGES, TOKENS)
    out = {}

    @jax.jit
    def everything(variables):
        call = lambda *args, **options: module.apply(variables, *args, **options)
        out['image'], out['text'], out['scale'] = call(IMAGES, TOKENS)
        out['taps'] = call(IMAGES, taps=True, method='encode_image')
        out['text_taps'] = call(TOKENS, taps=True, method='encode_text')
        out['patches'] = call(IMAGES, method='encode_patches')
        out['tokens'] = tower().apply({'params': variables['params']['image']}, IMAGES)
        words = call(TOKENS, method='embed_words')
        out['words'] = call(TOKENS, words=words, method='encode_text')
        # the second sentence, spoken by the first one's words with the ends of the second
        moved = np.array([[8, 7, 7, 5, 6, END]])
        prompt = variables['params']['text']['embed']['embedding'][np.array([1, 2])]
        spoken = models.prompted(call(moved, method='embed_words'), prompt)
        out['prompted'] = call(moved, words=spoken, method='encode_text')
        out['short'] = call(TOKENS[:1, :4], method='encode_text')
        return out

    return variables, jax.device_get(everything(variables))


def test_a_sentence_ends_at_its_first_end(clip):
    _, out = clip
    assert out['text'].shape == (3, 5)
    np.testing.assert_allclose(out['text'][2], out['text'][0], atol=1e-6)
    np.testing.assert_allclose(out['short'][0], out['text'][0], atol=1e-6)
    assert np.abs(out['text'][1] - out['text'][0]).max() > 0.05


def test_vectors_stand_for_words(clip):
    _, out = clip
    np.testing.assert_array_equal(out['words'], out['text'])
    np.testing.assert_allclose(out['prompted'][0], out['text'][1], atol=1e-6)


def test_towers_and_projections(clip):
    variables, out = clip
    params = variables['params']
    tokens, kernel = out['tokens'], params['image_projection']['kernel']
    np.testing.assert_allclose(out['image'], tokens[:, 0] @ kernel, atol=1e-5)
    np.testing.assert_allclose(out['patches'], tokens[:, 1:] @ kernel, atol=1e-5)
    z, taps = out['taps']
    np.testing.assert_allclose(z, out['image'], atol=1e-6)
    assert [tap.shape for tap in taps] == [(2, 5, 8)] * 2
    z, taps = out['text_taps']
    np.testing.assert_allclose(z, out['text'], atol=1e-6)
    assert [tap.shape for tap in taps] == [(3, 6, 12)] * 2
    np.testing.assert_allclose(out['scale'], np.exp(params['log_scale']), rtol=1e-6)


def test_the_scale_starts_at_clips():
    module = models.CLIP(models.MLP((4,)), text(6, 4, 1, 1), 3)
    init = lambda key: module.init(key, np.ones((1, 2), 'f'), TOKENS)['params']['log_scale']
    np.testing.assert_allclose(np.exp(jax.jit(init)(jax.random.key(0))), 1 / 0.07, rtol=1e-6)
    assert np.exp(models.clip.LARGEST) == pytest.approx(100)


def test_zero_shot_against_a_loop():
    image, words = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 5, 4))
    words[0, 0] *= 1e3  # a long vector weighs no more than another
    want = np.zeros((3, 5))
    for b, k in np.ndindex(3, 5):
        w = sum(words[p, k] / np.linalg.norm(words[p, k]) for p in range(2)) / 2
        want[b, k] = 7 * image[b] @ w / np.linalg.norm(image[b]) / np.linalg.norm(w)
    np.testing.assert_allclose(models.zero_shot(image, words, scale=7.0), want, rtol=1e-5)
    one = models.zero_shot(image, words[1])
    np.testing.assert_allclose(one, models.zero_shot(image, words[1:]), rtol=1e-5, atol=1e-6)


def test_shapes_are_checked():
    words = np.zeros((2, 6, 4), 'f')
    with pytest.raises(ValueError, match='longer than words'):
        models.prompted(words, np.zeros((3, 4), 'f'), start=4)
    short = text(3, 4, 1, 1)
    with pytest.raises(ValueError, match='longer than 3'):
        jax.eval_shape(short.init, jax.random.key(0), TOKENS)
    init = lambda key: short.init(key, TOKENS[:, :3], words=words)
    with pytest.raises(AssertionError):
        jax.eval_shape(init, jax.random.key(0))


def test_pooled_resnet_against_loops(draw, run):
    module = models.AttentionPooled(models.AveragedResNet((1, 1), width=4, norm=None), 2)
    images = RNG.normal(size=(2, 16, 16, 3)).astype('f')
    params = jax.tree.map(np.float64, draw(module, images)['params'])
    tokens, maps = run(module, {'params': params}, images, taps=True)
    relu = lambda x: np.maximum(x, 0)
    halved = lambda x: x.reshape(2, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean((2, 4))

    def convolved(x, name, stride=1):
        kernel, bias = (params['trunk'][name][part] for part in ('kernel', 'bias'))
        if kernel.ndim == 2:
            return x @ kernel + bias
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        rows, columns = ((n - 2 + stride - 1) // stride for n in x.shape[1:3])
        out = np.zeros((2, rows, columns, kernel.shape[3]))
        for i, j in np.ndindex(rows, columns):
            window = x[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            out[:, i, j] = np.tensordot(window, kernel, 3) + bias
        return out

    x = relu(convolved(images, 'stem0', 2))
    x = halved(relu(convolved(relu(convolved(x, 'stem1')), 'stem2')))
    for i, shrink in enumerate((lambda x: x, halved)):
        block = f'stage{i}_block0_'
        y = relu(convolved(relu(convolved(x, block + 'conv0')), block + 'conv1'))
        y = convolved(shrink(y), block + 'conv2')
        x = relu(y + convolved(shrink(x), block + 'shortcut'))
    assert [each.shape for each in maps] == [(2, 4, 4, 16), (2, 2, 2, 32)]
    np.testing.assert_allclose(maps[1], x, rtol=1e-4, atol=1e-4)
    places = x.reshape(2, -1, 32)
    mean = places.mean(1, keepdims=True)
    places = np.concatenate([mean, places + params['positions']['table'].reshape(1, -1, 32)], 1)
    dense = lambda name, x: x @ params[name]['kernel'] + params[name]['bias']
    for b, head in np.ndindex(2, 2):
        part = slice(16 * head, 16 * head + 16)
        q, k, v = dense('query', mean[b, 0]), dense('key', places[b]), dense('value', places[b])
        a = np.exp(k[:, part] @ q[part] / 4)
        close = {'rtol': 1e-4, 'atol': 1e-4}
        np.testing.assert_allclose(tokens[b, 0, part], a @ v[:, part] / a.sum(), **close)
        np.testing.assert_allclose(tokens[b, 1:, part], v[1:, part], **close)


def test_a_captioner_sees_the_image_and_what_was_said(draw, run):
    language = models.CausalLM(10, models.Transformer(8, 1, 2, causal=True))
    module = models.Captioner(tower(), language)
    variables = draw(module, IMAGES, TOKENS[:2])
    other = TOKENS[:2] * np.array([1, 1, 1, 0, 1, 1])
    images, tokens = np.concatenate([IMAGES, IMAGES, IMAGES[::-1]]), TOKENS[[0, 1] * 3]
    logits = run(module, variables, images, np.concatenate([tokens[:2], other, tokens[:2]]))
    assert logits.shape == (6, 5, 10)
    np.testing.assert_allclose(logits[:2, :3], logits[2:4, :3], atol=1e-5)
    assert (np.abs(logits[:2, 3] - logits[2:4, 3]).max(-1) > 1e-3).all()
    assert (np.abs(logits[:2, 0] - logits[4:, 0]).max(-1) > 1e-3).all()
