"""CLIP as transformers has it: its names and shapes written down; through its network and ours."""

import jax
import numpy as np
import pytest

from jssl import models, zoo
from jssl.errors import Refusal
from jssl.zoo import safetensors, weights

RNG = np.random.default_rng(0)
TOKENS = np.array([[18, 3, 4, 19, 0, 0], [18, 1, 2, 5, 6, 19], [18, 7, 19, 19, 19, 19]])

# Of the published clip-vit-base-patch32; (outer array: shape), D the widths of the towers.
OUTER = {
    'logit_scale': (),
    'visual_projection.weight': (512, 768),
    'text_projection.weight': (512, 512),
    'vision_model.embeddings.class_embedding': (768,),
    'vision_model.embeddings.patch_embedding.weight': (768, 3, 32, 32),
    'vision_model.embeddings.position_embedding.weight': (50, 768),
    'vision_model.pre_layrnorm.weight': (768,),
    'vision_model.pre_layrnorm.bias': (768,),
    'vision_model.post_layernorm.weight': (768,),
    'vision_model.post_layernorm.bias': (768,),
    'text_model.embeddings.token_embedding.weight': (49408, 512),
    'text_model.embeddings.position_embedding.weight': (77, 512),
    'text_model.final_layer_norm.weight': (512,),
    'text_model.final_layer_norm.bias': (512,),
}


def published():
    shapes = dict(OUTER)
    for tower, width in (('vision_model', 768), ('text_model', 512)):
        for i in range(12):
            layer = f'{tower}.encoder.layers.{i}'
            for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
                shapes[f'{layer}.self_attn.{name}.weight'] = (width, width)
                shapes[f'{layer}.self_attn.{name}.bias'] = (width,)
            for name in ('layer_norm1', 'layer_norm2'):
                shapes[f'{layer}.{name}.weight'] = shapes[f'{layer}.{name}.bias'] = (width,)
            shapes[f'{layer}.mlp.fc1.weight'] = (4 * width, width)
            shapes[f'{layer}.mlp.fc1.bias'] = (4 * width,)
            shapes[f'{layer}.mlp.fc2.weight'] = (width, 4 * width)
            shapes[f'{layer}.mlp.fc2.bias'] = (width,)
    return shapes


def test_names_and_shapes_are_the_published(monkeypatch):
    wanted = {name: np.zeros(shape, np.float16) for name, shape in published().items()}
    wanted['text_model.embeddings.position_ids'] = np.zeros((1, 77), np.int64)
    monkeypatch.setattr(safetensors, 'read', lambda path: wanted)
    monkeypatch.setattr(weights.jnp, 'array', lambda x, dtype: x)
    module, variables = zoo.load('clip-vit-base-patch32', 'peer.safetensors')
    assert module.image.patch == 32
    assert variables['params']['image']['positions']['table'].shape == (7, 7, 768)


@pytest.fixture
def small(monkeypatch):
    """A model of CLIP's make, small enough to run."""
    options = {'activation': models.quick_gelu, 'epsilon': 1e-5}
    image = models.ViT(4, 24, 2, 3, positions='learned', stem_norm=True, pooling=None, **options)
    text = models.TextEncoder(20, 6, models.Transformer(16, 2, 2, causal=True, **options))
    named = {'small_clip': models.CLIP(image, text, 12)}
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | named)
    return named['small_clip']


def test_saved_and_loaded_again(small, tmp_path):
    blank = weights._blank(small, 2)
    ours = {path: RNG.normal(size=x.shape).astype('f') for path, x in blank.items()}
    variables = weights.unflatten_dict(ours, sep='/')
    zoo.save('small_clip', variables, tmp_path / 'a.safetensors')
    module, again = zoo.load('small_clip', tmp_path / 'a.safetensors')
    assert module is small
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    found = dict(safetensors.read(tmp_path / 'a.safetensors'))
    del found['visual_projection.weight']
    found['text_model.final_layer_norm.bias'] = np.zeros(3, 'f')
    safetensors.write(tmp_path / 'b.safetensors', found)
    with pytest.raises(Refusal) as refusal:
        zoo.load('small_clip', tmp_path / 'b.safetensors')
    assert str(refusal.value).endswith(
        'is no small_clip: lacks visual_projection.weight;'
        ' of another shape text_model.final_layer_norm.bias (3,) for (16,)'
    )


def test_ours_gives_what_transformers_gives(small, tmp_path):
    reason = 'parity needs the peer itself: pip install torch transformers'
    torch = pytest.importorskip('torch', reason=reason)
    transformers = pytest.importorskip('transformers', reason=reason)
    files = pytest.importorskip('safetensors.torch', reason=reason)
    text = {'vocab_size': 20, 'max_position_embeddings': 6, 'hidden_size': 16, 'eos_token_id': 19}
    vision = {'image_size': 8, 'patch_size': 4, 'hidden_size': 24, 'num_attention_heads': 3}
    text |= {'num_attention_heads': 2, 'intermediate_size': 64, 'num_hidden_layers': 2}
    vision |= {'intermediate_size': 96, 'num_hidden_layers': 2}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    torch.manual_seed(0)
    network = transformers.CLIPModel(config).eval()
    for x in network.parameters():
        x.data += 0.2 * torch.randn_like(x) / (x[0].numel() ** 0.5 if x.ndim > 1 else 1)
    images = RNG.normal(size=(2, 8, 8, 3)).astype('f')

    def peer(network):
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            out = network(input_ids=torch.from_numpy(TOKENS), pixel_values=pixels)
        return out.image_embeds.numpy(), out.text_embeds.numpy(), out.logits_per_image.numpy()

    want = peer(network)
    files.save_file(network.state_dict(), tmp_path / 'peer.safetensors')
    module, variables = zoo.load('small_clip', tmp_path / 'peer.safetensors')
    image, words, scale = jax.jit(module.apply)(variables, images, TOKENS)
    unit = [z / np.linalg.norm(z, axis=-1, keepdims=True) for z in (image, words)]
    logits = models.zero_shot(image, words, scale=scale)
    for ours, theirs in zip([*unit, logits], want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)

    zoo.save('small_clip', variables, tmp_path / 'ours.safetensors')
    network.load_state_dict(files.load_file(tmp_path / 'ours.safetensors'))
    np.testing.assert_allclose(peer(network)[2], want[2], rtol=0, atol=1e-4)
