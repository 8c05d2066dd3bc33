"""Losses in tiles: the same numbers as in one piece, in much less memory."""

import inspect

import jax
import numpy as np
import pytest

from jssl import losses

from .cases import CASES


def takes_chunk(loss):
    return 'chunk' in inspect.signature(loss).parameters


CHUNKED = {name: case for name, case in CASES.items() if takes_chunk(case.loss)}


def test_every_loss_with_tiles_is_in_the_table():
    functions = {name: getattr(losses, name) for name in losses.__all__}
    expected = {name for name, f in functions.items() if callable(f) and takes_chunk(f)}
    assert expected == {name.split('-')[0] for name in CHUNKED}


@pytest.mark.parametrize('name', [name for name in CHUNKED if not name.endswith('-chunk')])
def test_tiles_equal_one_piece(name):
    """In value and gradient, with a last tile that is not full."""
    case = CHUNKED[name]
    pieces = (case, case.in_tiles(5))
    both = jax.jit(lambda *arguments: [piece.value_and_gradient(*arguments) for piece in pieces])
    expected, actual = (jax.tree.leaves(piece) for piece in both(*case.arguments(batch=22)))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5 * np.abs(e).max())


@pytest.mark.parametrize('name', ['info_nce', 'multi_similarity'])
@pytest.mark.parametrize('chunk', [1, 1000])
def test_any_number_of_rows_makes_a_tile(name, chunk):
    case = CHUNKED[name]
    expected = case.found[0]['drawn'][0]
    actual = jax.jit(case.in_tiles(chunk).loss)(*case.drawn)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ['nt_xent', 'pair_contrastive'])
def test_gradients_of_gradients(name):
    """Penalties on gradients and implicit differentiation go through the backward pass again."""
    case = CHUNKED[name]
    z, other = case.arguments(batch=22)

    def curvature(z):
        slopes = [jax.grad(lambda z, p=piece: p.loss(z, other).sum()) for piece in pieces]
        return [jax.grad(lambda z, s=slope: s(z).sum())(z) for slope in slopes]

    pieces = (case, case.in_tiles(7))
    expected, actual = jax.jit(curvature)(z)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def optimised():
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', True)


@pytest.mark.usefixtures('optimised')
@pytest.mark.parametrize(
    ('name', 'batch', 'size'),
    [
        ('nt_xent', 2048, 4 * 2048**2),
        ('circle', 2048, 2048**2),
        ('batch_hard_triplet', 2048, 2048**2),
        ('smooth_ap', 256, 256**3),
    ],
)
def test_memory(name, batch, size):
    case = CHUNKED[name]
    arguments = case.arguments(batch=batch)

    def temporaries(case):
        program = jax.jit(case.value_and_gradient).lower(*arguments).compile()
        return program.memory_analysis().temp_size_in_bytes

    plain = temporaries(case)
    assert plain > 4 * size  # it holds at least the matrix, so the comparison means something
    assert temporaries(case.in_tiles(batch // 32)) < plain / 8


@pytest.mark.parametrize('name', ['info_nce', 'multi_similarity'])
def test_a_tile_has_at_least_one_row(name):
    case = CHUNKED[name]
    with pytest.raises(ValueError, match='chunk must be at least 1, got 0'):
        jax.eval_shape(case.in_tiles(0).loss, *case.arguments())
