"""wav2vec 2.0 and HuBERT as transformers has them: names, shapes, and what they give."""

import jax
import numpy as np
import pytest

from jssl import models, zoo
from jssl.errors import Refusal
from jssl.zoo import safetensors, weights

RNG = np.random.default_rng(0)
POSITIONS = 'encoder.pos_conv_embed.conv'

# Of the published wav2vec2-base, as its file has them, behind 'wav2vec2.'.
OUTER = {
    'masked_spec_embed': (768,),
    'feature_projection.layer_norm.weight': (512,),
    'feature_projection.layer_norm.bias': (512,),
    'feature_projection.projection.weight': (768, 512),
    'feature_projection.projection.bias': (768,),
    'feature_extractor.conv_layers.0.layer_norm.weight': (512,),
    'feature_extractor.conv_layers.0.layer_norm.bias': (512,),
    f'{POSITIONS}.bias': (768,),
    f'{POSITIONS}.weight_g': (1, 1, 128),
    f'{POSITIONS}.weight_v': (768, 48, 128),
    'encoder.layer_norm.weight': (768,),
    'encoder.layer_norm.bias': (768,),
}
HEADS = {
    'quantizer.codevectors': (1, 640, 128),
    'quantizer.weight_proj.weight': (640, 512),
    'quantizer.weight_proj.bias': (640,),
    'project_hid.weight': (256, 768),
    'project_hid.bias': (256,),
    'project_q.weight': (256, 256),
    'project_q.bias': (256,),
}


def published():
    shapes = {f'wav2vec2.{name}': shape for name, shape in OUTER.items()} | HEADS
    for i, kernel in enumerate((10, 3, 3, 3, 3, 2, 2)):
        name = f'wav2vec2.feature_extractor.conv_layers.{i}.conv.weight'
        shapes[name] = (512, 512 if i else 1, kernel)
    for i in range(12):
        layer = f'wav2vec2.encoder.layers.{i}'
        for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
            shapes[f'{layer}.attention.{name}.weight'] = (768, 768)
            shapes[f'{layer}.attention.{name}.bias'] = (768,)
        for name in ('layer_norm', 'final_layer_norm'):
            shapes[f'{layer}.{name}.weight'] = shapes[f'{layer}.{name}.bias'] = (768,)
        shapes[f'{layer}.feed_forward.intermediate_dense.weight'] = (3072, 768)
        shapes[f'{layer}.feed_forward.intermediate_dense.bias'] = (3072,)
        shapes[f'{layer}.feed_forward.output_dense.weight'] = (768, 3072)
        shapes[f'{layer}.feed_forward.output_dense.bias'] = (768,)
    return shapes


@pytest.mark.parametrize('name', ['wav2vec2-base', 'wav2vec2-base-pretraining'])
def test_names_and_shapes_are_the_published(name, monkeypatch):
    wanted = {theirs: np.zeros(shape, np.float16) for theirs, shape in published().items()}
    monkeypatch.setattr(safetensors, 'read', lambda path: wanted)
    monkeypatch.setattr(weights.jnp, 'array', lambda x, dtype: x)
    module, variables = zoo.load(name, 'peer.safetensors')
    init = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 400), 'f'))
    assert jax.tree.map(lambda x: x.shape, variables) == jax.tree.map(lambda x: x.shape, init)
    del wanted['wav2vec2.masked_spec_embed']
    with pytest.raises(Refusal, match=f'is no {name}: lacks (wav2vec2.)?masked_spec_embed$'):
        zoo.load(name, 'peer.safetensors')


OPTIONS = {'mlp_ratio': 2, 'kernel': 6, 'groups': 4}
BASE = models.WaveFeatures((8,) * 7), models.SpeechEncoder(16, 1, 2, **OPTIONS)
LARGE = (
    models.WaveFeatures((8,) * 7, norm='layer', use_bias=True),
    models.SpeechEncoder(16, 1, 2, **OPTIONS, pre_norm=True),
)
SMALL = {
    'small_wav2vec2': models.WaveEncoder(*BASE),
    'small_hubert': models.WaveEncoder(*LARGE),
    'small_pretraining': models.Wav2Vec2(*BASE, models.GumbelQuantiser(2, 5, 8), 12),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | SMALL)


@pytest.mark.parametrize('name', SMALL)
def test_saved_and_loaded_again(name, tmp_path):
    blank = weights._blank(SMALL[name], 1)
    ours = {path: RNG.normal(size=x.shape).astype('f') for path, x in blank.items()}
    variables = weights.unflatten_dict(ours, sep='/')
    zoo.save(name, variables, tmp_path / 'a.safetensors')
    module, again = zoo.load(name, tmp_path / 'a.safetensors')
    assert module is SMALL[name]
    jax.tree.map(np.testing.assert_array_equal, again, variables)


@pytest.mark.parametrize('name', SMALL)
def test_ours_gives_what_transformers_gives(name, tmp_path):
    reason = 'parity needs the peer itself: pip install torch transformers'
    torch = pytest.importorskip('torch', reason=reason)
    transformers = pytest.importorskip('transformers', reason=reason)
    files = pytest.importorskip('safetensors.torch', reason=reason)
    options = {
        'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2,
        'intermediate_size': 32, 'conv_dim': (8,) * 7, 'num_conv_pos_embeddings': 6,
        'num_conv_pos_embedding_groups': 4,
    }  # fmt: skip
    if name == 'small_hubert':
        options |= {'feat_extract_norm': 'layer', 'conv_bias': True, 'do_stable_layer_norm': True}
        peer = transformers.HubertModel(transformers.HubertConfig(**options))
    elif name == 'small_wav2vec2':
        peer = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**options))
    else:
        options |= {'codevector_dim': 8, 'proj_codevector_dim': 12, 'num_codevectors_per_group': 5}
        peer = transformers.Wav2Vec2ForPreTraining(transformers.Wav2Vec2Config(**options))
    torch.manual_seed(0)
    state = peer.state_dict()
    for key, x in state.items():  # so that no array is zero or one
        state[key] = x + 0.2 * torch.randn_like(x) / x[0].numel() ** 0.5
    peer.load_state_dict(state)
    files.save_file(peer.state_dict(), tmp_path / 'peer.safetensors')
    module, variables = zoo.load(name, tmp_path / 'peer.safetensors')

    x = RNG.normal(size=(2, 2400)).astype('f')
    lengths = np.array([2400, 1500])
    heard = torch.from_numpy(np.arange(2400) < lengths[:, None]).long()
    found = jax.jit(module.apply)(variables, x, lengths=lengths)
    with torch.no_grad():
        out = peer.eval()(torch.from_numpy(x), attention_mask=heard)
    if name == 'small_pretraining':
        pairs = (found[0], out.projected_states), (found[1].q, out.projected_quantized_states)
    else:
        pairs = ((found, out.last_hidden_state),)
    for ours, theirs in pairs:
        assert theirs.std() > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)

    zoo.save(name, variables, tmp_path / 'ours.safetensors')
    peer.load_state_dict(files.load_file(tmp_path / 'ours.safetensors'))
