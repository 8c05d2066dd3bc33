"""What every loss must obey, over one table of all of them."""

import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl import losses

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


def on_rows(case, arguments, change, *, axis_needed=True):
    """Applies `change(array, its batch axis)` to the floating arguments."""
    return tuple(
        change(a, axis) if i in case.live and not (axis_needed and axis is None) else a
        for i, (a, axis) in enumerate(zip(arguments, case.axes, strict=True))
    )


def test_every_public_function_is_in_the_table():
    functions = {name for name in losses.__all__ if callable(getattr(losses, name))}
    assert functions == {name.split('-')[0] for name in CASES}
    exported = {
        name
        for name, value in vars(losses).items()
        if not name.startswith('_') and not isinstance(value, types.ModuleType)
    }
    assert exported == set(losses.__all__)


@every
def test_jit_equals_eager(case):
    arguments = tuple(jnp.asarray(a) for a in case.arguments())
    assert_close(case.gradient(*arguments)[0], case.loss(*arguments), 1e-5)


@every
def test_nothing_is_promoted_silently(case):
    with jax.numpy_rank_promotion('raise'), jax.numpy_dtype_promotion('strict'):
        jax.eval_shape(case.loss, *case.arguments())


@every
def test_vmap_equals_loop(case):
    draws = [case.arguments(seed) for seed in range(3)]
    stacked = [np.stack(column) for column in zip(*draws, strict=True)]
    looped = [case.gradient(*arguments) for arguments in draws]
    looped = jax.tree.map(lambda *leaves: np.stack(leaves), *looped)
    assert_close(jax.jit(jax.vmap(case.value_and_gradient))(*stacked), looped, 1e-5)


@of(lambda case: case.rows is not None)
def test_permuting_rows_permutes_the_result(case):
    arguments = case.arguments()
    permutation = np.random.default_rng(1).permutation(16)
    permuted = tuple(
        a if axis is None else np.take(a, permutation, axis)
        for a, axis in zip(arguments, case.axes, strict=True)
    )
    out = np.asarray(case.gradient(*arguments)[0])
    expected = out
    if case.rows:
        expected = out.reshape(case.rows, 16, *out.shape[1:])[:, permutation].reshape(out.shape)
    assert_close(case.gradient(*permuted)[0], expected, 1e-5)


@of(lambda case: case.cosine)
def test_the_length_of_rows_does_not_matter(case):
    arguments = case.arguments()
    random = np.random.default_rng(1)
    scaled = tuple(
        a * random.uniform(0.1, 1e4, (len(a), 1)).astype(a.dtype) if i in case.cosine else a
        for i, a in enumerate(arguments)
    )
    out, gradients = case.gradient(*arguments)
    scaled_out, scaled_gradients = case.gradient(*scaled)
    assert_close(scaled_out, out, 1e-5)
    for i in case.cosine:  # the gradient shrinks as the row grows, and stays orthogonal to it
        g, scaled_g = gradients[case.live.index(i)], scaled_gradients[case.live.index(i)]
        factor = np.linalg.norm(scaled[i], axis=1) / np.linalg.norm(arguments[i], axis=1)
        assert_close(scaled_g * factor[:, None], g, 1e-4)


HARD = {
    'zeros': lambda a, axis: np.zeros_like(a),
    'one zero row': lambda a, axis: a * (np.arange(16) > 0).reshape(_along(a, axis)),
    'duplicates': lambda a, axis: np.broadcast_to(np.take(a, [0], axis), a.shape),
    'scaled by 1e4': lambda a, axis: a * np.float32(1e4),
    'scaled by 1e-6': lambda a, axis: a * np.float32(1e-6),
}


def _along(a, axis):
    return [-1 if i == axis else 1 for i in range(a.ndim)]


@every
def test_hard_rows_give_finite_values_and_gradients(case):
    for name, change in HARD.items():
        arguments = on_rows(case, case.arguments(), change)
        arguments = tuple(
            np.asarray(a, b.dtype) for a, b in zip(arguments, case.arguments(), strict=True)
        )
        for leaf in jax.tree.leaves(case.gradient(*arguments)):
            assert np.isfinite(leaf).all(), name
    for leaf in jax.tree.leaves(case.gradient(*case.arguments(batch=case.least))):
        assert np.isfinite(leaf).all(), f'batch of {case.least}'


KEEP_THEIR_TYPE = (losses.enqueue, losses.dino_center, half_reversed)


@every
def test_bfloat16_is_near_float32(case):
    """Both see the same rounded numbers: what differs is the arithmetic."""
    narrow = on_rows(
        case, case.arguments(), lambda a, axis: jnp.asarray(a, jnp.bfloat16), axis_needed=False
    )
    wide = on_rows(case, narrow, lambda a, axis: np.asarray(a, np.float32), axis_needed=False)
    out, gradients = case.gradient(*narrow)
    wide_out, wide_gradients = case.gradient(*wide)
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
