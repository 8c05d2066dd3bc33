"""Data sets by name: fixed disjoint splits, clear refusals, and no use of the network."""

import ast
import io
import itertools
import math
import re
import subprocess
import sys
import tomllib

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jssl import data, sets
from jssl.data import readers
from jssl.errors import Refusal

SPLITS = ('train', 'validation', 'test')


def _png(image):
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, 'PNG')
    packed.seek(0)
    return packed


class TinySquares(tfds.core.GeneratorBasedBuilder):
    """Forty plain squares of unlike sizes, five for testing."""

    VERSION = tfds.core.Version('1.2.0')
    url_infos = {}  # noqa: RUF012  keeps TFDS from looking for checksums beside this file

    def _info(self):
        features = {
            'id': tfds.features.Text(),
            'image': tfds.features.Image(shape=(None, None, 3)),
            'label': tfds.features.ClassLabel(names=['even', 'odd']),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {'train': self._generate_examples(40), 'test': self._generate_examples(5)}

    def _generate_examples(self, count):
        for i in range(count):
            image = np.full((8 + i % 3, 10, 3), i, np.uint8)
            yield i, {'id': str(i), 'image': _png(image), 'label': i % 2}


@pytest.fixture(scope='session')
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tfds')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.DatasetInfo, 'initialize_from_bucket', lambda self: None)
        TinySquares(data_dir=folder, file_format='array_record').download_and_prepare()
    return folder


@pytest.fixture
def folders(tmp_path):
    """Three classes of 30, 20 and 10 images, each of one grey level."""
    for number, count in enumerate((30, 20, 10)):
        place = tmp_path / f'class{number}'
        place.mkdir()
        for i in range(count):
            image = np.full((6, 9, 3), 60 * number + i, np.uint8)
            Image.fromarray(image).save(place / f'{i:02}.png')
        (place / 'notes.txt').write_text('no image')
    return tmp_path


@pytest.mark.parametrize('name', ['digits', 'mnist5k'])
def test_packaged_sets_have_disjoint_stratified_splits(name):
    known = data.SETS[name]
    whole = {split: data.load(name, split) for split in SPLITS}
    contents = {split: {x.tobytes() for x in d['image']} for split, d in whole.items()}
    everything = np.concatenate([d['label'] for d in whole.values()])
    for share, split in zip((0.7, 0.1, 0.2), SPLITS, strict=True):
        image, label = whole[split]['image'], whole[split]['label']
        assert image.shape == (known.sizes[split], *known.shape)
        assert (image.dtype, label.dtype) == (np.uint8, np.int32)
        assert image.max() == 255
        assert image.min() == 0
        counts = np.bincount(label, minlength=known.classes)
        assert np.all(np.abs(counts - share * np.bincount(everything)) <= 1)
        assert len(set(label[:50])) == known.classes, 'classes must be mixed'
    assert not contents['train'] & contents['test']
    assert not contents['train'] & contents['validation']
    assert not contents['validation'] & contents['test']


def test_packaged_sets_are_the_same_at_every_load_and_free_to_change():
    first, again = data.load('mnist5k', 'test'), data.load('mnist5k', 'test')
    np.testing.assert_array_equal(first['image'], again['image'])
    first['image'][:] = 0
    assert data.load('mnist5k', 'test')['image'].max() == 255


def test_digits_keep_their_grey_levels():
    image = data.load('digits', 'train')['image']
    levels = np.round(np.arange(17) * 255 / 16)
    assert set(np.unique(image)) <= set(levels.astype(np.uint8))


def test_stratified_split_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    label, tags = rng.integers(0, 3, 100), [b'%d' % i for i in range(100)]
    turn = rng.permutation(100)
    for split in SPLITS:
        rows = readers.stratified_split(label, tags, split)
        other = readers.stratified_split(label[turn], [tags[i] for i in turn], split)
        np.testing.assert_array_equal(rows, turn[other])


def test_grouped_split_keeps_groups_whole():
    rng = np.random.default_rng(0)
    groups = [b'%d' % g for g in rng.integers(0, 40, 300)]
    label = np.array([int(g) % 2 for g in groups])
    rows = {split: readers.grouped_split(label, groups, split) for split in SPLITS}
    assert sorted(np.concatenate(list(rows.values()))) == list(range(300))
    inside = [{groups[row] for row in chosen} for chosen in rows.values()]
    assert [len(each) for each in inside] == [28, 4, 8]
    assert len(set.union(*inside)) == 40
    assert all(len({int(g) % 2 for g in each}) == 2 for each in inside)


def test_every_set_is_described_and_images_have_a_spec_without_data():
    for name, known in data.SETS.items():
        assert set(known.sizes) == {'whole'} or set(SPLITS) <= set(known.sizes), name
        assert all(known.sizes.values()), name
        assert all((known.licence, known.description)), name
        assert data.describe(name).startswith(f'{name}: {known.description}\n')
        if known.shape is None:
            continue
        spec = data.spec(name, 6)
        assert spec['image'].shape == (6, *known.shape)
        assert spec['image'].dtype == jnp.uint8
        assert (spec['label'].shape, spec['label'].dtype) == ((6,), jnp.int32)
    assert len(data.describe().splitlines()) == 1 + len(data.SETS)
    assert data.spec('imagenet2012', 2, size=(96, 128))['image'].shape == (2, 96, 128, 3)
    assert data.spec('folder:anywhere', 2, size=32)['image'].shape == (2, 32, 32, 3)
    with pytest.raises(Refusal, match='size='):
        data.spec('tfds:beans', 2)


def test_no_set_is_written_twice():
    lines = sets.TABLE.read_text().splitlines()
    assert sum(bool(line) and line[0] != '#' for line in lines) == len(data.SETS)


def _named(tree, name):
    """Functions or constants of that name in a module's text."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield node
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            yield ast.literal_eval(node.value)


IN_MEMORY = [name for name, known in sets.table().items() if known.origin not in ('tfds', 'folder')]


@pytest.mark.parametrize('name', IN_MEMORY)
def test_the_register_agrees_with_the_modules(name):
    known = data.SETS[name]
    module, _, function = known.at.rpartition('.')
    tree = ast.parse((sets.TABLE.parent / f'{module.replace(".", "/")}.py').read_text())
    assert len(list(_named(tree, function))) == 1
    if known.origin == 'drawn':
        assert next(_named(tree, 'COUNTS'), known.sizes) == known.sizes
        assert next(_named(tree, 'LICENCE'), known.licence) == known.licence


def test_every_extra_brings_its_package():
    project = tomllib.loads((sets.TABLE.parents[2] / 'pyproject.toml').read_text())['project']
    for known in data.SETS.values():
        wanted = project['optional-dependencies'][known.extra] if known.extra else ()
        assert not known.extra or any(known.origin in package for package in wanted), known.name
    core = {re.match(r'[\w-]+', line)[0] for line in project['dependencies']}
    packages = {data.SETS[name].origin for name in IN_MEMORY if not data.SETS[name].extra}
    assert {origin for origin in packages if '/' not in origin} - {'drawn'} <= core


def test_a_set_without_its_package_names_the_extra(monkeypatch):
    lost = data.SETS['mni152']._replace(origin='no-such-package')
    monkeypatch.setitem(data.SETS, 'mni152', lost)
    line = "mni152 needs the extra 'medical': pip install jssl[medical]"
    assert data.missing('mni152') == line
    with pytest.raises(Refusal, match=re.escape(line)):
        data.load('mni152', 'train')


def test_the_register_is_read_without_numpy():
    code = (
        'import sys\nfrom jssl import sets\nsets.listing()\n'
        "assert not {'numpy', 'jax', 'jssl.data'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=sets.TABLE.parents[2])


def test_parts_of_a_tfds_split_do_not_overlap():
    for name, known in data.SETS.items():
        assert not known.parts or known.parts.keys() == known.sizes.keys(), name
        used = sorted(known.parts.values())
        for (split, _, stop), (other, start, _) in itertools.pairwise(used):
            assert split != other or stop <= start, name


@pytest.mark.parametrize(
    ('name', 'nearest'),
    [('cifar11', 'cifar10'), ('digit', 'digits'), ('Imagenet2012', 'imagenet2012')],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(Refusal, match=f'{name}.*nearest is .{nearest}.'):
        data.load(name, 'train')
    with pytest.raises(Refusal, match=nearest):
        data.spec(name, 2)
    assert nearest in data.missing(name)


def test_an_unknown_split_is_refused_with_those_there_are():
    with pytest.raises(Refusal, match='train, validation, test'):
        data.load('digits', 'dev')
    with pytest.raises(Refusal, match='train, validation, test'):
        data.load('cifar10', 'dev')


@pytest.mark.parametrize('name', ['cifar10', 'imagenet64', 'tfds:beans', 'tiny_imagenet'])
def test_a_set_that_is_not_on_disk_is_refused_in_one_line(name, tmp_path):
    line = data.missing(name, data_dir=str(tmp_path))
    assert str(tmp_path) in line
    assert '\n' not in line
    assert 'tfds build' in line or 'unpack' in line
    with pytest.raises(Refusal) as refusal:
        data.load(name, 'train', data_dir=str(tmp_path))
    assert str(refusal.value) == line


def test_the_environment_names_the_folder_of_prepared_sets(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    assert str(tmp_path) in data.missing('cifar10')


def test_packaged_sets_are_never_missing():
    assert [data.missing(name) for name in ('digits', 'mnist5k', 'shapes')] == [None] * 3


def test_tfds_records(prepared):
    where = {'data_dir': str(prepared)}
    assert data.missing('tfds:tiny_squares', **where) is None
    train = data.load('tfds:tiny_squares', 'train', **where)
    assert len(train) == 40
    assert train.classes == ['even', 'odd']
    values = set()
    for i in range(40):
        record = train[i]
        assert set(record) == {'image', 'label'}
        value = int(record['image'][0, 0, 0])
        assert record['image'].shape == (8 + value % 3, 10, 3)
        assert record['label'] == value % 2
        assert record['label'].dtype == np.int32
        values.add(value)
    assert values == set(range(40))
    with pytest.raises(IndexError):
        train[40]


def test_tfds_splits_sizes_and_fields(prepared):
    where = {'data_dir': str(prepared)}
    half = data.load('tfds:tiny_squares', 'train[:50%]', size=4, **where)
    assert len(half) == 20
    assert half[3]['image'].shape == (4, 4, 3)
    assert set(data.load('tfds:tiny_squares:1.2.0', 'test', fields=('id',), **where)[0]) == {'id'}
    with pytest.raises(Refusal, match=r'no field .mask.'):
        data.load('tfds:tiny_squares', 'train', fields=('mask',), **where)
    with pytest.raises(Refusal, match=r'train \(40\)'):
        data.load('tfds:tiny_squares', 'validation', **where)
    with pytest.raises(Refusal, match='not on disk'):
        data.load('tfds:tiny_squares:9.9.9', 'train', **where)


def test_tfds_parts_are_disjoint_and_complete(prepared):
    parts = {'train': readers.Part('train', 0, 30), 'validation': readers.Part('train', 30, 40)}
    seen = []
    for split, part in parts.items():
        records = readers.tfds('tiny_squares', split, data_dir=prepared, parts=parts)
        assert len(records) == part.stop - part.start
        seen += [int(records[i]['image'][0, 0, 0]) for i in range(len(records))]
    assert sorted(seen) == list(range(40))


def test_labels_of_records_are_read_without_their_images(prepared, folders, monkeypatch):
    sets = [
        data.load('tfds:tiny_squares', 'train[10%:]', data_dir=str(prepared)),
        data.load(f'folder:{folders}', 'train'),
    ]
    labels = [[int(records[i]['label']) for i in range(len(records))] for records in sets]
    monkeypatch.setattr(tfds.features.Image, 'decode_example_np', lambda *_: pytest.fail('decoded'))
    sets[1].read = lambda entry: pytest.fail('decoded')
    for records, wanted in zip(sets, labels, strict=True):
        np.testing.assert_array_equal(records['label'], wanted)
        assert records['label'].dtype == np.int32
        with pytest.raises((Refusal, pytest.fail.Exception), match='decoded'):
            records['image']


def test_tfds_files_without_random_access_are_refused(prepared, tmp_path):
    place = tmp_path / 'tiny_squares' / '1.2.0'
    place.mkdir(parents=True)
    found = prepared / 'tiny_squares' / '1.2.0' / 'dataset_info.json'
    (place / 'dataset_info.json').write_text(
        found.read_text().replace('"array_record"', '"tfrecord"')
    )
    with pytest.raises(Refusal, match=r'tfrecord files.*array_record'):
        data.load('tfds:tiny_squares', 'train', data_dir=str(tmp_path))


def test_a_set_in_several_forms_names_them(tmp_path):
    place = tmp_path / 'eurosat' / 'rgb' / '2.0.0'
    place.mkdir(parents=True)
    (place / 'dataset_info.json').write_text('{}')
    assert 'eurosat/rgb' in data.missing('tfds:eurosat', data_dir=str(tmp_path))


def test_folder_is_cut_in_three_by_class(folders):
    seen = []
    for share, split in zip((0.7, 0.1, 0.2), SPLITS, strict=True):
        records = data.load(f'folder:{folders}', split)
        assert records.classes == ['class0', 'class1', 'class2']
        examples = [records[i] for i in range(len(records))]
        for example in examples:
            assert example['image'].shape == (6, 9, 3)
            assert example['image'][0, 0, 0] // 60 == example['label']
        counts = np.bincount([e['label'] for e in examples])
        np.testing.assert_array_equal(counts, [round(share * n) for n in (30, 20, 10)])
        seen += [int(e['image'][0, 0, 0]) for e in examples]
    assert len(set(seen)) == len(seen) == 60


def test_folder_with_splits_of_its_own(folders, tmp_path_factory):
    root = tmp_path_factory.mktemp('splits')
    (root / 'train').symlink_to(folders)
    (root / 'test').symlink_to(folders)
    sizes = {split: len(data.load(f'folder:{root}', split)) for split in SPLITS}
    assert sizes == {'train': 54, 'validation': 6, 'test': 60}
    (root / 'validation').symlink_to(folders)
    sizes = {split: len(data.load(f'folder:{root}', split)) for split in SPLITS}
    assert sizes == {'train': 60, 'validation': 60, 'test': 60}


def test_folder_scales_the_centre_square_and_takes_grey(tmp_path):
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 200
    (tmp_path / 'a').mkdir()
    Image.fromarray(image).save(tmp_path / 'a' / 'x.png')
    for channels in (1, 3):
        record = data.load(f'folder:{tmp_path}', 'train', size=10, channels=channels)[0]
        assert record['image'].shape == (10, 10, channels)
        assert record['image'][1:-1, 1:-1].min() == 200  # the filter reaches over the border


def test_folder_names_the_corrupt_file(folders):
    bad = folders / 'class1' / '05.png'
    bad.write_bytes(bad.read_bytes()[:45])
    records = {split: data.load(f'folder:{folders}', split) for split in SPLITS}
    with pytest.raises(Refusal, match=r'class1/05\.png is not a readable image'):
        [r[i] for r in records.values() for i in range(len(r))]
    for file in (folders / 'class0').glob('*.png'):
        file.write_text('')
    with pytest.raises(Refusal, match=r'record \d+ cannot be read: .*class0/\d+\.png is not'):
        data.batches(records['train'], 42, seed=0)[0]


def test_folder_refusals(tmp_path):
    with pytest.raises(Refusal, match='does not exist'):
        data.load(f'folder:{tmp_path}/none', 'train')
    with pytest.raises(Refusal, match='no images'):
        data.load(f'folder:{tmp_path}', 'train')
    for part in ('train/a', 'test/a', 'test/b'):
        (tmp_path / part).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(tmp_path / part / 'x.png')
    with pytest.raises(Refusal, match='b is a class that the training folder does not have'):
        data.load(f'folder:{tmp_path}', 'test')
    (tmp_path / 'train').rename(tmp_path / 'validation')
    with pytest.raises(Refusal, match="no folder 'train'"):
        data.load(f'folder:{tmp_path}', 'train')


def test_npz(tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        'image': rng.integers(0, 256, (50, 5, 4), np.uint8),
        'label': np.arange(50) % 2,
        'extra': np.arange(50),
    }
    file = tmp_path / 'whole.npz'
    np.savez(file, **columns)
    cut = [data.load(f'npz:{file}', split) for split in SPLITS]
    assert [len(c['label']) for c in cut] == [36, 4, 10]
    np.testing.assert_array_equal(np.sort(np.concatenate([c['extra'] for c in cut])), range(50))
    for c in cut:
        np.testing.assert_array_equal(c['image'][..., 0], columns['image'][c['extra']])
        assert c['label'].dtype == np.int32
    np.savez(tmp_path / 'train.npz', **columns)
    assert len(data.load(f'npz:{tmp_path}', 'train')['label']) == 50
    with pytest.raises(Refusal, match=r'test\.npz does not exist'):
        data.load(f'npz:{tmp_path}', 'test')


@pytest.mark.parametrize(
    ('columns', 'complaint'),
    [
        ({'image': np.zeros((3, 2, 2, 1), np.uint8)}, "no array 'label'"),
        ({'image': np.zeros((3, 2, 2, 1)), 'label': np.zeros(3, int)}, 'uint8'),
        ({'image': np.zeros((3, 2, 2, 1), np.uint8), 'label': np.zeros(3)}, 'integers'),
        ({'image': np.zeros((3, 2, 2, 1), np.uint8), 'label': np.zeros(2, int)}, 'number of rows'),
        ({'image': np.array([None] * 3), 'label': np.zeros(3, int)}, 'plain arrays'),
    ],
)
def test_npz_refusals(tmp_path, columns, complaint):
    np.savez(tmp_path / 'x.npz', **columns)
    with pytest.raises(Refusal, match=complaint):
        data.load(f'npz:{tmp_path}/x.npz', 'train')


def test_npz_that_is_cut_short(tmp_path):
    file = tmp_path / 'x.npz'
    np.savez(file, image=np.zeros((3, 2, 2, 1), np.uint8), label=np.zeros(3, int))
    file.write_bytes(file.read_bytes()[: math.floor(file.stat().st_size * 0.7)])
    with pytest.raises(Refusal, match='not a readable npz file'):
        data.load(f'npz:{file}', 'train')


def test_shapes_are_dispatched(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        'jssl.data.shapes.dataset', lambda split, **options: asked.update(split=split, **options)
    )
    data.load('shapes', 'test', count=4, size=16)
    assert asked == {'split': 'test', 'count': 4, 'size': 16}
