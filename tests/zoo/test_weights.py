"""Names, shapes and layouts of the peers' files, written down; round trips; refusals."""

import jax
import ml_dtypes
import numpy as np
import pytest

from jssl import models, zoo
from jssl.errors import Refusal
from jssl.zoo import safetensors, weights

RNG = np.random.default_rng(0)

# Of the published vit_tiny_patch16_224 and vit_small_patch14_reg4_dinov2; D is the width.
VIT = {
    'cls_token': (1, 1, 'D'),
    'pos_embed': (1, 197, 'D'),
    'patch_embed.proj.weight': ('D', 3, 16, 16),
    'patch_embed.proj.bias': ('D',),
    'norm.weight': ('D',),
    'norm.bias': ('D',),
}
BLOCK = {
    'norm1.weight': (1,),
    'norm1.bias': (1,),
    'attn.qkv.weight': (3, 1),
    'attn.qkv.bias': (3,),
    'attn.proj.weight': (1, 1),
    'attn.proj.bias': (1,),
    'norm2.weight': (1,),
    'norm2.bias': (1,),
    'mlp.fc1.weight': (4, 1),
    'mlp.fc1.bias': (4,),
    'mlp.fc2.weight': (1, 4),
    'mlp.fc2.bias': (1,),
}
DINOV2 = {
    'pos_embed': (1, 1369, 'D'),
    'reg_token': (1, 4, 'D'),
    'patch_embed.proj.weight': ('D', 3, 14, 14),
}
DINOV2_BLOCK = {'ls1.gamma': (1,), 'ls2.gamma': (1,)}


def vit_shapes(width, outer, block):
    shapes = {name: tuple(width if n == 'D' else n for n in s) for name, s in outer.items()}
    for i in range(12):
        for name, multiples in block.items():
            shapes[f'blocks.{i}.{name}'] = tuple(width * n for n in multiples)
    return shapes


def resnet_shapes(counts, kernels, expansion):
    """torchvision's, its counters and classifier left out."""
    shapes = {'conv1.weight': (64, 3, 7, 7)} | norm_shapes('bn1', 64)
    before = 64
    for i, count in enumerate(counts):
        width = 64 * 2**i
        for j in range(count):
            block, channels = f'layer{i + 1}.{j}', before
            for k, side in enumerate(kernels):
                out = width * (expansion if k == len(kernels) - 1 else 1)
                shapes[f'{block}.conv{k + 1}.weight'] = (out, channels, side, side)
                shapes |= norm_shapes(f'{block}.bn{k + 1}', out)
                channels = out
            if j == 0 and before != channels:
                shapes[f'{block}.downsample.0.weight'] = (channels, before, 1, 1)
                shapes |= norm_shapes(f'{block}.downsample.1', channels)
            before = channels
    return shapes


def norm_shapes(name, width):
    return {
        f'{name}.{part}': (width,) for part in ('weight', 'bias', 'running_mean', 'running_var')
    }


PEERS = {
    'vit_tiny_patch16_224': vit_shapes(192, VIT, BLOCK),
    'vit_small_patch14_reg4_dinov2': vit_shapes(384, VIT | DINOV2, BLOCK | DINOV2_BLOCK),
    'resnet18': resnet_shapes((2, 2, 2, 2), (3, 3), 1),
    'resnet50': resnet_shapes((3, 4, 6, 3), (1, 3, 1), 4),
}


@pytest.mark.parametrize('name', PEERS)
def test_names_and_shapes_are_the_peers(name, monkeypatch):
    wanted = {key: np.zeros(shape, np.float16) for key, shape in PEERS[name].items()}
    monkeypatch.setattr(safetensors, 'read', lambda path: wanted)
    monkeypatch.setattr(weights.jnp, 'array', lambda x, dtype: x)
    module, variables = zoo.load(name, 'peer.safetensors')
    shape = (1, 224, 224, 3) if 'patch16' in name else (1, 518, 518, 3)
    init = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, 'float32'))
    assert jax.tree.map(lambda x: x.shape, variables) == jax.tree.map(lambda x: x.shape, init)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Backbones of the peers' make, small enough to look at."""
    options = weights._VIT | {'patch': 4, 'width': 8, 'depth': 2, 'heads': 2}
    named = {
        'small_vit': models.ViT(**options),
        'small_registers': models.ViT(**options, registers=2, layer_scale=0.1),
        'small_resnet': models.ResNet((1, 2), width=4),
        'small_bottleneck': models.ResNet((1, 1), width=4, block='bottleneck'),
    }
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | named)


def drawn(name, side=3):
    blank = weights._blank(zoo.backbone(name), side)
    ours = {path: RNG.normal(size=x.shape).astype('f') for path, x in blank.items()}
    return weights.unflatten_dict(ours, sep='/')


@pytest.mark.parametrize(
    'name', ['small_vit', 'small_registers', 'small_resnet', 'small_bottleneck']
)
def test_saved_and_loaded_again(name, tmp_path):
    variables = drawn(name)
    zoo.save(name, variables, tmp_path / 'a.safetensors')
    module, again = zoo.load(name, tmp_path / 'a.safetensors')
    assert module is zoo.backbone(name)
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    zoo.save(name, again, tmp_path / 'b.safetensors')
    assert (tmp_path / 'a.safetensors').read_bytes() == (tmp_path / 'b.safetensors').read_bytes()


def test_layouts(tmp_path):
    file = tmp_path / 'a.safetensors'
    params = drawn('small_vit')['params']
    zoo.save('small_vit', {'params': params}, file)
    found = safetensors.read(file)
    attention = params['transformer']['block1']['attention']
    for n, name in enumerate(('query', 'key', 'value')):
        for i, o in np.ndindex(8, 8):
            assert (
                found['blocks.1.attn.qkv.weight'][8 * n + o, i] == attention[name]['kernel'][i, o]
            )
        third = found['blocks.1.attn.qkv.bias'][8 * n : 8 * n + 8]
        np.testing.assert_array_equal(third, attention[name]['bias'])
    for o, c, v, u in np.ndindex(8, 3, 4, 4):
        ours = params['embed']['kernel'][(v * 4 + u) * 3 + c, o]
        assert found['patch_embed.proj.weight'][o, c, v, u] == ours
    for y, x in np.ndindex(3, 3):
        ours = params['positions']['table'][y, x]
        np.testing.assert_array_equal(found['pos_embed'][0, 1 + 3 * y + x], ours)

    params = drawn('small_bottleneck')['params']
    tree = {'params': params, 'batch_stats': drawn('small_bottleneck')['batch_stats']}
    zoo.save('small_bottleneck', tree, file)
    found = safetensors.read(file)
    for o, i, v, u in np.ndindex(8, 8, 3, 3):
        ours = params['stage1_block0']['conv1']['kernel'][v, u, i, o]
        assert found['layer2.0.conv2.weight'][o, i, v, u] == ours
    for o, i in np.ndindex(16, 4):
        ours = params['stage0_block0']['conv2']['kernel'][i, o]
        assert found['layer1.0.conv3.weight'][o, i, 0, 0] == ours


def test_what_a_file_may_have_besides(tmp_path):
    file = tmp_path / 'a.safetensors'
    variables = drawn('small_vit')
    zoo.save('small_vit', variables, file)
    found = dict(safetensors.read(file))
    found['pos_embed'] = found['pos_embed'] + np.eye(1, 10)[..., None].astype('f')
    found |= {'head.weight': np.zeros((5, 8)), 'head.bias': np.zeros(5)}
    halves = {name: x.astype(ml_dtypes.bfloat16) for name, x in found.items()}
    safetensors.write(file, halves)
    params = zoo.load('small_vit', file)[1]['params']
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype('f')}
    wanted = variables['params']['class_token'] + 1  # and the position of the class token
    np.testing.assert_allclose(params['class_token'], wanted, atol=0.03)
    np.testing.assert_allclose(
        params['positions']['table'], variables['params']['positions']['table'], rtol=0.01
    )


def test_all_faults_at_once(tmp_path):
    file = tmp_path / 'a.safetensors'
    zoo.save('small_vit', drawn('small_vit'), file)
    found = dict(safetensors.read(file))
    del found['cls_token'], found['norm.bias']
    found |= {'dist_token': np.zeros((1, 1, 8), 'f'), 'norm.weight': np.zeros(9, 'f')}
    found |= {'blocks.0.attn.proj.bias': np.zeros(8, np.int8)}
    safetensors.write(file, found)
    with pytest.raises(Refusal) as refusal:
        zoo.load('small_vit', file)
    assert str(refusal.value) == (
        f'{file} is no small_vit: lacks cls_token, norm.bias; unknown dist_token;'
        ' of another shape norm.weight (9,) for (8,); of another type blocks.0.attn.proj.bias int8'
    )
    safetensors.write(file, {})
    with pytest.raises(Refusal, match=r'lacks patch_embed\.proj\.weight, .* and 23 more$'):
        zoo.load('small_registers', file)


def test_faults_of_variables_and_names(tmp_path):
    file = tmp_path / 'a.safetensors'
    variables = drawn('small_vit')
    variables['params']['positions']['table'] = np.zeros((3, 4, 8), 'f')
    with pytest.raises(Refusal, match=r'table \(3, 4, 8\) for \(3, 3, 8\)'):
        zoo.save('small_vit', variables, file)
    with pytest.raises(Refusal, match=r'lacks batch_stats/.*; unknown params/class_token'):
        zoo.save('small_resnet', variables, file)
    assert not file.exists()
    with pytest.raises(Refusal, match="no backbone is called 'vit_small'; the nearest is vit_"):
        zoo.load('vit_small', file)
    with pytest.raises(Refusal, match='convert it'):
        zoo.load('small_vit', tmp_path / 'a.pth')
    assert zoo.backbone('vit_base_patch16_384') is zoo.backbone('vit_base_patch16')
