"""Wrong labels: in the numbers, of the kind and in the places that were asked for."""

import numpy as np
import pytest

from jssl.data import noise
from jssl.data.seeds import generator

K = 5
LABELS = np.random.default_rng(0).integers(0, K, 3000)
RNG = np.random.default_rng(1)
CENTRES = 2 * RNG.standard_normal((K, 12))
FEATURES = CENTRES[LABELS] + RNG.standard_normal((3000, 12))
MAKERS = {
    'symmetric': lambda rate, seed: noise.flip(LABELS, noise.symmetric(K, rate), seed=seed),
    'pairs': lambda rate, seed: noise.flip(LABELS, noise.asymmetric(K, rate), seed=seed),
    'instance': lambda rate, seed: noise.instance_dependent(
        LABELS, FEATURES, rate, classes=K, seed=seed
    ),
    'boundary': lambda rate, seed: noise.near_boundary(
        LABELS, FEATURES, rate, classes=K, seed=seed
    ),
}


def counted(bad):
    table = np.zeros((K, K))
    np.add.at(table, (bad.true_label, bad.label), 1)
    return table / table.sum(1, keepdims=True)


@pytest.mark.parametrize('maker', MAKERS)
@pytest.mark.parametrize('rate', [0.0, 0.3, 0.6])
def test_every_noise_keeps_its_promises(maker, rate):
    bad = MAKERS[maker](rate, 0)
    np.testing.assert_array_equal(bad.true_label, LABELS)
    np.testing.assert_array_equal(bad.wrong, bad.label != LABELS)
    assert bad.label.dtype == np.int32
    np.testing.assert_allclose(bad.transition.sum(1), 1)
    np.testing.assert_allclose(counted(bad), bad.transition, atol=0.05)
    # Xia's own rates vary: truncation at 0 shifts their mean from 0 to 0.08.
    slack = 0.1 if maker == 'instance' else 0.002
    np.testing.assert_allclose(bad.wrong.mean(), rate, atol=slack)
    again, other = MAKERS[maker](rate, 0), MAKERS[maker](rate, 1)
    np.testing.assert_array_equal(bad.label, again.label)
    assert rate == 0 or not np.array_equal(bad.label, other.label)


@pytest.mark.parametrize('maker', ['symmetric', 'pairs', 'boundary'])
def test_more_noise_adds_to_less(maker):
    less, more = MAKERS[maker](0.2, 3).wrong, MAKERS[maker](0.4, 3).wrong
    assert less.sum() < more.sum()
    assert not (less & ~more).any()


def test_numbers_by_class_are_exact():
    transition = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [0.1, 0.2, 0.7]])
    labels = np.repeat([0, 1, 2], [40, 7, 100])
    counts = counts_of(noise.flip(labels, transition, seed=2))
    np.testing.assert_array_equal(counts, [[20, 10, 10], [0, 7, 0], [10, 20, 70]])


def counts_of(bad):
    table = np.zeros((3, 3), int)
    np.add.at(table, (bad.true_label, bad.label), 1)
    return table


def test_few_wrong_labels_are_spread_over_all_classes():
    # Three wrong labels per class and nine others: over many seeds each is as likely.
    labels, table = np.repeat(np.arange(10), 6), np.zeros((10, 10))
    for seed in range(200):
        bad = noise.flip(labels, noise.symmetric(10, 0.5), seed=seed)
        assert bad.wrong.sum() == 30
        np.add.at(table, (bad.true_label, bad.label), 1)
    np.testing.assert_allclose(table / 1200, noise.symmetric(10, 0.5), atol=0.02)


def test_confusions_leave_other_classes_alone():
    transition = noise.asymmetric(10, 0.3, noise.MNIST_CONFUSIONS)
    assert transition[7, 1] == transition[2, 7] == 0.3
    for y in set(range(10)) - set(noise.MNIST_CONFUSIONS):
        assert transition[y, y] == 1
    both = noise.asymmetric(10, 0.4, noise.CIFAR10_CONFUSIONS)
    assert both[3, 5] == both[5, 3] == 0.4
    np.testing.assert_array_equal(noise.asymmetric(3, 1.0), np.roll(np.eye(3), 1, axis=1))


def test_instances_that_look_alike_get_the_same_wrong_label():
    bad = MAKERS['instance'](0.5, 0)
    agreement = []
    for y in range(K):
        rows = np.flatnonzero(bad.wrong & (bad.true_label == y))
        apart = np.square(FEATURES[rows][:, None] - FEATURES[rows][None]).sum(-1)
        np.fill_diagonal(apart, np.inf)
        agreement.append((bad.label[rows] == bad.label[rows][apart.argmin(1)]).mean())
    plain = MAKERS['symmetric'](0.5, 0)
    assert np.mean(agreement) > 0.55
    rows = np.flatnonzero(plain.wrong)
    chance = (plain.label[rows] == plain.label[np.roll(rows, 1)]).mean()
    assert chance < 0.3


def test_wrong_labels_lie_near_the_boundary_of_the_two_classes():
    bad = MAKERS['boundary'](0.1, 0)
    distance = np.linalg.norm(FEATURES[:, None] - CENTRES[None], axis=-1)
    own = distance[np.arange(3000), LABELS]
    other = np.where(np.arange(K) == LABELS[:, None], np.inf, distance).min(1)
    gap = other - own
    assert gap[bad.wrong].mean() < 0.6 * gap[~bad.wrong].mean()
    taken = distance[np.arange(3000), bad.label][bad.wrong]
    assert np.mean(taken <= other[bad.wrong] + 1e-9) > 0.6


def test_web_noise():
    image = np.arange(200, dtype=np.uint8).reshape(200, 1, 1, 1)
    records = {'image': image, 'label': np.arange(200, dtype=np.int32) % K, 'row': np.arange(200)}
    near, far = (np.full((90, 1, 1, 1), v, np.uint8) for v in (230, 250))
    found = noise.web(records, [near, far], wrong=0.2, shares=[0.15, 0.1], classes=K, seed=0)
    np.testing.assert_array_equal(np.bincount(found['origin']), [150, 30, 20])
    assert (found['image'][found['origin'] == 1] == 230).all()
    assert (found['image'][found['origin'] == 2] == 250).all()
    own = found['origin'] == 0
    np.testing.assert_array_equal(found['image'][own], image[own])
    np.testing.assert_array_equal(found['true_label'][own], records['label'][own])
    assert (found['true_label'][~own] == -1).all()
    # The label under which the foreign image was found is the one that stood there.
    np.testing.assert_array_equal(found['label'][~own], records['label'][~own])
    assert (found['wrong'] & own).sum() == 40
    assert (found['wrong'] == (found['label'] != found['true_label'])).all()
    assert found['wrong'].sum() == 90
    np.testing.assert_array_equal(found['row'], records['row'])
    np.testing.assert_array_equal(records['image'], image)  # the set itself is as it was


def test_columns_stay_with_the_records():
    columns = MAKERS['pairs'](0.2, 0).columns()
    assert set(columns) == {'label', 'true_label', 'wrong'}
    assert {len(c) for c in columns.values()} == {3000}


def test_refusals():
    with pytest.raises(ValueError, match='rate'):
        noise.symmetric(3, 1.2)
    with pytest.raises(ValueError, match='sum to one'):
        noise.flip(LABELS, 2 * np.eye(K), seed=0)
    with pytest.raises(ValueError, match='lie in 0'):
        noise.flip(LABELS, np.eye(3), seed=0)
    with pytest.raises(ValueError, match='features'):
        noise.near_boundary(LABELS, FEATURES[:5], 0.1, classes=K, seed=0)
    few = {'image': np.zeros((10, 1)), 'label': np.zeros(10, int)}
    with pytest.raises(ValueError, match='set 1 has 2 images'):
        noise.web(few, [np.zeros((2, 1))], wrong=0, shares=[0.5], classes=2, seed=0)
    with pytest.raises(ValueError, match='shares'):
        noise.web(few, [np.zeros((9, 1))], wrong=0.6, shares=[0.5], classes=2, seed=0)


@pytest.mark.parametrize('shape', [(500,), (50, 12), (20, 5, 6)])
def test_missing_annotations_are_a_nested_share_of_those_present(shape):
    present = np.random.default_rng(0).random(shape) < 0.7
    before = present
    for share in (0.0, 0.3, 0.6, 1.0):
        kept = noise.annotated(present, share, seed=0)
        assert kept.shape == shape
        assert kept.sum() == round((1 - share) * present.sum())
        assert not (kept & ~before).any()
        before = kept
    one, two = (noise.annotated(present, 0.5, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one, two)
    with pytest.raises(ValueError, match='share'):
        noise.annotated(present, 1.1, seed=0)


def test_purposes_do_not_share_random_numbers():
    one, two = generator(0, 'flip 1'), generator(0, 'flip 2')
    assert one.random() != two.random()
    assert generator(3, 'a').random() == generator(3, 'a').random()
