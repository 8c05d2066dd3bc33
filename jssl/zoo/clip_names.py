"""What Hugging Face's transformers calls the arrays of CLIP, and the published models of that kind.

timm's image towers of CLIP are plain vision transformers with a norm before the blocks (`names`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models
from jssl.zoo.names import MATRIX, PATCHES, SAME, Family, Layout, images

TOKEN = Layout(np.ravel, lambda x, shape: x.reshape(shape))
PLACES = Layout(lambda x: x.reshape(-1, x.shape[-1]), lambda x, shape: x.reshape(shape))

CLIP = (
    ('logit_scale', 'params/log_scale', SAME),
    ('visual_projection.weight', 'params/image_projection/kernel', MATRIX),
    ('text_projection.weight', 'params/text_projection/kernel', MATRIX),
    ('vision_model.embeddings.class_embedding', 'params/image/class_token', TOKEN),
    ('vision_model.embeddings.patch_embedding.weight', 'params/image/embed/kernel', PATCHES),
    ('vision_model.embeddings.position_embedding.weight', 'params/image/positions/table', PLACES),
    ('vision_model.pre_layrnorm.weight', 'params/image/stem_norm/scale', SAME),  # their spelling
    ('vision_model.pre_layrnorm.bias', 'params/image/stem_norm/bias', SAME),
    ('vision_model.post_layernorm.weight', 'params/image/transformer/norm/scale', SAME),
    ('vision_model.post_layernorm.bias', 'params/image/transformer/norm/bias', SAME),
    ('text_model.embeddings.token_embedding.weight', 'params/text/embed/embedding', SAME),
    ('text_model.embeddings.position_embedding.weight', 'params/text/positions', SAME),
    ('text_model.final_layer_norm.weight', 'params/text/transformer/norm/scale', SAME),
    ('text_model.final_layer_norm.bias', 'params/text/transformer/norm/bias', SAME),
)
# (their layer, our layer, whether it is a matrix or a norm)
LAYERS = (
    ('self_attn.q_proj', 'attention/query', 'kernel'),
    ('self_attn.k_proj', 'attention/key', 'kernel'),
    ('self_attn.v_proj', 'attention/value', 'kernel'),
    ('self_attn.out_proj', 'attention/out', 'kernel'),
    ('layer_norm1', 'attention_norm', 'scale'),
    ('layer_norm2', 'mlp_norm', 'scale'),
    ('mlp.fc1', 'mlp/up', 'kernel'),
    ('mlp.fc2', 'mlp/down', 'kernel'),
)
ASIDE = r'.*\.position_ids'  # a buffer of older files


def clip(module: models.CLIP) -> Family:
    """The arrays of two towers, an image's a vision transformer, and of their joint space."""
    rows = [*CLIP]
    towers = (
        ('vision_model', 'image', module.image),
        ('text_model', 'text', module.text.transformer),
    )
    for theirs, ours, transformer in towers:
        for i in range(transformer.depth):
            for layer, path, weight in LAYERS:
                here = f'{theirs}.encoder.layers.{i}.{layer}'
                there = f'params/{ours}/transformer/block{i}/{path}'
                rows += [
                    (f'{here}.weight', f'{there}/{weight}', MATRIX if weight == 'kernel' else SAME),
                    (f'{here}.bias', f'{there}/bias', SAME),
                ]
    words = jax.ShapeDtypeStruct((1, module.text.length), jnp.int32)
    inputs = lambda side: (images(side * module.image.patch), words)
    grid, token = (
        f'vision_model.embeddings.{name}'
        for name in ('position_embedding.weight', 'class_embedding')
    )
    return Family(rows, inputs, ASIDE, grid, token)


def published(patch: int, width: int, depth: int, heads: int, joint: int) -> models.CLIP:
    """A model as OpenAI published it; the text tower has 12 layers, 64 channels a head."""
    options = {'activation': models.quick_gelu, 'epsilon': 1e-5}
    image = models.ViT(
        *(patch, width, depth, heads),
        positions='learned',
        stem_norm=True,
        pooling=None,
        **options,
    )
    text = models.Transformer(joint, 12, joint // 64, causal=True, **options)
    return models.CLIP(image, models.TextEncoder(49408, 77, text), joint)


BACKBONES = {
    'clip-vit-base-patch32': published(32, 768, 12, 12, 512),
    'clip-vit-base-patch16': published(16, 768, 12, 12, 512),
    'clip-vit-large-patch14': published(14, 1024, 24, 16, 768),
}
