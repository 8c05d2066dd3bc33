"""Tissue under the microscope, with every nucleus known, and lesions of the skin.

A stained section is light that two dyes let through, image = exp(-(H h + E e)), h the haematoxylin
of nuclei and e the eosin of what lies between them; H and E are vectors of the hospital that
stained it. A slide belongs to one hospital and one patient, so splits share no slide.
"""

import numpy as np

from jssl.data.generated import draw
from jssl.data.generated.geo import fractal
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 2000, 'validation': 500, 'test': 500}
SLIDES = {'train': range(140), 'validation': range(140, 160), 'test': range(160, 200)}
SITES, TISSUES = 5, 8
ORGAN = (0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 4, 6)  # the tissue that a disease's code belongs to
KINDS = ('epithelial', 'neoplastic', 'lymphocyte', 'fibroblast', 'neutrophil')
COARSE = (0, 0, 1, 2, -1)  # of each kind in a taxonomy that knows less; -1 is not in it
# Of each kind: half axes in pixels, unevenness, and how dark.
_SHAPE = np.array([[2.6, 2.0], [3.4, 2.8], [1.7, 1.7], [3.4, 1.0], [1.9, 1.9]])
_UNEVEN = np.array([0.05, 0.25, 0.03, 0.08, 0.45])
_DARK = np.array([1.1, 0.9, 1.9, 1.2, 1.6])
_CELL = 7.0  # pixels that a nucleus has to itself
_STAIN = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # haematoxylin, eosin

COLOURS = {'tan': (0.62, 0.4, 0.24), 'brown': (0.38, 0.2, 0.1), 'black': (0.14, 0.09, 0.09)}
OUTLINES = ('round', 'oval', 'lobed')
ARTEFACTS = ('none', 'hair', 'ruler')


def section(
    generator: np.random.Generator,
    *,
    size: int = 32,
    magnification: float = 1.0,
    slides: tuple[int, ...] = tuple(SLIDES['train']),
    sites: tuple[int, ...] = tuple(range(SITES)),
    kinds: tuple[int, ...] = tuple(range(len(KINDS))),
    tumour: float = 0.5,
    stain: float = 1.0,
    noise: float = 0.02,
) -> dict[str, np.ndarray]:
    """A tile of a stained section.

    Args:
      generator: NumPy generator.
      size: S in pixels.
      magnification: 0.5 shows four times the area.
      slides: numbers of the slides that tiles are cut from.
      sites: hospitals; slides of others are left out.
      kinds: nuclei of other kinds are left out.
      tumour: share of tiles that show their slide's disease; others show its healthy tissue.
      stain: by which the hospitals' dyes differ; 0 is one dye for all.
      noise: standard deviation of pixels.

    Returns:
      image uint8 [S, S, 3]; mask int32 [S, S], 0 or 1 + place in KINDS; instance int32 [S, S], 0 or
      1 + place of the nucleus; kind int32 [N], place in KINDS, or -1 where there is none; position
      float32 [N, 2], x and y in units of the image; label int32, whether the disease is seen;
      tissue, code, site, slide int32.

    PanNuke Dataset Extension, Insights and Baselines (Gamper et al., 2020), for kinds of nuclei; A
    method for normalizing histology slides (Macenko et al., 2009), for the stains.
    """
    known = [slide for slide in slides if slide % SITES in sites]
    if not known:
        raise Refusal(f'no slide of sites {sites} among those asked for')
    slide = known[generator.integers(len(known))]
    code, dyes = _slide(slide, stain)
    tissue, ill = ORGAN[code], bool(generator.random() < tumour)
    form = _form(tissue, code if ill else None)
    y, x = (np.mgrid[:size, :size] + 0.5) / magnification  # pixels at magnification one
    across = size / magnification
    gland = generator.uniform(0, across, 2), form['gland'] * generator.uniform(0.8, 1.2)
    out = np.hypot(x - gland[0][0], y - gland[0][1]) - gland[1]

    nuclei = _nuclei(generator, across, form, gland, kinds)
    alpha, tone = _stamped(nuclei, x, y, magnification)
    front = alpha.argmax(0)
    there = alpha.max(0) > 0.5
    instance = np.where(there, front + 1, 0)
    seen = np.where(there, 1 + nuclei['kind'][front], 0)

    seed = int(generator.integers(2**31))
    u, v = _turned(x, y, generator.uniform(0, np.pi))
    fibre = fractal(u / 12, v / 3, seed, octaves=3)
    eosin = form['stroma'] * (0.45 + 1.2 * fibre) + 0.25 * fractal(x / 3, y / 3, seed + 1) + 0.3
    body = np.exp(-np.square(out / 3.5)) * (form['gland'] > 0)  # cytoplasm around the gland's hole
    hole = (out < -2.5) & (form['gland'] > 0)
    eosin = np.where(hole, 0.03, np.maximum(eosin, 0) * (1 - 0.3 * body) + 0.25 * body)
    chromatin = 1 + 0.9 * fractal(x, y, seed + 2, octaves=2)
    haematoxylin = (alpha * tone[:, None, None]).max(0) * chromatin + 0.1 * body + 0.03
    density = np.stack([haematoxylin, eosin * (1 - 0.6 * alpha.max(0))], -1)
    image = np.exp(-density * generator.uniform(0.85, 1.15, 2) @ dyes)
    image += noise * generator.standard_normal(image.shape)
    kept = {'kind': nuclei['kind'], 'position': nuclei['position'] * magnification / size}
    inside = ((kept['position'] > 0) & (kept['position'] < 1)).all(1)
    ids = {'label': ill, 'tissue': tissue, 'code': code, 'site': slide % SITES, 'slide': slide}
    return {
        'image': _bytes(image),
        'mask': seen.astype(np.int32),
        'instance': instance.astype(np.int32),
        'kind': np.where(inside, kept['kind'], -1).astype(np.int32),
        'position': kept['position'].astype(np.float32),
        **{name: np.int32(value) for name, value in ids.items()},
    }


def _slide(slide, stain):
    """Code of the disease and dyes [2, 3] of a slide; late codes are rare."""
    random = np.random.default_rng([slide, 9])
    weight = 1 / (1 + np.arange(len(ORGAN)))
    code = int(random.choice(len(ORGAN), p=weight / weight.sum()))
    other = np.random.default_rng([slide % SITES, 10]).standard_normal((2, 3))
    dyes = _STAIN * np.exp(stain * (0.35 * other + 0.05 * random.standard_normal((2, 3))))
    return code, dyes


def _form(tissue, code):
    """What tissue is built of; a disease crowds, enlarges and mixes its nuclei."""
    random = np.random.default_rng([tissue, 11])
    form = {
        'density': random.uniform(0.3, 0.65),
        'gland': random.uniform(7, 12) * (tissue % 2 == 0),
        'stroma': random.uniform(0.3, 1.0),
        'grown': random.uniform(0.85, 1.1),
        # Epithelial, neoplastic, lymphocyte, fibroblast, neutrophil.
        'mix': random.dirichlet([4, 0.01, 1.5, 3, 0.5]),
    }
    if code is not None:
        random = np.random.default_rng([code, 12])
        form['density'] += random.uniform(0.1, 0.3)
        form['gland'] *= random.uniform(0.0, 1.0)
        form['grown'] *= random.uniform(1.05, 1.3)
        form['mix'] = 0.4 * form['mix'] + 0.6 * random.dirichlet([0.3, 6, 1.5, 1, 1])
    return form


def _nuclei(generator, across, form, gland, kinds):
    """Places, kinds and shapes of the nuclei of a tile, one to a cell of a grid at most."""
    side = int(np.ceil(across / _CELL)) + 1
    count, cells = side * side, np.stack(np.divmod(np.arange(side * side), side)[::-1], -1)
    position = _CELL * (cells - 0.5 + generator.uniform(0.2, 0.8, (count, 2)))
    way = position - gland[0]
    out = np.linalg.norm(way, axis=1) - gland[1]
    lining = (np.abs(out) < 0.6 * _CELL) & (gland[1] > 0)
    # Nuclei near the gland's hole are drawn to its lining, others stay out of it.
    pulled = gland[0] + way * (gland[1] / np.maximum(out + gland[1], 1e-3))[:, None]
    position = np.where(lining[:, None], 0.8 * pulled + 0.2 * position, position)
    kind = generator.choice(len(KINDS), count, p=form['mix'])
    kind = np.where(lining & (kind != 1), 0, kind)
    there = (generator.random(count) < np.where(lining, 0.9, form['density'])) & np.isin(
        kind, kinds
    )
    there &= (out > 0) | lining | (gland[1] == 0)
    grown = form['grown'] * np.exp(0.12 * generator.standard_normal(count))
    along = np.arctan2(way[:, 1], way[:, 0])
    return {
        'kind': np.where(there, kind, -1),
        'position': position,
        'half': _SHAPE[kind] * grown[:, None],
        'angle': np.where(lining, along, generator.uniform(0, np.pi, count)),
        'uneven': _UNEVEN[kind],
        'phase': generator.uniform(0, 2 * np.pi, count),
        'dark': _DARK[kind] * generator.uniform(0.85, 1.15, count),
    }


def _stamped(nuclei, x, y, magnification):
    """Coverage [N, S, S] of pixels by nuclei, and how dark each is [N]."""
    column = lambda a: a[:, None, None]
    u, v = _turned(
        x - column(nuclei['position'][:, 0]),
        y - column(nuclei['position'][:, 1]),
        column(nuclei['angle']),
    )
    a, b = (column(nuclei['half'][:, k]) for k in (0, 1))
    wave = np.cos(3 * np.arctan2(v / b, u / a) + column(nuclei['phase']))
    inside = 1 + column(nuclei['uneven']) * wave - np.hypot(u / a, v / b)
    alpha = np.clip(0.5 + inside * np.minimum(a, b) * magnification, 0, 1)
    return alpha * column(nuclei['kind'] >= 0), nuclei['dark']


def lesion(
    generator: np.random.Generator,
    *,
    size: int = 32,
    artefact: float = 0.5,
    contrast: tuple[float, float] = (0.6, 1.0),
    noise: float = 0.02,
) -> dict[str, np.ndarray]:
    """A pigmented spot of the skin; its class is a pair of colour and outline.

    Args:
      generator: NumPy generator.
      size: S in pixels.
      artefact: share of images with hairs or a ruler in front.
      contrast: of the spot, least and greatest.
      noise: standard deviation of pixels.

    Returns:
      image uint8 [S, S, 3]; mask bool [S, S], the spot, also below hairs; label int32, 3 colour +
      outline; colour, outline, artefact int32, places in COLOURS, OUTLINES and ARTEFACTS.

    Attention-based Dynamic Subspace Learners for Medical Image Analysis (Adiga et al., 2022), for
    the task.
    """
    colour, outline = generator.integers(len(COLOURS)), generator.integers(len(OUTLINES))
    before = int(generator.integers(1, 3)) if generator.random() < artefact else 0
    y, x = (2 * np.mgrid[:size, :size] + 1 - size) / size
    seed, angle = int(generator.integers(2**31)), generator.uniform(0, np.pi)
    skin = np.array([0.9, 0.72, 0.6]) * generator.uniform(0.75, 1.05)
    image = skin * (1 + 0.1 * fractal(3 * x, 3 * y, seed))[..., None]
    middle, radius = generator.uniform(-0.25, 0.25, 2), generator.uniform(0.38, 0.6)
    u, v = _turned(x - middle[0], y - middle[1], angle)
    if OUTLINES[outline] == 'oval':
        u, v = u / 1.4, v * 1.4
    wave = np.cos(generator.integers(4, 6) * np.arctan2(v, u)) if outline == 2 else 0.0
    edge = radius * (1 + 0.28 * wave) - np.hypot(u, v) + 0.08 * fractal(2 * x, 2 * y, seed + 1)
    mask = edge > 0
    paint = (
        np.array(list(COLOURS.values())[colour])
        * (1 + 0.5 * fractal(5 * x, 5 * y, seed + 2))[..., None]
    )
    amount = generator.uniform(*contrast) * np.clip(0.5 + edge * size / 5, 0, 1)
    image += amount[..., None] * (paint - image)
    if ARTEFACTS[before] == 'hair':
        for _ in range(generator.integers(2, 6)):
            u, v = _turned(x, y, generator.uniform(0, np.pi))
            strand = np.abs(v - generator.uniform(-0.8, 0.8) - generator.uniform(-0.4, 0.4) * u * u)
            image += 0.85 * np.clip(1.1 - strand * size / 2, 0, 1)[..., None] * (0.1 - image)
    if ARTEFACTS[before] == 'ruler':
        u, v = _turned(x, y, np.pi / 2 * generator.integers(4))
        ticks = (u > 0.78) & (v * size / 2 % 4 < 1)
        image = np.where(ticks[..., None], 0.15, image)
    image += noise * generator.standard_normal(image.shape)
    ids = {'label': len(OUTLINES) * colour + outline, 'colour': colour, 'outline': outline}
    ids['artefact'] = before
    return {
        'image': _bytes(image),
        'mask': mask,
        **{name: np.int32(value) for name, value in ids.items()},
    }


FAMILIES = {'section': section, 'lesion': lesion}


def source(
    split: str = 'train',
    *,
    family: str = 'section',
    count: int | None = None,
    seed: int = 0,
    **knobs,
) -> draw.Drawn:
    """Images that are drawn when they are asked for; sections are cut from the split's slides.

    Args:
      split: train, validation or test.
      family: section or lesion.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of the family's function.

    Returns:
      `draw.Drawn` of dicts.

    PanNuke Dataset Extension, Insights and Baselines (Gamper et al., 2020).
    """
    if family not in FAMILIES:
        raise Refusal(f'no family {family!r} of tissue: choose {", ".join(FAMILIES)}')
    own = {'slides': tuple(SLIDES.get(split, ()))} if family == 'section' else {}
    count = COUNTS[split] if count is None else count
    return draw.Drawn(FAMILIES[family], split, count, seed, **own | knobs)


def dataset(split: str = 'train', **knobs) -> dict[str, np.ndarray]:
    """The images of `source` in memory: the columns of the family's function, [N, ...].

    PanNuke Dataset Extension, Insights and Baselines (Gamper et al., 2020).
    """
    drawn = source(split, **knobs)
    items = [drawn[i] for i in range(len(drawn))]
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def _turned(x, y, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def _bytes(colour):
    return np.uint8(np.round(255 * np.clip(colour, 0, 1)))
