"""Vector quantisers: module(z, train=False) -> `Quantised`, for z [..., D] of any leading shape.

Images give [B, h, w, D], sound gives [B, T, D]: the same module serves both. Frozen arrays live in
the collection 'constants', moving averages in 'ema'.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jssl.algorithms import minibatch_kmeans
from jssl.losses import commitment, normalise, vq_loss


class Quantised(NamedTuple):
    """What a quantiser returns.

    Attributes:
      q: [..., D], the codes, with the straight-through gradient.
      indices: [...] int32.
      loss: [...], codebook and commitment terms of every token, means over D.
    """

    q: jax.Array
    indices: jax.Array
    loss: jax.Array


def gaussian(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    """Draws a codebook [K, D] from N(0, 1 / D).

    SimVQ (Zhu et al., 2024).
    """
    return jax.random.normal(key, shape, dtype) * shape[1] ** -0.5


def uniform(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    """Draws a codebook [K, D] from U(-1 / K, 1 / K), the usual start of a VQ-VAE.

    Neural Discrete Representation Learning (van den Oord et al., 2017).
    """
    return jax.random.uniform(key, shape, dtype, -1 / shape[0], 1 / shape[0])


@functools.partial(jax.jit, static_argnames='count')
def clustered(key: jax.Array, h: jax.Array, count: int) -> jax.Array:
    """Makes a codebook [K, D] of features: their k-means, with the spread of `gaussian`.

    centres of (h - mean h) / (std h sqrt(D))

    Args:
      key: of the clustering.
      h: features [N, D] of patches, by a network that is frozen.
      count: K, at most N.

    Returns:
      [K, D].

    Scaling the Codebook Size of VQGAN to 100,000 (Zhu et al., 2024).
    """
    chex.assert_rank(h, 2)
    # Features that never vary stay small.
    h = (h - h.mean(0)) / (h.std(0) + 1e-3) * h.shape[1] ** -0.5
    return minibatch_kmeans(key, h, count).centres


def nearest(z: jax.Array, codebook: jax.Array, *, chunk: int = 4096) -> jax.Array:
    """Index of the nearest code of every token.

    argmin_k |z - c_k|^2; the first of equals

    Args:
      z: [..., D].
      codebook: [K, D].
      chunk: codes compared at once: no more than [..., chunk] distances exist at any time.

    Returns:
      [...] int32.

    Neural Discrete Representation Learning (van den Oord et al., 2017).
    """
    chex.assert_rank(codebook, 2)
    chex.assert_axis_dimension(z, -1, codebook.shape[1])
    z, codebook = (jax.lax.stop_gradient(a).astype(jnp.float32) for a in (z, codebook))
    squares = jnp.square(codebook).sum(1)
    if len(codebook) <= chunk:
        return _nearest(z, codebook, squares)[1]

    def compare(best, part):
        start, *part = part
        score, index = _nearest(z, *part)
        closer = score < best[0]
        return (jnp.where(closer, score, best[0]), jnp.where(closer, start + index, best[1])), None

    missing = -len(codebook) % chunk
    starts = jnp.arange(0, len(codebook), chunk, dtype=jnp.int32)
    codebook = jnp.pad(codebook, ((0, missing), (0, 0))).reshape(-1, chunk, codebook.shape[1])
    squares = jnp.pad(squares, (0, missing), constant_values=jnp.inf).reshape(-1, chunk)
    # The first chunk has no padding: nothing is ever compared with an infinite start.
    first = _nearest(z, codebook[0], squares[0])
    (_, index), _ = jax.lax.scan(compare, first, (starts[1:], codebook[1:], squares[1:]))
    return index


def _nearest(z, codebook, squares):
    """Of every token, the least |c|^2 - 2 z.c (|z|^2 is the same for all codes), and its code.

    Value and index in one reduction: argmin alone, which minds NaN, is slower on a CPU.
    """

    def smaller(a, b):
        keep = (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))
        return jax.tree.map(lambda a, b: jnp.where(keep, a, b), a, b)

    scores = squares - 2 * z @ codebook.T
    indices = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)
    last = jnp.float32(jnp.inf), jnp.int32(len(codebook) - 1)
    return jax.lax.reduce((scores, indices), last, smaller, (scores.ndim - 1,))


def straight_through(z: jax.Array, q: jax.Array) -> jax.Array:
    """The value of q with the gradient of z: z + sg(q - z).

    Args:
      z: [..., D].
      q: [..., D].

    Returns:
      [..., D].

    Estimating or Propagating Gradients Through Stochastic Neurons (Bengio et al., 2013).
    """
    chex.assert_equal_shape([z, q])
    return z + jax.lax.stop_gradient(q - z)


def quantise(z: jax.Array, codebook: jax.Array, *, beta: float = 0.25) -> Quantised:
    """Replaces every token by its nearest code.

    Args:
      z: [..., D].
      codebook: [K, D].
      beta: weight of the commitment.

    Returns:
      `Quantised`.

    Neural Discrete Representation Learning (van den Oord et al., 2017).
    """
    indices = nearest(z, codebook)
    q = codebook[indices].astype(z.dtype)
    return Quantised(straight_through(z, q), indices, vq_loss(z, q, beta=beta))


class VectorQuantiser(nn.Module):
    """Vanilla VQ: a learned codebook, of which a batch moves the chosen rows only.

    Neural Discrete Representation Learning (van den Oord et al., 2017).
    """

    count: int
    width: int
    _: dataclasses.KW_ONLY
    codebook_init: Callable = uniform
    beta: float = 0.25

    def setup(self):
        self.rows = self.param('rows', self.codebook_init, (self.count, self.width))

    def codebook(self) -> jax.Array:
        """The codes [K, D]."""
        return self.rows

    def __call__(self, z: jax.Array, *, train: bool = False) -> Quantised:
        """Quantises z [..., D]; `train` changes nothing."""
        return quantise(z, self.codebook(), beta=self.beta)


class SimVQ(nn.Module):
    """A frozen basis times one learned linear map: every step moves every code.

    codebook = C W + b, C ~ N(0, 1 / D) frozen; dW = C' dQ

    With a basis of pre-trained features instead of noise this is VQGAN-LC's codebook. With several
    heads a token is cut into as many slices, and slice h is looked up in C W_h + b_h; the codes of
    head h are the h-th share of the codebook.

    Addressing Representation Collapse in Vector Quantized Models with One Linear Layer (Zhu et al.,
    2024); Scaling the Codebook Size of VQGAN to 100,000 (Zhu et al., 2024).
    """

    count: int  # of all heads together
    width: int
    _: dataclasses.KW_ONLY
    codebook_init: Callable = gaussian
    beta: float = 0.25
    heads: int = 1
    basis_width: int | None = None  # of C; None is that of the codes
    learn_basis: bool = False  # the ablation that trains C as well

    def setup(self):
        if self.count % self.heads or self.width % self.heads:
            raise ValueError(f'{self.heads} heads must divide {self.count=} and {self.width=}')
        shape = (self.count // self.heads, self.basis_width or self.width // self.heads)
        if self.learn_basis:
            self.basis = self.param('basis', self.codebook_init, shape)
        else:
            draw = lambda: self.codebook_init(self.make_rng('params'), shape)
            self.basis = self.variable('constants', 'basis', draw).value
        # The initialiser of the authors' linear layer, PyTorch's.
        init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
        self.linear = nn.Dense(self.width, kernel_init=init)

    def codebook(self) -> jax.Array:
        """The codes [K, D / heads], those of the first head first."""
        return jnp.concatenate(jnp.split(self.linear(self.basis), self.heads, axis=1))

    def __call__(self, z: jax.Array, *, train: bool = False) -> Quantised:
        """Quantises z [..., D]; `train` changes nothing. Indices are [..., heads] for several."""
        if self.heads == 1:
            return quantise(z, self.codebook(), beta=self.beta)
        slices = z.reshape(*z.shape[:-1], self.heads, -1)
        codebooks = self.codebook().reshape(self.heads, -1, slices.shape[-1])
        each = functools.partial(quantise, beta=self.beta)
        found = jax.vmap(each, (-2, 0), Quantised(-2, -1, -1))(slices, codebooks)
        first = jnp.arange(self.heads, dtype=jnp.int32) * codebooks.shape[1]
        return Quantised(found.q.reshape(z.shape), found.indices + first, found.loss.mean(-1))


class Averages(NamedTuple):
    """The moving averages of an EMA codebook: tokens per code [K], and their sums [K, D]."""

    counts: jax.Array
    sums: jax.Array

    @property
    def codebook(self) -> jax.Array:
        """Mean of the tokens of every code [K, D]."""
        return self.sums / jnp.maximum(self.counts, 1e-5)[:, None]


def ema_update(
    averages: Averages, z: jax.Array, indices: jax.Array, *, decay: float = 0.99
) -> Averages:
    """Moves the averages of an EMA codebook towards a batch of tokens.

    n_k = decay n_k + (1 - decay) |{i: k_i = k}|;  m_k = decay m_k + (1 - decay) sum_{k_i = k} z_i

    Args:
      averages: counts [K] and sums [K, D].
      z: tokens [N, D].
      indices: their codes [N].
      decay: of the averages.

    Returns:
      `Averages`; codes are m_k / n_k.

    Neural Discrete Representation Learning (van den Oord et al., 2017), appendix A.
    """
    chex.assert_rank([z, indices], [2, 1])
    counts, sums = jnp.zeros_like(averages.counts), jnp.zeros_like(averages.sums)
    counts, sums = counts.at[indices].add(1), sums.at[indices].add(z.astype(sums.dtype))
    mix = lambda old, new: decay * old + (1 - decay) * new
    return Averages(mix(averages.counts, counts), mix(averages.sums, sums))


def restart(key: jax.Array, averages: Averages, z: jax.Array, *, threshold: float) -> Averages:
    """Puts dead codes of an EMA codebook on tokens drawn from the batch.

    where n_k < threshold:  n_k = 1, m_k = z_i, i ~ uniform

    Args:
      key: of the draw.
      averages: counts [K] and sums [K, D].
      z: tokens [N, D].
      threshold: tokens per batch below which a code is dead; 0 restarts none.

    Returns:
      `Averages`.

    Jukebox: A Generative Model for Music (Dhariwal et al., 2020).
    """
    chex.assert_rank(z, 2)
    dead = averages.counts < threshold
    drawn = z[jax.random.randint(key, dead.shape, 0, len(z))].astype(averages.sums.dtype)
    counts = jnp.where(dead, 1.0, averages.counts)
    return Averages(counts, jnp.where(dead[:, None], drawn, averages.sums))


class EMAQuantiser(nn.Module):
    """A codebook of moving averages with dead-code restart; only the encoder follows a gradient.

    In training it draws from the stream 'restart' and writes the collection 'ema'.

    Neural Discrete Representation Learning (van den Oord et al., 2017), appendix A; Jukebox: A
    Generative Model for Music (Dhariwal et al., 2020).
    """

    count: int
    width: int
    _: dataclasses.KW_ONLY
    codebook_init: Callable = gaussian
    beta: float = 0.25
    decay: float = 0.99
    threshold: float = 1.0  # in tokens per batch; fits batches of many tokens per code

    def setup(self):
        shape = (self.count, self.width)
        draw = lambda: self.codebook_init(self.make_rng('params'), shape)
        self.sums = self.variable('ema', 'sums', draw)
        self.counts = self.variable('ema', 'counts', jnp.ones, self.count)

    def codebook(self) -> jax.Array:
        """The codes [K, D]."""
        return Averages(self.counts.value, self.sums.value).codebook

    def __call__(self, z: jax.Array, *, train: bool = False) -> Quantised:
        """Quantises z [..., D], with the codebook as it was before the batch."""
        found = quantise(z, jax.lax.stop_gradient(self.codebook()))
        if train and not self.is_initializing():
            rows = jax.lax.stop_gradient(z).reshape(-1, self.width)
            averages = Averages(self.counts.value, self.sums.value)
            averages = ema_update(averages, rows, found.indices.ravel(), decay=self.decay)
            key = self.make_rng('restart')
            averages = restart(key, averages, rows, threshold=self.threshold)
            self.counts.value, self.sums.value = averages
        return found._replace(loss=commitment(z, found.q, beta=self.beta))


class FactorisedQuantiser(nn.Module):
    """Codes looked up on a sphere of few dimensions, and projected back to the width of z.

    q = up(c_k), k = argmin |normalise(down z) - normalise(c_k)|^2

    Vector-quantized Image Modeling with Improved VQGAN (Yu et al., 2022).
    """

    count: int
    width: int
    _: dataclasses.KW_ONLY
    code_width: int = 8
    beta: float = 0.25

    def setup(self):
        shape = (self.count, self.code_width)
        self.rows = self.param('rows', gaussian, shape)
        self.down, self.up = nn.Dense(self.code_width), nn.Dense(self.width)

    def codebook(self) -> jax.Array:
        """The codes [K, code_width], of unit length."""
        return normalise(self.rows)

    def __call__(self, z: jax.Array, *, train: bool = False) -> Quantised:
        """Quantises z [..., D]; the loss is that of the low-dimensional lookup."""
        found = quantise(normalise(self.down(z)), self.codebook(), beta=self.beta)
        return found._replace(q=self.up(found.q))


def fsq(z: jax.Array, levels: Sequence[int], *, epsilon: float = 1e-3) -> tuple[jax.Array, ...]:
    """Finite scalar quantisation: every channel is bounded and rounded to its number of levels.

    round(h tanh(z + shift) - o) / floor(L / 2), h = (L - 1)(1 - epsilon) / 2, o = 1/2 for even L

    Args:
      z: [..., C], one channel per level.
      levels: L of every channel.
      epsilon: keeps the bound off the last rounding edge.

    Returns:
      codes [..., C] in [-1, 1] with the straight-through gradient, and indices [...] int32 in
      [0, prod L).

    Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer et al., 2024).
    """
    chex.assert_axis_dimension(z, -1, len(levels))
    if min(levels) < 2:
        raise ValueError(f'levels must be at least 2, got {tuple(levels)}')
    half = [(count - 1) * (1 - epsilon) / 2 for count in levels]
    offset = [0.0 if count % 2 else 0.5 for count in levels]
    # Two levels have no room for the shift that maps 0 to 0.
    shift = [math.atanh(o / h) if o < h else 0.0 for o, h in zip(offset, half, strict=True)]
    half, offset, shift = (jnp.asarray(a, z.dtype) for a in (half, offset, shift))
    bounded = jnp.tanh(z + shift) * half - offset
    codes = straight_through(bounded, jnp.round(bounded))
    middle = jnp.asarray([count // 2 for count in levels], jnp.int32)
    place = jnp.asarray([math.prod(levels[:i]) for i in range(len(levels))], jnp.int32)
    digits = jnp.round(bounded).astype(jnp.int32) + middle
    return codes / middle.astype(z.dtype), (digits * place).sum(-1).astype(jnp.int32)


class FSQ(nn.Module):
    """Finite scalar quantisation between two linear layers; no codebook and no loss.

    Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer et al., 2024).
    """

    width: int
    _: dataclasses.KW_ONLY
    levels: Sequence[int] = (8, 5, 5, 5)

    @property
    def count(self) -> int:
        """Number of codes, prod L."""
        return math.prod(self.levels)

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool = False) -> Quantised:
        """Quantises z [..., D]; `train` changes nothing."""
        codes, indices = fsq(nn.Dense(len(self.levels), name='down')(z), self.levels)
        return Quantised(nn.Dense(self.width, name='up')(codes), indices, jnp.zeros(z.shape[:-1]))


def lfq(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lookup-free quantisation: the sign of every channel.

    q = sign(z), 1 at 0;  index = sum_i 2^i [z_i >= 0]

    Args:
      z: [..., C].

    Returns:
      codes [..., C] of -1 and 1 with the straight-through gradient, and indices [...] int32.

    Language Model Beats Diffusion: Tokenizer is Key to Visual Generation (Yu et al., 2024).
    """
    positive = z >= 0
    place = 2 ** jnp.arange(z.shape[-1], dtype=jnp.int32)
    codes = straight_through(z, jnp.where(positive, 1, -1).astype(z.dtype))
    return codes, (positive * place).sum(-1).astype(jnp.int32)


def lfq_entropy(z: jax.Array, *, temperature: float = 0.01) -> jax.Array:
    """Entropy penalty of lookup-free quantisation: sure of each token, all codes used overall.

    mean_i H(p_i) - H(mean_i p_i),  p_i = softmax_c(-|z_i - c|^2 / temperature), c in {-1, 1}^C

    Args:
      z: [..., C]; all 2^C codes are written out.
      temperature: of the softmax.

    Returns:
      Scalar of the batch, at least -C log 2 and at most 0.

    Language Model Beats Diffusion: Tokenizer is Key to Visual Generation (Yu et al., 2024).
    """
    channels = z.shape[-1]
    bits = (jnp.arange(2**channels)[:, None] >> jnp.arange(channels)) & 1
    # |z|^2 and |c|^2 are the same for all codes.
    logits = 2 * z.reshape(-1, channels).astype(jnp.float32) @ (2.0 * bits - 1).T / temperature
    log_p = jax.nn.log_softmax(logits)
    p = jnp.exp(log_p)
    # Of a probability that underflows, the product with its logarithm is zero, and so its slope.
    each = -(p * jnp.where(p > 0, log_p, 0)).sum(-1).mean()
    overall = p.mean(0)
    used = overall > 0
    return each + (overall * jnp.log(jnp.where(used, overall, 1))).sum()


class LFQ(nn.Module):
    """Lookup-free quantisation between two linear layers, with its entropy penalty.

    loss = beta |z - sg q|^2 + weight (mean H(p) - H(mean p))

    Language Model Beats Diffusion: Tokenizer is Key to Visual Generation (Yu et al., 2024).
    """

    width: int
    _: dataclasses.KW_ONLY
    bits: int = 10
    beta: float = 0.25
    weight: float = 0.1
    temperature: float = 0.01

    @property
    def count(self) -> int:
        """Number of codes, 2^bits."""
        return 2**self.bits

    @nn.compact
    def __call__(self, z: jax.Array, *, train: bool = False) -> Quantised:
        """Quantises z [..., D]; `train` adds the entropy penalty, the same for every token."""
        z = nn.Dense(self.bits, name='down')(z)
        codes, indices = lfq(z)
        loss = commitment(z, codes, beta=self.beta)
        if train:
            loss = loss + self.weight * lfq_entropy(z, temperature=self.temperature)
        return Quantised(nn.Dense(self.width, name='up')(codes), indices, loss)
