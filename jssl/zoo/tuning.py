"""Small parts that are trained on the features of a frozen model of images and sentences.

init, step = tuning.prompts(network, optimiser, learners=3, places=16, classes=10, length=77)

Several learners, of several seeds, train side by side: batches are {'feature': [B, L, D], 'label':
int [B, L]}, and all that has L in front are the parameters. What is frozen is put into the state's
`extra` before training, of the shapes that `init` gives it.
"""

import jax
import jax.numpy as jnp
import optax

from jssl import algorithms, losses, train
from jssl.zoo.towers import TEXT, encode_sentences


def prompts(network, optimiser: optax.GradientTransformation, *, learners, places, classes, length):
    """CoOp: words of all classes' sentences are learned.

        logits = s h.text([v_1 ... v_P, class])

    Args:
      network: a `models.CLIP`.
      optimiser: of the words.
      learners: L.
      places: P, whose words the sentences have behind their start.
      classes, length: of the sentences, tokens int [K, T].

    Returns:
      (init, step); params [L, P, W], extra {'frozen': variables of `TEXT`, 'tokens', 'scale'}.

    Learning to Prompt for Vision-Language Models (Zhou et al., 2022).
    """

    def init(key):
        tokens = jnp.zeros((classes, length), jnp.int32)
        frozen = network.init(key, tokens[:1], method='encode_text')
        extra = {'frozen': frozen, 'tokens': tokens, 'scale': jnp.float32(100)}
        words = 0.02 * jax.random.normal(key, (learners, places, network.text.transformer.width))
        return train.create(words, optimiser, extra=extra)

    def logits(words, extra, h):
        text = encode_sentences(network, extra['frozen'], extra['tokens'], words)
        return extra['scale'] * h @ text.T

    return init, train.gradient_step(_mean_of(logits), optimiser)


def text_tower(variables: dict) -> dict:
    """What of a model's variables `prompts` keeps frozen.

    Learning to Prompt for Vision-Language Models (Zhou et al., 2022).
    """
    return {'params': {name: variables['params'][name] for name in TEXT}}


def keys(optimiser: optax.GradientTransformation, *, learners, count, classes, width):
    """Tip-Adapter-F: the keys of the cache are learned, from the features of images with labels on.

        logits = s h.text + sum_n exp(-beta (1 - h.k_n)) v_n,   beta = 5.5

    Args:
      optimiser: of the keys.
      learners: L.
      count, classes, width: N keys of K classes and D features.

    Returns:
      (init, step); params [L, N, D], extra {'text': [K, D], 'values': [N, K], 'scale'}.

    Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification (Zhang et al., 2022).
    """

    def init(_):
        extra = {'text': jnp.zeros((classes, width)), 'values': jnp.zeros((count, classes))}
        extra['scale'] = jnp.float32(100)
        return train.create(jnp.zeros((learners, count, width)), optimiser, extra=extra)

    def logits(known, extra, h):
        by_text = extra['scale'] * h @ extra['text'].T
        return by_text + algorithms.cache_logits(h, known, extra['values'])

    return init, train.gradient_step(_mean_of(logits), optimiser)


def _mean_of(logits):
    def loss_fn(params, state, batch, key):
        one = lambda p, h, y: losses.cross_entropy(logits(p, state.extra, h), y).mean()
        each = jax.vmap(one, in_axes=(0, 1, 1))(params, batch['feature'], batch['label'])
        return each.sum(), {'mean': each.mean()}

    return loss_fn
