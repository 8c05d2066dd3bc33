"""A small convolutional classifier trained on frozen feature maps."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jssl.evaluate.classifier import affine, train_classifier
from jssl.evaluate.score import Score
from jssl.evaluate.split import check_split, share_right, standardised


def conv_probe(
    key,
    train_maps,
    train_y,
    test_maps,
    test_y,
    *,
    classes: int | None = None,
    width: int = 192,
    steps: int = 1000,
    batch: int = 128,
    learning_rate: float = 1e-3,
    weight_decay: float = 5e-4,
) -> Score:
    """Test accuracy of a network-in-network block on top of frozen feature maps.

        argmax_c (mean_ij relu(relu(relu(h * U) V) W) A + a)_c

    with a 3 x 3 convolution U and 1 x 1 convolutions V and W, by AdamW with a cosine schedule to
    zero. Channels are standardised with the training set's statistics, over examples and places.

    Args:
        key: random key of the parameters and of the order of the rows.
        train_maps: training feature maps [N, H, W, D].
        train_y: training labels [N].
        test_maps: test feature maps [M, H, W, D].
        test_y: test labels [M].
        classes: number of classes; one more than the largest label when None.
        width: channels of the three convolutions.
        steps: number of minibatches.
        batch: rows per step, at most N.
        learning_rate: rate at the first step.
        weight_decay: AdamW's, relative to the learning rate.

    Returns:
        `Score` in [0, 1].

    Reference: Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al.,
    2018), table 3.
    """
    chex.assert_rank([train_maps, test_maps], 4)
    flat = lambda maps: np.reshape(maps, (len(maps), -1))
    classes = check_split(flat(train_maps), train_y, flat(test_maps), test_y, classes=classes)
    chex.assert_equal_shape_suffix([train_maps, test_maps], 3)
    logits = _probe(
        *(key, train_maps, train_y, test_maps, learning_rate, weight_decay),
        classes=classes,
        width=width,
        steps=steps,
        batch=min(batch, len(train_maps)),
    )
    return Score(share_right(logits, test_y), 'conv_probe/1')


def neighbourhoods(maps):
    """Each place's 3 x 3 places [N, H, W, 9 D], zeros outside.

    A convolution is then a matrix product: XLA:CPU is slow at convolutions inside a loop.
    """
    height, width = maps.shape[1:3]
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(places, -1)


def _logits(params, maps):
    (first, *hidden), last = params
    h = jax.nn.relu(neighbourhoods(maps) @ first)
    for weights in hidden:
        h = jax.nn.relu(h @ weights)
    return affine(last, h.mean((1, 2)))


@partial(jax.jit, static_argnames=('classes', 'width', 'steps', 'batch'))
def _probe(
    key,
    train_maps,
    train_y,
    test_maps,
    learning_rate,
    weight_decay,
    *,
    classes,
    width,
    steps,
    batch,
):
    depth = train_maps.shape[-1]
    scaled = standardised(train_maps.reshape(-1, depth), test_maps.reshape(-1, depth))
    train_maps, test_maps = (
        h.reshape(m.shape) for h, m in zip(scaled, (train_maps, test_maps), strict=True)
    )
    *keys, order = jax.random.split(key, 4)
    shapes = (9 * depth, width), (width, width), (width, width)
    normal = jax.nn.initializers.he_normal()
    hidden = [normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]
    params = hidden, (jnp.zeros((width, classes)), jnp.zeros(classes))
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimiser = optax.adamw(schedule, weight_decay=weight_decay)
    params = train_classifier(
        order, _logits, params, optimiser, train_maps, train_y, steps=steps, batch=batch
    )
    return _logits(params, test_maps)
