"""The residual stream of a language model: read after a block, or changed there."""

from collections.abc import Callable

import flax.linen as nn
import jax

from jssl.models.language import CausalLM


def residual_stream(
    network: CausalLM,
    variables: dict,
    tokens: jax.Array,
    *,
    block: int,
    change: Callable | None = None,
) -> tuple[jax.Array, jax.Array]:
    """What a block leaves in the stream, and the logits, with the stream changed or as it is.

    Args:
      network, variables: of a model whose blocks are not scanned.
      tokens: int [B, T].
      block: place of the block, from 0.
      change: h [B, T, D] -> [B, T, D], of what the next block reads.

    Returns:
      Logits [B, T, V]; h [B, T, D], changed too.

    Toy Models of Superposition (Elhage et al., 2022), for what is sought there.
    """

    def behind(call, args, kwargs, context):
        y = call(*args, **kwargs)
        here = context.module.name == f'block{block}' and context.method_name == '__call__'
        return change(y) if change and here else y

    with nn.intercept_methods(behind):
        logits, taps = network.apply(variables, tokens, taps=True)
    return logits, taps[block]
