"""Any orders, with the exact conditionals of a table of probabilities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jssl import algorithms

TABLE = np.random.default_rng(0).dirichlet(np.ones(8)).reshape(2, 2, 2)


def conditionals(x):
    """log p(x_d = k | what is known), by summing the table."""
    states = jnp.array(list(itertools.product(range(2), repeat=3)))
    fits = ((x[:, None] == states[None]) | (x[:, None] < 0)).all(-1)
    weight = fits * jnp.asarray(TABLE.ravel(), jnp.float32)[None]
    is_k = (states[:, :, None] == jnp.arange(2)[None, None]).astype(jnp.float32)
    # an element that is known says nothing of itself: it is summed out too
    return jnp.log(jnp.einsum('bs,sdk->bdk', weight, is_k) + 1e-30)


def test_orders_are_permutations_and_vary():
    order = np.asarray(algorithms.any_order.orders(jax.random.key(0), 600, 3))
    found, counts = np.unique(order, axis=0, return_counts=True)
    assert (np.sort(order, 1) == np.arange(3)).all()
    assert len(found) == 6
    assert (abs(counts - 100) < 40).all()


def test_known_are_the_first_of_the_order():
    x, order = np.array([[5, 6, 7], [5, 6, 7]]), np.array([[2, 0, 1], [1, 2, 0]])
    found = algorithms.any_order.known(x, order, np.array([1, 2]))
    np.testing.assert_array_equal(found, [[-1, -1, 7], [-1, 6, 7]])


def test_every_order_has_the_likelihood_of_the_table():
    x = np.array(list(itertools.product(range(2), repeat=3)), np.int32)
    tell = jax.jit(lambda x, order: algorithms.any_order.order_log_prob(conditionals, x, order))
    for order in itertools.permutations(range(3)):
        found = tell(x, np.tile(np.int32(order), (8, 1)))
        np.testing.assert_allclose(np.exp(found), TABLE.ravel(), rtol=1e-4)


def test_draws_have_the_frequencies_of_the_table():
    key, x = jax.random.key(0), jnp.ones((4000, 3), jnp.int32)
    order = algorithms.any_order.orders(key, 4000, 3)
    fill = jax.jit(
        lambda start: algorithms.any_order.fill(key, conditionals, x, order, start=start),
        static_argnums=0,
    )
    shares = lambda x: np.bincount(np.asarray(x) @ [4, 2, 1], minlength=8) / len(x)
    np.testing.assert_allclose(shares(fill(0)), TABLE.ravel(), atol=0.03)
    drawn, first = np.asarray(fill(1)), np.asarray(order[:, 0])
    assert (drawn[np.arange(4000), first] == 1).all()
    given = drawn[first == 0]
    wanted = TABLE[1].ravel() / TABLE[1].sum()
    np.testing.assert_allclose(shares(given)[4:], wanted, atol=0.05)


def log_marginal(x):
    states = jnp.array(list(itertools.product(range(2), repeat=3)))
    fits = ((x[:, None] == states[None]) | (x[:, None] < 0)).all(-1)
    return jnp.log(fits @ jnp.asarray(TABLE.ravel(), jnp.float32))


def test_a_table_is_consistent_and_guesses_are_right_on_average():
    x = jnp.tile(jnp.array([[1, 0, 1]]), (6000, 1))
    key = jax.random.key(0)
    gap = jax.jit(lambda x: algorithms.any_order.inconsistency(key, log_marginal, conditionals, x))
    assert abs(gap(x)).max() < 1e-4
    more = lambda x: 2 * log_marginal(x)
    wrong = jax.jit(lambda x: algorithms.any_order.inconsistency(key, more, conditionals, x))
    # with d known of 3: log p of d less log p of d + 1, which adds up to -log p over d
    np.testing.assert_allclose(wrong(x).mean(), -np.log(TABLE[1, 0, 1]) / 3, rtol=0.05)
    guess = jax.jit(lambda x: algorithms.any_order.one_log_prob(key, conditionals, x))
    np.testing.assert_allclose(guess(x).mean(), np.log(TABLE[1, 0, 1]), rtol=0.05)
