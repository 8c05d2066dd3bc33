"""Adapters of a real transformer: merged against a branch beside every layer, and what trains."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jssl import models, train
from jssl.train import adapters

B, T, D, RANK = 3, 5, 8, 2
MODEL = models.Transformer(D, 2, 2, mlp_ratio=2.0)
APPLY = jax.jit(MODEL.apply)
MERGE = jax.jit(adapters.lora_merge, static_argnames='stabilised')


@pytest.fixture(scope='module')
def params():
    """Weights as trained ones, none zero; drawn in NumPy, which compiles nothing."""
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, T, D)))
    return drawn(shapes, scale=0.3)


@pytest.fixture(scope='module')
def x():
    return drawn(jax.ShapeDtypeStruct((B, T, D), 'f'), seed=1)


def drawn(shapes, *, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: scale * rng.normal(size=s.shape).astype('f'), shapes)


def by_path(tree):
    return {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree.leaves_with_path(tree)}


def test_fresh_adapters_are_the_identity_on_queries_and_values(params):
    tree = {'model': params, 'stack': {'query': {'kernel': np.ones((3, 400, 7), 'f')}}}
    init = functools.partial(adapters.lora_init, rank=RANK)
    low = jax.jit(init)(jax.random.key(2), tree)
    for name, w in by_path(MERGE(tree, low)).items():
        np.testing.assert_array_equal(w, by_path(tree)[name])
    attention = low['model']['params']['block1']['attention']
    assert attention['key'] == {'kernel': None, 'bias': None}
    assert attention['query']['kernel']['a'].shape == (D, RANK)
    assert attention['query']['kernel']['b'].shape == (RANK, D)
    stack = low['stack']['query']['kernel']
    assert (stack['a'].shape, stack['b'].shape) == ((3, 400, RANK), (3, RANK, 7))
    np.testing.assert_allclose([stack['a'].mean(), stack['a'].std()], [0, 0.05], atol=4e-3)
    # queries and values of two blocks, no two of one draw
    a = [v for name, v in by_path(low['model']).items() if name.endswith("['a']")]
    assert len(a) == len(np.unique(np.stack(a)[:, 0, 0])) == 4


def test_merged_equals_a_branch_beside_every_layer(params, x):
    init = functools.partial(adapters.lora_init, rank=RANK, paths=[r'block\d/.*kernel$'])
    low = drawn(jax.eval_shape(init, jax.random.key(0), params), seed=3)

    def branch(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if not isinstance(context.module, nn.Dense):
            return y
        found = low['params']
        for name in context.module.path:
            found = found[name]
        a, b = found['kernel'].values()
        return y + 3 * jnp.matmul(jnp.matmul(args[0], a), b)

    @jax.jit
    def beside(params):
        with nn.intercept_methods(branch):
            return MODEL.apply(params, x)

    merged = MERGE(params, low, alpha=3.0 * RANK, stabilised=False)
    np.testing.assert_allclose(APPLY(merged, x), beside(params), atol=2e-4)
    assert np.abs(APPLY(merged, x) - APPLY(params, x)).max() > 0.1
    stabilised = MERGE(params, low, alpha=3 * RANK**0.5, stabilised=True)
    for name, w in by_path(stabilised).items():
        np.testing.assert_allclose(w, by_path(merged)[name], rtol=1e-5, atol=1e-6)


def test_bottlenecks_are_mute_at_first_and_stand_behind_their_layers(params, x):
    init = functools.partial(adapters.bottleneck_init, width=3)
    low = jax.jit(init)(jax.random.key(0), params)
    sizes = {name: v.shape for name, v in by_path(low).items()}
    assert len(sizes) == 2 * 2 * 4
    down = low['params']['block0']['attention']['out']['kernel']['down']
    assert down['kernel'].shape == (D, 3)
    assert low['params']['block0']['attention']['query']['kernel'] is None
    drawn_low = drawn(low, seed=3, scale=0.5)

    def slow(params):
        """The first block from its own layers; the rest of the model is the plain one."""
        block = params['params']['block0']
        behind = lambda y, layer: (
            y
            + jax.nn.gelu(y @ layer['down']['kernel'] + layer['down']['bias'])
            @ (layer['up']['kernel'])
            + layer['up']['bias']
        )
        found = drawn_low['params']['block0']
        one = lambda tree, z: models.Block(2, mlp_ratio=2.0).apply({'params': tree}, z)
        no_mlp = {**block, 'mlp': jax.tree.map(jnp.zeros_like, block['mlp'])}
        y = one(no_mlp, x) - x
        h = x + behind(y, found['attention']['out']['kernel'])
        no_attention = {**block, 'attention': jax.tree.map(jnp.zeros_like, block['attention'])}
        y = one(no_attention, h) - h
        return h + behind(y, found['mlp']['down']['kernel'])

    @jax.jit
    def found(low):
        return adapters.bottleneck(MODEL.apply, low)(params, x, taps=True)

    np.testing.assert_allclose(found(low)[0], APPLY(params, x), atol=1e-5)
    with jax.numpy_rank_promotion('allow'):
        want = jax.jit(slow)(params)
    np.testing.assert_allclose(found(drawn_low)[1][0], want, atol=1e-4)
    assert np.abs(found(drawn_low)[0] - APPLY(params, x)).max() > 0.1


def test_a_prefix_is_a_tree_like_an_empty_cache(params, x):
    prefix = optax.tree.random_like(jax.random.key(0), MODEL.empty_cache(1, 4))

    @jax.jit
    def loss(prefix):
        return (MODEL.apply(params, x, prefix=prefix) ** 2 * x).sum()

    for part in jax.tree.leaves(jax.jit(jax.grad(loss))(prefix)):
        assert part.shape == (1, 4, 2, D // 2)
        assert np.abs(part).min() > 0


def test_layers_of_a_scanned_stack_merge_each_their_own():
    w, a, b = (drawn(jax.ShapeDtypeStruct(s, 'f')) for s in ((3, 4, 5), (3, 4, 2), (3, 2, 5)))
    merged = adapters.lora_merge({'w': w}, {'w': {'a': a, 'b': b}}, alpha=3.0)['w']
    for i in range(3):
        np.testing.assert_allclose(merged[i], w[i] + 1.5 * a[i] @ b[i], rtol=1e-5, atol=1e-6)


def test_an_adapter_is_loaded_in_part_for_each_example():
    rng = np.random.default_rng(0)
    x, w, a, b = (rng.normal(size=s).astype('f') for s in ((3, 8), (8, 4), (8, 2), (2, 4)))
    share = np.array([0, 0.5, 1], 'f')

    @jax.jit
    @jax.vmap
    def output(x, share):
        return jnp.dot(x, adapters.lora_merge(w, {'a': a, 'b': b}, alpha=2 * share))

    expected = x @ w + share[:, None] * (x @ a @ b)
    np.testing.assert_allclose(output(x, share), expected, rtol=1e-4, atol=1e-5)


def test_frozen_bfloat16_stays_bfloat16():
    low = {'a': np.ones((4, 2), 'f'), 'b': np.ones((2, 4), 'f')}
    merged = jax.eval_shape(adapters.lora_merge, jnp.ones((4, 4), jnp.bfloat16), low)
    assert merged.dtype == jnp.bfloat16


def test_fit_moves_the_adapters_alone_by_the_formula_and_resumes(tmp_path):
    rng = np.random.default_rng(0)
    w, x, y = (rng.normal(size=s) for s in ((4, 3), (6, 4), (6, 3)))
    a, b = rng.normal(size=(4, RANK)), rng.normal(size=(RANK, 3))
    frozen = {'w': jnp.float32(w), 'bias': jnp.zeros(3)}
    low = {'w': {'a': jnp.float32(a), 'b': jnp.float32(b)}, 'bias': None}

    def loss_fn(params, state, batch, key):
        error = jnp.dot(x.astype('f'), params['w']) + params['bias'][None] - y.astype('f')
        return jnp.sum(error**2) / 2

    optimiser = optax.sgd(0.01)
    step = train.gradient_step(adapters.lora_loss(loss_fn, alpha=4.0), optimiser)
    init = lambda key: train.create(low, optimiser, extra={'frozen': frozen})
    for steps in (1, 2):
        error = x @ (w + 2 * a @ b) - y
        gradient = 2 * x.T @ error
        a, b = a - 0.01 * gradient @ b.T, b - 0.01 * a.T @ gradient
        checkpoint = train.Checkpoint(tmp_path)
        state, history = train.fit(
            step, init, None, steps=steps, checkpoint=checkpoint, every=1, log=lambda line: None
        )
        assert len(history['step']) == steps
        np.testing.assert_allclose(history['loss'][-1], (error**2).sum() / 2, rtol=1e-5)
        np.testing.assert_allclose(state.params['w']['a'], a, rtol=1e-4)
        np.testing.assert_allclose(state.params['w']['b'], b, rtol=1e-4)
    for name in frozen:
        np.testing.assert_array_equal(state.extra['frozen'][name], frozen[name])


def test_only_the_chosen_leaves_train_and_have_moments(params):
    optimiser = adapters.train_only(optax.adam(0.1), [r'/embed/', r'block1/.*bias$'])
    tree = {'params': {**params['params'], 'embed': {'embedding': np.ones((4, D), 'f')}}}
    state = jax.jit(optimiser.init)(tree)
    updates, _ = jax.jit(optimiser.update)(tree, state, tree)
    trained = {name for name, u in by_path(updates).items() if np.abs(u).max() > 0}
    wanted = {
        name
        for name in by_path(tree)
        if "['embed']" in name or ("['block1']" in name and "['bias']" in name)
    }
    assert trained == wanted
    assert len(wanted) == 9
    size = sum(by_path(tree)[name].size for name in wanted)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 2 * size + 1


def test_tokens_are_inserted_and_without_effect_where_masked(params, x):
    shared, own = np.ones((2, D), 'f'), np.arange(B * 2 * D, dtype='f').reshape(B, 2, D)
    for tokens, after in ((shared, 0), (shared, 1), (own, 1), (own, T)):
        full = np.broadcast_to(tokens, (B, 2, D))
        expected = np.concatenate([x[:, :after], full, x[:, after:]], axis=1)
        np.testing.assert_array_equal(adapters.insert_tokens(x, tokens, after=after), expected)
    assert adapters.insert_tokens(x.astype(jnp.bfloat16), shared).dtype == jnp.bfloat16

    y = adapters.insert_tokens(x, shared, after=1)
    masks = np.ones((2, 1, 1, T + 2), bool)
    masks[1, ..., 1:3] = False
    seen, hidden = APPLY(params, np.stack([y[0], y[0]]), mask=masks)[:, [0, 3, 4, 5, 6]]
    plain = APPLY(params, x)[0]
    np.testing.assert_allclose(hidden, plain, atol=1e-5)
    assert np.abs(seen - plain).max() > 1e-2


@pytest.mark.parametrize(
    ('call', 'text'),
    [
        (lambda p, x: adapters.lora_init(jax.random.key(0), p, paths=['absent']), "'absent'"),
        (lambda p, x: adapters.lora_init(jax.random.key(0), p, paths=['query']), 'query/bias has'),
        (lambda p, x: adapters.lora_init(jax.random.key(0), p, rank=0), 'rank must be'),
        (
            lambda p, x: adapters.bottleneck_init(jax.random.key(0), {'a': x, 'b': p}, paths=['a']),
            r'a has shape \(3, 5, 8\)',
        ),
        (lambda p, x: adapters.chosen(p, [r'kernel$', 'nothing']), "'nothing'"),
        (lambda p, x: adapters.insert_tokens(x, jnp.ones((2, D + 1))), r'tokens must be \[P, 8\]'),
        (lambda p, x: adapters.insert_tokens(x, jnp.ones((1, 2, D))), r'or \[3, P, 8\]'),
        (lambda p, x: adapters.insert_tokens(x, jnp.ones((2, D)), after=T + 1), 'after must be'),
        (lambda p, x: adapters.lora_merge(p, {'params': {}}), 'structure'),
    ],
)
def test_wrong_arguments_are_named(params, x, call, text):
    with pytest.raises(ValueError, match=text):
        call(params, x)
