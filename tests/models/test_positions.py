"""Tables against loops, and the law that rotations see differences of positions only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import models

RNG = np.random.default_rng(0)


def waves(t, width, base=10000.0):
    half = width // 2
    phases = [t / base ** (2 * i / width) for i in range(half)]
    return np.array([np.sin(p) for p in phases] + [np.cos(p) for p in phases])


def test_sincos_against_a_loop():
    t = np.array([[0.0, 1.5], [7.0, -3.0]])
    want = np.array([[waves(v, 6) for v in row] for row in t])
    np.testing.assert_allclose(models.sincos(t, 6), want, atol=1e-6)


@pytest.mark.parametrize('grid', [(5,), (2, 3), (2, 3, 2)])
def test_tables_against_a_loop(grid):
    width = 12
    share = width // len(grid)
    points = list(np.ndindex(*grid))
    want = np.array([np.concatenate([waves(v, share) for v in p]) for p in points])
    np.testing.assert_allclose(models.sincos_table(grid, width), want, atol=1e-6)
    turns = [[v / 50.0 ** (2 * i / share) for v in p for i in range(share // 2)] for p in points]
    np.testing.assert_allclose(models.rotary_angles(grid, width, base=50.0), turns, atol=1e-6)
    if len(grid) == 1:
        some = models.angles_at(np.array([[4, 0]]), width, base=50.0)
        np.testing.assert_allclose(some[0], np.array(turns)[[4, 0]], atol=1e-6)


@pytest.mark.parametrize(('grid', 'shift'), [((9,), 3), ((4, 5), 6)])
def test_rotary_products_depend_on_differences_only(grid, shift):
    q, k = RNG.normal(size=(2, 1, 1, 2, 8)).astype('f')
    count = int(np.prod(grid))

    @jax.jit
    def turn(x):
        angles = models.rotary_angles(grid, 8)
        return models.rotary(jnp.broadcast_to(x, (1, count, 2, 8)), angles)[0]

    turned = np.asarray(turn(q))
    products = np.einsum('thd,shd->hts', turned, np.asarray(turn(k)))
    # (row, column) + (1, 1) is + 6 in row-major order on a grid of five columns
    for a, b in [(0, 1), (2, 0), (1, 2)]:
        there = products[:, a + shift, b + shift]
        np.testing.assert_allclose(products[:, a, b], there, rtol=1e-4, atol=1e-4)
    lengths = np.linalg.norm(turned, axis=-1)
    np.testing.assert_allclose(
        lengths, np.tile(np.linalg.norm(q[0], axis=-1), (count, 1)), rtol=1e-5
    )
    assert np.abs(products[:, 0, 0] - products[:, 0, 1]).max() > 1e-3


def test_rotary_takes_angles_of_each_example():
    x = RNG.normal(size=(2, 3, 1, 4)).astype('f')
    table = np.asarray(models.rotary_angles((5,), 4))
    keep = np.array([[0, 2, 4], [3, 1, 0]])
    rotary = jax.jit(models.rotary)
    together = rotary(x, table[keep])
    for row in range(2):
        alone = rotary(x[row : row + 1], table[keep[row]])
        np.testing.assert_allclose(np.asarray(together)[row], np.asarray(alone)[0], atol=1e-6)
    with pytest.raises(ValueError, match='angles'):
        models.rotary(x, table)


def keys(x):
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


def test_learned_positions_fit_any_grid(draw):
    module = models.LearnedPositions(4)
    variables = draw(module, (4, 6))
    table = variables['params']['table']
    apply = lambda table, grid: module.apply({'params': {'table': table}}, grid)
    resize = jax.jit(apply, static_argnums=1)
    np.testing.assert_array_equal(resize(table, (4, 6)), table.reshape(24, 4))
    constant = np.broadcast_to(np.arange(4, dtype='f'), table.shape)
    np.testing.assert_allclose(resize(constant, (2, 3)), constant[0], rtol=1e-6)
    finer = np.asarray(resize(table, (8, 6))).reshape(8, 6, 4)
    for i in range(8):  # Keys' cubic, whose weights off the grid go to what is on it
        weights = np.array([keys(abs((i + 0.5) / 2 - 0.5 - j)) for j in range(4)])
        want = np.einsum('j,jxc->xc', weights / weights.sum(), table)
        np.testing.assert_allclose(finer[i], want, atol=1e-5)
    with pytest.raises(ValueError, match='rank'):
        module.apply(variables, (24,))


def test_widths_that_do_not_divide_are_refused():
    for call in (
        lambda: models.sincos(np.zeros(2), 5),
        lambda: models.sincos_table((2, 2), 6),
        lambda: models.rotary_angles((2, 2), 6),
    ):
        with pytest.raises(ValueError, match='width'):
            call()
