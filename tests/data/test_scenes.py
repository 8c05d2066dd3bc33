"""Scenes: every truth agrees with every other, and with geometry worked out in float64."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import camera, march, scenes
from jssl.errors import Refusal

QUICK = True
COUNT, SIZE, VIEWS = 12, 24, 2
TINY = {'size': 8, 'shadows': False, 'classes': ('ball',), 'objects': (1, 1)}
TRUTH = ('depth', 'normal', 'semantic', 'flow', 'amodal', 'order', 'birdseye', 'box3d', 'text')


@pytest.fixture(scope='module')
def items():
    """Two views of what moves in between."""
    knobs = {'size': SIZE, 'views': VIEWS, 'moving': 0.5, 'objects': (2, 4), 'supersample': 1}
    return scenes.dataset('train', count=COUNT, truth=TRUTH, relation=1.0, **knobs)


@pytest.fixture(scope='module')
def stereo():
    knobs = {'classes': ('ball', 'cube'), 'shadows': False, 'noise': 0.0, 'layout': 'room'}
    truth = ('depth', 'disparity')
    return scenes.dataset(
        'train', count=8, size=(20, 28), views=2, path='stereo', step=0.3, truth=truth, **knobs
    )


def points_of(item, view):
    """Points of the world behind the pixels of a view [H, W, 3], by the pinhole's equations."""
    K, E = item['intrinsics'].astype(float), item['extrinsics'][view].astype(float)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    depth = np.minimum(item['depth'][view].astype(float), 1e4)
    seen = np.stack(
        [(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones_like(depth)]
    )
    return np.einsum('ij,jhw->hwi', E[:3, :3].T, seen * depth - E[:3, 3, None, None])


def each(items):
    for i in range(COUNT):
        yield {name: items[name][i] for name in items}


def test_items_are_functions_of_seed_split_and_index():
    many, few = (scenes.dataset('train', count=n, **TINY) for n in (5, 3))
    for name in many:
        np.testing.assert_array_equal(many[name][:3], few[name])
    for other in (
        scenes.dataset('test', count=3, **TINY),
        scenes.dataset('train', count=3, seed=1, **TINY),
    ):
        assert not np.isclose(other['position'][:, 0, 0], few['position'][:, 0, 0]).any()


def test_surfaces_are_where_their_shapes_are(items):
    met = {'ball': 0, 'cube': 0}
    for item in each(items):
        for view in range(VIEWS):
            points, mask = points_of(item, view), item['mask'][view]
            ground = item['semantic'][view] == len(scenes.SHAPES) + item['ground']
            np.testing.assert_allclose(points[ground][:, 2], 0, atol=2e-3)
            np.testing.assert_array_equal(item['normal'][view][ground][:, 2], 1)
            for o, label in enumerate(item['label']):
                here = points[mask == o + 1] - item['position'][o] - view * item['velocity'][o]
                scale, normal = item['scale'][o], item['normal'][view][mask == o + 1]
                if label == 0 and len(here):
                    met['ball'] += 1
                    here = here - [0, 0, 0.7 * scale]
                    np.testing.assert_allclose(np.linalg.norm(here, axis=1), 0.7 * scale, atol=3e-3)
                    np.testing.assert_allclose(normal, here / (0.7 * scale), atol=0.02)
                if label == 1 and len(here):
                    met['cube'] += 1
                    turn = np.array(camera.turn(item['angle'][o]))
                    faces = abs((here - [0, 0, 0.6 * scale]) @ turn).max(1)
                    # On a face, or within the rounding of an edge.
                    assert (abs(faces - 0.6 * scale) < 0.03 * scale).all()
    assert min(met.values()) > 3


def test_flow_leads_to_the_same_place(items):
    agreed = []
    for item in each(items):
        points = points_of(item, 0)
        o = np.maximum(item['mask'][0] - 1, 0)
        points += np.where(item['mask'][0][..., None] > 0, item['velocity'][o], 0)
        E, K = item['extrinsics'][1].astype(float), item['intrinsics'].astype(float)
        seen = points @ E[:3, :3].T + E[:3, 3]
        place = seen @ K.T
        place = place[..., :2] / place[..., 2:]
        rows, columns = np.mgrid[:SIZE, :SIZE]
        expected = place - np.stack([columns, rows], -1)
        lasting = item['flow_seen'][0]
        np.testing.assert_allclose(item['flow'][0][lasting], expected[lasting], atol=0.02)
        column, row = np.rint(place[lasting]).astype(int).T
        assert min(column.min(), row.min()) >= 0
        assert max(column.max(), row.max()) < SIZE
        found = item['mask'][1][row, column] == item['mask'][0][lasting]
        nearly = abs(item['depth'][1][row, column] / seen[lasting][:, 2] - 1) < 0.1
        agreed.append((found & nearly).mean())
        assert not item['flow_seen'][0][
            (place < -0.51).any(-1) | (place > SIZE - 0.49).any(-1)
        ].any()
    # Half a pixel beside an outline another surface begins.
    assert np.mean(agreed) > 0.93


def test_masks_boxes_classes_and_order_agree(items):
    hidden = 0
    for item in each(items):
        for view in range(VIEWS):
            mask, amodal, order = (item[name][view] for name in ('mask', 'amodal', 'order'))
            labels = np.concatenate([[-1], item['label']])[mask]
            np.testing.assert_array_equal(item['semantic'][view][mask > 0], labels[mask > 0])
            assert (item['semantic'][view][mask == 0] >= len(scenes.SHAPES)).all()
            for o, box in enumerate(item['box'][view]):
                mine = mask == o + 1
                assert (amodal[o] | ~mine).all()
                rows, columns = np.nonzero(mine)
                expected = np.zeros(4)
                if len(rows):
                    assert item['label'][o] >= 0
                    ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                    expected = np.array(ends) / SIZE
                np.testing.assert_allclose(box, expected, atol=1e-6)
                for front in np.flatnonzero(order[:, o]):
                    both = amodal[o] & amodal[front]
                    assert both.any()
                    assert (mask[both] != o + 1).any()
                    hidden += 1
            assert not order.diagonal().any()
    assert hidden > 3


def test_boxes_in_space_and_from_above_hold_the_objects(items):
    held = 0
    for item in each(items):
        points, mask = points_of(item, 0), item['mask'][0]
        for o, box in enumerate(item['box3d'][0]):
            here = (points[mask == o + 1] - box[:3]) @ np.array(camera.turn(box[6]))
            assert (abs(here) <= box[3:6] / 2 + 5e-3).all()
            held += len(here) > 0
            cell = (item['birdseye'][0] == o + 1).sum() * (8 / 32) ** 2
            if cell >= 1:  # whole within the map and under nothing
                assert abs(cell / (box[3] * box[4]) - 1) < 0.3
    assert held > COUNT


def test_captions_name_what_is_seen(items):
    for item in each(items):
        box = item['box'][0]
        shown = [o for o in range(4) if box[o, 2] > 0]
        heads = item['text'].split(' on ')[0]
        assert heads.count(' a ') + heads.count(' an ') + 1 == max(len(shown), 1)
        for o in shown:
            colour = tuple(scenes.COLOURS)[item['colour_id'][o, 0]]
            assert colour in heads
            assert tuple(scenes.SHAPES)[item['label'][o]] in heads
        if len(shown) > 1:
            one, two = box[shown[:2]][:, [0, 2]].sum(1)
            assert ('left of' in item['text']) == (one < two)


def test_disparity_finds_the_pixel_in_the_right_image(stereo):
    rows, columns = np.mgrid[:20, :28]
    moved = aligned = 0
    for i in range(8):
        disparity, depth = stereo['disparity'][i, 0], stereo['depth'][i]
        np.testing.assert_allclose(
            disparity * depth[0], disparity[0, 0] * depth[0, 0, 0], rtol=1e-4
        )
        there = np.rint(columns - disparity).astype(int)
        kept = (there >= 0) & (abs(columns - disparity - there) < 0.2)
        left, right = (stereo['image'][i, v].astype(float) for v in (0, 1))
        right_depth = depth[1][rows, np.maximum(there, 0)]
        assert (abs(right_depth / depth[0] - 1) < 0.03)[kept].mean() > 0.9
        aligned += abs(left - right[rows, np.maximum(there, 0)])[kept].mean()
        moved += abs(left - right)[kept].mean()
    assert aligned < 0.5 * moved


def drawn(count=400, **knobs):
    keys = jax.random.split(jax.random.key(3), count)
    return jax.device_get(jax.jit(jax.vmap(lambda key: scenes.arrange(key, **knobs)))(keys))


def test_knobs_of_arrangement():
    rare = drawn(
        weights=(0.95, 0.01, 0.01, 0.01, 0.01, 0.01), objects=(3, 3), spurious=0.9,
        companion=(0.9, 0.1), colours=('red',), textures=('plain', 'dotted'),
        moving=0.5, movers=0.3,
    )  # fmt: skip
    first = rare.label[:, 0]
    assert (rare.label >= 0).all()
    assert abs((rare.label == 0).mean() - 0.95) < 0.03
    assert abs((rare.ground == first % 3).mean() - (0.9 + 0.1 / 3)) < 0.05
    assert rare.companion[first == 0].mean() > 0.8 > 0.4 > rare.companion[first > 0].mean()
    assert set(rare.texture.ravel()) == {0, 3}
    assert (rare.colour_id == 0).all()
    speed = np.linalg.norm(rare.velocity, axis=-1)
    assert abs((speed > 0).mean() - 0.3) < 0.05
    np.testing.assert_allclose(speed[speed > 0], 0.5, rtol=1e-4)
    clear = np.linalg.norm(rare.position[:, 0] - rare.position[:, 1], axis=-1)
    assert (clear > 0.7 * (rare.scale[:, 0] + rare.scale[:, 1]) - 0.01).mean() > 0.98

    close = drawn(touching=1.0, objects=(2, 2))
    assert (close.label[:, 0] == close.label[:, 1]).all()
    apart = np.linalg.norm(close.position[:, 0] - close.position[:, 1], axis=-1)
    assert apart.mean() < clear.mean() - 0.2


def test_streets_keep_to_their_places():
    names = tuple(scenes.STREET)
    street = drawn(layout='street', classes=names, objects=(2, 5), moving=1.0)
    aside = abs(street.position[..., 1])
    for k, name in enumerate(names):
        low, high = scenes.ASIDE[name]
        here = aside[street.label == k]
        assert low - 1e-3 <= here.min() <= here.max() <= high + 1e-3
    speed = np.linalg.norm(street.velocity, axis=-1)
    cars, trees = (speed[street.label == names.index(n)] for n in ('car', 'tree'))
    np.testing.assert_allclose(cars, 1, rtol=1e-5)
    assert not trees.any()


def test_paths_of_cameras():
    poses = {
        path: np.array(scenes.cameras(jax.random.key(0), views=3, path=path, step=0.4))
        for path in scenes.PATHS
    }
    eyes = {path: np.array(camera.inverse(pose))[:, :3, 3] for path, pose in poses.items()}
    assert np.ptp(eyes['still'], axis=0).max() < 1e-6
    right = poses['stereo'][0, 0, :3]
    np.testing.assert_allclose(np.diff(eyes['stereo'], axis=0), [0.4 * right] * 2, atol=1e-5)
    steps = np.diff(eyes['drive'], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.4, rtol=1e-4)
    np.testing.assert_allclose(steps[:, 2], 0, atol=1e-5)
    away = np.linalg.norm(eyes['orbit'] - scenes.LAYOUTS['table'].target, axis=1)
    np.testing.assert_allclose(away, away[0], rtol=1e-5)
    assert np.ptp(eyes['orbit'], axis=0).max() > 0.1


def test_mistakes_are_named():
    key = jax.random.key(0)
    for knobs, line in [
        ({'truth': ('depht',)}, 'depht'),
        ({'truth': ('disparity',)}, 'stereo'),
        ({'truth': ('flow',)}, 'views'),
        ({'layout': 'moon'}, 'moon'),
        ({'classes': ('teapot',)}, 'teapot'),
        ({'path': 'fly'}, 'fly'),
    ]:
        with pytest.raises(Refusal, match=line):
            scenes.sample(key, **knobs)


def test_a_linear_probe_does_not_see_the_class():
    """The class of a lone object; from its silhouette's and depth's truth it follows at once."""
    knobs = {'size': 8, 'objects': (1, 1), 'shadows': False}
    sets = [scenes.dataset(split, count=400, **knobs) for split in ('train', 'test')]
    pixels = [s['image'].reshape(400, -1) / 255.0 for s in sets]
    labels = [s['label'][:, 0] for s in sets]
    probe = LogisticRegression(max_iter=50, C=0.1).fit(pixels[0], labels[0])
    assert probe.score(pixels[1], labels[1]) < 0.5


# Solids and rays


SOLIDS = {
    'ball': march.ball(0.7),
    'box': march.box(0.5, 0.3, 0.6),
    'rounded box': march.box(0.5, 0.3, 0.6, corner=0.1),
    'capsule': march.capsule(0.3, 0.8),
    'cylinder': march.cylinder(0.5, 0.4, axis=0),
    'cone': march.cone(0.6, 0.5),
    'pyramid': march.pyramid(0.6, 0.4, 0.5),
    'wedge': march.wedge(0.6, 0.4, 0.5),
    'torus': march.torus(0.6, 0.2, axis=1),
}


def inside(name, p):
    """Membership by each solid's own definition."""
    x, y, z = p.T
    return {
        'ball': x**2 + y**2 + z**2 < 0.49,
        'box': (abs(x) < 0.5) & (abs(y) < 0.3) & (abs(z) < 0.6),
        'rounded box': np.linalg.norm(np.maximum(abs(p) - [0.4, 0.2, 0.5], 0), axis=1) < 0.1,
        'capsule': x**2 + y**2 + np.maximum(abs(z) - 0.5, 0) ** 2 < 0.09,
        'cylinder': (y**2 + z**2 < 0.25) & (abs(x) < 0.4),
        'cone': (np.hypot(x, y) < 0.6 * (0.5 - z)) & (abs(z) < 0.5),
        'pyramid': (abs(x) < 0.6 * (0.5 - z)) & (abs(y) < 0.4 * (0.5 - z)) & (abs(z) < 0.5),
        'wedge': (abs(x) < 0.6) & (abs(y) < 0.4 * (0.5 - z)) & (abs(z) < 0.5),
        'torus': (np.hypot(x, z) - 0.6) ** 2 + y**2 < 0.04,
    }[name]


def test_solids_rays_and_normals_against_their_definitions():
    rng = np.random.default_rng(0)
    solids = march.stack(SOLIDS.values())
    spread = scenes._spread(solids, 1)
    points = rng.uniform(-1, 1, (500, 3)).astype(np.float32)
    target = rng.uniform(-0.7, 0.7, (300, 3)).astype(np.float32)
    origin = rng.normal(size=(300, 3)).astype(np.float32)
    origin *= 3 / np.linalg.norm(origin, axis=1, keepdims=True)
    along = target - origin
    signed = np.array(jax.jit(march.distance)(points, spread))
    reach = np.array(jax.jit(march.march)(origin, along, spread))
    fine = np.linspace(0, 2.5, 1501)
    for k, name in enumerate(SOLIDS):
        away = abs(signed[k]) > 1e-5
        np.testing.assert_array_equal((signed[k] < 0)[away], inside(name, points)[away])
        slow = np.stack([inside(name, origin + t * along) for t in fine])
        first = np.where(slow.any(0), fine[slow.argmax(0)], np.inf)
        met = np.isfinite(reach[k])
        # A ray may cut a corner between two samples of the slow search.
        assert (met == np.isfinite(first)).mean() > 0.985
        both = met & np.isfinite(first)
        assert abs(reach[k][both] - first[both]).max() < 0.05
        assert np.median(abs(reach[k][both] - first[both])) < 2e-3
        half = np.array(march.extent(SOLIDS[name]))
        local = points @ SOLIDS[name].turn
        assert (abs(local[inside(name, points)]) <= half + 1e-6).all()


def test_cameras_project_what_they_see():
    E = camera.look_at(np.float32([3, -2, 1.5]), np.float32([0, 0.5, 0.2]))
    K = camera.pinhole(20, 30, field=50)
    place, depth = camera.project(np.float32([[0, 0.5, 0.2]]), K, E)
    np.testing.assert_allclose(place[0], [14.5, 9.5], atol=1e-4)
    np.testing.assert_allclose(depth[0], np.sqrt(9 + 6.25 + 1.69), rtol=1e-5)
    up, _ = camera.project(np.float32([[0, 0.5, 0.4]]), K, E)
    assert up[0, 1] < place[0, 1]
    pixel = camera.pixels(20, 30)
    back, far = camera.project(camera.unproject(pixel, 2 + 0 * pixel[..., 0], K, E), K, E)
    np.testing.assert_allclose(back, pixel, atol=1e-3)
    np.testing.assert_allclose(far, 2, rtol=1e-5)
    np.testing.assert_allclose(camera.inverse(E) @ E, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(
        camera.moved(np.zeros(3), camera.inverse(E)), [3, -2, 1.5], atol=1e-5
    )
    for axis in range(3):
        quarter = np.array(camera.turn(np.float32(np.pi / 2), axis))
        np.testing.assert_allclose(quarter @ np.eye(3)[axis - 2], np.eye(3)[axis - 1], atol=1e-6)


def test_lidar_ranges_by_the_slope_of_its_beams():
    knobs = {'layout': 'street', 'classes': ('box',)}
    stage = scenes.Stage(**knobs)
    scan = jax.jit(lambda scene, pose: scenes._lidar(scene, pose, stage, (6, 24)))
    scene = scenes.arrange(jax.random.key(0), objects=(2, 3), **knobs)
    pose = camera.look_at(np.float32([0, 0, 3]), np.float32([5, 0, 0]))
    # A box of half lengths 0.55, 0.45 straight ahead, another to the left, none behind.
    scene = scene._replace(
        position=np.float32([[6, 0, 0], [0, 6, 0], [0, 0, -9]]), angle=np.zeros(3, np.float32),
        label=np.int32([0, 0, -1]), scale=np.float32([3, 3, 1]),
    )  # fmt: skip
    length, mask = (np.array(a) for a in scan(scene, pose))
    up = np.deg2rad(np.linspace(-20, 5, 6))
    np.testing.assert_array_equal(mask[2:4, 0], 1)
    np.testing.assert_array_equal(mask[2:4, 6], 2)  # a quarter turn to the left
    np.testing.assert_allclose(length[2:4, 0], (6 - 1.65) / np.cos(up[2:4]), rtol=1e-3)
    np.testing.assert_allclose(length[2:4, 6], (6 - 1.35) / np.cos(up[2:4]), rtol=1e-3)
    np.testing.assert_allclose(length[:3, 12], 2 / np.sin(-up[:3]), rtol=1e-3)
    assert length[5, 12] == 0
    assert not mask[:, 12].any()


def test_what_would_be_seen_without_an_object_or_shadows():
    knobs = {'classes': ('cube', 'ball'), 'objects': (2, 2), 'size': 16, 'companion': (1.0, 1.0)}
    found = scenes.dataset('test', count=8, truth=('twin', 'without', 'shadow'), **knobs)
    first = found['mask'] == 1
    shown = first.any((1, 2))
    assert shown.sum() > 5
    changed = (found['without'] != found['image']).any(-1)
    assert changed[first].mean() > 0.95
    assert (found['twin'] != found['image']).any((1, 2, 3)).all()
    assert (found['unshadowed'].astype(int) >= found['image']).all()
    same = (found['unshadowed'] == found['image']).all(-1)
    assert same[~found['shadow']].all()
    assert 0.005 < found['shadow'].mean() < 0.5
    assert not found['mask'][found['rails']].any()
    assert found['rails'].any((1, 2)).mean() > 0.7


def test_streets_have_walls_roads_and_the_sky():
    knobs = {'layout': 'street', 'classes': ('car', 'lorry'), 'size': (16, 24), 'shadows': False}
    found = scenes.dataset('test', count=6, truth=('semantic', 'part', 'depth'), **knobs)
    stuff = {name: 2 + scenes.STUFF.index(name) for name in ('road', 'wall', 'sky')}
    for place in stuff.values():
        assert (found['semantic'] == place).any((1, 2)).mean() > 0.8
    np.testing.assert_array_equal(found['semantic'] == stuff['sky'], np.isinf(found['depth']))
    np.testing.assert_array_equal(found['part'].all(-1), found['mask'] > 0)
    groups = [[group for _, group in scenes.CLASSES[name]] for name in ('car', 'lorry')]
    for i, row, column in zip(*np.nonzero(found['mask']), strict=True):
        label = found['label'][i, found['mask'][i, row, column] - 1]
        group, part = found['part'][i, row, column] - 1
        assert groups[label][part] == group
