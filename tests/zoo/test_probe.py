"""`jssl probe` in this process, on a backbone that is small enough; what images become."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import data, evaluate, models, zoo
from jssl.experiment import command
from jssl.zoo import weights

RNG = np.random.default_rng(0)


@pytest.fixture
def file(tmp_path, monkeypatch):
    module = models.ViT(4, 8, 1, 2, **weights._VIT)
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | {'small_vit': module})
    monkeypatch.setattr('jssl.train.runtime.configure', lambda **_: None)
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 8, 8, 3), 'f'))
    variables = jax.tree.map(lambda x: RNG.normal(size=x.shape).astype('f'), shapes)
    zoo.save('small_vit', variables, tmp_path / 'a.safetensors')
    return tmp_path / 'a.safetensors'


def test_probe_prints_both_scores(file, capsys):
    flags = [f'--weights={file}', '--model=small_vit', '--data=digits', '--size=8', '--pixels=half']
    command.main(['probe', *flags])
    first, second, linear, knn = capsys.readouterr().out.splitlines()
    assert first == 'small_vit at 8 x 8 pixels: 8 features'
    assert second == 'digits: 1258 train, 359 test'

    module, variables = zoo.load('small_vit', file)
    parts = [data.load('digits', split) for split in ('train', 'test')]
    grey = [np.repeat(2 * part['image'].astype('f') / 255 - 1, 3, -1) for part in parts]
    h, g = (np.asarray(jax.jit(module.apply)(variables, x)) for x in grey)
    score = evaluate.knn(h, parts[0]['label'], g, parts[1]['label'])
    assert knn.split()[0] == 'knn/1'
    np.testing.assert_allclose(float(knn.split()[1]), score, atol=0.006)  # two near-ties of 359
    assert 0.3 < float(linear.split()[1]) < 1


def test_the_tower_of_images_is_probed(tmp_path, file, monkeypatch, capsys):
    image = models.ViT(4, 8, 1, 2, pooling=None, stem_norm=True, **weights._VIT)
    text = models.TextEncoder(7, 3, models.Transformer(8, 1, 2, causal=True))
    both = models.CLIP(image, text, 6)
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | {'small_clip': both})
    arguments = np.zeros((1, 8, 8, 3), 'f'), np.zeros((1, 3), 'i')
    shapes = jax.eval_shape(both.init, jax.random.key(0), *arguments)
    variables = jax.tree.map(lambda x: RNG.normal(size=x.shape).astype('f'), shapes)
    zoo.save('small_clip', variables, tmp_path / 'both.safetensors')
    flags = [f'--weights={tmp_path / "both.safetensors"}', '--model=small_clip', '--data=digits']
    command.main(['probe', *flags, '--size=8', '--pixels=half'])
    assert capsys.readouterr().out.startswith('small_clip at 8 x 8 pixels: 6 features')


@pytest.mark.parametrize(
    ('flags', 'reason'),
    [
        ({'weights': ''}, 'probe needs --weights=; see jssl --help'),
        ({'model': 'vit_smal_patch16'}, "no backbone is called 'vit_smal_patch16'; the nearest is"),
        ({'model': 'DiT-S/2'}, '--model=DiT-S/2 makes no features of images: probe a ViT,'),
        ({'model': 'resnet18'}, 'is no resnet18: lacks conv1.weight'),
        ({'weights': 'w.pth'}, 'w.pth is a pickle, which may run code; convert it: python -c'),
        ({'weights': 'none.safetensors'}, 'none.safetensors cannot be read'),
        ({'size': '30'}, '--size=30 is not a number of pixels that is a multiple of 4'),
        ({'size': 'x'}, '--size=x is not'),
        ({'pixels': 'imagnet'}, '--pixels=imagnet is not known; the nearest is imagenet'),
        ({'data': 'digit'}, "unknown data set 'digit': the nearest is 'digits'"),
        ({'data': 'iris'}, '--data=iris has no images with labels'),
        ({'wights': '1'}, 'the nearest is weights'),
    ],
)
def test_refusals_are_one_line_and_exit_2(flags, reason, file, capsys):
    given = {'weights': file, 'model': 'small_vit', 'data': 'digits', 'size': '8'} | flags
    with pytest.raises(SystemExit) as end:
        command.main(['probe', *(f'--{name}={value}' for name, value in given.items())])
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.startswith('jssl: ')
    assert reason in said.err
    assert said.err.count('\n') == 1


def test_prepare():
    grey = RNG.integers(0, 256, (2, 3, 3, 1), np.uint8)
    x = np.asarray(zoo.prepare(jnp.asarray(grey), size=3))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert zoo.PIXELS['imagenet'] == (mean, std)
    for b, i, j, c in np.ndindex(2, 3, 3, 3):
        want = (grey[b, i, j, 0] / 255 - mean[c]) / std[c]
        np.testing.assert_allclose(x[b, i, j, c], want, rtol=1e-5, atol=1e-5)
    flat = np.full((1, 2, 4, 3), 0.25, 'f')
    np.testing.assert_allclose(
        zoo.prepare(flat, size=6, pixels='half'), -0.5 * np.ones((1, 6, 6, 3))
    )
    with pytest.raises(ValueError, match='1 or 3 channels'):
        zoo.prepare(np.zeros((1, 2, 2, 4), 'f'))
