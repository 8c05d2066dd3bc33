"""Contact sheets: one for every modality, which shows what the columns hold."""

import io

import numpy as np
import pytest
from PIL import Image

from jssl.data import sheets

N = 5
RNG = np.random.default_rng(0)
LABEL = np.arange(N, dtype=np.int32)
PICTURE = RNG.integers(0, 256, (N, 8, 8, 3), np.uint8)
COLUMNS = {
    'image': {'image': PICTURE, 'label': LABEL},
    'grey': {'image': PICTURE[..., :1], 'text': np.array(['a $ sign'] * N)},
    'clear': {'image': np.concatenate([PICTURE, PICTURE[..., :1]], -1)},
    'bands': {'image': np.concatenate([PICTURE, PICTURE], -1)},
    'maps': {
        'image': PICTURE,
        'depth': RNG.random((N, 8, 8), np.float32),
        'mask': PICTURE[..., 0] > 99,
        'segment': PICTURE[..., 0].astype(np.int32) % 3,
        'flow': RNG.random((N, 8, 8, 2), np.float32),
        'normal': RNG.random((N, 8, 8, 3), np.float32),
    },
    'video': {'video': np.stack([PICTURE] * 12, 1), 'label': LABEL},
    'volume': {'volume': RNG.random((N, 6, 8, 8), np.float32)},
    'cloud': {'points': RNG.random((N, 40, 3), np.float32), 'part': RNG.integers(0, 3, (N, 40))},
    'plane': {'points': RNG.random((N, 40, 2), np.float32)},
    'sound': {'wave': RNG.standard_normal((N, 900)).astype(np.float32), 'label': LABEL},
    'silence': {'sound': np.zeros((N, 900), np.float32)},
    'signal': {'signal': RNG.random((N, 20, 3), np.float32)},
    'graphs': {'edges': RNG.integers(-1, 9, (N, 20, 2))},
    'graph': {'edges': RNG.integers(0, 30, (60, 2)), 'feature': RNG.random((30, 4))},
    'layers': {'edges': RNG.integers(0, 30, (60, 3))},
    'adjacency': {'adjacency': RNG.random((N, 20, 20)) < 0.1},
    'dense': {'adjacency': RNG.random((N, 7, 7), np.float32)},
    'text': {'text': np.array(['one $x_1$ text ' * 50] * N, object), 'label': LABEL},
    'tokens': {'tokens': RNG.integers(0, 50, (N, 12)), 'label': LABEL},
    'features': {'feature': RNG.random((N, 4), np.float32), 'label': LABEL},
    'table': {'year': LABEL, 'share': RNG.random(N), 'title': np.array(list('abcde'), object)},
}


def _pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=40)
    return np.asarray(Image.open(file).convert('L'))


@pytest.mark.parametrize('kind', COLUMNS)
def test_every_modality_has_a_sheet(kind):
    figure = sheets.sheet(COLUMNS[kind], title='all of them', credit='by many')
    assert figure.get_suptitle() == 'all of them'
    assert figure.get_supxlabel() == 'by many'
    assert figure.axes
    assert _pixels(figure).std() > 5


def test_images_are_shown_as_they_are_with_their_captions():
    shown = sheets.sheet(COLUMNS['image']).axes
    for i, ax in enumerate(shown[:N]):
        np.testing.assert_array_equal(ax.images[0].get_array(), PICTURE[i])
        assert ax.get_title() == str(i)


def test_maps_stand_below_their_images():
    figure = sheets.sheet(COLUMNS['maps'])
    assert [ax.get_ylabel() for ax in figure.axes[::N]] == list(COLUMNS['maps'])
    np.testing.assert_array_equal(
        figure.axes[N + 2].images[0].get_array(), COLUMNS['maps']['depth'][2]
    )


def test_a_long_set_shows_its_first_items():
    many = {'image': np.repeat(PICTURE, 40, 0), 'label': np.arange(40 * N)}
    figure = sheets.sheet(many)
    assert sum(bool(ax.images) for ax in figure.axes) == sheets.ITEMS
    points = {'feature': RNG.random((3 * sheets.POINTS, 2)), 'label': np.zeros(3 * sheets.POINTS)}
    assert len(sheets.sheet(points).axes[0].collections[0].get_offsets()) == sheets.POINTS


def test_neighbours_of_a_path_stand_side_by_side():
    path = np.stack([np.arange(9), np.arange(1, 10)], 1)
    ax = sheets.sheet({'edges': path}).axes[0]
    first = ax.collections[1].get_offsets()[:, 0]
    assert (np.abs(np.diff(first)) == 1).all()
