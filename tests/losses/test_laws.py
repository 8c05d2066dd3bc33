"""What every loss must obey, over one table of all of them."""

import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import losses

from .case import BATCH, HARD, PERMUTATION
from .cases import CASES, l1, l2
from .pairs import masked_sums
from .prototypes import weighted
from .slopes import CASES as SLOPES
from .unlabelled import half_reversed

every = pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())


def of(kind):
    chosen = {name: case for name, case in CASES.items() if kind(case)}
    return pytest.mark.parametrize('case', chosen.values(), ids=chosen.keys())


def assert_close(actual, expected, tolerance):
    """Elementwise, relative to the largest entry of each array."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * np.abs(e).max(initial=1))


def test_every_public_function_is_in_the_table():
    functions = {name for name in losses.__all__ if callable(getattr(losses, name))}
    assert functions == {name.split('-')[0] for name in CASES}
    exported = {
        name
        for name, value in vars(losses).items()
        if not name.startswith('_') and not isinstance(value, types.ModuleType)
    }
    assert exported == set(losses.__all__)


@pytest.mark.parametrize('case', list(CASES.values())[::12], ids=list(CASES)[::12])
def test_jit_equals_eager(case):
    """Of every twelfth: operation by operation, a loss costs as much as in all its other laws."""
    assert_close(case.found[0]['drawn'][0], case.loss(*map(jnp.asarray, case.drawn)), 1e-5)


@of(lambda case: case.rows is not None)
def test_permuting_rows_permutes_the_result(case):
    wide, _ = case.found
    out = expected = wide['drawn'][0]
    if case.rows:
        rows = out.reshape(case.rows, BATCH, *out.shape[1:])
        expected = rows[:, PERMUTATION].reshape(out.shape)
    assert_close(wide['permuted'][0], expected, 1e-5)


@of(lambda case: case.cosine)
def test_the_length_of_rows_does_not_matter(case):
    wide, _ = case.found
    (out, gradients), (scaled_out, scaled_gradients) = wide['drawn'], wide['lengthened']
    assert_close(scaled_out, out, 1e-5)
    for i in case.cosine:  # the gradient shrinks as the row grows, and stays orthogonal to it
        g, scaled_g = gradients[case.live.index(i)], scaled_gradients[case.live.index(i)]
        lengths = (np.linalg.norm(case.draws[name][i], axis=1) for name in ('lengthened', 'drawn'))
        assert_close(scaled_g * np.divide(*lengths)[:, None], g, 1e-4)


@every
def test_hard_rows_give_finite_values_and_gradients(case):
    for name in HARD:
        for leaf in jax.tree.leaves([found[name] for found in case.found]):
            assert np.isfinite(leaf.astype(np.float32)).all(), name
    least = jax.jit(case.value_and_gradient)(*case.arguments(batch=case.least))
    for leaf in jax.tree.leaves(least):
        assert np.isfinite(leaf).all(), f'batch of {case.least}'


KEEP_THEIR_TYPE = (losses.enqueue, losses.dino_center, half_reversed)


@every
def test_bfloat16_is_near_float32(case):
    """Both see the same rounded numbers: what differs is the arithmetic."""
    (wide_out, wide_gradients), (out, gradients) = (found['drawn'] for found in case.found)
    if case.loss not in KEEP_THEIR_TYPE:
        assert out.dtype == jnp.float32
    assert all(g.dtype == jnp.bfloat16 for g in gradients)
    assert_close(out, wide_out, 2e-2)
    assert_close(gradients, wide_gradients, 5e-2)


# Their first argument may have any shape, which the others have to share.
ANY_RANK = (
    'dice', 'tversky', 'focal', 'lovasz', 'boundary', 'diffuse', 'denoising', 'flow_path',
    'commitment', 'vq_loss', 'gaussian_elbo', 'bernoulli_elbo', 'mixup',
)  # fmt: skip
ANY_SHAPE = (
    half_reversed,
    masked_sums,
    weighted,
    l1,
    l2,
    losses.normalise,
    losses.cosine_similarity,
    losses.hinge_discriminator,
    losses.hinge_generator,
    losses.non_saturating_discriminator,
    losses.non_saturating_generator,
    *(case.loss for case in SLOPES.values()),
)


@pytest.mark.parametrize('name', [n for n, case in CASES.items() if case.loss not in ANY_SHAPE])
def test_a_wrong_shape_names_the_argument(name):
    case = CASES[name]
    arguments = case.arguments()
    names = list(inspect.signature(case.loss).parameters)[: len(arguments)]
    for i in range(name.startswith(ANY_RANK), len(names)):
        wrong = [a[None] if i == j else a for j, a in enumerate(arguments)]
        with pytest.raises(ValueError, match=rf'^{names[i]} must (have shape|be a scalar)'):
            case.loss(*wrong)


def test_a_wrong_size_names_the_argument_and_what_it_should_be():
    with pytest.raises(
        ValueError, match=r'^k must have shape \[B, D\] with B = 4, D = 3, got \(5, 3\)'
    ):
        losses.info_nce(jnp.ones((4, 3)), jnp.ones((5, 3)))
    with pytest.raises(ValueError, match=r'^negatives must have shape \[N, D\] with D = 3'):
        losses.info_nce(jnp.ones((4, 3)), jnp.ones((4, 3)), negatives=jnp.ones((7, 2)))
    with pytest.raises(ValueError, match=r'^temperature must be a scalar, got'):
        losses.nt_xent(jnp.ones((4, 3)), jnp.ones((4, 3)), temperature=jnp.ones(4))
    with pytest.raises(ValueError, match=r'^b must have the shape of a'):
        losses.cosine_similarity(jnp.ones((4, 3)), jnp.ones((4, 2)))
