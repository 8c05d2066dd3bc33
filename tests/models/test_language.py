"""Language models: order, tied and learned parts, caches, prefixes, embedded prompts, padding."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 11, (2, 6))
WORDS = RNG.integers(0, 11, (1, 3))
LLAMA = {'gated': True, 'use_bias': False, 'norm': nn.RMSNorm, 'key_value_heads': 2}


def causal(**options):
    return models.Transformer(16, 1, 4, causal=True, mlp_ratio=2.0, **options)


def test_causal(draw):
    module = models.CausalLM(11, causal(**LLAMA))
    variables = draw(module, TOKENS)
    changed = TOKENS.copy()
    changed[:, 3:] = (changed[:, 3:] + 1) % 11

    @jax.jit
    def found():
        apply = lambda *args, **given: module.apply(variables, *args, **given)
        plain, taps = apply(TOKENS, taps=True)
        h = apply(TOKENS, method='features')
        embedded = apply(TOKENS, method='embedded')
        rows = np.arange(2)
        cached, cache = apply(TOKENS[:, :4], cache=module.transformer.empty_cache(2, 6))
        rest, cache = apply(TOKENS[:, 4:], cache=cache, start=np.full(2, 4))
        prefix = apply(WORDS, cache=module.transformer.empty_cache(1, 3))[1]
        behind = apply(TOKENS, prefix=prefix, start=3)
        words = np.concatenate([WORDS[rows * 0], TOKENS], axis=1)
        return {
            'plain': plain,
            'taps': taps,
            'tied': h @ variables['params']['embed']['embedding'].T,
            'future': apply(changed),
            'embedded': apply(embedded),
            'cached': jax.numpy.concatenate([cached, rest], axis=1),
            'prefix': behind,
            'words': apply(words)[:, 3:],
        }

    out = jax.device_get(found())
    plain = out['plain']
    assert plain.shape == (2, 6, 11)
    assert len(out['taps']) == 1
    np.testing.assert_allclose(out['tied'], plain, atol=1e-5)
    np.testing.assert_allclose(out['embedded'], plain, atol=1e-5)
    np.testing.assert_allclose(out['cached'], plain, atol=1e-5)
    np.testing.assert_allclose(out['future'][:, :3], plain[:, :3], atol=1e-5)
    assert np.abs(out['future'] - plain)[:, 3:].max(-1).min() > 1e-3
    # words read into a cache are a prefix, and a prefix is words in front
    np.testing.assert_allclose(out['prefix'], out['words'], atol=1e-5)
    assert np.abs(out['prefix'] - plain).max() > 1e-3


def test_rotary_positions_are_relative_and_learned_ones_a_table(draw):
    module = models.CausalLM(11, causal(), tied=False)
    variables = draw(module, TOKENS)
    assert variables['params']['head']['kernel'].shape == (16, 11)
    table = models.CausalLM(11, causal(), learned_positions=9)
    learned = draw(table, TOKENS)
    assert learned['params']['positions']['embedding'].shape == (9, 16)
    again = {**learned['params'], 'positions': {'embedding': np.zeros((9, 16), 'f')}}
    own = learned['params']['positions']['embedding']

    @jax.jit
    def found():
        rotary = [module.apply(variables, TOKENS, start=s) for s in (0, 7)]
        x = table.apply(learned, TOKENS, method='embedded') + own[None, 2:8]
        return rotary, table.apply(learned, TOKENS, start=2), table.apply({'params': again}, x)

    (one, other), ours, want = jax.device_get(found())
    np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(ours, want, atol=1e-5)


def test_masked(draw):
    module = models.MaskedLM(11, models.Transformer(16, 1, 4, pre_norm=False), length=8, segments=2)
    variables = draw(module, TOKENS)
    valid = np.array([[1] * 4 + [0] * 2, [1] * 6], bool)
    padded = np.where(valid, TOKENS, 9)
    segments = np.array([[0, 0, 1, 1, 1, 1]] * 2)
    params = jax.tree.map(np.copy, variables['params'])
    kinds = params['segment']['embedding']
    params['positions']['embedding'][:6] += kinds[[0, 0, 1, 1, 1, 1]] - kinds[:1]
    prefix = [models.KeyValues(*RNG.normal(size=(2, 1, 3, 4, 4)).astype('f'))]

    @jax.jit
    def found():
        apply = lambda *args, **given: module.apply(variables, *args, **given)
        mask = valid[:, None, None]
        return {
            'plain': apply(TOKENS),
            'embedded': apply(apply(TOKENS, method='embedded')),
            'valid': [apply(tokens, mask=mask) for tokens in (TOKENS, padded)],
            'short': apply(TOKENS[:1, :4]),
            'parts': apply(TOKENS, segments=segments),
            'moved': module.apply({'params': params}, TOKENS),
            'prefix': apply(TOKENS, prefix=prefix),
            'h': apply(TOKENS, method='features'),
        }

    out = jax.device_get(found())
    np.testing.assert_allclose(out['embedded'], out['plain'], atol=1e-5)
    one, other = out['valid']
    np.testing.assert_allclose(one[valid], other[valid], atol=1e-5)
    np.testing.assert_allclose(one[0, :4], out['short'][0], atol=1e-5)
    np.testing.assert_allclose(out['parts'], out['moved'], atol=1e-5)
    assert np.abs(out['parts'] - out['plain']).max() > 1e-3
    assert np.abs(out['prefix'] - out['plain']).max() > 1e-3

    params = variables['params']
    h = out['h'] @ params['head']['kernel'] + params['head']['bias']
    h = h / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
    h = h * params['head_norm']['scale'] + params['head_norm']['bias']
    logits = h @ params['embed']['embedding'].T + params['bias']
    np.testing.assert_allclose(out['plain'], logits, atol=1e-4)


def test_masked_with_rotary_positions_knows_distances_alone(draw):
    module = models.MaskedLM(11, models.Transformer(16, 2, 4), length=0)
    variables = draw(module, TOKENS)
    assert 'positions' not in variables['params']
    late = np.pad(TOKENS, ((0, 0), (3, 0)))
    valid = np.arange(late.shape[1]) >= 3

    @jax.jit
    def found():
        apply = lambda *args, **given: module.apply(variables, *args, **given)
        return (
            apply(TOKENS),
            apply(late, mask=valid[None, None, None])[:, 3:],
            apply(TOKENS[:, ::-1]),
        )

    first, last, back = jax.device_get(found())
    np.testing.assert_allclose(first, last, atol=1e-4)
    assert np.abs(first - back[:, ::-1]).max() > 1e-3


def test_encoder_and_decoder(draw):
    decoder = models.Transformer(16, 1, 4, causal=True, cross=True)
    module = models.EncoderDecoder(11, models.Transformer(16, 1, 4), decoder)
    source, target = TOKENS, RNG.integers(0, 11, (2, 4))
    variables = draw(module, source, target)
    valid = np.array([[1] * 4 + [0] * 2, [1] * 6], bool)
    mask, padded = valid[:, None, None], np.where(valid, source, 9)

    @jax.jit
    def found():
        apply = lambda *args, **given: module.apply(variables, *args, **given)
        context = apply(source, mask=mask, method='encode')
        cache, parts = module.decoder.empty_cache(2, 4), []
        for start, end in ((0, 1), (1, 4)):
            given = {'mask': mask, 'cache': cache, 'start': start, 'method': 'decode'}
            logits, cache = apply(target[:, start:end], context, **given)
            parts.append(logits)
        changed = target.at[:, 2:].add(-target[:, 2:])
        return {
            'plain': apply(source, target, mask=mask),
            'padded': apply(padded, target, mask=mask),
            'seen': apply(padded, target),
            'future': apply(source, changed, mask=mask),
            'parts': jax.numpy.concatenate(parts, axis=1),
        }

    target = jax.numpy.asarray(target)
    out = jax.device_get(found())
    plain = out['plain']
    assert plain.shape == (2, 4, 11)
    for name in ('padded', 'parts'):
        np.testing.assert_allclose(out[name], plain, atol=1e-5)
    np.testing.assert_allclose(out['future'][:, :2], plain[:, :2], atol=1e-5)
    assert np.abs(out['future'] - plain)[:, 2:].max() > 1e-3
    assert np.abs(out['seen'] - plain)[0].max() > 1e-3


def test_dropout_and_precision():
    modules = (
        models.CausalLM(11, causal(dropout=0.5, dtype=jax.numpy.bfloat16)),
        models.MaskedLM(11, models.Transformer(16, 0, 4, dropout=0.5, dtype=jax.numpy.bfloat16)),
    )
    for module in modules:
        init = lambda key, module=module: module.init({'params': key, 'dropout': key}, TOKENS)
        variables = jax.eval_shape(init, jax.random.key(0))
        assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('f')}
        logits = jax.eval_shape(
            lambda v, module=module: module.apply(
                v, TOKENS, train=True, rngs={'dropout': jax.random.key(0)}
            ),
            variables,
        )
        assert logits.dtype == np.dtype('f')
    with pytest.raises(ValueError, match='causal'):
        models.CausalLM(11, models.Transformer(16, 1, 4)).init(jax.random.key(0), TOKENS)
    with pytest.raises(ValueError, match='cross attention'):
        models.EncoderDecoder(11, causal(), causal()).init(jax.random.key(0), TOKENS, TOKENS)
