"""Two-player losses against loops over places, and whose parameters each of them moves."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.losses import adversarial


def hinge_discriminator(real, fake):
    return [max(0, 1 - r) + max(0, 1 + f) for r, f in zip(real, fake, strict=True)]


def hinge_generator(fake):
    return [-f for f in fake]


def log_sigmoid(logit):
    return math.log(1 / (1 + math.exp(-logit)))


def non_saturating_discriminator(real, fake):
    return [-log_sigmoid(r) - log_sigmoid(-f) for r, f in zip(real, fake, strict=True)]


def non_saturating_generator(fake):
    return [-log_sigmoid(f) for f in fake]


LOSSES = {
    'hinge_discriminator': (hinge_discriminator, 2),
    'hinge_generator': (hinge_generator, 1),
    'non_saturating_discriminator': (non_saturating_discriminator, 2),
    'non_saturating_generator': (non_saturating_generator, 1),
}
every = pytest.mark.parametrize('name', LOSSES)


@every
@pytest.mark.parametrize('shape', [(5,), (5, 2, 3)])
def test_the_loop_over_places(name, shape):
    oracle, players = LOSSES[name]
    logits = np.random.default_rng(0).normal(scale=2, size=(players, *shape))
    expected = [np.mean(oracle(*(np.ravel(a[b]) for a in logits))) for b in range(5)]
    found = jax.jit(getattr(adversarial, name))(*jnp.float32(logits))
    assert found.shape == (5,)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every
@pytest.mark.parametrize('scale', [0.0, 1e4])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_finite_at_zero_and_at_huge_logits(name, scale, dtype):
    _, players = LOSSES[name]
    logits = jnp.asarray(scale * np.random.default_rng(0).normal(size=(players, 4, 3)), dtype)
    total = lambda *a: getattr(adversarial, name)(*a).sum()
    value, slopes = jax.value_and_grad(total, tuple(range(players)))(*logits)
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert all(np.isfinite(np.asarray(s, np.float32)).all() for s in slopes)


@every
def test_nothing_is_promoted_silently(name):
    logits = [jnp.zeros((2, 3))] * LOSSES[name][1]
    with jax.numpy_rank_promotion('raise'), jax.numpy_dtype_promotion('strict'):
        jax.eval_shape(getattr(adversarial, name), *logits)


def test_shapes_must_agree():
    with pytest.raises(AssertionError):
        adversarial.hinge_discriminator(jnp.zeros(3), jnp.zeros(4))


def test_the_generator_is_steep_where_it_is_found_out():
    slope = lambda loss: jax.grad(lambda f: loss(f).sum())(jnp.array([-20.0, 0.0, 20.0]))
    found = slope(adversarial.non_saturating_generator)
    np.testing.assert_allclose(found, [-1, -0.5, 0], atol=1e-6)
    np.testing.assert_allclose(slope(adversarial.hinge_generator), [-1, -1, -1])


def test_adversaries_leave_each_other_alone():
    rng = np.random.default_rng(0)
    real, params, maker = (jnp.float32(rng.normal(size=s)) for s in ((6, 4), (4, 3), (2, 4)))
    noise = jnp.float32(rng.normal(size=(6, 2)))
    discriminator = lambda params, x: jnp.tanh(x @ params)

    def players(params, maker):
        return adversarial.adversaries(discriminator, params, real, jnp.tanh(noise @ maker))

    fooling, telling = players(params, maker)
    fake = np.tanh(np.asarray(noise) @ np.asarray(maker))
    logits = [np.tanh(np.asarray(x) @ np.asarray(params)) for x in (real, fake)]
    rows = range(6)
    expected = [np.mean(hinge_discriminator(logits[0][b], logits[1][b])) for b in rows]
    np.testing.assert_allclose(telling, expected, rtol=1e-4)
    expected = [np.mean(non_saturating_generator(logits[1][b])) for b in rows]
    np.testing.assert_allclose(fooling, expected, rtol=1e-4)

    slopes = jax.jacrev(lambda *a: jnp.stack([p.sum() for p in players(*a)]), (0, 1))(params, maker)
    of_params, of_maker = slopes
    assert not of_params[0].any()
    assert of_params[1].any()
    assert of_maker[0].any()
    assert not of_maker[1].any()
