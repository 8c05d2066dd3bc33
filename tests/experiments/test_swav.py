"""What the generic smoke test leaves out: the queue's codes, and when the prototypes move."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pretext import swav
from jssl import train

CONFIG = swav.SMOKE


def slow_codes(scores, epsilon, iterations):
    """Sinkhorn-Knopp from the paper, in loops, on scores [N, K]."""
    q = np.exp(np.asarray(scores, np.float64) / epsilon)
    for _ in range(iterations):
        for k in range(q.shape[1]):
            q[:, k] /= q[:, k].sum() * q.shape[1]
        for n in range(q.shape[0]):
            q[n] /= q[n].sum() * q.shape[0]
    return q * q.shape[0]


def test_a_filled_queue_shares_the_codes_and_an_unfilled_one_does_not():
    older = jax.random.uniform(jax.random.key(0), (CONFIG.queue, CONFIG.prototypes))
    own = jax.random.uniform(jax.random.key(1), (CONFIG.batch, CONFIG.prototypes))
    scores = jnp.concatenate([older, own])
    extra = {'equal': jnp.array(True), 'queue_from': jnp.int32(3)}
    options = CONFIG.epsilon, CONFIG.iterations
    for step, among in ((2, own), (3, scores)):
        state = train.State(None, None, extra=extra, step=jnp.int32(step))
        found = swav.codes(CONFIG, state, scores)
        wanted = slow_codes(among, *options)[-CONFIG.batch :]
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    state = state._replace(extra={**extra, 'equal': jnp.array(False)})
    each = jax.nn.softmax(own / CONFIG.epsilon)
    np.testing.assert_allclose(swav.codes(CONFIG, state, scores), each, rtol=1e-4)


def test_prototypes_wait_and_stay_on_the_sphere_and_the_queue_is_filled_from_the_front():
    init, step = swav.build(CONFIG)
    first = jax.jit(init)(jax.random.key(0))
    images = np.random.default_rng(0).integers(0, 255, (CONFIG.batch, 28, 28, 1), np.uint8)
    batch = {'image': images, 'index': np.arange(CONFIG.batch)}
    advance = jax.jit(step)
    second, _ = advance(first, batch, jax.random.key(1))
    third, _ = advance(second, batch, jax.random.key(2))
    prototypes = lambda state: np.asarray(state.params['prototypes'])
    np.testing.assert_array_equal(prototypes(first), prototypes(second))  # `frozen` is 1
    assert (prototypes(second) != prototypes(third)).any()
    np.testing.assert_allclose(np.square(prototypes(third)).sum(0), 1, rtol=1e-5)
    lengths = np.square(second.extra['queue']).sum(-1)
    np.testing.assert_allclose(lengths[:, : CONFIG.batch], 1, rtol=1e-5)


def test_the_loss_is_the_double_loop_over_full_crops_and_all_others():
    """Codes of the full crops only, each predicted from every other crop."""
    count = sum(CONFIG.counts)
    z = jax.random.normal(jax.random.key(0), (count, CONFIG.batch, CONFIG.width))
    z /= jnp.linalg.norm(z, axis=-1, keepdims=True)
    state = jax.jit(swav.build(CONFIG)[0])(jax.random.key(1))
    scores = z @ state.params['prototypes']
    loss, _ = swav.swav(CONFIG, state, None, z, scores)
    total = 0.0
    for t in range(CONFIG.counts[0]):
        q = slow_codes(scores[t], CONFIG.epsilon, CONFIG.iterations)
        for v in range(count):
            logits = np.asarray(scores[v], np.float64) / CONFIG.temperature
            log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            total -= (q * log_p).sum(1).mean() * (v != t)
    np.testing.assert_allclose(loss, total / (CONFIG.counts[0] * (count - 1)), rtol=1e-4)
