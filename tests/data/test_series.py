"""Series: the hidden cause is told exactly, an oracle that knows it forecasts best."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from jssl.data.generated import draw, series
from jssl.errors import Refusal


@pytest.mark.parametrize('family', series.FAMILIES)
def test_items_are_functions_of_seed_split_and_index(family):
    many, few = (series.dataset('test', family=family, count=n) for n in (4, 2))
    for name in many:
        np.testing.assert_array_equal(many[name][:2], few[name])
    for other in (
        series.dataset('validation', family=family, count=2),
        series.dataset('test', family=family, count=2, seed=1),
    ):
        assert (other['signal'] != few['signal']).mean() > 0.9


@pytest.fixture(scope='module')
def moving():
    return series.dataset('train', count=400)


def _spectra(found):
    """Of each place: mean acceleration, and strength of acceleration in bands of frequency."""
    acceleration = found['signal'].reshape(-1, 100, 5, 6)[..., :3]
    power = np.abs(np.fft.rfft(acceleration - acceleration.mean(1, keepdims=True), axis=1)) ** 2
    bands = [power[:, a:b].sum((1, 3)) for a, b in ((1, 3), (3, 6), (6, 9), (9, 15), (15, 30))]
    return np.concatenate([np.log(0.1 + np.stack(bands, -1)).reshape(len(power), -1)], 1)


def test_tempo_and_strength_tell_activities_and_raw_signals_do_not(moving):
    test = series.dataset('test', count=200)
    spectra = _spectra(moving), _spectra(test)
    probe = LogisticRegression(max_iter=200, tol=0.01).fit(spectra[0], moving['label'])
    assert probe.score(spectra[1], test['label']) > 0.85, 'on users that nobody has seen'
    raw = [x['signal'].reshape(len(x['label']), -1)[:, ::3] for x in (moving, test)]
    probe = LogisticRegression(max_iter=30, tol=0.01).fit(raw[0], moving['label'])
    assert probe.score(raw[1], test['label']) < 0.6
    for i in np.flatnonzero(moving['label'] == 3)[:20]:
        shin = moving['signal'][i].reshape(100, 5, 6)[:, 4, :3]
        power = (np.abs(np.fft.rfft(shin - shin.mean(0), 500, axis=0)) ** 2).sum(1)
        ratio = np.fft.rfftfreq(500, 1 / series.RATE)[power.argmax()] / moving['tempo'][i]
        assert abs(ratio - np.clip(np.round(ratio), 1, 3)) < 0.15, 'a harmonic of the tempo'


def test_users_are_disjoint_and_places_alike_as_bodies_are(moving):
    users = [set(series.dataset(split, count=60)['user']) for split in draw.SPLITS]
    assert users[0] == set(range(8))
    assert not users[0] & users[1] | users[0] & users[2] | users[1] & users[2]
    same = series.dataset('train', count=150, turn=0.0, gain=0.0, noise=0.0)
    felt = same['signal'].reshape(150, 100, 5, 6)[same['label'] > 1]
    up = felt[..., :3] - felt[..., :3].mean(1, keepdims=True)
    like = lambda a, b: np.mean((up[:, :, a] * up[:, :, b]).sum((1, 2)) / np.sqrt(
        (up[:, :, a] ** 2).sum((1, 2)) * (up[:, :, b] ** 2).sum((1, 2))
    ))  # fmt: skip
    assert like(0, 2) > like(0, 4) + 0.3
    still = np.linalg.norm(felt.mean(1)[:, :, :3], axis=-1)
    np.testing.assert_allclose(still, 1, atol=0.6)
    tilted = series.dataset('train', count=150, turn=40.0)
    up = lambda found: found['signal'].reshape(150, 100, 5, 6)[found['label'] == 1, ..., 2].mean()
    assert up(tilted) < up(same) - 0.1


def test_the_machine_keeps_to_its_states():
    found = series.dataset('train', family='machine', count=200)
    edges = {(s, y): (p, t) for s, out in enumerate(series.MACHINE) for p, y, t in out}
    for state, tokens, chance in zip(
        found['state'], found['tokens'], found['probability'], strict=True
    ):
        for t in range(len(tokens)):
            p, after = edges[state[t], tokens[t]]
            assert chance[t] == np.float32(p)
            assert t + 1 == len(tokens) or state[t + 1] == after
    branch = found['tokens'][found['state'] == 1]
    np.testing.assert_allclose((branch == 1).mean(), 0.3, atol=0.03)
    corner = np.round(2**0.5 * found['signal'])
    assert len({tuple(c) for c in corner.reshape(-1, 2)}) == 4
    angle = np.pi / 4 + np.pi / 2 * found['tokens']
    gap = found['signal'] - np.stack([np.cos(angle), np.sin(angle)], -1)
    np.testing.assert_allclose(gap.std(), 0.05, rtol=0.05)
    # No one can predict better than the branch allows; a linear map of the last step does worse.
    surprise = -np.log(found['probability']).mean()
    visits = (found['state'] == 1).mean()
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
    np.testing.assert_allclose(surprise, visits * entropy, rtol=0.05)
    last, after = found['signal'][:, :-1].reshape(-1, 2), found['tokens'][:, 1:].ravel()
    guess = LogisticRegression().fit(last, after).predict_proba(last)[np.arange(len(after)), after]
    assert -np.log(guess).mean() > 1.15 * surprise


def test_drawings_are_closed_figures_that_follow_one_another():
    found = series.dataset('train', family='drawing', count=150, period=12, length=60)
    step = np.linalg.norm(np.diff(found['clean'], axis=1), axis=-1)
    assert step.max() < 1.25
    starts = found['phase'] == 0
    np.testing.assert_allclose(found['clean'][starts], [[0, 1]] * starts.sum(), atol=1e-6)
    np.testing.assert_allclose((found['signal'] - found['clean']).std(), 0.02, rtol=0.05)
    switch = np.diff(found['label'], axis=1) != 0
    assert not switch[~starts[:, 1:]].any()
    np.testing.assert_allclose(switch[starts[:, 1:]].mean(), 0.6, atol=0.06)
    calm = series.dataset('train', family='drawing', count=20, stay=1.0)
    assert (calm['label'] == calm['label'][:, :1]).all()


def test_who_knows_the_habits_forecasts_best():
    knobs = {'family': 'demand', 'count': 400}
    found, test = (series.dataset(split, **knobs) for split in ('train', 'test'))
    error = lambda guess: np.mean((test['target'] - guess) ** 2)
    ridge = Ridge(1.0).fit(found['signal'][..., 0], found['target'])
    oracle, linear = error(test['expected']), error(ridge.predict(test['signal'][..., 0]))
    assert oracle < 0.75 * linear
    assert linear < 0.7 * error(test['signal'].mean((1, 2))[:, None])
    white = series.dataset('train', memory=0.0, **knobs)
    left = white['target'] - white['expected']
    assert abs(np.corrcoef(left[:, 1:].ravel(), left[:, :-1].ravel())[0, 1]) < 0.05
    assert set(series.dataset('train', count=9, family='demand', customers=(5,))['customer']) == {5}


def test_mistakes_are_named():
    with pytest.raises(Refusal, match='tides'):
        series.source('train', family='tides')
