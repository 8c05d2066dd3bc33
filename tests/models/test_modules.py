"""Laws that every module keeps, over one table of modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jssl import models

RNG = np.random.default_rng(0)
KEEP = np.stack([RNG.permutation(4)[:3] for _ in range(8)])


def images(side, channels=3):
    return (RNG.normal(size=(8, side, side, channels)).astype('f'),)


def vectors(width=6):
    return (RNG.normal(size=(8, width)).astype('f'),)


def tokens(length, width):
    return (RNG.normal(size=(8, length, width)).astype('f'),)


# name: (constructor, call arguments that carry the batch, output shape)
TABLE = {
    'mlp': (lambda **o: models.MLP((5, 4), norm='layer', **o), vectors(), (8, 4)),
    'feed_forward': (lambda **o: models.FeedForward(9, **o), vectors(), (8, 6)),
    'group_norm': (lambda **o: models.GroupNorm(**o), images(4, 6), (8, 4, 4, 6)),
    'convnet': (lambda **o: models.ConvNet((4, 6), **o), images(8), (8, 6)),
    'nin': (
        lambda **o: models.NetworkInNetwork(3, width=6, norm='group', **o),
        images(8, 1),
        (8, 6),
    ),
    'patch_mlp': (lambda **o: models.PatchMLP(4, width=8, depth=1, **o), images(8), (8, 8)),
    'decoder': (lambda **o: models.Decoder((4,), channels=1, **o), images(3, 5), (8, 6, 6, 1)),
    'resnet': (
        lambda **o: models.ResNet((1, 1), width=4, stem='cifar', norm='group', **o),
        images(8),
        (8, 8),
    ),
    'selective_resnet': (
        lambda **o: models.ResNet(
            (1,),
            width=4,
            stem='cifar',
            block='bottleneck',
            selective_kernel=True,
            norm='group',
            **o,
        ),
        images(4, 1),
        (8, 16),
    ),
    'transformer': (
        lambda **o: models.Transformer(8, 1, 2, causal=True, layer_scale=0.1, **o),
        tokens(3, 8),
        (8, 3, 8),
    ),
    'post_norm': (
        lambda **o: models.Transformer(8, 1, 2, gated=True, pre_norm=False, **o),
        tokens(3, 8),
        (8, 3, 8),
    ),
    'vit': (
        lambda **o: models.ViT(4, 8, 1, 2, registers=1, pooling=None, **o),
        images(8),
        (8, 6, 8),
    ),
    'masked_decoder': (
        lambda **o: models.MaskedDecoder(8, 1, 2, (2, 2), 5, **o),
        (*tokens(4, 6), KEEP),
        (8, 4, 5),
    ),
    'unet': (
        lambda **o: models.UNet((4, 6), out_channels=2, **o),
        images(4, 1),
        (8, 4, 4, 2),
    ),
    'dit': (
        lambda **o: models.DiT(2, 8, 1, 2, channels=6, classes=4, **o),
        (*images(4), np.linspace(0, 999, 8), np.arange(8) % 5),
        (8, 4, 4, 6),
    ),
    'synthesis': (
        lambda **o: models.StyleSynthesis((4, 6), 2, 1, **o),
        vectors(),
        (8, 4, 4, 1),
    ),
    'trunk': (lambda **o: models.StyleTrunk((4, 6), 5, **o), images(4), (8, 5)),
    'projection': (lambda **o: models.ProjectionHead((5, 4), norm='layer', **o), vectors(), (8, 4)),
    'prediction': (lambda **o: models.PredictionHead(5, 4, norm='layer', **o), vectors(), (8, 4)),
    'prototypes': (lambda **o: models.Prototypes(7, **o), vectors(), (8, 7)),
    'dino': (lambda **o: models.DINOHead(7, hidden=5, bottleneck=3, **o), vectors(), (8, 7)),
    'classifier': (lambda **o: models.Classifier(3, **o), vectors(), (8, 3)),
}


@pytest.mark.parametrize('name', TABLE)
def test_shape_and_dtypes(name):
    make, args, shape = TABLE[name]
    module = make(dtype=jnp.bfloat16)
    init = lambda key: module.init_with_output(key, *args, train=False)
    out, variables = jax.eval_shape(init, jax.random.key(0))
    assert out.shape == shape
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {np.dtype('float32')}


@pytest.mark.parametrize('name', TABLE)
def test_rows_are_independent_and_gradients_finite(name, draw):
    make, args, _ = TABLE[name]
    module = make()
    variables = draw(module, *args)
    x, rest = args[0], args[1:]

    @jax.jit
    def run(x, rest):
        def loss(variables, x):
            y = module.apply(variables, x, *rest, train=False)
            return jnp.square(y).sum(), y

        (_, y), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(variables, x)
        return y, gradients

    y = np.asarray(run(x, rest)[0])
    assert y.dtype == np.float32
    order = np.random.default_rng(2).permutation(8)
    permuted, _ = run(x[order], tuple(r[order] for r in rest))
    np.testing.assert_allclose(permuted, y[order], rtol=1e-4, atol=1e-4)
    for hard in (np.zeros_like(x), np.repeat(x[:1], 8, axis=0), 1e4 * x):
        results = jax.device_get(run(hard, rest))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))


@pytest.mark.parametrize('name', ['vit', 'resnet'])
def test_bfloat16_is_close_to_float32(name, draw):
    make, args, _ = TABLE[name]
    variables = draw(make(), *args)
    both = jax.jit(lambda v: [make(dtype=d).apply(v, *args) for d in (jnp.float32, jnp.bfloat16)])
    exact, rough = jax.device_get(both(variables))
    scale = np.abs(exact).max()
    np.testing.assert_allclose(rough.astype('f') / scale, exact / scale, atol=0.05)


def on_devices(devices, apply, variables, args):
    """Runs apply under jit with its batch sharded over the devices: (outputs, HLO text)."""
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((len(devices),), ('data',), axis_types=kinds, devices=devices)
    batch, whole = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (('data',), ()))
    args = jax.device_put(args, batch)
    variables = jax.device_put(variables, whole)
    run = jax.jit(lambda variables, args: apply(variables, *args))
    compiled = run.lower(variables, args).compile()
    return jax.device_get(compiled(variables, args)), compiled.as_text()


GLOBAL = {
    'resnet': (models.ResNet((1,), width=4, stem='cifar', norm='batch'), images(4)),
    'projection': (models.ProjectionHead((5, 4), final_norm=True), vectors()),
}


@pytest.mark.parametrize('name', GLOBAL)
def test_batch_norm_sees_the_global_batch(name, devices, draw):
    module, args = GLOBAL[name]
    variables = draw(module, *args)
    apply = lambda v, x: module.apply(v, x, train=True, mutable=['batch_stats'])
    one, _ = on_devices(devices[:1], apply, variables, args)
    eight, _ = on_devices(devices, apply, variables, args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, eight)


@pytest.mark.parametrize('name', ['masked_decoder', 'vit'])
def test_masking_keeps_a_sharded_batch_sharded(name, devices, draw):
    make, args, _ = TABLE[name]
    module = make(positions='learned') if name == 'vit' else make()
    variables = draw(module, *args)
    apply = module.apply
    if name == 'vit':
        apply, args = (lambda v, x, keep: module.apply(v, x, keep=keep)), (*args, KEEP)
    one, _ = on_devices(devices[:1], apply, variables, args)
    eight, program = on_devices(devices, apply, variables, args)
    np.testing.assert_allclose(one, eight, rtol=1e-4, atol=1e-5)
    for collective in ('all-gather', 'all-reduce', 'all-to-all', 'collective-permute'):
        assert collective not in program


def paths(module, *args, **options):
    shapes = jax.eval_shape(lambda key: module.init(key, *args, **options), jax.random.key(0))
    flat = jax.tree_util.tree_flatten_with_path(shapes['params'])[0]
    return {'/'.join(part.key for part in path): leaf.shape for path, leaf in flat}


def test_names_that_sharding_rules_rely_on():
    found = paths(models.ViT(4, 8, 1, 2, positions='learned'), *images(8))
    assert found['embed/kernel'] == (48, 8)
    assert found['positions/table'] == (2, 2, 8)
    for name in ('query', 'key', 'value', 'out'):
        assert found[f'transformer/block0/attention/{name}/kernel'] == (8, 8)
    assert found['transformer/block0/mlp/up/kernel'] == (8, 32)
    assert found['transformer/block0/mlp/down/kernel'] == (32, 8)
    scanned = paths(models.Transformer(8, 3, 2, scan=True), *tokens(3, 8))
    assert scanned['blocks/attention/query/kernel'] == (3, 8, 8)
    cross = paths(models.Block(2, cross=True), *tokens(3, 8), context=np.zeros((8, 2, 5), 'f'))
    assert cross['cross/key/kernel'] == (5, 8)
