import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.data import teachers

KEY = jax.random.key(0)


def test_modular_addition_is_the_table():
    pairs, sums = teachers.modular_addition(5)
    expected = [(a, b, (a + b) % 5) for a in range(5) for b in range(5)]
    np.testing.assert_array_equal(np.column_stack([pairs, sums]), expected)
    assert pairs.dtype == sums.dtype == jnp.int32


def test_addition_tokens_are_every_unordered_pair_once():
    tokens, sums = teachers.addition_tokens(KEY, 5)
    assert tokens.dtype == sums.dtype == jnp.int32
    expected = sorted((a, b, 5, (a + b) % 5) for a in range(5) for b in range(a + 1))
    found = np.column_stack([tokens, sums])
    assert sorted(map(tuple, found.tolist())) == expected
    assert found.tolist() != [list(row) for row in expected]  # in a random order
    other = teachers.addition_tokens(jax.random.key(1), 5)[1]
    assert (other != sums).any()


def test_direction():
    beta = teachers.teacher_direction(KEY, 50)
    assert np.vdot(beta, beta) == pytest.approx(50, rel=1e-5)
    many = jax.vmap(lambda k: teachers.teacher_direction(k, 3))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(np.cov(many.T), np.eye(3), atol=0.1)


def test_single_index_follows_its_link():
    beta = teachers.teacher_direction(KEY, 8)
    x, y = teachers.single_index(jax.random.key(1), beta, 20_000)
    expected = [0.5 * sum(a * b for a, b in zip(row, beta, strict=True)) ** 2 for row in x[:20]]
    np.testing.assert_allclose(y[:20], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.cov(x.T), np.eye(8) / 8, atol=0.01)
    assert np.mean(y) == pytest.approx(0.5, abs=0.03)  # E s^2 / 2
    assert np.mean(np.square(y)) == pytest.approx(0.75, abs=0.08)  # E s^4 / 4
    x, y = teachers.single_index(jax.random.key(1), beta, 10, link=jnp.tanh)
    np.testing.assert_allclose(y, np.tanh(x @ beta), rtol=1e-5)


def test_the_teacher_itself_is_the_oracle_and_a_line_learns_nothing():
    beta = teachers.teacher_direction(KEY, 8)
    x, y = map(np.asarray, teachers.single_index(jax.random.key(1), beta, 4000))
    half = slice(0, 2000), slice(2000, 4000)
    a = np.c_[x, np.ones(len(x))]
    line = np.linalg.lstsq(a[half[0]], y[half[0]], rcond=None)[0]
    left = lambda guess: np.square(y[half[1]] - guess).mean() / y[half[1]].var()
    assert left(a[half[1]] @ line) > 0.95
    assert left(np.square(x[half[1]] @ np.asarray(beta)) / 2) < 1e-8


def test_committee_averages_its_units():
    betas = jax.random.normal(KEY, (3, 4))
    x, y = teachers.committee_teacher(jax.random.key(1), betas, 6, link=jax.nn.relu)
    expected = [np.mean([max(0.0, float(row @ b)) for b in betas]) for row in np.asarray(x)]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    one = teachers.committee_teacher(jax.random.key(1), betas[:1], 6)
    two = teachers.single_index(jax.random.key(1), betas[0], 6)
    np.testing.assert_array_equal(one[1], two[1])


def test_shapes_are_checked_and_keys_decide():
    beta = teachers.teacher_direction(KEY, 4)
    with pytest.raises(AssertionError):
        teachers.single_index(KEY, beta[None], 3)
    first, again = (teachers.single_index(KEY, beta, 3)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    jitted = jax.jit(lambda k, b: teachers.single_index(k, b, 3))(KEY, beta)
    np.testing.assert_allclose(jitted[0], first, rtol=1e-6)
    assert not np.allclose(teachers.single_index(jax.random.key(2), beta, 3)[0], first)


@pytest.mark.parametrize('share', [0.0, 0.5, 2.0])
def test_planted_weights_keep_their_norm(share):
    beta = teachers.teacher_direction(KEY, 6)
    w = np.asarray(teachers.planted_weights(jax.random.key(1), beta, 50_000, share=share))
    covariance = np.eye(6) + share**2 * np.outer(beta, beta)
    np.testing.assert_allclose(w.T @ w / len(w), covariance / (1 + share**2), atol=0.05)
    assert np.mean(np.square(w).sum(1)) == pytest.approx(6, rel=0.02)


def test_tokens_lie_on_the_sphere_and_targets_ignore_the_order_of_keys():
    x = teachers.sphere_tokens(KEY, 200, 5, 4)
    assert x.shape == (200, 6, 4)
    np.testing.assert_allclose(jnp.linalg.norm(x, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(x.mean((0, 1)), 0, atol=0.05)
    beta = jnp.array([1.0, -2.0, 0.5, 3.0])
    for power, query in ((2, 0), (1, 3)):
        expected = [
            np.mean([(row[0] @ k) ** query * (beta @ k) ** power for k in row[1:]])
            for row in np.asarray(x[:3], np.float64)
        ]
        y = teachers.attended(x[:3], beta, power=power, query=query)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
        turned = jnp.roll(x[:3, 1:], 2, axis=1)
        again = teachers.attended(
            jnp.concatenate([x[:3, :1], turned], 1), beta, power=power, query=query
        )
        np.testing.assert_allclose(again, y, rtol=1e-4, atol=1e-6)
