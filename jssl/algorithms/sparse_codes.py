"""Sparse codes as an allocation: which entries of a matrix of tokens and features may be active.

One threshold decides, for a row (a token picks its features), for a column (a feature picks its
tokens) or for the whole matrix:

    z * ((z > 0) & (z >= kth_largest(z, tokens * k)))
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32

_OFFSETS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Zipf(NamedTuple):
    """scale (rank + offset)^-exponent, ranks from 1."""

    exponent: jax.Array
    offset: jax.Array
    scale: jax.Array

    def __call__(self, rank: jax.Array) -> jax.Array:
        return self.scale * (rank + self.offset) ** -self.exponent


def kth_largest(x: jax.Array, k: jax.Array | int, *, axis: int | None = None) -> jax.Array:
    """The k-th largest of entries that are not negative, without sorting them.

        t = max {t: #{i: x_i >= t} >= k}

    Floats of one sign are ordered as their bits are: each of 31 counts settles one bit of t. A sort
    of all entries costs more, on an accelerator as on a CPU, and on many devices it gathers them
    all, where a count is one number.

    Args:
        x: [N, F], not negative.
        k: how many reach the threshold, or more where some are equal; a number, or one for every
            entry of the result. Below 1 nothing does.
        axis: None, over the whole matrix; 0, in every column; 1, in every row.

    Returns:
        Threshold, scalar, [F] or [N]; infinite where k is below 1, 0 where k is too many.

    Reference: Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse Autoencoders
    (Ayonrinde, 2024), for the use.
    """
    chex.assert_rank(x, 2)
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x).astype(jnp.float32), jnp.int32)
    shape = () if axis is None else (x.shape[1 - axis],)
    k = jnp.broadcast_to(jnp.asarray(k), shape)

    def settle(place, found):
        trial = found | (1 << (30 - place))
        among = trial if axis is None else jnp.expand_dims(trial, axis)
        enough = (bits >= among).sum(axis) >= k
        return jnp.where(enough, trial, found)

    found = jax.lax.fori_loop(0, 31, settle, jnp.zeros(shape, jnp.int32))
    threshold = jax.lax.bitcast_convert_type(found, jnp.float32)
    return jnp.where(k < 1, jnp.inf, threshold)


def fit_zipf(frequency: jax.Array) -> Zipf:
    """The law that frequencies follow when they are put in order.

        min_(c, a, b) sum_r 1/r (log f_(r) - log c + a log(r + b))^2,  f_(1) >= f_(2) >= ...

    The weights give every octave of ranks the same say. The offset b is one of 0, 1, 2, 4, ... 128;
    frequencies of 0 are left out.

    Args:
        frequency: [F], in any order.

    Returns:
        A `Zipf`; flat where fewer than two frequencies are above 0.

    Reference: An Informational Theory of the Statistical Structure of Language (Mandelbrot, 1953).
    """
    chex.assert_rank(frequency, 1)
    f = -jnp.sort(-at_least_float32(frequency))
    rank = jnp.arange(1, len(f) + 1, dtype=f.dtype)
    weight = (f > 0) / rank
    weight = weight / jnp.maximum(weight.sum(), 1e-9)
    y = jnp.log(jnp.where(f > 0, f, 1))

    def line(offset):
        x = jnp.log(rank + offset)
        middle = weight @ x
        slope = (weight @ ((x - middle) * y)) / jnp.maximum(weight @ (x - middle) ** 2, 1e-9)
        level = weight @ y - slope * middle
        return weight @ (y - level - slope * x) ** 2, Zipf(-slope, offset, jnp.exp(level))

    error, law = jax.vmap(line)(jnp.array(_OFFSETS, f.dtype))
    return jax.tree.map(lambda x: x[error.argmin()], law)


def zipf_counts(law: Zipf, features: int, total: int) -> jax.Array:
    """A budget shared among features as a law says, no feature left without.

        m_r - 1 ~ (total - F) f(r) / sum_s f(s),  rounded so that sum_r m_r = total

    Args:
        law: of the frequencies.
        features: F.
        total: at least F.

    Returns:
        int32 [F], of ranks 1 to F.

    Reference: Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse Autoencoders
    (Ayonrinde, 2024).
    """
    if total < features:
        raise ValueError(f'total must be at least {features}, one for every feature, got {total}')
    share = jnp.cumsum(law(jnp.arange(1, features + 1, dtype=jnp.float32)))
    ends = jnp.round(share / share[-1] * (total - features)).astype(jnp.int32)
    return 1 + jnp.diff(ends, prepend=0)
