"""Clouds: correspondence, motions, labels and insides, each against what they are said to be."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from jssl.data.generated import clouds, draw
from jssl.errors import Refusal

EVERY = [
    {'kind': 'organ', 'points': 64},
    {'kind': 'figure', 'frames': 2, 'skirt': True, 'queries': 16},
    {'kind': 'furniture', 'points': 64, 'queries': 16},
    {'kind': 'room', 'points': 200},
    {'kind': 'room', 'points': 60, 'overlap': 0.5},
]


def figure(seed=0, **knobs):
    return clouds.figure(np.random.default_rng(seed), **knobs)


@pytest.mark.parametrize('knobs', EVERY, ids=lambda k: k['kind'])
def test_items_are_functions_of_seed_split_and_index(knobs):
    many, few = (clouds.dataset('train', count=n, **knobs) for n in (4, 2))
    others = clouds.dataset('test', count=2, **knobs), clouds.dataset(count=2, seed=1, **knobs)
    lazy = clouds.source('train', count=4, **knobs)[1]
    name = 'source' if 'overlap' in knobs else 'points'
    for column in many:
        np.testing.assert_array_equal(many[column][:2], few[column])
        np.testing.assert_array_equal(many[column][1], lazy[column])
        assert many[column].dtype in (np.float32, np.int32, bool)
    for other in others:
        assert (other[name] != few[name]).mean() > 0.9


def test_organs_are_observed_where_their_surface_is():
    item = clouds.organ(np.random.default_rng(0), points=500, missing=0.2)
    np.testing.assert_array_equal(item['points'], item['surface'][item['index']])
    assert len(np.unique(item['index'])) == 400
    # A closed body: normals point away from the middle and sum to nothing, weighted by area.
    away = item['surface'] - item['surface'].mean(0)
    assert ((away * item['normal']).sum(1) > 0).mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(item['normal'], axis=1), 1, atol=1e-5)
    # No neighbour lies above the tangent plane by more than curvature explains.
    near = np.linalg.norm(item['surface'] - item['surface'][:, None], axis=2)
    rise = np.einsum('ijk,ik->ij', item['surface'] - item['surface'][:, None], item['normal'])
    close = (near > 0) & (near < 0.15)
    assert (abs(rise[close]) < 0.5 * near[close]).mean() > 0.99
    noisy = clouds.organ(np.random.default_rng(0), points=500, noise=0.1)
    assert (noisy['points'] - noisy['surface'][noisy['index']]).std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize('modes', [1, 3])
def test_cohorts_have_as_many_modes_as_planted(modes):
    found = clouds.dataset(count=80, kind='organ', points=128, modes=modes)
    fit = PCA().fit(found['surface'].reshape(80, -1))
    share = fit.explained_variance_ratio_
    assert share[:modes].sum() > 0.9
    assert (share[:modes] > 0.03).all()
    assert share[modes] < 0.05


def test_figures_stand_and_fit_their_bones():
    names, radius = list(clouds.JOINTS), 0.1
    item = figure(pose=(0,) * 12, identity=(0,) * 5, grid=(6, 12))
    rest = np.array([place for _, place, _ in clouds.JOINTS.values()])
    np.testing.assert_allclose(item['joint'], rest, atol=1e-6)
    np.testing.assert_allclose(item['turn'], [np.eye(3)] * len(names), atol=1e-6)
    for k, bone in enumerate(clouds.BONES):
        parent, _, radius = clouds.JOINTS[bone]
        a, b = rest[names.index(parent)], rest[names.index(bone)]
        mine = item['points'][item['part'] == k]
        t = np.clip((mine - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        reach = mine - a - t[:, None] * (b - a)
        np.testing.assert_allclose(np.linalg.norm(reach, axis=1), radius, rtol=1e-4)
        np.testing.assert_allclose(item['normal'][item['part'] == k], reach / radius, atol=1e-4)


def test_poses_move_bones_rigidly_and_keep_their_lengths():
    still = figure(pose=(0,) * 12, identity=(0.3, -0.2, 0.5, -0.5, 0.1))
    posed = figure(1, identity=(0.3, -0.2, 0.5, -0.5, 0.1))
    names = list(clouds.JOINTS)
    for k, bone in enumerate(clouds.BONES):
        p, c = names.index(clouds.JOINTS[bone][0]), names.index(bone)
        length = [np.linalg.norm(i['joint'][c] - i['joint'][p]) for i in (still, posed)]
        assert length[0] == pytest.approx(length[1], rel=1e-4)
        mine = still['part'] == k
        moved = (still['points'][mine] - still['joint'][p]) @ posed['turn'][p].T + posed['joint'][p]
        np.testing.assert_allclose(posed['points'][mine], moved, atol=1e-5)
    assert posed['joint'][names.index('elbow_left'), 1] > 0.05  # arms go outwards
    bent = figure(pose=(0,) * 10 + (1.5, 0.0), identity=(0,) * 5)
    assert bent['joint'][names.index('foot_left'), 0] < -0.1  # knees bend backwards
    tall, short = (figure(pose=(0,) * 12, identity=(h, 0, 0, 0, 0)) for h in (1, -1))
    assert tall['points'][:, 2].max() > 1.2 * short['points'][:, 2].max()


def test_motion_begins_and_ends_where_it_began_and_the_skirt_swings():
    moving = figure(3, frames=9, skirt=True)
    np.testing.assert_allclose(moving['pose'][0], moving['pose'][8] * 0 + moving['pose'][0])
    steps = np.linalg.norm(np.diff(moving['points'], axis=0), axis=2)
    assert 0 < steps.max() < 0.5
    cloth = moving['part'] == len(clouds.BONES)
    hip = moving['joint'][:, :1]
    assert np.ptp(moving['points'][:, cloth] - hip, axis=0).max() > 0.01
    wide = figure(3, agility=1.0)['pose'] - figure(3, agility=0.0)['pose']
    assert abs(wide).max() > 0.2


@pytest.mark.parametrize('skirt', [False, True])
def test_faces_are_those_of_closed_tubes(skirt):
    item = figure(skirt=skirt, grid=(6, 9), pose=(0,) * 12)
    faces = clouds.figure_faces(grid=(6, 9), skirt=skirt)
    assert faces.max() == len(item['points']) - 1
    body = faces[(item['part'][faces] < len(clouds.BONES)).all(1)]
    edges = np.concatenate([body[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert {tuple(e) for e in edges} == {tuple(e[::-1]) for e in edges}  # each edge both ways
    a, b, c = item['points'][faces].transpose(1, 0, 2)
    outward = (np.cross(b - a, c - a) * item['normal'][faces].sum(1)).sum(1)
    assert (outward > -1e-9).all()


def test_insides_of_figures_and_what_they_wear():
    item = figure(5, worn=('backpack', 'hat'), queries=400)
    skin = item['part'] < len(clouds.BONES)
    # Points a little under the skin are inside, a little above the outermost are not.
    under = item['points'][skin] - 0.005 * item['normal'][skin]
    joints = item['joint'].astype(float)
    _, radius = clouds._skeleton(item['identity'])
    assert clouds._in_body(under, joints, radius).all()
    assert 0.05 < item['inside'].mean() < 0.8
    assert 0.01 < item['worn_inside'].mean() < 0.5
    far = np.abs(item['query'][item['inside']][:, None] - item['points'][skin]).sum(2).min(1)
    assert far.max() < 0.2


def test_furniture_surfaces_and_insides():
    found = clouds.dataset(count=16, kind='furniture', points=300, queries=600)
    for i in range(16):
        name = tuple(clouds.FURNITURE)[found['label'][i]]
        rows = clouds._primitives(clouds.FURNITURE[name], found['size'][i].astype(float))
        step = 1.9e-3 * found['normal'][i]
        out, under = (clouds._within(found['points'][i] + s * step, *rows) for s in (1, -1))
        assert under.any(1).all()
        assert not out.any()
        np.testing.assert_array_equal(
            found['inside'][i], clouds._within(found['query'][i].astype(float), *rows).any(1)
        )
    assert len(np.unique(found['label'])) > 4


def test_rooms_hold_what_their_labels_and_boxes_say():
    found = clouds.dataset(count=8, kind='room', points=1000, structure=0.85, noise=0.0)
    for item in (dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)):
        assert (item['label'] < 2).mean() == pytest.approx(0.85)
        np.testing.assert_array_equal(item['instance'] == 0, item['label'] < 2)
        np.testing.assert_allclose(item['points'][item['label'] == 0][:, 2], 0)
        for o, (box, label) in enumerate(zip(item['box'], item['box_label'], strict=True)):
            mine = item['instance'] == o + 1
            if label < 0:
                assert not mine.any()
                continue
            assert (item['label'][mine] == label).all()
            cos, sin = np.cos(box[6]), np.sin(box[6])
            turned = (item['points'][mine] - box[:3]) @ np.array(
                [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
            )
            assert (abs(turned) <= box[3:6] / 2 + 1e-4).all()


def test_colours_alone_do_not_tell_a_rooms_classes():
    sets = [clouds.dataset(split, count=12, kind='room', points=600) for split in ('train', 'test')]
    colours, labels = (
        [s[name].reshape(-1, *s[name].shape[2:]) for s in sets] for name in ('colour', 'label')
    )
    kept = [label > 1 for label in labels]
    probe = LogisticRegression(max_iter=300).fit(colours[0][kept[0]], labels[0][kept[0]])
    assert probe.score(colours[1][kept[1]], labels[1][kept[1]]) < 0.6
    # Where each point is, and its box, tell it at once.
    boxes = sets[1]['box_label'][np.arange(12)[:, None], sets[1]['instance'] - 1]
    np.testing.assert_array_equal(boxes.ravel()[kept[1]], labels[1][kept[1]])


@pytest.mark.parametrize('overlap', [0.3, 0.7])
def test_pairs_align_under_their_motion(overlap):
    found = clouds.dataset(count=6, kind='room', points=120, overlap=overlap, jitter=0.0)
    for i in range(6):
        match, motion = found['match'][i], found['motion'][i].astype(float)
        held = match >= 0
        assert held.mean() == pytest.approx(overlap, abs=0.01)
        assert len(np.unique(match[held])) == held.sum()
        moved = found['source'][i] @ motion[:3, :3].T + motion[:3, 3]
        np.testing.assert_allclose(moved[held], found['target'][i][match[held]], atol=1e-5)
        turned = found['source_normal'][i] @ motion[:3, :3].T
        np.testing.assert_allclose(turned[held], found['target_normal'][i][match[held]], atol=1e-5)
        np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-5)
        assert np.linalg.det(motion[:3, :3]) == pytest.approx(1, abs=1e-5)


def test_upright_pairs_turn_about_z_alone():
    knobs = {'kind': 'furniture', 'points': 60, 'overlap': 0.5, 'upright': True, 'rotation': 45}
    motions = clouds.dataset(count=20, **knobs)['motion']
    np.testing.assert_allclose(motions[:, 2, :3], [[0, 0, 1]] * 20, atol=1e-6)
    assert (motions[:, 0, 0] >= np.cos(np.pi / 4) - 1e-5).all()


def test_mistakes_are_named():
    for knobs, line in [
        ({'kind': 'tree'}, 'tree'),
        ({'kind': 'organ', 'modes': 9}, '9'),
        ({'kind': 'organ', 'overlap': 0.5}, 'room'),
        ({'kind': 'figure', 'worn': ('scarf',)}, 'scarf'),
    ]:
        with pytest.raises(Refusal, match=line):
            clouds.sample(draw.generator(0, 'train', 0), **knobs)
    few = np.zeros((10, 3))
    with pytest.raises(Refusal, match='overlap'):
        clouds.pair(np.random.default_rng(0), few, few, points=8, overlap=0.1)
