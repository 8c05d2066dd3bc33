"""The promptable segmenter: what it draws, what prompts mean, and three steps of it."""

import jax
import numpy as np
import pytest

from jssl import models, train
from jssl.models.prompting import ABSENT, END, INSIDE, OUTSIDE, START
from jssl.zoo import tiny_sam as zoo

TOY = zoo.Recipe(size=8, patch=2, width=8, depth=1, layers=1, prompts=2, steps=3, batch=8)
SIZE = 24


@pytest.fixture(scope='module')
def drawn():
    """(images, levels, points, kinds, target) of a few pictures, eight prompts about each."""

    def draw(key):
        images, levels = zoo.pictures(key, 6, SIZE)
        return images, levels, *zoo.prompts(key, levels, 8, jitter=0.0)

    return jax.device_get(jax.jit(draw)(jax.random.key(0)))


def test_parts_are_of_one_object_and_objects_of_one_group(drawn):
    images, levels, *_ = drawn
    assert images.min() >= 0
    assert images.max() <= 1
    assert len(np.unique(levels[..., 0])) > 6
    for picture in levels.reshape(6, -1, 3):
        for fine, coarse in ((0, 1), (1, 2)):
            for part in np.unique(picture[:, fine]):
                assert len(set(picture[picture[:, fine] == part][:, coarse])) == 1
        assert ((picture == 0).all(1) == (picture == 0).any(1)).all()


def test_a_prompt_means_a_part_an_object_or_a_group(drawn):
    _, levels, points, kinds, target = drawn
    seen = set()
    for n in range(6):
        for q in range(8):
            mask, around = target[n, q], points[n, q, 2:] * SIZE
            rows, columns = np.nonzero(mask)
            ids = [levels[n, ..., level][mask] for level in range(3)]
            whole = [(levels[n, ..., i] == x[0]).sum() == len(x) for i, x in enumerate(ids)]
            assert any(len(set(x)) == 1 and w for x, w in zip(ids, whole, strict=True))
            np.testing.assert_allclose(around[0], [columns.min(), rows.min()], atol=1e-4)
            np.testing.assert_allclose(around[1], [columns.max() + 1, rows.max() + 1], atol=1e-4)
            assert mask.sum() >= zoo.SMALLEST
            for slot in range(2):
                j, i = (points[n, q, slot] * SIZE).astype(int)
                if kinds[n, q, slot] in (INSIDE, OUTSIDE):
                    assert mask[i, j] == (kinds[n, q, slot] == INSIDE)
            seen.add(tuple(kinds[n, q].tolist()))
    assert (INSIDE, ABSENT, ABSENT, ABSENT) in seen
    assert (INSIDE, OUTSIDE, ABSENT, ABSENT) in seen
    assert (ABSENT, ABSENT, START, END) in seen


def test_the_best_of_the_answers_counts():
    target = np.zeros((1, 2, 4, 4), bool)
    target[0, 0, :2], target[0, 1, :, 1:3] = True, True
    right = np.where(target, 20.0, -20.0)
    logits = np.stack([right, -right, -right], axis=2).astype('f')
    quality = np.array([[[1, 0, 0]] * 2], 'f')
    loss, metrics = zoo.answer_loss(models.Masks(logits, quality), target)
    assert float(loss) == pytest.approx(0.0, abs=1e-3)
    assert float(metrics['iou']) == 1
    other, _ = zoo.answer_loss(models.Masks(logits[:, :, ::-1], quality[:, :, ::-1]), target)
    assert float(other) == pytest.approx(float(loss), abs=1e-6)
    unsure, _ = zoo.answer_loss(models.Masks(logits, quality[:, :, ::-1]), target)
    assert float(unsure) == pytest.approx(2 / 3, abs=1e-3)
    wrong, _ = zoo.answer_loss(models.Masks(-logits[:, :, :1], quality[:, :, 1:2]), target)
    assert float(wrong) > 5


def test_trains_and_measures(monkeypatch):
    def noise(key, count, size):
        images = jax.random.uniform(key, (count, size, size, 3))
        return images, (images > 0.5).astype(int)

    monkeypatch.setattr(zoo, 'pictures', noise)  # drawing takes longer to compile than training
    init, step = zoo.build(TOY)
    mesh = train.make_mesh('data:1', jax.devices()[:1])
    options = {'steps': 3, 'key': 0, 'mesh': mesh, 'progress': False}
    state, history = train.fit(step, init, zoo.batches(TOY), **options)
    assert np.isfinite(history['loss']).all()
    found = zoo.measure(TOY, zoo.variables(TOY, state))
    assert set(found) == set(zoo.NEEDS)
    assert 0 <= found['point_iou'] <= 1
