"""Multi-layer perceptrons."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.norms import norm


def quick_gelu(x: jax.Array) -> jax.Array:
    """The Gaussian unit by a logistic curve: x sigmoid(1.702 x), any shape to the same.

    Gaussian Error Linear Units (Hendrycks and Gimpel, 2016); that of CLIP's published weights.
    """
    return x * nn.sigmoid(1.702 * x)


class MLP(nn.Module):
    """Dense layers with activations between them: [..., D] -> [..., widths[-1]].

    h_l = activation(norm(W_l h_{l-1} + b_l)); the last layer is plain unless `final_activation`.

    Learning representations by back-propagating errors (Rumelhart et al., 1986).
    """

    widths: Sequence[int]
    _: dataclasses.KW_ONLY
    activation: Callable = nn.gelu
    norm: str | None = None  # 'layer' or 'batch', before each activation
    final_activation: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [..., D] to [..., widths[-1]]."""
        last = len(self.widths) - 1
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, dtype=self.dtype, name=f'dense{i}')(x)
            if i < last or self.final_activation:
                x = norm(self.norm, train, dtype=self.dtype, name=f'norm{i}')(x)
                x = self.activation(x)
        return x


class FeedForward(nn.Module):
    """The perceptron of a transformer block: down(activation(up(x))), width preserved.

    Gated, it is down(activation(gate(x)) * up(x)).

    Attention Is All You Need (Vaswani et al., 2017); GLU Variants Improve Transformer (Shazeer,
    2020).
    """

    hidden: int
    _: dataclasses.KW_ONLY
    gated: bool = False
    use_bias: bool = True
    activation: Callable = nn.gelu
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [..., D] to [..., D]; `train` changes nothing."""
        init = nn.initializers.xavier_uniform()
        dense = partial(nn.Dense, use_bias=self.use_bias, kernel_init=init, dtype=self.dtype)
        h = dense(self.hidden, name='up')(x)
        if self.gated:
            h = self.activation(dense(self.hidden, name='gate')(x)) * h
        else:
            h = self.activation(h)
        return dense(x.shape[-1], name='down')(h)
