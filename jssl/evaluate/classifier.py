"""What the probes share: affine layers, and a classifier trained by minibatches in one program."""

import jax
import jax.numpy as jnp
import optax


def affine(params, h):
    """h W + b, [N, D] -> [N, C], in full precision: probes decide by small differences."""
    weights, bias = params
    return jnp.matmul(h, weights, precision='highest') + bias[None, :]


def mean_cross_entropy(logits, y):
    """Mean over rows of -log softmax(logits)[y]."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def train_classifier(key, logits, params, optimiser, h, y, *, steps, batch):
    """Parameters after `steps` minibatches of cross-entropy, in one scan; a new order each epoch.

    Args:
        key: random key of the order of the rows.
        logits: (params, h) -> [B, C].
        params: what it starts from.
        optimiser: of optax.
        h: features [N, ...].
        y: labels [N].
        steps: number of minibatches.
        batch: rows of each, at most N.

    Returns:
        Parameters.
    """
    per_epoch = len(h) // batch

    def loss(params, rows):
        return mean_cross_entropy(logits(params, h[rows]), y[rows])

    def step(carry, t):
        params, state, order = carry
        fresh = lambda: jax.random.permutation(jax.random.fold_in(key, t), len(h))
        order = jax.lax.cond(t % per_epoch == 0, fresh, lambda: order)
        rows = jax.lax.dynamic_slice(order, (t % per_epoch * batch,), (batch,))
        updates, state = optimiser.update(jax.grad(loss)(params, rows), state, params)
        return (optax.apply_updates(params, updates), state, order), None

    carry = params, optimiser.init(params), jnp.arange(len(h))
    return jax.lax.scan(step, carry, jnp.arange(steps))[0][0]
