"""A prompt is answered by itself: not by slots that are absent, nor by the other prompts."""

import jax
import numpy as np
import pytest

from jssl import models
from jssl.models.prompting import ABSENT, INSIDE, OUTSIDE, distinct

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 8, 12, 3), np.float32)
POINTS = RNG.random((2, 3, 2, 2), np.float32)
KINDS = np.array([[[INSIDE, ABSENT], [INSIDE, OUTSIDE], [INSIDE, INSIDE]]] * 2)


@pytest.fixture
def ask(draw):
    vit = models.ViT(4, 8, 1, 2, class_token=False, pooling=None)
    net = models.PromptableSegmenter(vit, depth=2, heads=2)
    variables = draw(net, IMAGES, POINTS, KINDS)
    answer = jax.jit(net.apply)
    return lambda points, kinds: jax.device_get(answer(variables, IMAGES, points, kinds))


def test_answers_depend_on_their_own_prompt_alone(ask):
    found = ask(POINTS, KINDS)
    assert [x.shape for x in found] == [(2, 3, 3, 8, 12), (2, 3, 3)]
    points = POINTS.copy()
    points[:, 0, 1] = 0.9  # absent
    points[:, 1] = 0.1  # another prompt
    points[:, 2] = points[:, 2, ::-1]  # the order of its points
    other = ask(points, KINDS)
    for a, b in zip(found, other, strict=True):
        np.testing.assert_allclose(a[:, [0, 2]], b[:, [0, 2]], atol=1e-5)
        assert np.abs(a[:, 1] - b[:, 1]).max() > 1e-4
    other = ask(POINTS, np.where(KINDS == OUTSIDE, INSIDE, KINDS))
    assert np.abs(found.logits[:, 1] - other.logits[:, 1]).max() > 1e-4


def repeated(masks, there, overlap):
    """The greedy suppression, one mask after another."""
    kept = []
    for n in range(len(masks)):
        again = [(masks[n] & masks[k]).sum() > overlap * (masks[n] | masks[k]).sum() for k in kept]
        if there[n] and masks[n].any() and not any(again):
            kept.append(n)
    return [n in kept for n in range(len(masks))]


def test_masks_that_repeat_a_surer_one_are_dropped():
    masks = RNG.random((40, 12)) < RNG.random((40, 1))
    masks[5], masks[7] = masks[3], False
    there = np.arange(40) != 3
    found = jax.jit(distinct)(masks, there, 0.5)
    assert found.tolist() == repeated(masks, there, 0.5)
    assert 2 < found.sum() < 30


def test_an_image_is_encoded_once_and_asked_everywhere(draw):
    vit = models.ViT(4, 8, 1, 2, class_token=False, pooling=None)
    net = models.PromptableSegmenter(vit, depth=1, heads=2)
    at = [1 / 6, 1 / 2, 5 / 6]
    points = np.stack(np.meshgrid(at, at), -1).reshape(1, 9, 1, 2)
    points = np.repeat(points, 2, axis=0).astype('f')
    kinds = np.full((2, 9, 1), INSIDE)
    variables = draw(net, IMAGES, points, kinds)
    options = {'side': 3, 'quality': 0.5, 'stability': 0.0, 'overlap': 0.6}

    def run(variables):
        decode = lambda *args: net.apply(variables, *args, points, kinds, method='decode')
        coarse, *fine = features = net.apply(variables, IMAGES, method='encode')
        others = decode([coarse, *(x[::-1] for x in fine)])
        found = models.segment_everything(net, variables, IMAGES, **options)
        return features, decode(features), others, found

    features, asked, others, (logits, quality, kept) = jax.device_get(jax.jit(run)(variables))
    assert [x.shape for x in features] == [(2, 2, 3, 8), (2, 4, 6, 4), (2, 8, 12, 2)]
    # fine maps say where edges run, not what is meant
    np.testing.assert_allclose(asked.quality, others.quality, atol=1e-5)
    assert np.abs(asked.logits - others.logits).max() > 1e-4
    assert logits.shape == (2, 27, 8, 12)
    for image in range(2):
        order = np.argsort(-asked.quality[image].ravel())
        np.testing.assert_allclose(asked.quality[image].ravel()[order], quality[image], atol=1e-5)
        expected = asked.logits[image].reshape(27, 8, 12)[order]
        np.testing.assert_allclose(expected, logits[image], atol=1e-4)
        masks = (logits[image] > 0).reshape(27, -1)
        assert kept[image].tolist() == repeated(masks, quality[image] >= 0.5, 0.6)
