"""Tasks whose rule is known: Gaussian inputs or tokens under a teacher, and addition modulo p."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp


def teacher_direction(key: jax.Array, dimension: int) -> jax.Array:
    """A uniformly drawn beta [D] with |beta|^2 = D, so that beta . x has variance one.

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    beta = jax.random.normal(key, (dimension,))
    return beta * jnp.sqrt(dimension / jnp.vdot(beta, beta))


def half_square(s: jax.Array) -> jax.Array:
    """s^2 / 2, elementwise: the quadratic link, orthogonal to every linear function of a Gaussian.

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    return 0.5 * jnp.square(s)


def single_index(
    key: jax.Array, beta: jax.Array, count: int, *, link: Callable = half_square
) -> tuple[jax.Array, jax.Array]:
    """Gaussian inputs and a target that depends on one direction of them.

    x ~ N(0, I / D),  y = link(beta . x)

    Args:
      beta: [D].
      count: how many points, N.
      link: elementwise function.
    Returns: x [N, D] and y [N].

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    chex.assert_rank(beta, 1)
    return committee_teacher(key, beta[None], count, link=link)


def committee_teacher(
    key: jax.Array, betas: jax.Array, count: int, *, link: Callable = half_square
) -> tuple[jax.Array, jax.Array]:
    """Gaussian inputs and the average of several hidden units of a teacher.

    x ~ N(0, I / D),  y = (1 / K) sum_k link(beta_k . x)

    Args:
      betas: [K, D].
      count: how many points, N.
      link: elementwise function.
    Returns: x [N, D] and y [N].

    On-line learning in soft committee machines (Saad and Solla, 1995).
    """
    chex.assert_rank(betas, 2)
    dimension = betas.shape[1]
    x = jax.random.normal(key, (count, dimension), betas.dtype) / dimension**0.5
    return x, link(x @ betas.T).mean(1)


def planted_weights(
    key: jax.Array, beta: jax.Array, count: int, *, share: float = 0.0
) -> jax.Array:
    """Gaussian weights into which the target's direction is mixed, at an unchanged expected norm.

    w_i = (u_i + c g_i beta) / sqrt(1 + c^2 |beta|^2 / D),  u_i ~ N(0, I), g_i ~ N(0, 1)

    Args:
      beta: [D].
      count: how many vectors, N.
      share: c; 1 makes the target's direction as strong as all others together.
    Returns: [N, D].

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    chex.assert_rank(beta, 1)
    noise_key, plant_key = jax.random.split(key)
    w = jax.random.normal(noise_key, (count, *beta.shape), beta.dtype)
    plant = share * jax.random.normal(plant_key, (count, 1), beta.dtype)
    return (w + plant * beta) / jnp.sqrt(1 + share**2 * jnp.vdot(beta, beta) / len(beta))


def sphere_tokens(key: jax.Array, count: int, tokens: int, dimension: int) -> jax.Array:
    """Sequences of a query and its keys, evenly drawn from the unit sphere.

    Args:
      key: random key.
      count: N.
      tokens: T, keys of a sequence.
      dimension: D.
    Returns: x [N, 1 + T, D], the query first.

    What can a Single Attention Layer Learn? (Fu et al., 2023).
    """
    x = jax.random.normal(key, (count, 1 + tokens, dimension))
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def attended(x: jax.Array, beta: jax.Array, *, power: int = 2, query: int = 0) -> jax.Array:
    """A target of sequences that no order of the keys changes.

        y = (1 / T) sum_i (x_0 . x_i)^query (beta . x_i)^power

    Args:
      x: [N, 1 + T, D], of `sphere_tokens`.
      beta: [D].
      power: of the keys alone; 1 in the tasks of correlation.
      query: 0 is a function of the keys alone.
    Returns: y [N].

    What can a Single Attention Layer Learn? (Fu et al., 2023).
    """
    chex.assert_rank([x, beta], [3, 1])
    near = jnp.einsum('nd,ntd->nt', x[:, 0], x[:, 1:])
    return (near**query * (x[:, 1:] @ beta) ** power).mean(1)


def modular_addition(p: int) -> tuple[jax.Array, jax.Array]:
    """The whole addition table modulo p.

    (a, b) -> (a + b) mod p,  0 <= a, b < p

    Returns: pairs int32 [p^2, 2] with b fastest, and sums int32 [p^2].

    Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets (Power et al., 2022).
    """
    pairs = jnp.stack(jnp.divmod(jnp.arange(p * p), p), axis=1)
    return pairs, pairs.sum(1) % p


def addition_tokens(key: jax.Array, p: int) -> tuple[jax.Array, jax.Array]:
    """Every sum of two residues once, in a random order, as a sequence that ends in 'equals'.

    (a, b, p) -> (a + b) mod p,  0 <= b <= a < p

    A network that does not know the order of its tokens would have both a + b and b + a.

    Returns: tokens int32 [p (p + 1) / 2, 3], and sums int32 [p (p + 1) / 2].

    Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets (Power et al., 2022).
    """
    pairs, sums = modular_addition(p)
    order = jax.random.permutation(key, jnp.stack(jnp.tril_indices(p), 1) @ jnp.array([p, 1]))
    return jnp.pad(pairs[order], ((0, 0), (0, 1)), constant_values=p), sums[order]
