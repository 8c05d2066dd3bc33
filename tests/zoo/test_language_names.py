"""Language models in the files of transformers: round trips, older names, parity with the peer."""

import jax
import numpy as np
import pytest

from jssl import models, zoo
from jssl.zoo import language_names, safetensors, weights

RNG = np.random.default_rng(0)
REASON = 'parity needs the peer itself: pip install torch transformers safetensors'
TOKENS = RNG.integers(0, 50, (2, 7))

small_bert = language_names.bert(50, 128, 2)
SMALL = {
    'small-gpt2': language_names.gpt2(16, 2, 2).clone(vocabulary=50, learned_positions=12),
    'small-llama': language_names.llama(50, 16, 2, 4, 2, 40, base=100.0),
    'small-tied': language_names.llama(50, 16, 2, 4, 4, 40, tied=True),
    'small-bert': small_bert.clone(length=12),
    'small-roberta': language_names.bert(50, 128, 2, segments=1, epsilon=1e-5).clone(length=12),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(weights, 'BACKBONES', weights.BACKBONES | SMALL)


def drawn(name):
    """Variables none of whose arrays is zero or one."""
    shapes = jax.eval_shape(zoo.backbone(name).init, jax.random.key(0), TOKENS)

    def leaf(path, x):
        noise = RNG.normal(size=x.shape).astype('f')
        return 1 + 0.2 * noise if path[-1].key == 'scale' else noise / x.shape[0] ** 0.5

    return jax.tree_util.tree_map_with_path(leaf, shapes)


@pytest.mark.parametrize('name', SMALL)
def test_saved_and_loaded_again(name, tmp_path):
    variables = drawn(name)
    zoo.save(name, variables, tmp_path / 'a.safetensors')
    _, again = zoo.load(name, tmp_path / 'a.safetensors')
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_names_of_older_files(tmp_path):
    """Without the body's name, with masks, and with a norm's gamma and beta."""
    for name, body, extra in (
        ('small-gpt2', 'transformer.', {'h.0.attn.bias': np.zeros((1, 1, 4, 4), 'f')}),
        ('small-bert', 'bert.', {'pooler.dense.weight': np.zeros((128, 128), 'f')}),
    ):
        variables, file = drawn(name), tmp_path / 'a.safetensors'
        zoo.save(name, variables, file)
        found = safetensors.read(file)
        old = {
            key.removeprefix(body)
            .replace('LayerNorm.weight', 'LayerNorm.gamma')
            .replace('LayerNorm.bias', 'LayerNorm.beta'): np.array(x)
            for key, x in found.items()
        }
        safetensors.write(file, old | extra)
        jax.tree.map(np.testing.assert_array_equal, zoo.load(name, file)[1], variables)


def test_layouts(tmp_path):
    file, params = tmp_path / 'a.safetensors', drawn('small-gpt2')['params']
    zoo.save('small-gpt2', {'params': params}, file)
    found, attention = safetensors.read(file), params['transformer']['block1']['attention']
    for n, name in enumerate(('query', 'key', 'value')):
        part = slice(16 * n, 16 * n + 16)
        whole = found['transformer.h.1.attn.c_attn.weight']
        np.testing.assert_array_equal(whole[:, part], attention[name]['kernel'])
        whole = found['transformer.h.1.attn.c_attn.bias']
        np.testing.assert_array_equal(whole[part], attention[name]['bias'])
    params = drawn('small-roberta')['params']
    zoo.save('small-roberta', {'params': params}, file)
    table = safetensors.read(file)['roberta.embeddings.position_embeddings.weight']
    np.testing.assert_array_equal(table[2:], params['positions']['embedding'])
    assert not table[:2].any()


def test_published_sizes():
    """The numbers of parameters that are published, biases and tied matrices counted once."""
    counts = {'gpt2': 124_439_808, 'roberta-base': 124_697_433, 'smollm2-135m': 134_515_008}
    for name, count in counts.items():
        shapes = jax.eval_shape(zoo.backbone(name).init, jax.random.key(0), TOKENS)
        total = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
        # two rows of RoBERTa's positions are not ours
        assert total == count - 2 * 768 * (name == 'roberta-base')


def peers(transformers):
    bert = {'vocab_size': 50, 'hidden_size': 128, 'num_hidden_layers': 2, 'num_attention_heads': 2}
    bert |= {'intermediate_size': 512}
    llama = {'vocab_size': 50, 'hidden_size': 16, 'intermediate_size': 40, 'num_hidden_layers': 2}
    llama |= {'num_attention_heads': 4, 'rms_norm_eps': 1e-5, 'max_position_embeddings': 32}
    rotary = {'rope_type': 'default', 'rope_theta': 100.0}
    gpt2 = transformers.GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=2, n_head=2)
    few = transformers.LlamaConfig(**llama, num_key_value_heads=2, rope_parameters=rotary)
    roberta = {'max_position_embeddings': 14, 'type_vocab_size': 1, 'layer_norm_eps': 1e-5}
    return {
        'small-gpt2': transformers.GPT2LMHeadModel(gpt2),
        'small-llama': transformers.LlamaForCausalLM(few),
        'small-tied': transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**llama, tie_word_embeddings=True)
        ),
        'small-bert': transformers.BertForMaskedLM(
            transformers.BertConfig(**bert, max_position_embeddings=12)
        ),
        'small-roberta': transformers.RobertaForMaskedLM(
            transformers.RobertaConfig(**bert, **roberta)
        ),
    }


@pytest.mark.parametrize('name', SMALL)
def test_ours_gives_what_transformers_gives(name, tmp_path):
    torch = pytest.importorskip('torch', reason=REASON)
    transformers = pytest.importorskip('transformers', reason=REASON)
    file = pytest.importorskip('safetensors.torch', reason=REASON)
    torch.manual_seed(0)
    network = peers(transformers)[name].eval()
    for x in network.parameters():
        x.data += 0.2 * torch.randn_like(x) / max(1, x[0].numel()) ** 0.5
    given = {'input_ids': torch.from_numpy(np.where(TOKENS == 1, 2, TOKENS))}  # 1 is padding
    with torch.no_grad():
        want = network(**given).logits.numpy()
    network.save_pretrained(tmp_path)
    module, variables = zoo.load(name, tmp_path / 'model.safetensors')
    ours = np.asarray(jax.jit(module.apply)(variables, given['input_ids'].numpy()))
    assert want.std() > 0.01
    np.testing.assert_allclose(ours, want, rtol=0, atol=1e-4)

    zoo.save(name, variables, tmp_path / 'ours.safetensors')
    state = file.load_file(tmp_path / 'ours.safetensors')
    again = peers(transformers)[name].eval()
    unknown = again.load_state_dict(state, strict=False)[1]
    assert not unknown
    again.tie_weights()
    with torch.no_grad():
        np.testing.assert_allclose(again(**given).logits.numpy(), want, rtol=0, atol=1e-4)
    assert isinstance(module, models.CausalLM | models.MaskedLM)
