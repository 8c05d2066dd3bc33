"""A network of one hidden layer trained on frozen features."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jssl.evaluate.classifier import affine, train_classifier
from jssl.evaluate.score import Score
from jssl.evaluate.split import check_split, share_right, standardised


def mlp_probe(
    key,
    train_h,
    train_y,
    test_h,
    test_y,
    *,
    classes: int | None = None,
    width: int = 512,
    steps: int = 1000,
    batch: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    standardise: bool = True,
) -> Score:
    """Test accuracy of a network with one hidden layer: what is there, but not linearly.

        argmax_c (relu(h U + a) W + b)_c, by AdamW with a cosine schedule to zero

    Args:
        key: random key of the parameters and of the order of the rows.
        train_h: training features [N, D].
        train_y: training labels [N].
        test_h: test features [M, D].
        test_y: test labels [M].
        classes: number of classes; one more than the largest label when None.
        width: number of hidden units.
        steps: number of minibatches.
        batch: rows per step, at most N.
        learning_rate: rate at the first step.
        weight_decay: AdamW's, relative to the learning rate.
        standardise: whether features are standardised, with the training set's statistics.

    Returns:
        `Score` in [0, 1].

    Reference: Designing and Interpreting Probes with Control Tasks (Hewitt and Liang, 2019).
    """
    classes = check_split(train_h, train_y, test_h, test_y, classes=classes)
    logits = _probe_mlp(
        *(key, train_h, train_y, test_h, learning_rate, weight_decay),
        classes=classes,
        width=width,
        steps=steps,
        batch=min(batch, len(train_h)),
        standardise=standardise,
    )
    return Score(share_right(logits, test_y), 'mlp_probe/1')


@partial(jax.jit, static_argnames=('classes', 'width', 'steps', 'batch', 'standardise'))
def _probe_mlp(
    key,
    train_h,
    train_y,
    test_h,
    learning_rate,
    weight_decay,
    *,
    classes,
    width,
    steps,
    batch,
    standardise,
):
    train_h, test_h = standardised(train_h, test_h) if standardise else (train_h, test_h)
    init_key, order_key = jax.random.split(key)
    hidden = jax.nn.initializers.he_normal()(init_key, (train_h.shape[1], width))
    params = (hidden, jnp.zeros(width)), (jnp.zeros((width, classes)), jnp.zeros(classes))

    def logits(params, h):
        return affine(params[1], jax.nn.relu(affine(params[0], h)))

    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimiser = optax.adamw(schedule, weight_decay=weight_decay)
    params = train_classifier(
        order_key, logits, params, optimiser, train_h, train_y, steps=steps, batch=batch
    )
    return logits(params, test_h)
