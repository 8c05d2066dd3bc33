"""What Hugging Face's transformers calls the arrays of language models, and the published ones.

Files of GPT-2, BERT and RoBERTa are read with or without the name of the model in front of each
array; they are written as the models with heads have them. The form is that of `names`.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jssl import models
from jssl.zoo.names import MATRIX, SAME, Family, Layout

COLUMNS = Layout(SAME.theirs, SAME.ours, 1)  # GPT-2's matrices are [in, out], as ours are
# RoBERTa counts positions from 2: row 1 of its table is padding's, row 0 nobody's.
FROM_TWO = Layout(lambda x: np.pad(x, ((2, 0), (0, 0))), lambda x, shape: x[2:])

# A layer's weight is a matrix or the scale of a norm: (their layer, our layer, our weight)
GPT2 = (
    ('transformer.wte', 'embed', 'embedding'),
    ('transformer.wpe', 'positions', 'embedding'),
    ('transformer.ln_f', 'transformer/norm', 'scale'),
)
GPT2_BLOCK = (
    ('ln_1', 'attention_norm', 'scale'),
    ('attn.c_attn', 'attention/query|key|value', 'kernel'),
    ('attn.c_proj', 'attention/out', 'kernel'),
    ('ln_2', 'mlp_norm', 'scale'),
    ('mlp.c_fc', 'mlp/up', 'kernel'),
    ('mlp.c_proj', 'mlp/down', 'kernel'),
)
LLAMA = (
    ('model.embed_tokens', 'embed', 'embedding'),
    ('model.norm', 'transformer/norm', 'scale'),
    ('lm_head', 'head', 'kernel'),
)
LLAMA_BLOCK = (
    ('input_layernorm', 'attention_norm', 'scale'),
    ('self_attn.q_proj', 'attention/query', 'kernel'),
    ('self_attn.k_proj', 'attention/key', 'kernel'),
    ('self_attn.v_proj', 'attention/value', 'kernel'),
    ('self_attn.o_proj', 'attention/out', 'kernel'),
    ('post_attention_layernorm', 'mlp_norm', 'scale'),
    ('mlp.gate_proj', 'mlp/gate', 'kernel'),
    ('mlp.up_proj', 'mlp/up', 'kernel'),
    ('mlp.down_proj', 'mlp/down', 'kernel'),
)
BERT = (
    ('embeddings.word_embeddings', 'embed', 'embedding'),
    ('embeddings.position_embeddings', 'positions', 'embedding'),
    ('embeddings.token_type_embeddings', 'segment', 'embedding'),
    ('embeddings.LayerNorm', 'embed_norm', 'scale'),
)
BERT_BLOCK = (
    ('attention.self.query', 'attention/query', 'kernel'),
    ('attention.self.key', 'attention/key', 'kernel'),
    ('attention.self.value', 'attention/value', 'kernel'),
    ('attention.output.dense', 'attention/out', 'kernel'),
    ('attention.output.LayerNorm', 'attention_norm', 'scale'),
    ('intermediate.dense', 'mlp/up', 'kernel'),
    ('output.dense', 'mlp/down', 'kernel'),
    ('output.LayerNorm', 'mlp_norm', 'scale'),
)
HEADS = {
    'bert': (
        ('cls.predictions.transform.dense', 'head', 'kernel'),
        ('cls.predictions.transform.LayerNorm', 'head_norm', 'scale'),
    ),
    'roberta': (('lm_head.dense', 'head', 'kernel'), ('lm_head.layer_norm', 'head_norm', 'scale')),
}
BIAS = {'bert': 'cls.predictions.bias', 'roberta': 'lm_head.bias'}

# Masks and frequencies that older files keep, tied matrices, poolers and heads of other tasks.
ASIDE = (
    r'.*\.attn\.(masked_)?bias|.*\.inv_freq|.*\.position_ids|(.*\.)?pooler\..*'
    r'|(cls\.predictions|lm_head)\.decoder\..*|cls\.seq_relationship\..*'
)


def causal(module: models.CausalLM) -> Family:
    """The arrays of GPT-2 where positions are learned, of Llama where they are rotary."""
    if module.learned_positions:
        body, blocks, matrix = 'transformer.', 'transformer.h', COLUMNS
        outer, block = GPT2, GPT2_BLOCK
    else:
        body, blocks, matrix = 'model.', 'model.layers', MATRIX
        outer, block = LLAMA, LLAMA_BLOCK
    rows = _layers(outer, '', '', matrix)
    for i in range(module.transformer.depth):
        rows += _layers(block, f'{blocks}.{i}.', f'transformer/block{i}/', matrix)
    aside = ASIDE + (r'|lm_head\.weight' if module.tied else '')
    return Family(rows, _tokens, aside, renamed=partial(_renamed, body))


def masked(module: models.MaskedLM) -> Family:
    """The arrays of BERT, or of RoBERTa, whose texts have one part only."""
    kind = 'bert' if module.segments > 1 else 'roberta'
    table = 'embeddings.position_embeddings.weight'
    rows = [
        (name, ours, FROM_TWO if name.endswith(table) and kind == 'roberta' else layout)
        for name, ours, layout in _layers(BERT, f'{kind}.', '', MATRIX)
    ]
    for i in range(module.transformer.depth):
        there = f'{kind}.encoder.layer.{i}.', f'transformer/block{i}/'
        rows += _layers(BERT_BLOCK, *there, MATRIX)
    rows += [*_layers(HEADS[kind], '', '', MATRIX), (BIAS[kind], 'params/bias', SAME)]
    return Family(rows, _tokens, ASIDE, renamed=partial(_renamed, f'{kind}.'))


def _layers(table, theirs, ours, matrix):
    """Rows of weights and biases: the layers of a table, each behind both prefixes."""
    rows = []
    for their, our, weight in table:
        layout = matrix if weight == 'kernel' else SAME
        rows.append((f'{theirs}{their}.weight', f'params/{ours}{our}/{weight}', layout))
        rows.append((f'{theirs}{their}.bias', f'params/{ours}{our}/bias', SAME))
    return rows


def _tokens(side):
    return (jax.ShapeDtypeStruct((1, 2), jnp.int32),)


def _renamed(body, name):
    """A name with the body's in front, and with those of a norm's arrays as they are today."""
    name = name.replace('LayerNorm.gamma', 'LayerNorm.weight')
    name = name.replace('LayerNorm.beta', 'LayerNorm.bias')
    return name if name.startswith((body, 'cls.', 'lm_head.')) else body + name


def gpt2(width: int, depth: int, heads: int) -> models.CausalLM:
    """A size of GPT-2; its tokens are those of `tokens.gpt2`."""
    transformer = models.Transformer(width, depth, heads, causal=True, epsilon=1e-5)
    return models.CausalLM(50257, transformer, learned_positions=1024)


def llama(
    vocabulary: int,
    width: int,
    depth: int,
    heads: int,
    groups: int,
    hidden: int,
    *,
    base: float = 10000.0,
    tied: bool = False,
) -> models.CausalLM:
    """A size of the Llama kind: `groups` heads of keys and values, `hidden` gated channels."""
    transformer = models.Transformer(
        width,
        depth,
        heads,
        mlp_ratio=hidden / width,
        causal=True,
        key_value_heads=groups,
        gated=True,
        use_bias=False,
        activation=nn.silu,
        norm=nn.RMSNorm,
        epsilon=1e-5,
    )
    return models.CausalLM(vocabulary, transformer, base=base, tied=tied)


def bert(
    vocabulary: int,
    width: int,
    depth: int,
    *,
    segments: int = 2,
    epsilon: float = 1e-12,
) -> models.MaskedLM:
    """A size of BERT, 64 channels a head; RoBERTa has one segment."""
    transformer = models.Transformer(
        width,
        depth,
        width // 64,
        pre_norm=False,
        epsilon=epsilon,
        activation=partial(nn.gelu, approximate=False),
    )
    return models.MaskedLM(vocabulary, transformer, length=512, segments=segments)


BACKBONES = {
    'gpt2': gpt2(768, 12, 12),
    'gpt2-medium': gpt2(1024, 24, 16),
    'gpt2-large': gpt2(1280, 36, 20),
    'gpt2-xl': gpt2(1600, 48, 25),
    'distilgpt2': gpt2(768, 6, 12),
    'smollm2-135m': llama(49152, 576, 30, 9, 3, 1536, base=1e5, tied=True),
    'smollm2-360m': llama(49152, 960, 32, 15, 5, 2560, base=1e5, tied=True),
    'tinyllama-1.1b': llama(32000, 2048, 22, 32, 4, 5632),
    'bert-base-uncased': bert(30522, 768, 12),
    'bert-base-cased': bert(28996, 768, 12),
    'bert-large-uncased': bert(30522, 1024, 24),
    'roberta-base': bert(50265, 768, 12, segments=1, epsilon=1e-5),
    'roberta-large': bert(50265, 1024, 24, segments=1, epsilon=1e-5),
}
