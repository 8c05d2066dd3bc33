"""Optimisers as the papers set them: optax's, with decay kept off biases and normalisation."""

import jax
import optax


def decay_mask(params):
    """True for the leaves that are decayed: those with two or more dimensions."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def adamw(learning_rate, *, weight_decay=0.05, b1=0.9, b2=0.999, clip=None):
    """AdamW with decay on kernels only, after optional clipping of the global gradient norm.

    Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019).
    """
    return clipped(
        clip, optax.adamw(learning_rate, b1, b2, weight_decay=weight_decay, mask=decay_mask)
    )


def sgd(learning_rate, *, momentum=0.9, weight_decay=0.0, nesterov=False, clip=None):
    """SGD with momentum; decay is added to the gradient of kernels, as PyTorch does."""
    return clipped(
        clip,
        optax.chain(
            optax.add_decayed_weights(weight_decay, mask=decay_mask),
            optax.sgd(learning_rate, momentum or None, nesterov),
        ),
    )


def lars(learning_rate, *, momentum=0.9, weight_decay=1e-6, trust=0.001, clip=None):
    """LARS; biases and normalisation are neither decayed nor rescaled.

    Large Batch Training of Convolutional Networks (You et al., 2017).
    """
    return clipped(
        clip,
        optax.lars(
            learning_rate,
            weight_decay=weight_decay,
            weight_decay_mask=decay_mask,
            trust_coefficient=trust,
            trust_ratio_mask=decay_mask,
            momentum=momentum,
        ),
    )


def lamb(learning_rate, *, weight_decay=0.01, b1=0.9, b2=0.999, clip=None):
    """LAMB with decay on kernels only.

    Large Batch Optimization for Deep Learning (You et al., 2020).
    """
    return clipped(
        clip, optax.lamb(learning_rate, b1, b2, weight_decay=weight_decay, mask=decay_mask)
    )


def clipped(norm: float | None, optimiser):
    """`optimiser` on gradients whose global norm is at most `norm`; None leaves them."""
    return optimiser if norm is None else optax.chain(optax.clip_by_global_norm(norm), optimiser)
