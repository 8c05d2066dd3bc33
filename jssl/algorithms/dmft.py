"""Dynamical mean-field theory of a committee machine trained by gradient descent.

Points and dimension go to infinity at a fixed ratio; the hidden units stay few. One training point
and one input coordinate are then typical of all, each under the influence of the rest through
overlaps C and responses r, R. Time is discrete and everything strictly causal: the quantities at
t + 1 follow from those up to t, so nothing is iterated to a fixed point.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm


class Dynamics(NamedTuple):
    """The limit of training for `steps` steps, T = steps + 1 times.

    Attributes:
      train: [T] mean squared error of the training points.
      test: [T] that of new points.
      overlaps: [T, N, N] w_i(t) . w_j(t) / D.
      alignment: [T, N] w_i(t) . beta / D.
    """

    train: jax.Array
    test: jax.Array
    overlaps: jax.Array
    alignment: jax.Array


def committee_dynamics(
    key: jax.Array,
    gram: jax.Array,
    *,
    activation: Callable,
    target: Callable,
    alpha: float,
    learning_rate: float,
    points: int,
    dimension: int,
    steps: int,
    paths: int = 2048,
) -> Dynamics:
    """Solves the mean-field equations of full-batch gradient descent on a committee machine.

    f(x) = (alpha / N) sum_i [phi(w_i . x) - phi(w_i(0) . x)],  x ~ N(0, I / D),  y = g(beta . x)
    w_i <- w_i - a sum_mu G_i,mu x_mu,  G_i = (f - y) phi'(h_i),  a = eta / (alpha P),  k = P / D

    data:     h_i(t) = zeta_i(t) - a sum_{s<t,j} r_ij(t, s + 1) G_j(s),
              (zeta, zeta_*) Gaussian with covariance C_ij(t, s) = w_i(t) . w_j(s) / D, C_i*, C_**
    weights:  w_i(t+1) = w_i(t) - a [omega_i(t) + sum_{s<=t,j} R_ij(t, s) w_j(s) + R_i*(t) beta],
              Cov(omega) = k E[G_i(t) G_j(s)],  R_ij(t, s) = k E[dG_i(t) / dzeta_j(s)],
              r_ij(t, s) = dw_i(t) / dw_j(s)

    The expectations are means over Monte Carlo paths that carry their own derivatives, in memory
    for paths (steps N)^2 numbers.

    Args:
      key: for the paths.
      gram: [N + 1, N + 1], the initial products w_i(0) . w_j(0) / D, the last row and column those
        with beta.
      activation: phi, elementwise and smooth.
      target: g, elementwise and smooth.
      alpha: output scale.
      learning_rate: eta, of the loss mean((f - y)^2) / (2 alpha^2) with weights' gradients times N.
      points: P.
      dimension: D.
      steps: how many steps of gradient descent.
      paths: Monte Carlo sample.
    Returns: `Dynamics`.

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    chex.assert_rank(gram, 2)
    units = gram.shape[0] - 1
    times = steps + 1
    a, ratio = learning_rate / (alpha * points), points / dimension
    slope, bend = _derivative(activation), _derivative(_derivative(activation))
    # beta comes first in every list of vectors and fields, then the units at times 0, 1, ...
    gram = jnp.roll(gram, 1, (0, 1))
    fields = times * units
    noise = _latin_normal(key, 1 + fields, paths)
    star = noise[0] * jnp.sqrt(gram[0, 0])
    goal, goal_slope = target(star), _derivative(target)(star)

    def output(h, start):
        return alpha * (activation(h) - activation(start)).mean(0)

    def advance(t, carry):
        weights, response, source, force, tangent, starts, losses = carry
        now = t * units
        # fields: the Cholesky factor's rows up to t do not depend on what comes later
        linear, noisy = weights[: 1 + fields, : 1 + units], weights[: 1 + fields, 1 + units :]
        covariance = linear @ gram @ linear.T + noisy @ source @ noisy.T
        jitter = 1e-5 * jnp.diagonal(covariance).max()  # successive times are nearly the same field
        root = jnp.linalg.cholesky(covariance + jitter * jnp.eye(1 + fields))
        zeta = jax.lax.dynamic_slice_in_dim(root, 1 + now, units) @ noise
        starts = jnp.where(t == 0, zeta, starts)

        # r_ij(t, s + 1) for s < t, and zero from s = t on
        memory = jax.lax.dynamic_slice_in_dim(response, now, units)[:, units:]
        h = zeta - a * memory @ force
        dh = -a * jnp.tensordot(memory, tangent, 1)
        dh = dh + jax.lax.dynamic_slice_in_dim(jnp.eye(1 + fields), 1 + now, units)[:, None]
        dstart = jnp.eye(1 + fields)[1 : 1 + units, None]  # h(0) = zeta(0) for good

        error = output(h, starts) - goal
        d_error = alpha * (slope(h)[..., None] * dh - slope(starts)[..., None] * dstart).mean(0)
        d_error = d_error.at[:, 0].add(-goal_slope)
        g = error * slope(h)
        dg = d_error * slope(h)[..., None] + (error * bend(h))[..., None] * dh
        force = jax.lax.dynamic_update_slice(force, g, (now, 0))
        tangent = jax.lax.dynamic_update_slice(tangent, dg, (now, 0, 0))

        pull = ratio * dg.mean(1)  # [N, 1 + fields]: R_i*(t), then R_ij(t, s)
        cross = ratio * g @ force.T / paths
        source = jax.lax.dynamic_update_slice(source, cross, (now, 0))
        source = jax.lax.dynamic_update_slice(source, cross.T, (0, now))

        here = jax.lax.dynamic_slice_in_dim(weights, 1 + now, units)
        kick = jax.lax.dynamic_slice_in_dim(jnp.eye(fields), now, units)
        later = here - a * pull @ weights[: 1 + fields]
        later = later.at[:, 1 + units :].add(-a * kick)
        weights = jax.lax.dynamic_update_slice(weights, later, (1 + now + units, 0))
        here = jax.lax.dynamic_slice_in_dim(response, now, units)
        later = here - a * pull[:, 1:] @ response[:fields]
        own = jax.lax.dynamic_slice_in_dim(jnp.eye(fields + units), now + units, units)
        response = jax.lax.dynamic_update_slice(response, later + own, (now + units, 0))

        fresh = output(zeta, starts) - goal  # a new point has no memory: its field is zeta
        losses = losses.at[t].set(jnp.stack([jnp.square(error).mean(), jnp.square(fresh).mean()]))
        return weights, response, source, force, tangent, starts, losses

    # coefficients of every vector on beta, the initial weights, and the noises omega
    weights = jnp.zeros((1 + fields + units, 1 + units + fields))
    weights = weights.at[: 1 + units, : 1 + units].set(jnp.eye(1 + units))
    response = jnp.zeros((fields + units, fields + units))
    response = response.at[:units, :units].set(jnp.eye(units))
    carry = (
        weights,
        response,
        jnp.zeros((fields, fields)),
        jnp.zeros((fields, paths)),
        jnp.zeros((fields, paths, 1 + fields)),
        jnp.zeros((units, paths)),
        jnp.zeros((times, 2)),
    )
    weights, _, source, *_, losses = jax.lax.fori_loop(0, times, advance, carry)
    linear, noisy = weights[: 1 + fields, : 1 + units], weights[: 1 + fields, 1 + units :]
    covariance = linear @ gram @ linear.T + noisy @ source @ noisy.T
    blocks = covariance[1:, 1:].reshape(times, units, times, units)
    return Dynamics(
        train=losses[:, 0],
        test=losses[:, 1],
        overlaps=jnp.einsum('tiTj,tT->tij', blocks, jnp.eye(times)),
        alignment=covariance[1:, 0].reshape(times, units),
    )


def quadratic_committee(
    w: jax.Array,
    start: jax.Array,
    x: jax.Array,
    *,
    alpha: float,
    epsilon: float,
    linear: bool = False,
) -> jax.Array:
    """Output of a quadratic committee machine, less that at its initial weights.

    f(x) = (alpha / N) sum_i d_i (1 + eps h_i + (eps / 2) d_i),  h = w(0) . x,  d = (w - w(0)) . x

    which is phi(w . x) - phi(w(0) . x) for phi(h) = h + (eps / 2) h^2, without cancellation.

    Args:
      w: [N, D].
      start: [N, D], the initial weights.
      x: [B, D].
      alpha: output scale.
      epsilon: curvature of the activation.
      linear: whether to leave out the term of second order in d, which freezes the kernel.
    Returns: [B].

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    chex.assert_rank([w, start, x], 2)
    chex.assert_equal_shape([w, start])
    before, moved = x @ start.T, x @ (w - start).T
    bend = before + jnp.where(linear, 0, moved / 2)
    return alpha * (moved * (1 + epsilon * bend)).mean(1)


class QuadraticError(NamedTuple):
    """The parts of a committee machine's test error; their sum is the error."""

    linear_power: jax.Array  # alpha^2 |m|^2 / D
    variance: jax.Array  # (tr A)^2 / (4 D^2)
    misalignment: jax.Array  # |A|^2 / (2 D^2)


def quadratic_error(
    w: jax.Array,
    start: jax.Array,
    beta: jax.Array,
    *,
    alpha: float,
    epsilon: float,
    linear: bool = False,
) -> QuadraticError:
    """Exact test error of a quadratic committee machine, from two sufficient statistics.

    E (f - y)^2 = alpha^2 |m|^2 / D + ((tr A)^2 + 2 |A|^2) / (4 D^2),  A = alpha eps M - beta beta'
    m = mean_i w_i - mean_i w_i(0),  M = mean_i w_i w_i' - mean_i w_i(0) w_i(0)'

    for f = (alpha / N) sum_i phi(w_i . x) less the same at the start, phi(h) = h + (eps / 2) h^2,
    x ~ N(0, I / D), y = (beta . x)^2 / 2.

    Args:
      w: [N, D].
      start: [N, D], the initial weights.
      beta: [D].
      alpha: output scale.
      epsilon: curvature of the activation.
      linear: whether f is linearised in w - w(0), the kernel frozen.
    Returns: `QuadraticError`, three scalars.

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    chex.assert_rank([w, start, beta], [2, 2, 1])
    chex.assert_equal_shape([w, start])
    units, dimension = w.shape
    moved = w - start
    second = start.T @ moved + moved.T @ start + jnp.where(linear, 0, moved.T @ moved)
    a = alpha * epsilon * second / units - jnp.outer(beta, beta)
    return QuadraticError(
        alpha**2 * jnp.square(moved.mean(0)).sum() / dimension,
        jnp.square(jnp.trace(a)) / (4 * dimension**2),
        jnp.square(a).sum() / (2 * dimension**2),
    )


def committee_simulation(
    key: jax.Array,
    *,
    activation: Callable,
    target: Callable,
    alpha: float,
    learning_rate: float,
    points: int,
    dimension: int,
    steps: int,
    units: int,
    fresh: int = 10_000,
) -> Dynamics:
    """One finite network with the training that `committee_dynamics` describes in the limit.

    w_i <- w_i - (eta / (alpha P)) sum_mu (f - y) phi'(w_i . x_mu) x_mu,  w_i(0) ~ N(0, I)

    Args:
      key: draws data, teacher and initial weights.
      activation, target, alpha, learning_rate, points, dimension, steps: as there.
      units: N.
      fresh: points of the test error.
    Returns: `Dynamics`.

    Grokking as the Transition from Lazy to Rich Training Dynamics (Kumar et al., 2024).
    """
    # one call for all that is drawn: each would cost a compiled generator of its own
    z = jax.random.normal(key, (points + fresh + 1 + units, dimension))
    x, new, beta, start = jnp.split(z, [points, points + fresh, points + fresh + 1])
    x, new, beta = x / dimension**0.5, new / dimension**0.5, beta[0]
    beta = beta * jnp.sqrt(dimension / jnp.vdot(beta, beta))
    slope = _derivative(activation)

    def error(w, x):
        f = alpha * (activation(x @ w.T) - activation(x @ start.T)).mean(1)
        return f - target(x @ beta)

    def advance(w, _):
        wrong = error(w, x)
        losses = jnp.square(wrong).mean(), jnp.square(error(w, new)).mean()
        force = (wrong[:, None] * slope(x @ w.T)).T @ x
        found = Dynamics(*losses, w @ w.T / dimension, w @ beta / dimension)
        return w - learning_rate / (alpha * points) * force, found

    return jax.lax.scan(advance, start, length=steps + 1)[1]


def _derivative(f):
    """The derivative of an elementwise function, elementwise."""
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def _latin_normal(key, dimensions, count):
    """Normal numbers [dimensions, count], each row a permutation of the same quantiles."""
    quantiles = norm.ppf((jnp.arange(count) + 0.5) / count)
    quantiles = jnp.broadcast_to(quantiles, (dimensions, count))
    return jax.random.permutation(key, quantiles, axis=1, independent=True)
