"""Grids: tokens spell the level, nobody walks through walls, pushed objects move by one cell."""

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import grids
from jssl.errors import Refusal


@pytest.mark.parametrize('family', grids.FAMILIES)
def test_items_depend_on_seed_split_and_index_alone(family):
    few, many = (grids.dataset(family=family, count=n) for n in (2, 4))
    for name in many:
        np.testing.assert_array_equal(few[name], many[name][:2])
    name = {'levels': 'tokens', 'trajectories': 'position', 'sprites': 'video'}[family]
    for other in ({'split': 'test'}, {'seed': 1}):
        assert (grids.dataset(family=family, count=2, **other)[name] != few[name]).any()


def slow_moves(wall, start, goal):
    """Floyd and Warshall's way over the free cells."""
    cells = np.argwhere(~wall)
    near = abs(cells[:, None] - cells).sum(2) == 1
    distance = shortest_path(near, method='FW', unweighted=True)
    index = [np.flatnonzero((cells == place).all(1))[0] for place in (start, goal)]
    return distance[tuple(index)]


def test_tokens_spell_the_level_and_ways_are_shortest():
    found = grids.dataset(count=60)
    for wall, start, goal, tokens, distance in zip(
        *(found[name] for name in ('wall', 'start', 'goal', 'tokens', 'distance')), strict=True
    ):
        places = tokens[:-2][tokens[:-2] > 0] - 1
        assert (np.diff(places) > 0).all()
        np.testing.assert_array_equal(np.flatnonzero(wall), places)
        np.testing.assert_array_equal(np.divmod(tokens[-2:] - 1, 7), np.stack([start, goal], 1))
        assert not wall[tuple(start)]
        assert not wall[tuple(goal)]
        slow = slow_moves(wall, start, goal)
        assert distance == (slow if np.isfinite(slow) else -1)
    assert set(found['wall'].sum((1, 2))) == set(range(13))
    assert (grids.dataset(count=60, solvable=True, walls=30)['distance'] >= 0).all()
    assert (grids.dataset(count=60, walls=30)['distance'] < 0).any()


def test_levels_made_by_hand_can_be_solved():
    found = grids.held_out_levels()
    assert len(found['wall']) == 12
    assert (found['distance'] >= 6).all()
    assert len({wall.tobytes() for wall in found['wall']}) == 12
    assert found['tokens'].shape == (12, 51)


@pytest.mark.parametrize('maze', ['u', 'rooms'])
def test_nobody_walks_through_walls(maze):
    found = grids.dataset(family='trajectories', count=10, maze=maze, noise=1.5)
    free = np.array([list(row) for row in grids.MAZES[maze]]) == '.'
    position = found['position']
    cell = (position * 11).astype(int)
    assert position.min() >= 0
    assert position.max() < 1
    assert free[cell[..., 1], cell[..., 0]].all()
    step = np.diff(position, axis=1)
    assert abs(found['action']).max() <= 1
    expected = np.float32(0.04) * found['action']
    moved = np.isclose(step, expected, atol=1e-5)
    assert (moved | np.isclose(step, 0, atol=1e-6)).all()
    assert moved.mean() > 0.7
    np.testing.assert_array_equal(np.isnan(found['goal']).all((1, 2)), ~found['planned'])


def test_planned_walks_reach_their_goals():
    found = grids.dataset(family='trajectories', count=6, planned=1.0, noise=0.2)
    for position, goal in zip(found['position'], found['goal'], strict=True):
        away = np.linalg.norm(position[1:] - goal, axis=1)
        changes = np.flatnonzero((np.diff(goal, axis=0) != 0).any(1))
        assert len(changes) >= 1
        assert (away[changes] < 0.04).all()
        way = grids.geodesic('rooms', position[1:], goal)
        between = np.delete(np.diff(way), changes)
        assert between.mean() < -0.02


def test_ways_are_longer_than_straight_lines():
    random = np.random.default_rng(0)
    a, b = random.random((2, 60, 2))
    straight = np.linalg.norm(a - b, axis=1)
    np.testing.assert_allclose(grids.geodesic('open', a, b), straight, atol=0.1)
    assert grids.geodesic('u', np.array([[0.1, 0.1]]), np.array([[0.1, 0.9]]))[0] > 1.4
    walk = grids.dataset(family='trajectories', count=20, maze='u')['position'].reshape(-1, 2)
    a, b = (walk[random.permutation(len(walk))[:200]] for _ in range(2))
    way, straight = grids.geodesic('u', a, b), np.linalg.norm(a - b, axis=1)
    assert (way > straight - 0.05).all()
    assert spearmanr(way, straight)[0] < 0.95


def test_images_show_the_point():
    found = grids.dataset(family='trajectories', count=1, size=44)
    red = (found['image'][0] == grids.COLOURS[0]).all(3)
    for position, seen in zip(found['position'][0], red, strict=True):
        row, column = np.argwhere(seen).mean(0)
        if (position > 0.05).all() and (position < 0.95).all():
            np.testing.assert_allclose([(column + 0.5) / 44, (row + 0.5) / 44], position, atol=0.03)


def test_only_what_is_pushed_moves_and_by_the_agents_step():
    found = grids.dataset(family='sprites', count=60, objects=4)
    assert (found['pushed'] >= 0).mean() > 0.02
    for position, action, pushed in zip(
        found['position'], found['action'], found['pushed'], strict=True
    ):
        for t in range(10):
            step = position[t + 1] - position[t]
            others = np.delete(step, [0, 1 + pushed[t]] if pushed[t] >= 0 else [0], axis=0)
            assert not others.any()
            if pushed[t] >= 0:
                np.testing.assert_array_equal(step[0], grids.MOVES[action[t]])
                np.testing.assert_array_equal(step[1 + pushed[t]], grids.MOVES[action[t]])
            assert len({tuple(place) for place in position[t + 1]}) == 5
    assert found['position'].min() == 0
    assert found['position'].max() == 5


def test_masks_and_colours_lie_where_the_objects_are():
    found = grids.dataset(family='sprites', count=10)
    for i in range(10):
        for k in range(3):
            rows, columns = np.nonzero(found['mask'][i, 3] == 2 + k)
            row, column = found['position'][i, 3, 1 + k]
            assert set(rows // 4) == {row}
            assert set(columns // 4) == {column}
            seen = found['video'][i, 3, rows, columns]
            assert (seen == grids.COLOURS[found['colour'][i, k]]).all()


def test_the_odd_object_is_alone_in_one_respect():
    found = grids.dataset(family='sprites', count=200, objects=4, colours=(2, 3, 4))
    for i in range(200):
        told = found[('colour', 'shape')[found['rule'][i]]][i]
        free = found[('shape', 'colour')[found['rule'][i]]][i]
        assert (told == told[found['label'][i]]).sum() == 1
        assert len(set(told)) == 2
        assert len(set(free)) == (4 if found['rule'][i] == 0 else 1)
        assert set(found['colour'][i]) <= {2, 3, 4}
    assert set(found['label']) == {0, 1, 2, 3}


def test_a_line_on_pixels_does_not_find_the_rule():
    train, test = (
        grids.dataset(s, family='sprites', count=200, steps=1) for s in ('train', 'test')
    )
    pixels = lambda d: d['video'][:, 0].reshape(200, -1) / 255
    line = LogisticRegression(C=0.01, max_iter=300).fit(pixels(train), train['rule'])
    assert line.score(pixels(test), test['rule']) < 0.8


def test_names_that_are_not_known_are_refused():
    with pytest.raises(Refusal, match='choose'):
        grids.dataset(family='chess')
    with pytest.raises(Refusal, match='choose'):
        grids.dataset(family='trajectories', maze='hedge', count=1)
