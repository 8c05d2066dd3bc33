"""Answers of a causal language model to prompts: drawn, and how likely they are."""

import jax
import jax.numpy as jnp
import optax

from jssl.algorithms.decoding import sample_tokens
from jssl.models.language import CausalLM


def answer_log_probs(
    network: CausalLM, variables: dict, prompt: jax.Array, answer: jax.Array, *, pad: int = 0
) -> jax.Array:
    """log p of every token of an answer, given the prompt and what of the answer is before it.

    Args:
      network, variables: the model.
      prompt: int [N, P], of one length.
      answer: int [N, L], filled up behind.
      pad: the token that fills them.

    Returns:
      [N, L], 0 where an answer is filled up; their sum is log p(answer | prompt).

    Training language models to follow instructions (Ouyang et al., 2022).
    """
    tokens = jnp.concatenate([prompt, answer], axis=1)
    logits = network.apply(variables, tokens)[:, prompt.shape[1] - 1 : -1]
    log_p = -optax.softmax_cross_entropy_with_integer_labels(logits, answer)
    return jnp.where(answer == pad, 0.0, log_p)


def sample_answers(
    key: jax.Array,
    network: CausalLM,
    variables: dict,
    prompt: jax.Array,
    *,
    steps: int,
    end: int,
    pad: int = 0,
    **options,
) -> jax.Array:
    """Draws answers, token by token, and fills them up behind their ends.

    Args:
      key: for the tokens.
      network, variables, prompt, pad: as in `answer_log_probs`.
      steps: L.
      end: a token that ends an answer, and is part of it.
      options: of `sample_tokens`: temperature, top_k, top_p.

    Returns:
      int32 [N, L].

    Training language models to follow instructions (Ouyang et al., 2022).
    """
    cache = network.transformer.empty_cache(len(prompt), prompt.shape[1] + steps)
    step = lambda cache, tokens, start: network.apply(variables, tokens, cache=cache, start=start)
    answers, _ = sample_tokens(key, step, cache, prompt, steps=steps, end=end, **options)
    ended = answers == end
    return jnp.where(jnp.cumsum(ended, axis=1) > ended, pad, answers)
