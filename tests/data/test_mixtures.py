"""Mixtures: posteriors are calibrated, densities integrate to one, knobs do what they say."""

import numpy as np
import pytest
from scipy.stats import dirichlet, multivariate_normal
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons, make_swiss_roll
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import mixtures
from jssl.errors import Refusal

SETS = [
    {'separation': 2.0, 'imbalance': 5.0},
    {
        'components': 5,
        'dimension': 3,
        'anisotropy': 5.0,
        'spread': 2.0,
        'separation': 2.0,
        'classes': 2,
    },
    {'components': 8, 'arrangement': 'ring', 'separation': 1.5},
    {'components': 6, 'arrangement': 'pairs', 'separation': 2.0},
    {'components': 4, 'domains': 5, 'alpha': 0.5, 'shift': 2.0, 'drift': 1.0, 'separation': 1.0},
    {'family': 'dirichlets', 'concentrations': ((3, 1, 2, 1, 1), (1, 2, 2, 2, 3))},
    {'family': 'archetypes', 'dimension': 16, 'quality': 0.3},
    {'family': 'manifolds', 'name': 'moons', 'noise': 0.4},
    {'family': 'manifolds', 'name': 'pinwheel', 'noise': 0.3, 'dimension': 6},
]


@pytest.mark.parametrize('knobs', SETS)
def test_items_depend_on_seed_split_and_index_alone(knobs):
    few, many = (mixtures.dataset('train', count=n, **knobs) for n in (20, 50))
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][:20])
        assert many[name].dtype in (np.float32, np.int32)
    for other in ({'split': 'test'}, {'seed': 1}):
        assert (mixtures.dataset(count=20, **{**knobs, **other})['feature'] != few['feature']).any()


@pytest.mark.parametrize('knobs', SETS)
def test_the_posterior_is_calibrated_and_beats_a_line(knobs):
    train, test = (mixtures.dataset(s, count=3000, **knobs) for s in ('train', 'test'))
    share, label = test['posterior'].astype(float), test['label']
    np.testing.assert_allclose(share.sum(1), 1, atol=1e-5)
    assert len(np.unique(label)) == share.shape[1]
    # Sums of (indicator - probability) have known variances: allow four of their deviations.
    one = label[:, None] == np.arange(share.shape[1])
    deviation = np.sqrt((share * (1 - share)).sum(0)) + 1
    assert (abs((one - share).sum(0)) < 4 * deviation).all()
    best = share.max(1)
    right = share.argmax(1) == label
    assert abs((right - best).sum()) < 4 * np.sqrt((best * (1 - best)).sum())
    line = LogisticRegression(max_iter=300).fit(train['feature'], train['label'])
    assert right.mean() > line.score(test['feature'], label) - 0.01


def test_a_line_does_not_reach_the_oracle():
    knobs = {'family': 'manifolds', 'name': 'circles', 'noise': 0.1}
    train, test = (mixtures.dataset(s, count=1000, **knobs) for s in ('train', 'test'))
    line = LogisticRegression(max_iter=300).fit(train['feature'], train['label'])
    assert (test['posterior'].argmax(1) == test['label']).mean() > 0.95
    assert line.score(test['feature'], test['label']) < 0.6


def test_densities_are_those_of_scipy():
    world = mixtures.world(components=3, dimension=3, anisotropy=4.0, imbalance=3.0, seed=3)
    x = np.random.default_rng(0).normal(size=(5, 3))
    covariance = world.factor @ world.factor.transpose(0, 2, 1)
    parts = zip(world.weight[0], world.mean, covariance, strict=True)
    slow = sum(w * multivariate_normal(m, c).pdf(x) for w, m, c in parts)
    np.testing.assert_allclose(np.exp(mixtures.log_density(world, x)), slow, rtol=1e-9)
    world = mixtures.world('dirichlets', concentrations=((2, 1, 3), (0.5, 4, 1)))
    x = np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])
    slow = [0.5 * dirichlet([2, 1, 3]).pdf(p) + 0.5 * dirichlet([0.5, 4, 1]).pdf(p) for p in x]
    np.testing.assert_allclose(np.exp(mixtures.log_density(world, x)), slow, rtol=1e-9)


@pytest.mark.parametrize('name', ['moons', 'pinwheel', 'checkerboard'])
def test_densities_of_manifolds_integrate_to_one(name):
    world = mixtures.world('manifolds', name=name, noise=0.2, concentration=1.0)
    side = np.linspace(-3.5, 3.5, 40)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    log_p = mixtures.log_density(world, grid)
    p = np.exp(log_p) * (side[1] - side[0]) ** 2
    np.testing.assert_allclose(p.sum(), 1, atol=1e-3)
    x = mixtures.dataset(count=300, family='manifolds', name=name, noise=0.2, concentration=1.0)
    # The mean of log p over p's own items is minus p's entropy, also an integral.
    found = mixtures.log_density(world, x['feature']).mean()
    assert abs(found - (p * log_p).sum()) < 0.15


def test_surfaces_are_those_of_scikit_learn():
    points, turn = make_swiss_roll(50, random_state=0)
    t = np.stack([(turn / (1.5 * np.pi) - 1) / 2, points[:, 1] / 21], 1)
    ours = mixtures.SURFACES['swiss_roll'][0](np.zeros(50, int), t)
    np.testing.assert_allclose(ours, points, atol=1e-9)
    points, label = make_moons(50, shuffle=False)
    t = np.tile(np.linspace(0, 1, 25), 2)[:, None]
    np.testing.assert_allclose(mixtures.SURFACES['moons'][0](label, t), points, atol=1e-9)


def test_manifolds_stay_on_their_surface_and_concentrate():
    knobs = {'family': 'manifolds', 'dimension': 10, 'noise': 0.0, 'count': 500}
    circle = mixtures.dataset(name='circle', **knobs)
    np.testing.assert_allclose(np.linalg.norm(circle['feature'], axis=1), 1, atol=1e-5)
    assert circle['latent'].shape == (500, 1)
    assert np.linalg.matrix_rank(circle['feature'], tol=1e-3) == 2
    focused = mixtures.dataset(name='circle', concentration=4.0, **knobs)
    angle = 2 * np.pi * (focused['latent'][:, 0] - 0.5)
    np.testing.assert_allclose(np.cos(angle).mean(), 0.8635, atol=0.03)  # I1(4) / I0(4)
    world = mixtures.world('manifolds', name='circle', noise=0.0)
    with pytest.raises(Refusal, match='noise'):
        mixtures.log_density(world, np.zeros((1, 2)))


def test_separation_anisotropy_and_imbalance_are_exact():
    world = mixtures.world(components=6, dimension=4, separation=3.0, anisotropy=9.0, spread=2.0)
    apart = np.linalg.norm(world.mean[:, None] - world.mean, axis=2)
    np.testing.assert_allclose(apart[apart > 0].min(), 3)
    lengths = np.linalg.svd(world.factor, compute_uv=False)
    np.testing.assert_allclose(lengths.max(1) / lengths.min(1), 9)
    sizes = abs(np.linalg.det(world.factor)) ** 0.25
    np.testing.assert_allclose(sizes.max() / sizes.min(), 2)
    straight = mixtures.world(components=3, dimension=4, anisotropy=9.0, turned=False)
    assert (np.count_nonzero(straight.factor, axis=2) == 1).all()
    weight = mixtures.world(components=5, imbalance=8.0).weight[0]
    np.testing.assert_allclose(weight[0] / weight[-1], 8)
    weight = mixtures.world(components=50, tail=1.0, classes=10).weight[0]
    np.testing.assert_allclose(weight / weight[0], 1 / np.arange(1, 51))
    component = mixtures.dataset(count=4000, components=50, tail=1.0, separation=9.0)['component']
    seen = np.bincount(component, minlength=50) / 4000
    assert abs(seen - weight).max() < 0.025


def test_domains_differ_in_their_classes_alone():
    knobs = {'components': 4, 'domains': 6, 'alpha': 0.5, 'condition': 20.0, 'imbalance': 2.0}
    world = mixtures.world(**knobs)
    assert np.linalg.cond(world.weight) <= 20
    found = mixtures.dataset(count=6000, **knobs)
    for d, weight in enumerate(world.weight):
        rows = found['domain'] == d
        seen = np.bincount(found['label'][rows], minlength=4) / rows.sum()
        assert abs(seen - weight).max() < 0.06
        for y in np.flatnonzero(weight > 0.2):
            inside = found['feature'][rows & (found['label'] == y)]
            assert (abs(inside.mean(0) - world.mean[y]) < 4.5 / np.sqrt(len(inside))).all()
    with pytest.raises(Refusal, match='condition'):
        mixtures.world(domains=4, alpha=100.0, condition=1.01)


def test_neighbours_in_pairs_are_of_different_classes():
    found = mixtures.dataset(count=1200, components=6, arrangement='pairs', separation=6.0)
    assert (found['posterior'].argmax(1) == found['label']).mean() > 0.98
    group = KMeans(3, n_init=5, random_state=0).fit(found['feature']).labels_
    table = np.array([np.bincount(found['label'][group == g], minlength=3) for g in range(3)])
    assert table.max(1).sum() < 0.65 * table.sum()


def test_shift_and_drift_move_everything():
    knobs = {'components': 2, 'domains': 2, 'count': 2000}
    found, still = (mixtures.dataset(shift=s, drift=s, **knobs) for s in (3.0, 0.0))
    np.testing.assert_allclose(found['feature'] - found['offset'], still['feature'], atol=1e-5)
    step = np.diff(found['offset'][found['domain'] == 0], axis=0).sum(0)
    np.testing.assert_allclose(np.linalg.norm(step), 6, rtol=0.02)
    moved = found['offset'][found['domain'] == 1][0] - found['offset'][found['domain'] == 0][0]
    np.testing.assert_allclose(np.linalg.norm(moved), 3, atol=0.1)


@pytest.mark.parametrize('signs', [False, True])
def test_factors_carry_the_target_unless_they_do_not_match(signs):
    knobs = {'count': 4000, 'signs': signs, 'noise': 0.2}
    fit = lambda d, name: np.linalg.lstsq(d[name], d['target'], rcond=None)[1][0] / 4000
    alike, other = (mixtures.factors(mismatch=m, **knobs) for m in (0.0, 1.0))
    np.testing.assert_allclose(fit(alike, 'latent'), 0.25, rtol=0.1)
    np.testing.assert_allclose(fit(other, 'latent'), 1.25, rtol=0.1)
    for found in (alike, other):
        np.testing.assert_allclose(
            np.square(found['target'] - found['signal']).mean(), 0.25, rtol=0.1
        )
        rest = found['label'] - found['posterior'][:, 1]
        assert abs(rest.sum()) < 4 * np.sqrt(np.prod(found['posterior'], axis=1).sum())
    values = np.linalg.svd(alike['feature'], compute_uv=False)
    assert values[3] > 4 * values[4]
    few = mixtures.factors(count=7, signs=signs, noise=0.2)
    np.testing.assert_array_equal(few['feature'], alike['feature'][:7])


def test_curves_are_sines_and_lines():
    found = mixtures.curves(count=400)
    a, b = found['latent'].T[..., None]
    line = found['label'][:, None] == 1
    slow = np.where(line, a * found['x'] + b, a * np.sin(found['x'] + b))
    np.testing.assert_allclose(found['clean'], slow, atol=1e-4)
    np.testing.assert_allclose((found['y'] - found['clean']).std(), 0.3, rtol=0.05)
    assert 0.4 < found['label'].mean() < 0.6
    assert abs(found['x']).max() <= 5
    few = mixtures.curves(count=9)
    np.testing.assert_array_equal(few['y'], found['y'][:9])
    assert (mixtures.curves('test', count=9)['y'] != few['y']).any()


def test_names_that_are_not_known_are_refused():
    for knobs in (
        {'family': 'cats'},
        {'arrangement': 'line'},
        {'family': 'manifolds', 'name': 'b'},
    ):
        with pytest.raises(Refusal, match=r'choose|must be'):
            mixtures.dataset(**knobs)
