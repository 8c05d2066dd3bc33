"""What facebookresearch/DiT calls the arrays of a diffusion transformer, and the published sizes.

Their table of positions, `pos_embed`, is computed here: it is left aside, and written for codes of
32 x 32, which are those of images of 256 x 256.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models
from jssl.zoo.names import KERNEL, MATRIX, SAME, Family, Layout

# their cosines come before their sines
TIMES = Layout(
    lambda x: np.roll(x, len(x) // 2, axis=0).T,
    lambda x, shape: np.roll(x.T, len(x.T) // 2, axis=0),
)
# (their layer, our layer)
DIT = (
    ('t_embedder.mlp.2', 'time/dense1'),
    ('final_layer.linear', 'output'),
    ('final_layer.adaLN_modulation.1', 'output_modulation'),
)
BLOCK = (
    ('attn.qkv', 'attention/query|key|value'),
    ('attn.proj', 'attention/out'),
    ('mlp.fc1', 'mlp/up'),
    ('mlp.fc2', 'mlp/down'),
    ('adaLN_modulation.1', 'modulation'),
)

_SIZES = {'S': (384, 12, 6), 'B': (768, 12, 12), 'L': (1024, 24, 16), 'XL': (1152, 28, 16)}
# On codes of 4 channels, with variances: 8 channels come out.
BACKBONES = {
    f'DiT-{size}/{patch}': models.DiT(patch, *sizes, channels=8, classes=1000)
    for size, sizes in _SIZES.items()
    for patch in (2, 4, 8)
}


def dit(module: models.DiT) -> Family:
    """A diffusion transformer's arrays, without a context."""
    side = module.patch
    patches = Layout(lambda x: KERNEL.theirs(x.reshape(side, side, -1, x.shape[-1])), KERNEL.ours)
    layers = [*DIT] + [
        (f'blocks.{i}.{theirs}', f'block{i}/{ours}')
        for i in range(module.depth)
        for theirs, ours in BLOCK
    ]
    rows = [
        ('x_embedder.proj.weight', 'params/embed/kernel', patches),
        ('x_embedder.proj.bias', 'params/embed/bias', SAME),
        ('t_embedder.mlp.0.weight', 'params/time/dense0/kernel', TIMES),
        ('t_embedder.mlp.0.bias', 'params/time/dense0/bias', SAME),
        ('y_embedder.embedding_table.weight', 'params/label/embedding', SAME),
    ]
    for theirs, ours in layers:
        rows += [
            (f'{theirs}.weight', f'params/{ours}/kernel', MATRIX),
            (f'{theirs}.bias', f'params/{ours}/bias', SAME),
        ]

    def inputs(_):
        codes = jax.ShapeDtypeStruct((1, side, side, module.channels // 2), jnp.float32)
        number = jax.ShapeDtypeStruct((1,), jnp.int32)
        return codes, number, number

    def fixed():
        return {'pos_embed': np.asarray(module.positions((32 // side,) * 2))[None]}

    return Family(rows, inputs, 'pos_embed', fixed=fixed)
