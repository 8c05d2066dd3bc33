"""Domains: the shift that was asked for and no other, and styles that keep the content."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jssl.data import domains

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 400))
KEY = jax.random.key(0)


def shares(rows):
    return np.bincount(LABELS[rows], minlength=5) / len(rows)


def test_alpha_and_condition_govern_the_mixes():
    spread = [domains.mixes(40, 5, alpha=a, seed=0).max(1).mean() for a in (0.1, 1, 10, 1000)]
    assert spread == sorted(spread, reverse=True)
    assert spread[0] > 0.8
    assert spread[-1] < 0.23
    p = domains.mixes(6, 5, alpha=0.5, condition=4, seed=0)
    np.testing.assert_allclose(p.sum(1), 1)
    assert np.linalg.cond(p) <= 4
    with pytest.raises(ValueError, match='condition'):
        domains.mixes(3, 5, alpha=100, condition=1.001, seed=0)


def test_label_shift_moves_classes_and_nothing_else():
    p = domains.mixes(4, 5, alpha=0.7, seed=1)
    found = domains.shifted(LABELS, p, seed=0)
    rows = np.concatenate(found)
    assert len(set(rows)) == len(rows)
    assert len(rows) > 0.4 * len(LABELS)
    assert max(map(len, found)) - min(map(len, found)) <= 5
    for share, part in zip(p, found, strict=True):
        np.testing.assert_allclose(shares(part), share, atol=0.01)
        # Within a class the rows are a random part: early and late ones alike.
        assert abs(part.mean() - 1000) < 150


@pytest.mark.parametrize('share', [0.0, 0.2, 0.8, 1.0])
def test_mismatch(share):
    labelled, rest = domains.mismatched(
        LABELS, [1, 3], per_class=25, unlabelled=500, share=share, seed=0
    )
    np.testing.assert_array_equal(np.bincount(LABELS[labelled], minlength=5), [0, 25, 0, 25, 0])
    assert len(rest) == len(set(rest)) == 500
    assert not set(rest) & set(labelled)
    assert (~np.isin(LABELS[rest], [1, 3])).sum() == 500 * share
    same = domains.mismatched(LABELS, [1, 3], per_class=25, unlabelled=500, share=0.5, seed=0)[0]
    np.testing.assert_array_equal(labelled, same)


def test_what_the_set_cannot_give_is_refused():
    with pytest.raises(ValueError, match='1600 of unknown'):
        domains.mismatched(LABELS, [1], per_class=5, unlabelled=1700, share=1.0, seed=0)
    with pytest.raises(ValueError, match='per_class'):
        domains.mismatched(LABELS, [1], per_class=401, unlabelled=1, share=1.0, seed=0)


@pytest.mark.parametrize('rho', [0.0, 0.1, 0.9, 0.97, 1.0])
def test_correlation_has_its_strength_in_every_class(rho):
    background = np.random.default_rng(3).integers(0, 10, len(LABELS))
    rows, agrees = domains.correlated(LABELS, background, rho, seed=0)
    counts = np.bincount(LABELS[rows])
    assert len(set(counts)) == 1
    np.testing.assert_array_equal(agrees, background[rows] == LABELS[rows])
    for y in range(5):
        assert abs(agrees[LABELS[rows] == y].mean() - rho) <= 0.5 / counts[0] + 1e-9
    assert counts[0] >= 25


def test_styles_are_images_and_keep_their_promises():
    x = jax.random.uniform(KEY, (3, 8, 8, 3))
    made = {
        'cast': domains.colour_cast(x, jnp.array([1.2, 0.5, 0.0])),
        'dark': domains.low_light(KEY, x),
        'print': domains.posterise(x, levels=3),
        'sketch': domains.sketch(x),
        'negative': domains.inverted(x),
    }
    for name, image in made.items():
        assert image.shape == x.shape, name
        assert 0 <= image.min() <= image.max() <= 1, name
    np.testing.assert_array_equal(made['cast'][..., 2], 0)
    np.testing.assert_allclose(made['cast'][..., 1], x[..., 1] / 2, rtol=1e-6)
    assert made['dark'].mean() < 0.2
    assert set(np.unique(made['print'])) == {0, 0.5, 1}
    np.testing.assert_allclose(domains.inverted(made['negative']), x, atol=1e-6)


def test_light_and_photons():
    flat = jnp.full((1, 64, 64, 1), 0.8)
    few, many = (domains.low_light(KEY, flat, photons=p) for p in (100.0, 1e4))
    np.testing.assert_allclose(many.mean(), 0.2 * 0.64, rtol=0.02)
    np.testing.assert_allclose(few.std(), np.sqrt(0.2 * 0.64 / 100), rtol=0.05)
    np.testing.assert_allclose(many.std(), np.sqrt(0.2 * 0.64 / 1e4), rtol=0.05)


def test_sketch_draws_edges_on_white():
    x = jnp.zeros((1, 9, 9, 3)).at[:, :, 4:].set(1.0)
    sketch = jax.jit(domains.sketch)
    drawn = sketch(x)
    np.testing.assert_allclose(drawn[0, :, 3:5], 0, atol=1e-6)
    np.testing.assert_allclose(drawn[0, :, :3], 1, atol=1e-4)
    np.testing.assert_allclose(sketch(jnp.full((1, 5, 5, 1), 0.4)), 1, atol=1e-4)
    assert np.isfinite(jax.jit(jax.grad(lambda x: domains.sketch(x).sum()))(x)).all()
