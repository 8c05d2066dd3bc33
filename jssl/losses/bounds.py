"""What two variables tell of each other: estimates of their mutual information, from a critic.

`joint` are a critic's scores of pairs that belong together [B]; `marginal` are those of pairs drawn
apart, N for each of the former [B, N]. All results are to be made large: their negatives are
losses.
"""

import jax
import jax.numpy as jnp

from jssl.losses.arrays import check_axes, widen


def joint_and_marginal(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scores of all pairs of a batch, sorted into those that belong together and those that do not.

        joint_i = s_ii,   marginal_i = (s_ij for j != i)

    Args:
        scores: f(x_i, y_j) [B, B].

    Returns:
        The diagonal [B] and the rest of each row [B, B - 1].

    Reference: On Variational Bounds of Mutual Information (Poole et al., 2019).
    """
    check_axes(scores=(scores, 'B B'))
    scores, count = widen(scores), scores.shape[0]
    # Without its last entry, the matrix in rows of B + 1 has the diagonal as its first column.
    rows = scores.reshape(-1)[:-1].reshape(count - 1, count + 1)
    return jnp.diagonal(scores), rows[:, 1:].reshape(count, count - 1)


def info_nce_bound(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """Lower bound by how surely a pair is found among N others; never above log(N + 1).

        log(N + 1) + log exp(s_i) / (exp(s_i) + sum_j exp(t_ij))

    Args:
        joint: s [B].
        marginal: t [B, N].

    Returns:
        Nats of each pair [B]; their mean is the bound.

    Reference: Representation Learning with Contrastive Predictive Coding (van den Oord et al.,
    2018).
    """
    s, t = _scores(joint, marginal)
    return jnp.log(t.shape[1] + 1.0) - jax.nn.softplus(jax.nn.logsumexp(t, axis=1) - s)


def nwj(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """Lower bound of Nguyen, Wainwright and Jordan: without bias, of large variance.

        s_i - mean_j exp(t_ij - 1)

    Args:
        joint: s [B].
        marginal: t [B, N]; above 60 it counts as 60, since its exponential must be a number.

    Returns:
        Nats of each pair [B]; their mean is the bound.

    Reference: On Variational Bounds of Mutual Information (Poole et al., 2019), I_NWJ.
    """
    s, t = _scores(joint, marginal)
    return s - jnp.exp(jnp.minimum(t, 60.0) - 1).mean(1)


def donsker_varadhan(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """Lower bound of Donsker and Varadhan; from a batch it comes out too high. A batch scalar.

        mean_i s_i - log mean_ij exp(t_ij)

    Args:
        joint: s [B].
        marginal: t [B, N].

    Returns:
        Nats, a scalar.

    Reference: Mutual Information Neural Estimation (Belghazi et al., 2018), equation 10, without
    the moving average in its gradient.
    """
    s, t = _scores(joint, marginal)
    return s.mean() - _log_mean_exp(t)


def smile(joint: jax.Array, marginal: jax.Array, *, clip: float = 5.0) -> jax.Array:
    """Donsker and Varadhan's bound with the density ratio clipped: less variance. A batch scalar.

        mean_i s_i - log mean_ij exp(clip(t_ij, -c, c))

    A clipped score has no gradient: the authors' code trains the critic with `jensen_shannon` and
    only reads this.

    Args:
        joint: s [B].
        marginal: t [B, N].
        clip: c; infinity gives `donsker_varadhan`.

    Returns:
        Nats, a scalar.

    Reference: Understanding the Limitations of Variational Mutual Information Estimators (Song &
    Ermon, 2020).
    """
    s, t = _scores(joint, marginal)
    return s.mean() - _log_mean_exp(jnp.clip(t, -clip, clip))


def jensen_shannon(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """A classifier's success in telling joint from marginal pairs: steady, and not in nats.

        -softplus(-s_i) - mean_j softplus(t_ij)

    Its best score is log p(x, y) / (p(x) p(y)), which the other estimates may then read.

    Args:
        joint: s [B].
        marginal: t [B, N].

    Returns:
        Estimate of each pair [B], below zero.

    Reference: Learning Deep Representations by Mutual Information Estimation and Maximization
    (Hjelm et al., 2019), equation 4.
    """
    s, t = _scores(joint, marginal)
    return -jax.nn.softplus(-s) - jax.nn.softplus(t).mean(1)


def wasserstein_dependency(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """Distance of the joint distribution from the product, if the critic's slope is at most one.

        s_i - mean_j t_ij

    The paper keeps the slope small by `gradient_penalty` on both arguments of the critic, and
    trains with `info_nce_bound` in place of this difference.

    Args:
        joint: s [B].
        marginal: t [B, N].

    Returns:
        Estimate of each pair [B], in the critic's units.

    Reference: Wasserstein Dependency Measure for Representation Learning (Ozair et al., 2019).
    """
    s, t = _scores(joint, marginal)
    return s - t.mean(1)


def _scores(joint, marginal):
    check_axes(joint=(joint, 'B'), marginal=(marginal, 'B N'))
    return widen(joint), widen(marginal)


def _log_mean_exp(t):
    return jax.nn.logsumexp(t) - jnp.log(float(t.size))
