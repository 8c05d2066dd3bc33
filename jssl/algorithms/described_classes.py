"""Classifiers of features whose classes are known by sentences, without a gradient step."""

import chex
import jax
import jax.numpy as jnp

from jssl.algorithms._precision import at_least_float32
from jssl.algorithms.discriminant import Discriminant, linear_discriminant, shrunk_precision
from jssl.algorithms.gmm import GMM, gmm


def cache_logits(
    h: jax.Array, keys: jax.Array, values: jax.Array, *, sharpness: jax.Array | float = 5.5
) -> jax.Array:
    """Each class as often as images of it are near.

        sum_n exp(-beta (1 - h.k_n)) v_n

    Args:
        h: unit features [B, D].
        keys: unit features [N, D] of images with labels.
        values: their classes, one-hot [N, K].
        sharpness: beta.

    Returns:
        Scores [B, K].

    Reference: Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification (Zhang et
    al., 2022).
    """
    chex.assert_rank([h, keys, values], 2)
    near = jnp.matmul(h, keys.T, precision='highest')
    return jnp.matmul(jnp.exp(-sharpness * (1 - near)), values, precision='highest')


def new_classes(
    h: jax.Array, text: jax.Array, *, nearest: int = 64, copies: int = 16
) -> Discriminant:
    """A classifier of classes without images, from images of others.

        m_k = mean of the n features nearest to t_k and of c copies of t_k
        P = mean_k D ((n - 1) S_k + tr(S_k) I)^-1,   S_k: of those n features about t_k

    Args:
        h: unit features [N, D] of other classes.
        text: unit features t [K, D] of the new classes' sentences.
        nearest: n, at most N.
        copies: c.

    Returns:
        `Discriminant` of K classes, all as likely.

    Reference: A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang et al., 2024).
    """
    chex.assert_rank([h, text], 2)
    h, text = at_least_float32(h), at_least_float32(text)

    def one(t):
        near = h[jax.lax.top_k(jnp.matmul(h, t, precision='highest'), nearest)[1]]
        mean = (near.sum(0) + copies * t) / (nearest + copies)
        return mean, shrunk_precision(near - t[None, :])

    means, precisions = jax.lax.map(one, text)
    return linear_discriminant(means, precisions.mean(0), log_prior=-jnp.log(len(text)))


def unlabelled_classes(
    h: jax.Array, scores: jax.Array, *, iterations: int = 100, regularisation: float = 1e-4
) -> Discriminant:
    """A classifier from images without labels, by expectation-maximisation.

        r = softmax(scores);   then by turns   pi, m, S <- of r,   r_ik ~ pi_k N(h_i; m_k, S)

    Args:
        h: features [N, D].
        scores: logits of the classes by their sentences [N, K], where it begins.
        iterations: at most.
        regularisation: added to the variances.

    Returns:
        `Discriminant` of K classes, as likely as they were found to be.

    Reference: A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation (Wang et al., 2024).
    """
    chex.assert_rank([h, scores], 2)
    chex.assert_equal_shape_prefix([h, scores], 1)
    h, r = at_least_float32(h), jax.nn.softmax(at_least_float32(scores))
    mass = r.sum(0) + 10 * jnp.finfo(r.dtype).eps
    means = jnp.matmul(r.T, h, precision='highest') / mass[:, None]
    middle = h.mean(0)
    about = lambda x: x - middle[None, :]  # no large numbers to cancel
    between = jnp.matmul((about(means) * mass[:, None]).T, about(means), precision='highest')
    scatter = jnp.matmul(about(h).T, about(h), precision='highest') - between
    covariance = scatter / len(h) + regularisation * jnp.eye(h.shape[1], dtype=scatter.dtype)
    start = GMM(mass / mass.sum(), means, covariance[None], 0.0, 0)
    options = {'iterations': iterations, 'tolerance': 1e-6, 'covariance': 'tied'}
    options['regularisation'] = regularisation
    found = gmm(jax.random.key(0), h, scores.shape[1], init=start, **options)
    precision = jnp.linalg.inv(found.covariances[0])
    return linear_discriminant(found.means, precision, log_prior=jnp.log(found.weights))
