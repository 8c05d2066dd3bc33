"""Published parameter counts, selective kernels against a loop, stems and shortcuts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models
from jssl.models.resnet import SelectiveKernel

RNG = np.random.default_rng(0)


def count(module, shape=(1, 224, 224, 3)):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), x)['params']
    return sum(leaf.size for leaf in jax.tree.leaves(params))


# torchvision's counts, with its classifier of 1000 classes
@pytest.mark.parametrize(
    ('make', 'features', 'total'),
    [
        (models.resnet18, 512, 11_689_512),
        (models.resnet34, 512, 21_797_672),
        (models.resnet50, 2048, 25_557_032),
        (models.resnet101, 2048, 44_549_160),
        (models.resnet152, 2048, 60_192_808),
    ],
)
def test_parameter_counts(make, features, total):
    assert count(make()) + count(models.Classifier(1000), (1, features)) == total


# millions, table 1 of Chen et al., 2020 (encoder alone)
@pytest.mark.parametrize(
    ('make', 'width', 'selective', 'millions'),
    [
        (models.resnet50, 64, False, 24),
        (models.resnet50, 64, True, 35),
        (models.resnet50, 128, True, 140),
    ],
)
def test_parameter_counts_of_simclr_v2(make, width, selective, millions):
    assert round(count(make(width=width, selective_kernel=selective)) / 1e6) == millions


def test_selective_kernel_against_a_loop(draw, run):
    # on a single pixel a 3 x 3 convolution is its centre's matrix
    x = RNG.normal(size=(3, 1, 1, 5)).astype('f')
    module = SelectiveKernel(4, norm=None)
    variables = draw(module, x)
    params = variables['params']
    centre = np.asarray(params['streams']['kernel'], np.float64)[1, 1]
    want = np.zeros((3, 4))
    for b in range(3):
        u = np.maximum(x[b, 0, 0] @ centre, 0).reshape(2, 4)
        squeezed = np.maximum((u[0] + u[1]) @ np.asarray(params['squeeze']['kernel']), 0)
        logits = (squeezed @ np.asarray(params['mix']['kernel'])).reshape(2, 4)
        for c in range(4):
            m = np.exp(logits[:, c]) / np.exp(logits[:, c]).sum()
            want[b, c] = m[0] * u[0, c] + m[1] * u[1, c]
    np.testing.assert_allclose(run(module, variables, x)[:, 0, 0], want, atol=1e-5)


@pytest.mark.parametrize('block', ['basic', 'bottleneck'])
def test_taps_and_shortcuts(block):
    x = jax.ShapeDtypeStruct((2, 32, 32, 1), jnp.float32)
    module = models.ResNet((1, 2), width=4, block=block)
    call = lambda key, x: module.init_with_output(key, x, taps=True)
    (features, maps), variables = jax.eval_shape(call, jax.random.key(0), x)
    factor = 4 if block == 'bottleneck' else 1
    assert features.shape == (2, 8 * factor)
    assert [m.shape for m in maps] == [(2, 8, 8, 4 * factor), (2, 4, 4, 8 * factor)]
    projected = {name for name, p in variables['params'].items() if 'shortcut' in p}
    first = {'stage0_block0'} if block == 'bottleneck' else set()
    assert projected == first | {'stage1_block0'}


def test_branches_start_silent(run):
    x = RNG.normal(size=(2, 8, 8, 3)).astype('f')
    with_blocks, without = (
        models.ResNet(stages, width=4, stem='cifar', norm='group') for stages in ((2,), (0,))
    )
    variables = jax.jit(with_blocks.init)(jax.random.key(0), x)
    stem = {'params': {k: v for k, v in variables['params'].items() if 'stem' in k}}
    np.testing.assert_allclose(run(with_blocks, variables, x), run(without, stem, x), atol=1e-6)


def test_refusals():
    for options, words in [
        ({'block': 'wide'}, 'block'),
        ({'stem': 'mnist'}, 'stem'),
        ({'selective_kernel': True}, 'bottleneck'),
        ({'norm': 'instance'}, 'norm'),
    ]:
        with pytest.raises(ValueError, match=words):
            count(models.ResNet((1,), **options), (1, 8, 8, 3))
