import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jssl.data import photos, rasterise, shapes
from jssl.errors import Refusal

LAYERS = [
    pytest.param(layer, id=f'{family}-{name}-{k}')
    for family, classes in shapes.FAMILIES.items()
    for name, layers in classes.items()
    for k, layer in enumerate(layers)
]
EVERY_FIGURE = {
    'circle': rasterise.circle,
    'ring': rasterise.ring,
    'box': lambda p: rasterise.box(p, 0.6, 0.4, corner=0.1),
    'cross': rasterise.cross,
    'crescent': rasterise.crescent,
    'regular': lambda p: rasterise.regular(p, 5),
    'star': rasterise.star,
    'heart': rasterise.heart,
    'arrow': rasterise.arrow,
    'stripes': rasterise.stripes,
    'dots': rasterise.dots,
}


# Signed distances


def slow_polygon(point, vertices):
    """Distance to the nearest edge; inside when the turns towards the corners sum to 2 pi."""
    distance, turned = np.inf, 0.0
    for i in range(len(vertices)):
        a, b = np.float64(vertices[i]) - point, np.float64(vertices[i - 1]) - point
        edge = b - a
        along = min(max(-(a @ edge) / (edge @ edge), 0), 1)
        distance = min(distance, np.linalg.norm(a + along * edge))
        turned += np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)
    return -distance if abs(turned) > np.pi else distance


@pytest.mark.parametrize(
    'vertices',
    [
        [(0, -1), (1, 0.5), (-1, 0.5)],
        [(0, -1), (-1, 0.5), (1, 0.5)],
        [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (0.0, -0.3), (-0.9, 0.9)],
    ],
    ids=['triangle', 'turned the other way', 'with a notch'],
)
def test_polygon_equals_slow_loops(vertices):
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (60, 2)).astype(np.float32)
    expected = [slow_polygon(point, vertices) for point in points]
    np.testing.assert_allclose(rasterise.polygon(points, vertices), expected, atol=1e-5)


@pytest.mark.parametrize(
    ('distance', 'point', 'expected'),
    [
        (lambda p: rasterise.circle(p, 0.5), (0.3, 0.4), 0.0),
        (lambda p: rasterise.circle(p, 0.5), (0.0, 2.0), 1.5),
        (lambda p: rasterise.ring(p, 0.7, 0.4), (0.7, 0.0), -0.2),
        (lambda p: rasterise.ring(p, 0.7, 0.4), (0.0, 0.0), 0.5),
        (lambda p: rasterise.box(p, 1, 0.5), (0.0, 0.0), -0.5),
        (lambda p: rasterise.box(p, 1, 0.5), (4.0, 4.5), 5.0),
        (lambda p: rasterise.box(p, 1, 0.5, corner=0.5), (1.0, 0.0), 0.0),
        (lambda p: rasterise.box(p, 1, 0.5, corner=0.5), (1.0, 0.5), 0.5 * (2**0.5 - 1)),
        (lambda p: rasterise.cross(p, half=0.9, width=0.4), (0.9, 0.1), 0.0),
        (lambda p: rasterise.crescent(p, radius=0.9, bite=0.5), (0.0, 0.0), 0.25),
        (lambda p: rasterise.arrow(p), (0.95, 0.0), 0.0),
        (lambda p: rasterise.star(p), (0.0, -1.0), 0.0),
        (lambda p: rasterise.regular(p, 4), (0.0, 0.0), -(0.5**0.5)),
        (lambda p: rasterise.stripes(p, period=0.5), (3.0, 0.25), -0.125),
        (lambda p: rasterise.dots(p, period=0.5, radius=0.1), (1.0, -0.5), -0.1),
        (lambda p: rasterise.outline(rasterise.circle(p), width=0.2), (0.0, 1.2), 0.1),
        (lambda p: rasterise.circle(rasterise.move(p, 0.5, 0.2)), (0.5, 0.2), -1.0),
        (lambda p: rasterise.box(rasterise.move(p, turn=90), 1, 0.5), (0.0, 1.5), 0.5),
    ],
)
def test_distances_known_by_hand(distance, point, expected):
    assert distance(jnp.array(point)) == pytest.approx(expected, abs=1e-5)


def test_heart_points_down():
    tip, notch, flank = rasterise.heart(jnp.array([(0.0, 0.8), (0.0, -0.8), (0.6, -0.5)]))
    assert (tip < 0, notch > 0, flank < 0) == (True, True, True)


@pytest.mark.parametrize('layer', LAYERS)
def test_layers_are_distances_inside_the_table(layer):
    """No signed distance grows faster than the way; nothing is drawn outside the unit's room."""
    table = np.asarray(rasterise.bake(layer))
    step = 2 * 1.3 / (len(table) - 1)
    for axis in (0, 1):
        assert np.abs(np.diff(table, axis=axis)).max() <= step * 1.001
    border = np.concatenate([table[0], table[-1], table[:, 0], table[:, -1]])
    assert border.min() > 0.15
    assert table.min() < 0


@pytest.mark.parametrize('name', EVERY_FIGURE)
def test_figures_map_and_differentiate(name):
    figure = EVERY_FIGURE[name]
    points = jnp.concatenate([jnp.zeros((2, 2)), rasterise.pixel_grid(5).reshape(-1, 2)])
    looped = [figure(point) for point in points]
    np.testing.assert_allclose(jax.vmap(figure)(points), looped, atol=1e-6)
    np.testing.assert_allclose(jax.jit(figure)(points), looped, atol=1e-6)
    assert np.isfinite(jax.grad(lambda p: figure(p).sum())(points)).all()


def test_set_operations():
    a, b = jnp.array([-1.0, -1.0, 2.0]), jnp.array([-2.0, 3.0, 1.0])
    np.testing.assert_array_equal(rasterise.union(a, b), [-2, -1, 1])
    np.testing.assert_array_equal(rasterise.intersection(a, b), [-1, 3, 2])
    np.testing.assert_array_equal(rasterise.subtract(a, b), [2, -1, 2])


# Drawing


def test_pixel_grid_is_symmetric_and_square():
    grid = np.asarray(rasterise.pixel_grid(4, 8))
    assert grid.shape == (4, 8, 2)
    np.testing.assert_allclose(grid[0, 0], [-1.75, -0.75])
    np.testing.assert_allclose(grid, -grid[::-1, ::-1])
    np.testing.assert_allclose(np.diff(grid[..., 0], axis=1), 0.5)
    np.testing.assert_allclose(np.diff(grid[..., 1], axis=0), 0.5)


def test_place_undoes_the_transform_and_turns_clockwise():
    transform = rasterise.Transform(jnp.array([0.3, -0.2]), jnp.array(0.5), jnp.deg2rad(90.0))
    # What points right in the object's frame points down on the screen.
    np.testing.assert_allclose(rasterise.place(jnp.array([0.3, 0.3]), transform), [1, 0], atol=1e-6)


def test_sample_transform_keeps_objects_inside():
    draw = functools.partial(rasterise.sample_transform, scale=(0.2, 0.8), rotation=30)
    drawn = jax.vmap(draw)(jax.random.split(jax.random.key(0), 500))
    assert (np.abs(drawn.position).max(1) + drawn.scale).max() <= 1
    assert np.ptp(drawn.scale) > 0.55
    assert np.deg2rad(28) < np.abs(drawn.angle).max() <= np.deg2rad(30)
    still = rasterise.sample_transform(jax.random.key(0), scale=(0.5, 0.5), shift=0.0, rotation=0.0)
    np.testing.assert_allclose([*still.position, still.scale, still.angle], [0, 0, 0.5, 0])


def test_coverage_is_close_to_counting_points():
    size, finer = 16, 16
    drawn = rasterise.coverage(rasterise.star(rasterise.pixel_grid(size)), 2 / size)
    inside = np.asarray(rasterise.star(rasterise.pixel_grid(size * finer)) < 0, float)
    counted = inside.reshape(size, finer, size, finer).mean((1, 3))
    assert np.abs(drawn - counted).mean() < 0.012
    assert np.abs(drawn - counted).max() < 0.35  # at the tips


def test_a_baked_figure_draws_like_the_figure():
    points = 0.9 * rasterise.pixel_grid(40)
    table = rasterise.bake(rasterise.star)
    np.testing.assert_allclose(rasterise.look_up(table, points), rasterise.star(points), atol=0.02)
    assert rasterise.look_up(table, jnp.array([50.0, 0.0])) > 0.2


def test_composite_paints_from_back_to_front():
    rng = np.random.default_rng(0)
    canvas, colours = rng.random((3, 4, 3)), rng.random((5, 3))
    alphas = rng.random((5, 3, 4))
    alphas[2] = 1
    expected, seen = canvas.copy(), np.zeros((5, 3, 4))
    for k in range(5):
        expected = (1 - alphas[k][..., None]) * expected + alphas[k][..., None] * colours[k]
        seen = seen * (1 - alphas[k])
        seen[k] = alphas[k]
    image, visible = rasterise.composite(
        *(jnp.asarray(a, 'float32') for a in (canvas, colours, alphas))
    )
    np.testing.assert_allclose(image, expected, atol=1e-6)
    np.testing.assert_allclose(visible, seen, atol=1e-6)


@pytest.mark.parametrize('cells', [[(2, 3)], [(0, 0), (5, 6)], [(1, 4), (3, 2)], []])
def test_tight_box(cells):
    mask = np.zeros((6, 7), bool)
    for row, column in cells:
        mask[row, column] = True
    rows, columns = np.nonzero(mask)
    empty = not len(rows)
    expected = (
        np.zeros(4) if empty else [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    )
    np.testing.assert_array_equal(rasterise.tight_box(mask), expected)


# Classes


def test_there_are_enough_classes_and_they_differ():
    assert len(shapes.CLASSES) >= 44
    assert len(shapes.UPRIGHT) == len(shapes.SYMMETRIC) == 10
    for family, classes in shapes.FAMILIES.items():
        tables = [shapes._baked(family, i) for i in range(len(classes))]
        drawn = [np.concatenate([[(t < 0).any(0)], t < 0]) for t in tables]
        for i, one in enumerate(drawn):
            for j, other in enumerate(drawn[:i]):
                assert (one != other).mean() > 0.005, (family, i, j)


@pytest.mark.parametrize('name', shapes.SYMMETRIC)
def test_quarter_turns_leave_symmetric_classes_unchanged(name):
    table = shapes._baked('symmetric', list(shapes.SYMMETRIC).index(name))
    np.testing.assert_allclose(table, np.rot90(table, axes=(1, 2)), atol=1e-5)


@pytest.mark.parametrize('name', shapes.UPRIGHT)
@pytest.mark.parametrize('turns', [1, 2, 3])
def test_quarter_turns_show_in_upright_classes(name, turns):
    table = shapes._baked('upright', list(shapes.UPRIGHT).index(name)) < 0
    silhouette = table.any(0)
    turned = np.rot90(silhouette, turns)
    assert (silhouette & turned).sum() / (silhouette | turned).sum() < 0.85


# Images


def test_an_item_depends_on_its_index_and_not_on_the_count():
    few, many = shapes.dataset('train', count=7), shapes.dataset('train', count=300)
    for name, value in few.items():
        np.testing.assert_array_equal(value, many[name][:7], err_msg=name)
        assert not value.flags.writeable
    other = shapes.dataset('train', count=7, seed=1)
    assert not np.array_equal(few['image'], other['image'])
    assert not np.array_equal(few['image'], shapes.dataset('validation', count=7)['image'])


def test_an_item_is_the_same_on_every_machine():
    drawn = shapes.dataset('train', count=3, background='plain')
    coarse = drawn['image'].reshape(3, 2, 16, 2, 16, 3).mean((2, 4, 5))
    expected = [
        [[214.5, 223.1], [225.7, 226.4]],
        [[148.9, 138.0], [157.1, 145.4]],
        [[148.9, 142.5], [139.8, 130.4]],
    ]
    np.testing.assert_allclose(coarse, expected, atol=0.5)


def test_shapes_types_and_ranges():
    drawn = shapes.dataset('train', count=40)
    types = {name: (value.dtype.name, value.shape[1:]) for name, value in drawn.items()}
    assert types == {
        'image': ('uint8', (32, 32, 3)),
        'background': ('int32', ()),
        'label': ('int32', ()),
        'class_id': ('int32', ()),
        'mask': ('bool', (32, 32)),
        'box': ('float32', (4,)),
        'position': ('float32', (2,)),
        'scale': ('float32', ()),
        'angle': ('float32', ()),
        'colour': ('float32', (3,)),
        'colour_id': ('int32', ()),
    }
    assert (drawn['scale'] >= 0.55).all()
    assert (drawn['scale'] <= 0.8).all()
    assert np.abs(drawn['angle']).max() <= np.deg2rad(15)


def test_labels_are_balanced_in_every_run_of_classes():
    labels = shapes.dataset('train', count=300)['label']
    assert (np.sort(labels.reshape(-1, 10), axis=1) == np.arange(10)).all()
    assert len({tuple(run) for run in labels.reshape(-1, 10)}) > 25


def test_class_ids_choose_and_number_the_classes():
    chosen = [4, 50, 0, 1, 2, 3, 51, 52, 53, 54]
    drawn = shapes.dataset('train', count=300, class_ids=chosen)
    assert sorted(set(drawn['class_id'])) == sorted(chosen)
    np.testing.assert_array_equal(np.array(chosen)[drawn['label']], drawn['class_id'])
    usual = shapes.dataset('train', count=300)
    same = usual['class_id'] == drawn['class_id']
    np.testing.assert_array_equal(usual['mask'][same], drawn['mask'][same])


def test_colour_says_nothing_about_the_class():
    drawn = shapes.dataset('train', count=2000)
    table = np.zeros((10, 8))
    np.add.at(table, (drawn['label'], drawn['colour_id']), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    assert chi2 < 110  # 63 degrees of freedom: one seed in 4000 lies above


def test_masks_are_where_the_object_changed_the_image():
    drawn = shapes.dataset('train', count=100)
    empty = shapes.dataset('train', count=100, objects=0)
    assert set(empty) == {'image', 'background'}
    np.testing.assert_array_equal(empty['background'], drawn['background'])
    changed = (drawn['image'] != empty['image']).any(-1)
    mask = drawn['mask']
    assert changed[mask].mean() > 0.98
    grown = mask.copy()  # anti-aliased edges reach one pixel further
    for shift in [(0, 1), (0, -1), (1, 0), (-1, 0)]:
        grown |= np.roll(mask, shift, (1, 2))
    assert (changed & ~grown).sum() < 0.02 * changed.sum()  # tips thinner than half a pixel
    assert mask.any((1, 2)).all()


def test_boxes_enclose_masks():
    drawn = shapes.dataset('train', count=100)
    for mask, box in zip(drawn['mask'], drawn['box'], strict=True):
        rows, columns = np.nonzero(mask)
        ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(box, ends)


def test_masks_lie_at_the_position_and_have_the_scale():
    drawn = shapes.dataset('train', count=300)
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing='ij')
    for mask, position, scale, label in zip(
        *(drawn[name] for name in ('mask', 'position', 'scale', 'label')), strict=True
    ):
        if label > 1:  # a disc, a square
            continue
        middle = np.array([columns[mask].mean(), rows[mask].mean()]) / 16 - 31 / 32
        np.testing.assert_allclose(middle, position, atol=0.04)
        area = [np.pi * 0.85**2, 1.5**2][label] * (16 * scale) ** 2
        assert mask.sum() == pytest.approx(area, rel=0.1)


def test_backgrounds_are_photographs_of_the_split():
    for split in photos.SPLITS:
        sources = set(shapes.dataset(split, count=250)['background'])
        assert {photos.NAMES[i] for i in sources} == set(photos.SPLITS[split])
    assert set(shapes.dataset('train', count=3, background='plain')['background']) == {-1}


def test_the_nuisances_do_what_they_say():
    draw = functools.partial(shapes.dataset, 'train', count=250)
    usual = draw()
    small = draw(scale=(0.2, 0.3))['mask'].mean()
    assert small < 0.3 * usual['mask'].mean()
    still = draw(rotation=0, shift=0)
    assert not still['angle'].any()
    assert not still['position'].any()
    assert set(draw(colours=(2, 5))['colour_id']) == {2, 5}
    hidden = draw(occluder=1.0)
    lost = usual['mask'].sum((1, 2)) - hidden['mask'].sum((1, 2))
    assert (lost >= 0).all()
    assert (lost > 0).mean() > 0.3
    flat, rough = (draw(contrast=(c, c), noise=0)['image'].astype(int) for c in (0, 1))
    steps = [np.abs(np.diff(image, axis=1)) for image in (flat, rough)]
    assert (steps[0] == 0).mean() > 0.7 > 0.4 > (steps[1] == 0).mean()
    tints = [
        draw(contrast=(0, 0), noise=0, objects=0, clutter=0, light=light)['image'][:, 0, 0]
        for light in (0, 0.1)
    ]
    assert (np.ptp(tints[0], 0) == 0).all()  # all the same grey
    assert np.all(abs(np.ptp(tints[1].astype(int), 0) - 0.2 * 255) < 3)
    grain = np.sort(np.abs(flat - draw(contrast=(0, 0), noise=0.1)['image']).ravel())
    assert grain[-1] == pytest.approx(12**0.5 * 0.1 * 255 / 2, abs=1)


def test_several_objects_have_an_order():
    drawn = shapes.dataset('train', count=250, objects=(1, 4), scale=(0.3, 0.5))
    present, mask = drawn['present'], drawn['mask']
    assert mask.shape == (250, 4, 32, 32)
    assert set(present.sum(1)) == {1, 2, 3, 4}
    assert (np.diff(present.astype(int), axis=1) <= 0).all()
    assert not mask[~present].any()
    assert not drawn['box'][~present].any()
    assert mask.sum(1).max() == 1  # a pixel shows one object
    assert mask[:, 0][present[:, 3]].mean() < mask[:, 3][present[:, 3]].mean()
    assert (np.bincount(drawn['label'][:, 0]) == 25).all()


def test_sample_maps_and_compiles():
    keys = jax.random.split(jax.random.key(0), 3)
    draw = functools.partial(shapes.sample, split='test', size=16, clutter=1)
    labels = jnp.array([4, 0, 9])
    mapped, alone = jax.jit(jax.vmap(draw))(keys, labels), jax.jit(draw)
    np.testing.assert_array_equal(mapped['label'], labels)
    for i in range(3):
        single = alone(keys[i], labels[i])
        np.testing.assert_allclose(single['image'], mapped['image'][i], atol=1e-5)
        np.testing.assert_array_equal(single['box'], mapped['box'][i])
    assert jax.eval_shape(draw, keys[0])['label'].shape == ()


def test_an_oracle_reads_the_class_and_a_linear_probe_on_pixels_does_not():
    train, test = shapes.dataset('train', count=2000), shapes.dataset('test', count=500)
    templates = np.stack([shapes._baked('classes', i)[0] < 0 for i in range(10)])
    oracle = [_closest(templates, drawn) for drawn in _rows(test)]
    assert np.mean(oracle == test['label']) > 0.97
    probe = LogisticRegression(C=1e-3, max_iter=50)
    probe.fit(_pixels(train['image'][::2]), train['label'][::2])
    assert probe.score(_pixels(test['image']), test['label']) < 0.4


def _rows(drawn):
    return [{name: value[i] for name, value in drawn.items()} for i in range(len(drawn['label']))]


def _closest(templates, drawn):
    """Class whose silhouette, put where the object is, overlaps the mask most."""
    cos, sin = np.cos(drawn['angle']), np.sin(drawn['angle'])
    points = (np.asarray(rasterise.pixel_grid(32)) - drawn['position']) / drawn['scale']
    points = points @ np.array([[cos, -sin], [sin, cos]])
    column, row = (
        np.clip(np.round((points / 1.3 + 1) * 95 / 2), 0, 95).astype(int).transpose(2, 0, 1)
    )
    expected = templates[:, row, column]
    overlap = (expected & drawn['mask']).sum((1, 2)) / (expected | drawn['mask']).sum((1, 2))
    return overlap.argmax()


def _pixels(images):
    return images.reshape(len(images), -1) / 255 - 0.5


@pytest.mark.parametrize(
    ('options', 'bound'),
    [({'upright': True, 'objects': 0}, 0.31), ({'symmetric': True}, 0.31)],
    ids=['upright without its object', 'symmetric'],
)
def test_nothing_but_an_upright_object_tells_quarter_turns(options, bound):
    """Each turned image is compared on the statistics that a border or a gradient would change."""
    scores = []
    for split, count in (('train', 2000), ('test', 1000)):
        images = shapes.dataset(split, count=count, size=16, **options)['image'] / 255
        turned = [np.rot90(images[k::4], k, axes=(1, 2)) for k in range(4)]
        x = np.concatenate(turned).reshape(count, -1) - 0.5
        scores.append((x, np.repeat(np.arange(4), count // 4)))
    probe = LogisticRegression(C=1e-3, max_iter=50).fit(*scores[0])
    assert probe.score(*scores[1]) < bound


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'upright': True, 'symmetric': True}, 'upright'),
        ({'background': 'sky'}, 'sky'),
        ({'size': 4}, 'size'),
        ({'classes': 57}, '56'),
        ({'class_ids': (1, 99)}, '99'),
        ({'classes': 0}, 'classes'),
    ],
)
def test_wrong_requests_are_refused(options, message):
    with pytest.raises(Refusal, match=message):
        shapes.dataset('train', **options)
    with pytest.raises(Refusal, match='holdout'):
        shapes.dataset('holdout')
    with pytest.raises(TypeError, match='colour'):
        shapes.dataset('train', colour=3)
