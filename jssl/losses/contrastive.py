"""Contrastive losses: pull the rows of a pair together, push all other rows away.

Rows are l2-normalised inside, except where a loss says otherwise. Matrix products keep the type of
the input and accumulate in float32; the losses are float32. Gradients flow into every array: stop
them at the caller where the paper does (keys of a momentum encoder, queues).
"""

import functools

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen
from jssl.losses.similarity import normalise
from jssl.losses.tiles import by_rows, fold, tiles, unfold


def info_nce(
    q: jax.Array,
    k: jax.Array,
    *,
    temperature: float = 0.07,
    negatives: jax.Array | None = None,
    chunk: int | None = None,
) -> jax.Array:
    """Cross-entropy of finding the key of each query.

        L_i = -log exp(q_i.k_i / tau) / sum_{a in A_i} exp(q_i.a / tau)
        A_i = {k_1 ... k_B}                      without `negatives`
        A_i = {k_i} and {n_1 ... n_N}            with `negatives`: no other row of k takes part

    One direction only: queries choose among keys. No query is ever compared with a query.

    Args:
        q: queries [B, D].
        k: keys [B, D]; k[i] is the positive of q[i].
        temperature: tau; may be traced.
        negatives: rows [N, D] of a queue or memory bank that replace the batch's own negatives.
        chunk: query rows per tile; None for all at once. With tiles, memory grows with B x chunk
            (N x chunk) and not B x B, and value and gradient stay exact. Reverse mode only.

    Returns:
        Loss of each query [B].

    Reference: Representation Learning with Contrastive Predictive Coding (van den Oord et al.,
    2018); with `negatives`, Momentum Contrast (He et al., 2020).
    """
    check_axes(q=(q, 'B D'), k=(k, 'B D'), temperature=(temperature, ''))
    rows, keys = _unit(q, 1 / temperature), _unit(k)
    positive = _paired(rows, keys)
    if negatives is None:
        return _row_logsumexp(rows, keys, chunk=chunk) - positive
    check_axes(q=(q, 'B D'), negatives=(negatives, 'N D'))
    others = _row_logsumexp(rows, _unit(negatives), chunk=chunk)
    return jnp.logaddexp(positive, others) - positive


def nt_xent(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: float = 0.1,
    negatives: jax.Array | None = None,
    chunk: int | None = None,
) -> jax.Array:
    """Cross-entropy of finding the other view among all views of the batch.

        L_i = -log exp(z_i.z_j(i) / tau) / sum_{m != i} exp(z_i.z_m / tau),   z = [z1; z2]

    j(i) is the other view of i; m runs over the other 2B - 1 rows and over all `negatives`.

    Args:
        z1, z2: projections of two views [B, D].
        temperature: tau; may be traced.
        negatives: further rows [N, D] in the denominator of every row.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each view [2B], those of z1 first.

    Reference: A Simple Framework for Contrastive Learning of Visual Representations (Chen et al.,
    2020); with `negatives`, Big Self-Supervised Models (Chen et al., 2020b).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'), temperature=(temperature, ''))
    z = jnp.concatenate([z1, z2])
    rows, columns = _unit(z, 1 / temperature), _unit(z)
    positive = _paired(rows, jnp.roll(columns, z1.shape[0], axis=0))
    if negatives is not None:
        check_axes(z1=(z1, 'B D'), negatives=(negatives, 'N D'))
        columns = jnp.concatenate([columns, _unit(negatives)])
    return _row_logsumexp(rows, columns, exclude_self=True, chunk=chunk) - positive


def decoupled_contrastive(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: float = 0.1,
    sigma: float | None = None,
    chunk: int | None = None,
) -> jax.Array:
    """NT-Xent without the positive in the denominator (DCL), and with weighted positives (DCLW).

        L_i = -w_i z_i.z_j(i) / tau + log sum_m exp(z_i.z_m / tau),   m: both views of other images
        w_i = 1, or with `sigma`  w_i = 2 - exp(z1_i.z2_i / sigma) / mean_b exp(z1_b.z2_b / sigma)

    The weights carry no gradient. The loss has no lower bound of zero.

    Args:
        z1, z2: projections of two views [B, D], B >= 2.
        temperature: tau; may be traced.
        sigma: width of the von Mises-Fisher weights (0.5 in the paper); None for DCL.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each view [2B], those of z1 first.

    Reference: Decoupled Contrastive Learning (Yeh et al., 2022).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'), temperature=(temperature, ''))
    batch = z1.shape[0]
    if batch < 2:
        raise ValueError('z1 must have at least 2 rows: one image alone has no negatives')
    z = jnp.concatenate([z1, z2])
    rows, columns = _unit(z, 1 / temperature), _unit(z)
    image = jnp.arange(2 * batch) % batch

    def others(rows, own):
        logits = jnp.where(own[:, None] == image[None, :], -jnp.inf, _products(rows, columns))
        return jax.nn.logsumexp(logits, axis=1)

    positive = _paired(rows, jnp.roll(columns, batch, axis=0))
    if sigma is not None:
        cosine = _paired(columns[:batch], columns[batch:])
        weights = 2 - batch * jax.nn.softmax(jax.lax.stop_gradient(cosine) / sigma)
        positive = jnp.tile(weights, 2) * positive
    return by_rows(others, (rows, image), chunk) - positive


def spectral_contrastive(z1: jax.Array, z2: jax.Array, *, chunk: int | None = None) -> jax.Array:
    """Factorises the graph of which views belong together: rows span its leading eigenvectors.

        L_i = -2 z1_i.z2_i + 1 / (B - 1) sum_{j != i} (z1_i.z2_j)^2

    Of the rows as they are: their lengths mean something here.

    Args:
        z1, z2: projections of two views [B, D], B >= 2.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row of z1 [B].

    Reference: Provable Guarantees for Self-Supervised Deep Learning with Spectral Contrastive Loss
    (HaoChen et al., 2021).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    count = z1.shape[0]
    if count < 2:
        raise ValueError('z1 must have at least 2 rows: one image alone has no negatives')
    number = jnp.arange(count)

    def squares(rows, index):
        others = index[:, None] != number[None, :]
        return jnp.square(jnp.where(others, _products(rows, z2), 0.0)).sum(1)

    return by_rows(squares, (z1, number), chunk) / (count - 1) - 2 * _paired(z1, z2)


def directclr(
    h1: jax.Array,
    h2: jax.Array,
    *,
    dimensions: int = 360,
    temperature: float = 0.1,
    chunk: int | None = None,
) -> jax.Array:
    """NT-Xent of the first columns of the representation, without a projector.

        L = nt_xent(h1[:, :d], h2[:, :d])

    Args:
        h1, h2: representations of two views [B, D].
        dimensions: d; the paper's is 360 of 2,048, lightly's 64.
        temperature: tau; may be traced.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each view [2B], those of h1 first.

    Reference: Understanding Dimensional Collapse in Contrastive Self-supervised Learning (Jing et
    al., 2022).
    """
    check_axes(h1=(h1, 'B D'), h2=(h2, 'B D'))
    h1, h2 = h1[:, :dimensions], h2[:, :dimensions]
    return nt_xent(h1, h2, temperature=temperature, chunk=chunk)


def macl(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: float = 0.1,
    alpha: float = 0.5,
    threshold: float = 0.0,
    chunk: int | None = None,
) -> jax.Array:
    """NT-Xent whose temperature grows as views align, without its small gradients at easy pairs.

        L_i = -log P_i / (1 - P_i),   the divisor without gradient
        P_i = exp(z_i.z_j(i) / t) / sum_{m != i} exp(z_i.z_m / t),   z = [z1; z2]
        t = tau (1 + alpha (mean_b z1_b.z2_b - threshold)),   without gradient

    Args:
        z1, z2: projections of two views [B, D]; a batch of one, which has P = 1, loses nothing.
        temperature: tau.
        alpha: how far the temperature moves, in [0, 1].
        threshold: likeness of views at which it is tau: A_0 of the paper.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each view [2B], those of z1 first.

    Reference: Model-Aware Contrastive Learning: Towards Escaping the Dilemmas (Huang et al., 2023).
    """
    check_axes(z1=(z1, 'B D'), z2=(z2, 'B D'))
    alike = jax.lax.stop_gradient(_paired(normalise(z1), normalise(z2)).mean())
    aware = temperature * (1 + alpha * (alike - threshold))
    loss = nt_xent(z1, z2, temperature=aware, chunk=chunk)
    # 1 - P of log P, exact for easy pairs too; a loss below rounding is as good as that of P = 1.
    return loss / jnp.maximum(-jnp.expm1(-jax.lax.stop_gradient(loss)), 1e-6)


def sup_con(
    z: jax.Array, labels: jax.Array, *, temperature: float = 0.1, chunk: int | None = None
) -> jax.Array:
    """NT-Xent with every row of the same class as a positive.

        L_i = -1/|P_i| sum_{p in P_i} log exp(z_i.z_p / tau) / sum_{a != i} exp(z_i.z_a / tau)
        P_i = {p != i : y_p = y_i}

    A row without positives loses nothing: its entry is zero.

    Args:
        z: projections [B, D]; for several views, concatenate them and repeat the labels.
        labels: classes [B], integer.
        temperature: tau; may be traced.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each row [B].

    Reference: Supervised Contrastive Learning (Khosla et al., 2020), L_out.
    """
    check_axes(z=(z, 'B D'), labels=(labels, 'B'), temperature=(temperature, ''))
    columns, number = _unit(z), jnp.arange(z.shape[0])

    def of_rows(rows, own, index):
        logits = _products(rows, columns)
        others = index[:, None] != number[None, :]
        positives = others & (own[:, None] == labels[None, :])
        count = positives.sum(1)
        # Not -inf: with a batch of one nothing is left, and -inf would become a NaN gradient.
        left = jnp.where(others, logits, jnp.finfo(logits.dtype).min)
        numerator = jnp.where(positives, logits, 0.0).sum(1)
        mean = numerator / jnp.maximum(count, 1).astype(logits.dtype)
        return jnp.where(count > 0, jax.nn.logsumexp(left, axis=1) - mean, 0.0)

    return by_rows(of_rows, (_unit(z, 1 / temperature), labels, number), chunk)


def clip(
    image: jax.Array,
    text: jax.Array,
    *,
    logit_scale: jax.Array | float,
    chunk: int | None = None,
) -> jax.Array:
    """Cross-entropy of matching images to texts and texts to images, halved.

        S = s image text^T;   L_i = (CE(S[i, :], i) + CE(S[:, i], i)) / 2

    Args:
        image, text: embeddings of pairs [B, D].
        logit_scale: s itself, a scalar. CLIP learns log s: pass exp(log s), 1 / 0.07 at the start.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each pair [B].

    Reference: Learning Transferable Visual Models From Natural Language Supervision (Radford et
    al., 2021).
    """
    check_axes(image=(image, 'B D'), text=(text, 'B D'), logit_scale=(logit_scale, ''))
    rows, columns = _unit(image, logit_scale), _unit(text)
    both = [_row_logsumexp(*pair, chunk=chunk) for pair in ((rows, columns), (columns, rows))]
    return sum(both) / 2 - _paired(rows, columns)


def siglip(
    image: jax.Array,
    text: jax.Array,
    *,
    logit_scale: jax.Array | float,
    logit_bias: jax.Array | float,
    chunk: int | None = None,
) -> jax.Array:
    """One binary decision for every image and every text: do they belong together?

        L_i = -sum_j log sigma(y_ij (s image_i.text_j + b)),   y_ij = 1 if i = j else -1

    Args:
        image, text: embeddings of pairs [B, D].
        logit_scale: s itself, a scalar. SigLIP learns log s: pass exp(log s), 10 at the start.
        logit_bias: b, a scalar; -10 at the start.
        chunk: rows per tile, as in `info_nce`; None for all at once.

    Returns:
        Loss of each image over all texts [B]; its mean is the paper's loss.

    Reference: Sigmoid Loss for Language Image Pre-Training (Zhai et al., 2023).
    """
    check_axes(
        image=(image, 'B D'),
        text=(text, 'B D'),
        logit_scale=(logit_scale, ''),
        logit_bias=(logit_bias, ''),
    )
    columns, number = _unit(text), jnp.arange(image.shape[0])

    def of_rows(rows, index):
        logits = _products(rows, columns) + logit_bias
        own = index[:, None] == number[None, :]
        return -jax.nn.log_sigmoid(jnp.where(own, logits, -logits)).sum(1)

    return by_rows(of_rows, (_unit(image, logit_scale), number), chunk)


def enqueue(queue: jax.Array, rows: jax.Array) -> jax.Array:
    """The queue with new rows in front and as many of its oldest rows dropped.

        [rows; queue][:N]

    Args:
        queue: rows [N, D], newest first.
        rows: new rows [B, D]; only the first N stay if B > N.

    Returns:
        The next queue [N, D], in the type of `queue`.

    Reference: Momentum Contrast for Unsupervised Visual Representation Learning (He et al., 2020).
    """
    check_axes(queue=(queue, 'N D'), rows=(rows, 'B D'))
    return jnp.concatenate([rows.astype(queue.dtype), queue])[: queue.shape[0]]


def _unit(x, scale=1.0):
    """Unit rows times scale, in the type of x: scaling rows is cheaper than scaling logits."""
    return (normalise(x) * scale).astype(x.dtype)


def _paired(a, b):
    """a_i.b_i in float32 [B]."""
    return jnp.sum(widen(a) * widen(b), axis=-1)


def _products(a, b):
    """a_i.b_j, accumulated in float32 [N, M]."""
    wide = a.dtype if a.dtype == jnp.float64 else jnp.float32
    return jnp.dot(a, b.T, preferred_element_type=wide)


def _row_logsumexp(rows, columns, *, exclude_self=False, chunk=None):
    """log sum_j exp(rows_i.columns_j) [N], leaving out j = i if asked."""
    if chunk is None:
        index = jnp.arange(rows.shape[0]) if exclude_self else None
        return jax.nn.logsumexp(_logits(rows, index, columns), axis=1)
    return _tiled_logsumexp(rows, columns, exclude_self, chunk)


def _logits(rows, index, columns):
    """Products of some rows with all columns; `index` says which column is the row itself."""
    logits = _products(rows, columns)
    if index is None:
        return logits
    itself = index[:, None] == jnp.arange(columns.shape[0])[None, :]
    return jnp.where(itself, -jnp.inf, logits)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _tiled_logsumexp(rows, columns, exclude_self, chunk):
    parts = _tiles(rows, exclude_self, chunk)
    out = jax.lax.map(lambda tile: jax.nn.logsumexp(_logits(*tile, columns), axis=1), parts)
    return unfold(out, rows.shape[0])


def _tiled_forward(rows, columns, exclude_self, chunk):
    out = _tiled_logsumexp(rows, columns, exclude_self, chunk)
    return out, (rows, columns, out)


def _tiled_backward(exclude_self, chunk, residuals, cotangent):
    """d/dr_i = g_i sum_j P_ij c_j and d/dc_j = sum_i g_i P_ij r_i, with P of one tile at a time."""
    rows, columns, out = residuals
    parts = _tiles(rows, exclude_self, chunk)
    count = parts[0].shape[0]

    def step(column_gradient, inputs):
        tile, normaliser, g = inputs
        p = jnp.exp(_logits(*tile, columns) - normaliser[:, None]) * g[:, None]
        p = p.astype(rows.dtype)
        return column_gradient + _products(p.T, tile[0].T), _products(p, columns.T)

    column_gradient, row_gradient = jax.lax.scan(
        step,
        jnp.zeros(columns.shape, out.dtype),
        (parts, fold(out, count), fold(cotangent, count)),
    )
    row_gradient = unfold(row_gradient, rows.shape[0])
    return row_gradient.astype(rows.dtype), column_gradient.astype(columns.dtype)


_tiled_logsumexp.defvjp(_tiled_forward, _tiled_backward)


def _tiles(rows, exclude_self, chunk):
    """(rows [T, chunk, D], their numbers [T, chunk] or None) of T tiles of at most chunk rows."""
    count = tiles(rows.shape[0], chunk)
    index = fold(jnp.arange(rows.shape[0]), count) if exclude_self else None
    return fold(rows, count), index
