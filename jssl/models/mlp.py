"""Multi-layer perceptrons."""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.models.norms import norm


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
    """The two-layer perceptron of a transformer block: down(activation(up(x))), width preserved.

    Attention Is All You Need (Vaswani et al., 2017).
    """

    hidden: int
    _: dataclasses.KW_ONLY
    activation: Callable = nn.gelu
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps x [..., D] to [..., D]; `train` changes nothing."""
        init = nn.initializers.xavier_uniform()
        h = nn.Dense(self.hidden, kernel_init=init, dtype=self.dtype, name='up')(x)
        h = self.activation(h)
        return nn.Dense(x.shape[-1], kernel_init=init, dtype=self.dtype, name='down')(h)
