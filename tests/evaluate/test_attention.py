"""Attention maps against loops, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.evaluate.attention import attention_focus, attention_map

MAPS = np.random.default_rng(0).normal(size=(3, 4, 5, 6))


@pytest.mark.parametrize('p', [1, 2, 4])
def test_equals_the_loop(p):
    wanted = np.zeros(MAPS.shape[:3])
    for b, i, j in np.ndindex(wanted.shape):
        wanted[b, i, j] = sum(abs(h) ** p for h in MAPS[b, i, j])
    for b in range(len(wanted)):
        wanted[b] /= wanted[b].sum()
    found = attention_map(jnp.asarray(MAPS, jnp.float32), p=p)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_scale_sign_and_order_of_channels_do_not_matter():
    maps = jnp.asarray(MAPS, jnp.float32)
    wanted = attention_map(maps)
    for same in (1e20 * maps, -maps, maps[..., ::-1], 1e-20 * maps):
        np.testing.assert_allclose(attention_map(same), wanted, rtol=1e-5)


def test_silence_is_even_and_a_single_place_takes_all():
    maps = jnp.zeros((2, 2, 4, 3)).at[1, 1, 2, 0].set(-5.0)
    found = attention_map(maps, p=4)
    np.testing.assert_allclose(found[0], np.full((2, 4), 1 / 8))
    assert found[1, 1, 2] == 1
    assert found[1].sum() == 1
    gradient = jax.grad(lambda m: jnp.square(attention_map(m)).sum())(maps)
    assert jnp.isfinite(gradient).all()


def test_compiles_and_takes_half_precision():
    maps = jnp.asarray(MAPS, jnp.bfloat16)
    np.testing.assert_allclose(jax.jit(attention_map)(maps), attention_map(maps), rtol=1e-5)
    assert attention_map(maps).dtype == jnp.float32


def test_focus_counts_what_lies_on_the_object():
    rng = np.random.default_rng(0)
    masks = rng.random((3, 8, 12)) < 0.3
    attention = attention_map(jnp.asarray(rng.random((3, 4, 4, 2)), jnp.float32))
    for b, found in enumerate(attention_focus(attention, jnp.asarray(masks))):
        on = 0.0
        for i, j in np.ndindex(8, 12):
            on += attention[b, i // 2, j // 3] / 6 * masks[b, i, j]
        np.testing.assert_allclose(found, on / masks[b].mean(), rtol=1e-5)


def test_focus_has_its_limits():
    masks = jnp.zeros((1, 4, 4), bool).at[0, :2, :2].set(True)
    even, wise = jnp.full((1, 2, 2), 1 / 4), jnp.zeros((1, 2, 2)).at[0, 0, 0].set(1.0)
    assert attention_focus(even, masks) == 1
    assert attention_focus(wise, masks) == 4
    with pytest.raises(ValueError, match='multiples'):
        attention_focus(jnp.ones((1, 3, 3)), masks)
