"""Linear classifiers trained on frozen features: how much of the labels can be read off them."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl.evaluate.classifier import affine, mean_cross_entropy, train_classifier
from jssl.evaluate.score import Score
from jssl.evaluate.split import check_split, hold_out, share_right, standardised
from jssl.losses.arrays import widen


@partial(jax.jit, static_argnames='classes')
def fit_linear(
    h: jax.Array,
    y: jax.Array,
    *,
    classes: int,
    l2: float = 1e-4,
    iterations: int = 200,
    tolerance: float = 1e-5,
) -> tuple[jax.Array, jax.Array]:
    """Multinomial logistic regression by L-BFGS; the same numbers at every call.

        min_W,b 1/N sum_i -log softmax(h_i W + b)[y_i] + l2 / 2 |W|^2

    Stops at `iterations`, when the gradient's norm is below `tolerance`, or when a step no longer
    lowers the objective, whichever is first.

    Args:
        h: features [N, D], used as they are: see `standardised`.
        y: labels [N].
        classes: number of classes C.
        l2: weight of the penalty; the bias is free.
        iterations: largest number of L-BFGS steps.
        tolerance: norm of the gradient to stop at.

    Returns:
        Weights [D, C] and bias [C].

    Reference: On the Limited Memory BFGS Method for Large Scale Optimization (Liu and Nocedal,
    1989).
    """
    chex.assert_rank(h, 2)
    chex.assert_shape(y, (h.shape[0],))
    h = widen(h)

    def objective(params):
        return mean_cross_entropy(affine(params, h), y) + l2 / 2 * jnp.square(params[0]).sum()

    optimiser = optax.lbfgs()

    def step(carry):
        params, state, value, grad, count, _ = carry
        updates, state = optimiser.update(
            grad, state, params, value=value, grad=grad, value_fn=objective
        )
        # The line search has been at the new point already.
        reached, slope = optax.tree.get(state, 'value'), optax.tree.get(state, 'grad')
        lowered = reached < value
        new = optax.apply_updates(params, updates)
        params = jax.tree.map(lambda a, b: jnp.where(lowered, a, b), new, params)
        return params, state, reached, slope, count + 1, lowered

    def going(carry):
        _, _, _, grad, count, lowered = carry
        return (count < iterations) & lowered & (optax.tree.norm(grad) > tolerance)

    params = jnp.zeros((h.shape[1], classes), h.dtype), jnp.zeros(classes, h.dtype)
    value, grad = jax.value_and_grad(objective)(params)
    carry = params, optimiser.init(params), value, grad, 0, True
    return jax.lax.while_loop(going, step, carry)[0]


def linear_probe(
    train_h,
    train_y,
    test_h,
    test_y,
    *,
    classes: int | None = None,
    l2: float | tuple[float, ...] = 1e-4,
    iterations: int = 200,
    standardise: bool = True,
) -> Score:
    """Test accuracy of a logistic regression fitted to the training features by L-BFGS.

        argmax_c (h W + b)_c  with  W, b = fit_linear(train_h, train_y)

    Args:
        train_h: training features [N, D].
        train_y: training labels [N].
        test_h: test features [M, D].
        test_y: test labels [M].
        classes: number of classes; one more than the largest label when None.
        l2: weight of the penalty, in the units of `fit_linear`. Of several, the one is taken that
            is best on a fifth of the training set, and fitted again to all of it.
        iterations: largest number of L-BFGS steps.
        standardise: whether features are standardised, with the training set's statistics.

    Returns:
        `Score` in [0, 1].

    Reference: Learning Transferable Visual Models From Natural Language Supervision (Radford et
    al., 2021), appendix A.3.
    """
    classes = check_split(train_h, train_y, test_h, test_y, classes=classes)
    probe = partial(_probe, iterations=iterations, classes=classes, standardise=standardise)
    if isinstance(l2, tuple):
        fit, held = hold_out(train_y)
        rows = train_h[fit], train_y[fit], train_h[held]
        logits = [probe(*rows, l2=candidate) for candidate in l2]
        right = [share_right(z, train_y[held]) for z in logits]
        surprise = [float(mean_cross_entropy(z, train_y[held])) for z in logits]
        # Few held-out rows give many ties in accuracy: the likelihood decides between those.
        l2 = l2[np.lexsort((surprise, np.negative(right)))[0]]
    logits = probe(train_h, train_y, test_h, l2=l2)
    return Score(share_right(logits, test_y), 'linear_probe/1')


@partial(jax.jit, static_argnames=('classes', 'standardise'))
def _probe(train_h, train_y, test_h, *, l2, iterations, classes, standardise):
    """Logits of the test set [M, C]."""
    train_h, test_h = standardised(train_h, test_h) if standardise else (train_h, test_h)
    params = fit_linear(train_h, train_y, classes=classes, l2=l2, iterations=iterations)
    return affine(params, test_h)


def linear_probe_sgd(
    key,
    train_h,
    train_y,
    test_h,
    test_y,
    *,
    classes: int | None = None,
    epochs: int = 100,
    batch: int = 1024,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    standardise: bool = True,
) -> Score:
    """Test accuracy of a linear classifier trained by SGD, as papers do it at full scale.

        Nesterov momentum, cosine schedule to zero, no weight decay, a new order each epoch

    Args:
        key: random key of the order of the rows.
        train_h: training features [N, D].
        train_y: training labels [N].
        test_h: test features [M, D].
        test_y: test labels [M].
        classes: number of classes; one more than the largest label when None.
        epochs: passes over the training set, each without its last incomplete batch.
        batch: rows per step, at most N.
        learning_rate: rate at the first step, not scaled by the batch.
        momentum: decay of the momentum.
        standardise: whether features are standardised, with the training set's statistics.

    Returns:
        `Score` in [0, 1].

    Reference: Bootstrap Your Own Latent (Grill et al., 2020), appendix C.1; Emerging Properties in
    Self-Supervised Vision Transformers (Caron et al., 2021).
    """
    classes = check_split(train_h, train_y, test_h, test_y, classes=classes)
    batch = min(batch, len(train_h))
    logits = _probe_sgd(
        *(key, train_h, train_y, test_h, learning_rate, momentum),
        classes=classes,
        steps=epochs * (len(train_h) // batch),
        batch=batch,
        standardise=standardise,
    )
    return Score(share_right(logits, test_y), 'linear_probe_sgd/1')


@partial(jax.jit, static_argnames=('classes', 'steps', 'batch', 'standardise'))
def _probe_sgd(
    key,
    train_h,
    train_y,
    test_h,
    learning_rate,
    momentum,
    *,
    classes,
    steps,
    batch,
    standardise,
):
    train_h, test_h = standardised(train_h, test_h) if standardise else (train_h, test_h)
    params = jnp.zeros((train_h.shape[1], classes)), jnp.zeros(classes)
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimiser = optax.sgd(schedule, momentum, nesterov=True)
    params = train_classifier(
        key, affine, params, optimiser, train_h, train_y, steps=steps, batch=batch
    )
    return affine(params, test_h)
