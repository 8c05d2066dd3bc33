"""What Hugging Face's transformers calls the arrays of speech networks, and the published ones.

wav2vec 2.0 and HuBERT have one trunk, which is read from files of itself and of what stands on it.
The form is that of `names`.
"""

import jax
import jax.numpy as jnp

from jssl import models
from jssl.zoo.names import MATRIX, SAME, Family, Layout

KERNEL = Layout(lambda x: x.transpose(2, 1, 0), lambda x, shape: x.transpose(2, 1, 0))
TAPS = Layout(lambda x: x.reshape(1, 1, -1), lambda x, shape: x.reshape(shape))
CODES = Layout(lambda x: x.reshape(1, -1, x.shape[-1]), lambda x, shape: x.reshape(shape))

POSITIONS = 'encoder.pos_conv_embed.conv'
TRUNK = (
    ('masked_spec_embed', 'encoder/mask_token', SAME),
    ('feature_projection.layer_norm.weight', 'features/norm/scale', SAME),
    ('feature_projection.layer_norm.bias', 'features/norm/bias', SAME),
    ('feature_projection.projection.weight', 'encoder/embed/kernel', MATRIX),
    ('feature_projection.projection.bias', 'encoder/embed/bias', SAME),
    (f'{POSITIONS}.bias', 'encoder/positions/bias', SAME),
    (f'{POSITIONS}.parametrizations.weight.original0', 'encoder/positions/length', TAPS),
    (f'{POSITIONS}.parametrizations.weight.original1', 'encoder/positions/direction', KERNEL),
)
CONVOLUTION = (
    ('conv.weight', '/kernel', KERNEL),
    ('conv.bias', '/bias', SAME),
    ('layer_norm.weight', '_norm/scale', SAME),
    ('layer_norm.bias', '_norm/bias', SAME),
)
# (their layer, our layer, our weight)
BLOCK = (
    ('attention.q_proj', 'attention/query', 'kernel'),
    ('attention.k_proj', 'attention/key', 'kernel'),
    ('attention.v_proj', 'attention/value', 'kernel'),
    ('attention.out_proj', 'attention/out', 'kernel'),
    ('layer_norm', 'attention_norm', 'scale'),
    ('feed_forward.intermediate_dense', 'mlp/up', 'kernel'),
    ('feed_forward.output_dense', 'mlp/down', 'kernel'),
    ('final_layer_norm', 'mlp_norm', 'scale'),
)
CODED = (
    ('quantizer.codevectors', 'quantiser/codes', CODES),
    ('quantizer.weight_proj.weight', 'quantiser/scores/kernel', MATRIX),
    ('quantizer.weight_proj.bias', 'quantiser/scores/bias', SAME),
    ('project_hid.weight', 'project/kernel', MATRIX),
    ('project_hid.bias', 'project/bias', SAME),
    ('project_q.weight', 'project_code/kernel', MATRIX),
    ('project_q.bias', 'project_code/bias', SAME),
)
# Heads of recognisers, and of training where it is not asked for.
ASIDE = r'lm_head\..*|quantizer\..*|project_(q|hid)\..*'


def trunk(module: models.WaveEncoder) -> Family:
    """The arrays of a network that reads waves."""
    return Family(_rows(module), _wave, ASIDE, renamed=lambda name: _newer(_bare(name)))


def coded(module: models.Wav2Vec2) -> Family:
    """The arrays of a trunk of wav2vec 2.0, and of what trained it."""
    rows = [(f'wav2vec2.{theirs}', ours, layout) for theirs, ours, layout in _rows(module)]
    rows += [(theirs, f'params/{ours}', layout) for theirs, ours, layout in CODED]
    return Family(rows, _wave, '', renamed=_newer)


def _rows(module):
    rows = [*TRUNK]
    # The norm before the first post-norm block and that behind the last pre-norm block.
    norm = 'encoder/transformer/norm' if module.encoder.pre_norm else 'encoder/positions_norm'
    layers = [('encoder.layer_norm', norm, 'scale')]
    for i in range(len(module.features.widths)):
        theirs, ours = f'feature_extractor.conv_layers.{i}', f'features/conv{i}'
        rows += [(f'{theirs}.{a}', f'{ours}{b}', layout) for a, b, layout in CONVOLUTION]
    for i in range(module.encoder.depth):
        theirs, ours = f'encoder.layers.{i}', f'encoder/transformer/block{i}'
        layers += [(f'{theirs}.{a}', f'{ours}/{b}', weight) for a, b, weight in BLOCK]
    for theirs, ours, weight in layers:
        rows.append(
            (f'{theirs}.weight', f'{ours}/{weight}', MATRIX if weight == 'kernel' else SAME)
        )
        rows.append((f'{theirs}.bias', f'{ours}/bias', SAME))
    return [(theirs, f'params/{ours}', layout) for theirs, ours, layout in rows]


def _wave(side: int) -> tuple[jax.ShapeDtypeStruct]:
    return (jax.ShapeDtypeStruct((1, 400), jnp.float32),)


def _bare(name: str) -> str:
    """A name of a trunk without that of the model in front."""
    return name.removeprefix('wav2vec2.').removeprefix('hubert.')


def _newer(name: str) -> str:
    """Older files call the length and direction of a normalised weight weight_g and weight_v."""
    for old, new in (('weight_g', 'original0'), ('weight_v', 'original1')):
        name = name.replace(f'{POSITIONS}.{old}', f'{POSITIONS}.parametrizations.weight.{new}')
    return name


_LARGE = {'width': 1024, 'depth': 24, 'heads': 16}
_PARTS = {
    'base': (models.WaveFeatures(), models.SpeechEncoder()),
    'large': (models.WaveFeatures(), models.SpeechEncoder(**_LARGE)),
    'large-lv60': (
        models.WaveFeatures(norm='layer', use_bias=True),
        models.SpeechEncoder(**_LARGE, pre_norm=True),
    ),
    'xlarge': (
        models.WaveFeatures(norm='layer', use_bias=True),
        models.SpeechEncoder(1280, 48, 16, pre_norm=True),
    ),
}
BACKBONES = {
    **{
        f'wav2vec2-{size}': models.WaveEncoder(*_PARTS[size])
        for size in ('base', 'large', 'large-lv60')
    },
    **{
        f'wav2vec2-{size}-pretraining': models.Wav2Vec2(
            *_PARTS[size], models.GumbelQuantiser(width=width), width
        )
        for size, width in (('base', 256), ('large', 768), ('large-lv60', 768))
    },
    'hubert-base-ls960': models.WaveEncoder(*_PARTS['base']),
    'hubert-large-ll60k': models.WaveEncoder(*_PARTS['large-lv60']),
    'hubert-xlarge-ll60k': models.WaveEncoder(*_PARTS['xlarge']),
}
