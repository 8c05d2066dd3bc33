"""What the smoke run leaves out: which copies an arm sees, and what few labels start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.pretext import rotnet
from jssl.data.augment import rotate90
from jssl.data.rotations import rotate45
from jssl.experiment.context import Context

CONFIG = rotnet.SMOKE


def begun(method):
    return rotnet.start(CONFIG, method, rotnet.untrained(CONFIG)(jax.random.key(0)))


@pytest.mark.parametrize('method', [*rotnet.TURNS, 'supervised', 'autoencoder'])
def test_every_image_that_is_used_is_there_at_every_turn(method):
    images = np.random.default_rng(0).random((16, 6, 6, 3)).astype(np.float32)
    x, y = rotnet.copies(begun(method).extra[1], jnp.asarray(images))
    turns = rotnet.TURNS.get(method, (0,))
    wanted, answers = [], []
    for image in images[:: len(turns)]:
        for answer, eighths in enumerate(turns):
            turn, by = (rotate45, eighths) if len(turns) == 8 else (rotate90, eighths // 2)
            wanted.append(turn(jnp.asarray(image)[None], jnp.array([by]))[0])
            answers.append(answer)
    np.testing.assert_allclose(x, np.stack(wanted), atol=1e-6)
    np.testing.assert_array_equal(y, answers)


@pytest.mark.parametrize(('method', 'outputs'), [('rotnet', 4), ('supervised', 10)])
def test_an_arm_begins_with_even_odds_among_its_own_answers(method, outputs):
    state, step = begun(method), rotnet.build(CONFIG, method)[1]
    shape = (8, CONFIG.size, CONFIG.size, 3)
    batch = {'image': np.full(shape, 99, np.uint8), 'label': np.arange(8, dtype=np.int32)}
    _, metrics = jax.jit(step)(state, batch, jax.random.key(1))
    np.testing.assert_allclose(metrics['loss'], np.log(outputs), rtol=1e-5)


def test_few_labels_start_from_the_first_blocks_alone(tmp_path, monkeypatch):
    variables = rotnet.untrained(CONFIG)(jax.random.key(0))
    trained = rotnet.start(CONFIG, 'rotnet', jax.tree.map(lambda p: p + 1, variables))
    seen = []
    start = lambda config, method, begin, **options: seen.append(begin)
    monkeypatch.setattr(rotnet, 'start', start)
    monkeypatch.setattr(rotnet, 'own_accuracy', lambda *arguments: 0.5)
    ctx = Context(CONFIG, slug='rotnet', folder=tmp_path, progress=False)
    monkeypatch.setattr(ctx, 'fit', lambda *arguments, **options: (None, None))
    sets = [{'image': np.zeros((20, 2)), 'label': np.repeat(np.arange(10), 2)}] * 2
    rotnet.few_labels(CONFIG, ctx, variables, trained, sets, 0)
    tuned, scratch = seen[:2]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), tuned, scratch)
    blocks = {name: set(jax.tree.leaves(tree)) for name, tree in moved['params']['blocks'].items()}
    assert blocks == {name: {int(name[5]) < CONFIG.kept} for name in blocks}
    assert not any(jax.tree.leaves([moved['params']['head'], moved['params']['decoder']]))
    assert any(jax.tree.leaves(moved['batch_stats']))
