"""The stream of a language model against its parts, applied one by one."""

import jax
import jax.numpy as jnp
import numpy as np

from jssl import models

NETWORK = models.CausalLM(11, models.Transformer(8, 2, 2, causal=True))
TOKENS = jnp.arange(10).reshape(2, 5)


def test_the_stream_is_read_and_changed_after_the_block_and_nowhere_else():
    variables = NETWORK.init(jax.random.key(0), TOKENS)
    logits, first = models.residual_stream(NETWORK, variables, TOKENS, block=0)
    np.testing.assert_allclose(logits, NETWORK.apply(variables, TOKENS), rtol=1e-5)
    _, last = models.residual_stream(NETWORK, variables, TOKENS, block=1)

    changed, seen = models.residual_stream(
        NETWORK, variables, TOKENS, block=1, change=lambda h: 3 * h[::-1] + 1
    )
    wanted = np.asarray(3 * last[::-1] + 1, np.float64)
    np.testing.assert_allclose(seen, wanted, rtol=1e-5)
    norm = variables['params']['transformer']['norm']
    centred = wanted - wanted.mean(-1, keepdims=True)
    h = centred / np.sqrt(wanted.var(-1, keepdims=True) + 1e-6) * norm['scale'] + norm['bias']
    embedding = np.asarray(variables['params']['embed']['embedding'], np.float64)
    np.testing.assert_allclose(changed, h @ embedding.T, rtol=1e-4, atol=1e-5)

    passed = models.residual_stream(NETWORK, variables, TOKENS, block=0, change=lambda h: h)
    np.testing.assert_allclose(passed[0], logits, rtol=1e-5)
    np.testing.assert_allclose(passed[1], first, rtol=1e-5)
    moved, _ = models.residual_stream(
        NETWORK, variables, TOKENS, block=0, change=lambda h: h.at[:, 3, 0].add(1.0)
    )
    alike = np.isclose(moved, logits, rtol=1e-4, atol=1e-5).all((0, 2))
    assert list(alike) == [True, True, True, False, False]
