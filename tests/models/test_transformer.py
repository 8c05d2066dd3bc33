"""Attention and blocks against float64 loops; causality, context, prefixes, caches, scan."""

from functools import partial

import flax.linen as nn
import jax
import numpy as np
import pytest
import scipy.special

from jssl import models

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, 8)).astype('f')
CONTEXT = RNG.normal(size=(2, 4, 6)).astype('f')


def dense(params, name, x):
    layer = params[name]
    return x @ np.asarray(layer['kernel'], np.float64) + np.asarray(layer.get('bias', 0.0))


def attend(params, x, source, heads, allowed, bias, turn=lambda vector, position: vector):
    """One query, one head, one key at a time; heads of keys are written out."""
    q = dense(params, 'query', x)
    batch, length, width = q.shape
    d = width // heads
    few = (dense(params, name, source) for name in ('key', 'value'))
    k, v = (
        np.repeat(y.reshape(*y.shape[:2], -1, d), heads * d // y.shape[-1], axis=2).reshape(
            *y.shape[:2], width
        )
        for y in few
    )
    mixed = np.zeros_like(q)
    weights = np.zeros((batch, heads, length, source.shape[1]))
    for b, h, t in np.ndindex(batch, heads, length):
        part = slice(h * d, (h + 1) * d)
        logits = np.full(source.shape[1], -np.inf)
        for s in range(source.shape[1]):
            if allowed(b, h, t, s):
                logits[s] = (
                    turn(q[b, t, part], t) @ turn(k[b, s, part], s) / np.sqrt(d) + bias[h, t, s]
                )
        w = np.exp(logits - logits.max())
        weights[b, h, t] = w / w.sum()
        mixed[b, t, part] = weights[b, h, t] @ v[b, :, part]
    return dense(params, 'out', mixed), weights


def plain(vector, position):
    return vector


def turned(vector, position):
    half = len(vector) // 2
    pairs = vector[:half] + 1j * vector[half:]
    pairs = pairs * np.exp(1j * position / 10000.0 ** (np.arange(half) / half))
    return np.concatenate([pairs.real, pairs.imag])


MASK = RNG.random((2, 1, 5, 5)) < 0.6
MASK[..., 0] = True
CROSS_MASK = np.array([[[[1, 1, 0, 0]]], [[[1, 1, 1, 1]]]], bool)
BIAS = RNG.normal(size=(1, 2, 5, 5)).astype('f')
CASES = {
    'self': ({}, {}, plain),
    'causal': ({'causal': True}, {}, plain),
    'mask': ({}, {'mask': MASK}, plain),
    'causal_mask_bias': ({'causal': True}, {'mask': MASK, 'bias': BIAS}, plain),
    'rotary': ({}, {'angles': np.asarray(models.rotary_angles((5,), 4))}, turned),
    'cross': ({}, {'context': CONTEXT, 'mask': CROSS_MASK}, plain),
    'few_keys': ({'causal': True, 'key_value_heads': 1, 'use_bias': False}, {}, plain),
}


@pytest.mark.parametrize('case', CASES)
def test_attention_against_a_loop(case, draw):
    fields, options, turn = CASES[case]
    module = models.Attention(2, **fields)
    variables = draw(module, X, **options)
    source = options.get('context', X)
    mask = np.broadcast_to(options.get('mask', np.array(True)), (2, 2, 5, source.shape[1]))
    bias = np.broadcast_to(options.get('bias', np.zeros((1, 1, 1, 1))), (1, 2, 5, source.shape[1]))
    causal = fields.get('causal', False)
    allowed = lambda b, h, t, s: mask[b, h, t, s] and (s <= t or not causal)
    want, weights = attend(variables['params'], X, source, 2, allowed, bias[0], turn)

    @jax.jit
    def both(variables):
        short = module.apply(variables, X, **options)
        return short, *module.apply(variables, X, **options, weights=True)

    short, full, seen = both(variables)
    np.testing.assert_allclose(short, want, atol=1e-5)
    np.testing.assert_allclose(full, want, atol=1e-5)
    np.testing.assert_allclose(seen, weights, atol=1e-5)


def keys_and_values(params, x):
    """What a layer of four channels a head makes of x."""
    return models.KeyValues(
        *(
            dense(params['params'], name, x).reshape(*x.shape[:2], -1, 4).astype('f')
            for name in ('key', 'value')
        )
    )


def test_a_prefix_is_seen_by_all_whatever_the_mask(draw):
    module = models.Attention(2, causal=True, key_value_heads=1)
    variables = draw(module, X)
    words = RNG.normal(size=(1, 3, 8)).astype('f')
    mask, bias = MASK, BIAS
    y, weights = jax.jit(
        lambda prefix: module.apply(variables, X, mask=mask, bias=bias, prefix=prefix, weights=True)
    )(keys_and_values(variables, words))
    source = np.concatenate([np.repeat(words, 2, axis=0), X], axis=1)
    allowed = lambda b, h, t, s: s < 3 or (s - 3 <= t and mask[b, 0, t, s - 3])
    wide = np.pad(bias[0], ((0, 0), (0, 0), (3, 0)))
    want, seen = attend(variables['params'], X, source, 2, allowed, wide)
    np.testing.assert_allclose(y, want, atol=1e-5)
    np.testing.assert_allclose(weights, seen, atol=1e-5)


def normed(params, name, x, *, epsilon, centred):
    scale = np.asarray(params[name]['scale'], np.float64)
    centre = x.mean(-1, keepdims=True) * centred
    y = (x - centre) / np.sqrt(((x - centre) ** 2).mean(-1, keepdims=True) + epsilon)
    return y * scale + (params[name]['bias'] if centred else 0.0)


def silu(x):
    return x / (1 + np.exp(-x))


def exact_gelu(x):
    return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def test_block_with_gates_and_without_biases(draw, run):
    options = {'gated': True, 'use_bias': False, 'norm': nn.RMSNorm, 'activation': nn.silu}
    module = models.Block(2, mlp_ratio=1.5, epsilon=0.1, **options)
    variables = draw(module, X)
    params, norm = variables['params'], partial(normed, epsilon=0.1, centred=False)
    assert not [p for p, _ in jax.tree.leaves_with_path(params) if p[-1].key == 'bias']
    h = norm(params, 'attention_norm', X)
    everything = lambda b, h, t, s: True
    x = X + attend(params['attention'], h, h, 2, everything, np.zeros((2, 5, 5)))[0]
    h, mlp = norm(params, 'mlp_norm', x), params['mlp']
    x = x + dense(mlp, 'down', silu(dense(mlp, 'gate', h)) * dense(mlp, 'up', h))
    assert mlp['gate']['kernel'].shape == (8, 12)
    np.testing.assert_allclose(run(module, variables, X), x, atol=1e-5)


def test_block_with_norms_behind_its_branches(draw, run):
    exact = partial(nn.gelu, approximate=False)
    module = models.Block(2, pre_norm=False, epsilon=0.1, activation=exact)
    variables = draw(module, X)
    params, norm = variables['params'], partial(normed, epsilon=0.1, centred=True)
    everything = lambda b, h, t, s: True
    y = attend(params['attention'], X, X, 2, everything, np.zeros((2, 5, 5)))[0]
    x, mlp = norm(params, 'attention_norm', X + y), params['mlp']
    y = dense(mlp, 'down', exact_gelu(dense(mlp, 'up', x)))
    want = norm(params, 'mlp_norm', x + y)
    np.testing.assert_allclose(run(module, variables, X), want, atol=1e-5)
    stack = models.Transformer(8, 1, 2, pre_norm=False)
    assert list(jax.eval_shape(stack.init, jax.random.key(0), X)['params']) == ['block0']


def test_a_cache_changes_nothing(draw):
    module = models.Transformer(8, 2, 4, causal=True, key_value_heads=2, scan=True)
    variables = draw(module, X)
    prefix = jax.tree.map(lambda x: RNG.normal(size=x.shape).astype('f'), module.empty_cache(1, 3))

    @jax.jit
    def both(x):
        whole, weights = module.apply(variables, x, prefix=prefix, weights=True)
        given = {'prefix': prefix, 'cache': module.empty_cache(2, 7)}
        y, cache = module.apply(variables, x[:, :4], **given)
        given = {'prefix': prefix, 'cache': cache, 'start': np.full(2, 4), 'weights': True}
        z, seen, cache = module.apply(variables, x[:, 4:], **given)
        return whole, (y, z), weights[-1], seen[-1], cache

    whole, parts, weights, seen, cache = jax.device_get(both(X))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    np.testing.assert_allclose(seen[:, :, 0, :8], weights[:, :, -1], atol=1e-5)
    assert not seen[..., 8:].any()  # places that nobody has come to
    assert not cache[0].key[:, 5:].any()


def test_examples_may_stand_at_places_of_their_own(draw):
    module = models.Attention(2, causal=True)
    variables = draw(module, X)

    @jax.jit
    def last(cache, x, start):
        return module.apply(variables, x, cache=cache, start=start)[0]

    blank = models.KeyValues(*np.zeros((2, 2, 6, 2, 4), 'f'))
    own = models.KeyValues(*(y.copy() for y in blank))
    full = keys_and_values(variables, X)
    for part, whole in zip(own, full, strict=True):
        part[0, :2], part[1, :4] = whole[0, :2], whole[1, :4]
    x = np.stack([X[0, 2:3], X[1, 4:5]])
    want = jax.jit(lambda: module.apply(variables, X))()
    y = last(own, x, np.array([2, 4]))
    np.testing.assert_allclose(y[:, 0], [want[0, 2], want[1, 4]], atol=1e-5)


def test_rows_that_allow_nothing_attend_evenly(draw, run):
    module = models.Attention(2)
    nothing = np.zeros((1, 1, 1, 5), bool)
    variables = draw(module, X)
    y, weights = run(module, variables, X, mask=nothing, weights=True)
    np.testing.assert_allclose(weights, 0.2, rtol=1e-6)
    np.testing.assert_allclose(run(module, variables, X, mask=nothing), y, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda x: module.apply(variables, x, mask=nothing).sum()))(X)
    assert np.isfinite(gradient).all()


def test_the_future_does_not_change_the_past(draw):
    module = models.Transformer(8, 2, 2, causal=True)
    apply = jax.jit(partial(module.apply, draw(module, X)))
    changed = X.copy()
    changed[:, 3:] = -changed[:, 3:]
    before, after = np.asarray(apply(X)), np.asarray(apply(changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(before[:, 3:] - after[:, 3:]).max() > 0.01


def test_scan_equals_unrolled(draw, run):
    options = {'causal': True, 'cross': True, 'layer_scale': 0.5}
    scanned = models.Transformer(8, 2, 2, scan=True, **options)
    unrolled = models.Transformer(8, 2, 2, **options)
    params = draw(scanned, X, context=CONTEXT)['params']
    blocks = params['blocks']
    split = {f'block{i}': jax.tree.map(lambda p: p[i], blocks) for i in range(2)}
    calls = {'context': CONTEXT, 'taps': True, 'weights': True}
    a = run(scanned, {'params': params}, X, **calls)
    b = run(unrolled, {'params': {**split, 'norm': params['norm']}}, X, **calls)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-5), a, b)


def test_scanned_blocks_start_different():
    module = models.Transformer(8, 2, 2, scan=True)
    params = jax.device_get(jax.jit(module.init)(jax.random.key(0), X))['params']
    kernel = params['blocks']['attention']['query']['kernel']
    assert kernel.shape == (2, 8, 8)
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01


def test_remat_changes_memory_alone(draw):
    x, found = np.ones((4, 16, 8), 'f'), []
    for remat in (False, True):
        module = models.Transformer(8, 12, 2, dropout=0.5, scan=True, remat=remat)
        variables = draw(module, x)

        def loss(variables, module=module):
            y = module.apply(variables, x, train=True, rngs={'dropout': jax.random.key(1)})
            return (y**2).sum()

        compiled = jax.jit(jax.grad(loss)).lower(variables).compile()
        found.append((compiled(variables), compiled.memory_analysis().temp_size_in_bytes))
    (plain, room), (again, less) = found
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), plain, again)
    assert less < room / 2
    with pytest.raises(ValueError, match='scan'):
        models.Transformer(8, 1, 2, remat=True).init(jax.random.key(0), x)


def test_taps_weights_and_contexts(draw):
    module = models.Transformer(8, 2, 2, cross=True)
    variables = draw(module, X, context=CONTEXT)

    @jax.jit
    def apply(context, context_mask):
        given = {'context': context, 'context_mask': context_mask}
        return module.apply(variables, X, taps=True, weights=True, **given)

    everything = np.ones((1, 1, 1, 4), bool)
    y, taps, weights = jax.device_get(apply(CONTEXT, everything))
    plain = jax.jit(lambda c: module.apply(variables, X, context=c))(CONTEXT)
    np.testing.assert_allclose(y, plain, atol=1e-5)
    assert [t.shape for t in taps] == [X.shape] * 2
    for own, crossed in weights:
        assert own.shape == (2, 2, 5, 5)
        assert crossed.shape == (2, 2, 5, 4)
        np.testing.assert_allclose(crossed.sum(-1), 1.0, rtol=1e-5)
    reversed_context = apply(CONTEXT[:, ::-1], everything)[0]
    np.testing.assert_allclose(reversed_context, y, atol=1e-5)  # a context is a set
    half = np.array([True, True, False, False]).reshape(1, 1, 1, 4)
    altered = CONTEXT.copy()
    altered[:, 2:] = 9.0
    np.testing.assert_allclose(apply(CONTEXT, half)[0], apply(altered, half)[0], atol=1e-6)
    assert np.abs(apply(CONTEXT, half)[0] - y).max() > 1e-4


def test_drop_path_skips_whole_examples(draw):
    x = np.tile(X[:1], (64, 1, 1))
    module = models.Transformer(8, 1, 2, drop_path=0.5, scan=True)
    variables = draw(module, x)

    @jax.jit
    def apply(key):
        return module.apply(variables, x, train=True, taps=True, rngs={'dropout': key})[1][0]

    y = np.asarray(apply(jax.random.key(1)))
    distinct = np.unique(y.round(4), axis=0)
    assert len(distinct) == 4  # each of two branches kept or dropped, whole
    assert any(np.allclose(row, X[0], atol=1e-3) for row in distinct)
    assert not np.array_equal(y, apply(jax.random.key(2)))
    still = jax.jit(lambda: module.apply(variables, x))()
    assert len(np.unique(np.asarray(still).round(4), axis=0)) == 1


def test_refusals():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match='heads'):
        models.Attention(3).init(key, X)
    with pytest.raises(ValueError, match='key_value_heads 3'):
        models.Attention(4, key_value_heads=3).init(key, X)
    with pytest.raises(ValueError, match='causal'):
        models.Attention(2).init(key, X, cache=models.KeyValues(X, X))
    with pytest.raises(ValueError, match='prefix has 1 items for 2 blocks'):
        models.Transformer(8, 2, 2).init(key, X, prefix=[models.KeyValues(X, X)])
    with pytest.raises(ValueError, match='itself'):
        models.Attention(2, causal=True).init(key, X, context=CONTEXT)
    with pytest.raises(ValueError, match='context'):
        models.Block(2, cross=True).init(key, X)
    with pytest.raises(ValueError, match='x must be'):
        models.Transformer(4, 1, 2).init(key, X)
