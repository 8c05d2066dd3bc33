"""A slow forward pass of DiT, from the paper and by its published names, against ours."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models, zoo
from jssl.errors import Refusal
from jssl.zoo import safetensors, weights

RNG = np.random.default_rng(0)
PATCH, WIDTH, DEPTH, HEADS, CLASSES = 2, 12, 2, 3, 5
SMALL = models.DiT(PATCH, WIDTH, DEPTH, HEADS, channels=8, classes=CLASSES)
X = RNG.normal(size=(2, 4, 6, 4)).astype('f')  # [B, H, W, C]
TIME, LABEL = np.array([3, 870]), np.array([1, CLASSES])


def published():
    """Random arrays under the names and in the layouts of the published checkpoints."""
    shapes = {
        'x_embedder.proj': (WIDTH, 4, PATCH, PATCH),
        't_embedder.mlp.0': (WIDTH, 256),
        't_embedder.mlp.2': (WIDTH, WIDTH),
        'final_layer.linear': (PATCH**2 * 8, WIDTH),
        'final_layer.adaLN_modulation.1': (2 * WIDTH, WIDTH),
    }
    for i in range(DEPTH):
        shapes |= {
            f'blocks.{i}.attn.qkv': (3 * WIDTH, WIDTH),
            f'blocks.{i}.attn.proj': (WIDTH, WIDTH),
            f'blocks.{i}.mlp.fc1': (4 * WIDTH, WIDTH),
            f'blocks.{i}.mlp.fc2': (WIDTH, 4 * WIDTH),
            f'blocks.{i}.adaLN_modulation.1': (6 * WIDTH, WIDTH),
        }
    draw = lambda *shape: RNG.normal(size=shape).astype('f')
    found = {'y_embedder.embedding_table.weight': draw(CLASSES + 1, WIDTH)}
    for name, shape in shapes.items():
        found[f'{name}.weight'] = draw(*shape) / np.float32(np.sqrt(np.prod(shape[1:])))
        found[f'{name}.bias'] = draw(shape[0]) / 5
    return found | {'pos_embed': draw(1, 6, WIDTH)}


def waves(value, width):
    angles = [value * 10000 ** (-i / (width // 2)) for i in range(width // 2)]
    return [*np.sin(angles), *np.cos(angles)]


def forward(p, image, time, label):
    """One image [C, H, W] to [2 C, H, W], in float64."""
    p = {name: np.float64(x) for name, x in p.items()}
    linear = lambda name, x: p[f'{name}.weight'] @ x + p[f'{name}.bias']
    silu = lambda x: x / (1 + np.exp(-x))
    gelu = lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    norm = lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-6)
    sines = np.array(waves(time, 256))
    sines = np.array([*sines[128:], *sines[:128]])  # of times, cosines come first
    c = linear('t_embedder.mlp.2', silu(linear('t_embedder.mlp.0', sines)))
    c = silu(c + p['y_embedder.embedding_table.weight'][label])
    channels, height, width = image.shape
    places = [(i, j) for i in range(height // PATCH) for j in range(width // PATCH)]
    tokens = []
    for i, j in places:
        cut = image[:, PATCH * i :, PATCH * j :][:, :PATCH, :PATCH]
        tokens.append(np.einsum('dcuv,cuv->d', p['x_embedder.proj.weight'], cut))
        # the column is encoded first
        tokens[-1] += waves(j, WIDTH // 2) + waves(i, WIDTH // 2)
        tokens[-1] += p['x_embedder.proj.bias']
    for n in range(DEPTH):
        block = f'blocks.{n}'
        parts = np.split(linear(f'{block}.adaLN_modulation.1', c), 6)
        shift, scale, gate, shift2, scale2, gate2 = parts
        rows = [linear(f'{block}.attn.qkv', norm(x) * (1 + scale) + shift) for x in tokens]
        q, k, v = (np.array(rows)[:, s * WIDTH :][:, :WIDTH] for s in range(3))
        d, mixed = WIDTH // HEADS, np.zeros((len(tokens), WIDTH))
        for h in range(HEADS):
            at = slice(h * d, h * d + d)
            for a in range(len(tokens)):
                w = np.exp([q[a, at] @ k[b, at] / math.sqrt(d) for b in range(len(tokens))])
                mixed[a, at] = w @ v[:, at] / w.sum()
        tokens = [x + gate * linear(f'{block}.attn.proj', y) for x, y in zip(tokens, mixed)]  # noqa: B905
        for a, x in enumerate(tokens):
            hidden = gelu(linear(f'{block}.mlp.fc1', norm(x) * (1 + scale2) + shift2))
            tokens[a] = x + gate2 * linear(f'{block}.mlp.fc2', hidden)
    shift, scale = np.split(linear('final_layer.adaLN_modulation.1', c), 2)
    out = np.zeros((2 * channels, height, width))
    for (i, j), x in zip(places, tokens, strict=True):
        y = linear('final_layer.linear', norm(x) * (1 + scale) + shift)
        patch = y.reshape(PATCH, PATCH, -1).transpose(2, 0, 1)
        out[:, PATCH * i : PATCH * (i + 1), PATCH * j : PATCH * (j + 1)] = patch
    return out


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | {'DiT-T/2': SMALL})
    return 'DiT-T/2'


def test_a_published_file_gives_the_papers_forward_pass(small, tmp_path):
    arrays = published()
    safetensors.write(tmp_path / 'theirs.safetensors', arrays)
    module, variables = zoo.load(small, tmp_path / 'theirs.safetensors')
    y = np.asarray(jax.jit(module.apply)(variables, X, TIME, LABEL))
    rows = zip(X.transpose(0, 3, 1, 2).astype(float), TIME, LABEL, strict=True)
    want = np.stack([forward(arrays, *row) for row in rows]).transpose(0, 2, 3, 1)
    assert want.std() > 0.1
    np.testing.assert_allclose(y, want, atol=1e-4)

    zoo.save(small, variables, tmp_path / 'ours.safetensors')
    again = safetensors.read(tmp_path / 'ours.safetensors')
    assert set(again) == set(arrays)
    table = again.pop('pos_embed')
    assert table.shape == (1, 256, WIDTH)
    row, column = 3, 5
    expected = [*waves(column, WIDTH // 2), *waves(row, WIDTH // 2)]
    np.testing.assert_allclose(table[0, 16 * row + column], expected, atol=1e-6)
    for name, x in again.items():
        np.testing.assert_array_equal(x, arrays[name])


def test_published_sizes():
    shape = jax.ShapeDtypeStruct((1, 32, 32, 4), jnp.float32)
    number = jax.ShapeDtypeStruct((1,), jnp.int32)
    module = zoo.backbone('DiT-XL/2')
    shapes = jax.eval_shape(module.init, jax.random.key(0), shape, number, number)
    count = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
    # table 1 of the paper says 675 million, and their table of positions is one of their arrays
    assert count == 675_129_632 - 256 * 1152
    with pytest.raises(Refusal, match='the nearest is DiT-XL'):
        zoo.backbone('DiT-XL/3')
