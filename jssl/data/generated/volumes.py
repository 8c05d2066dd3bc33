"""Drawn scans: phantoms of torso, brain and prostate with organs, lesions and their warp known.

A body is a list of organs in a frame of its own, from -1 to 1 along z (up), y (front to back) and
x (right to left). A patient's frame is bent smoothly into it, so that labels, lesions and the
place of every voxel in the body are exact; looks follow from the tissue and the domain.
"""

import functools

import numpy as np
from scipy import ndimage

from jssl.data.generated import draw
from jssl.errors import Refusal

LICENCE = 'Apache-2.0'
COUNTS = {'train': 256, 'validation': 64, 'test': 64}

# organ: (form, middle, radii, (density, water, uptake)); later ones lie over earlier ones. Radii of
# a tube are its half length along x, its bend along z and its own radius; a column has no end.
ANATOMY = {
    'torso': {
        'body': ('column', (0, 0, 0), (1, 0.72, 0.92), (0.35, 0.3, 0.15)),
        'spine': ('column', (0, 0.5, 0), (1, 0.13, 0.13), (0.95, 0.15, 0.2)),
        'liver': ('ball', (0.15, -0.1, -0.45), (0.5, 0.42, 0.36), (0.55, 0.45, 0.45)),
        'spleen': ('ball', (0.3, 0.22, 0.6), (0.28, 0.22, 0.14), (0.5, 0.65, 0.35)),
        'stomach': ('ball', (0.2, -0.3, 0.35), (0.26, 0.2, 0.25), (0.2, 0.85, 0.25)),
        'kidney_right': ('ball', (-0.35, 0.3, -0.42), (0.26, 0.15, 0.14), (0.62, 0.75, 0.9)),
        'kidney_left': ('ball', (-0.28, 0.3, 0.42), (0.26, 0.15, 0.14), (0.62, 0.75, 0.9)),
        'pancreas': ('tube', (-0.08, -0.08, 0.05), (0.36, 0.12, 0.09), (0.45, 0.55, 0.3)),
        'aorta': ('column', (0, 0.28, 0.06), (1, 0.08, 0.08), (0.75, 0.9, 0.6)),
    },
    'brain': {
        'skull': ('ball', (0, 0, 0), (0.92, 0.95, 0.82), (0.95, 0.1, 0.1)),
        'fluid': ('ball', (0, 0, 0), (0.84, 0.87, 0.74), (0.15, 1.0, 0.05)),
        'grey': ('ball', (0, 0, 0), (0.79, 0.82, 0.69), (0.42, 0.6, 0.85)),
        'white': ('ball', (0, 0, 0), (0.62, 0.65, 0.52), (0.36, 0.35, 0.45)),
        'thalamus': ('ball', (-0.1, 0.05, 0), (0.16, 0.2, 0.28), (0.43, 0.58, 0.8)),
        'ventricle_right': ('ball', (0.12, 0, -0.17), (0.14, 0.36, 0.09), (0.15, 1.0, 0.05)),
        'ventricle_left': ('ball', (0.12, 0, 0.17), (0.14, 0.36, 0.09), (0.15, 1.0, 0.05)),
    },
    'prostate': {
        'pelvis': ('column', (0, 0, 0), (1, 0.95, 0.95), (0.4, 0.35, 0.2)),
        'peripheral': ('ball', (0, 0.08, 0), (0.75, 0.6, 0.7), (0.45, 0.8, 0.3)),
        'transition': ('ball', (0.1, -0.1, 0), (0.55, 0.4, 0.5), (0.5, 0.55, 0.4)),
        'stroma': ('shell', (0.05, -0.12, 0), (0.5, 0.42, 0.4), (0.55, 0.3, 0.25)),
        'urethra': ('column', (0, 0.02, 0), (1, 0.11, 0.11), (0.4, 0.68, 0.35)),
    },
}  # fmt: skip
DOMAINS = ('ct', 't1', 't2', 'flair', 'pet', 'ultrasound', 'microscopy')
RATERS = (  # growth of the outline, shift along y and x, faintest contrast seen, roughness
    (0.0, 0.0, 0.0, 0.0, 0.03),
    (0.25, 0.0, 0.02, 0.0, 0.05),
    (-0.2, 0.02, 0.0, 0.15, 0.05),
    (0.0, 0.05, -0.03, 0.1, 0.1),
    (0.15, -0.03, 0.03, 0.2, 0.15),
    (-0.1, 0.0, -0.05, 0.05, 0.1),
    (0.05, 0.03, 0.05, 0.25, 0.2),
)


def sample(
    generator: np.random.Generator,
    *,
    anatomy: str = 'torso',
    domain: str | tuple[str, ...] = 'ct',
    shape: tuple[int, int, int] = (32, 32, 32),
    window: tuple[float, float] = (-1.0, 1.0),
    warp: float = 1.0,
    variation: float = 1.0,
    lesions: tuple[int, int] = (0, 2),
    lesion_radius: tuple[float, float] = (0.1, 0.22),
    lesion_contrast: tuple[float, float] = (-0.3, 0.5),
    lesion_edge: float = 0.1,
    within: tuple[str, ...] | None = None,
    taxonomy: tuple[tuple[str, ...], ...] | None = None,
    label_rate: float = 1.0,
    bias: float = 0.15,
    noise: float = 0.04,
    blur: tuple[float, float, float] = (0.5, 0.5, 0.5),
    raters: int = 0,
    visits: int = 1,
) -> dict[str, np.ndarray]:
    """Draws one patient's scan.

        mask(v) = organ(v + deformation(v)),   volume = bias * look(tissue + lesion) + noise

    Args:
      generator: of random numbers, see `draw.generator`.
      anatomy: torso, brain or prostate.
      domain: how tissue looks, of DOMAINS; of several, one is drawn.
      shape: D, H, W: voxels along z, y and x.
      window: least and greatest z that is scanned; beyond -1 and 1 there are few organs.
      warp: size of the smooth deformation, at most about 2; 1 moves by about a tenth.
      variation: how much organs' sizes and places differ between patients.
      lesions: least and most; L is the most.
      lesion_radius: of a lesion, the body being two wide.
      lesion_contrast: added to the tissue's looks; nothing between -0.1 and 0.1 is drawn.
      lesion_edge: share of the radius over which a lesion fades.
      within: organs where lesions lie; None is all but the first.
      taxonomy: groups of organs, label k + 1 each and 0 for all others; None is every organ for
        itself but the first (two, in the brain), which is the background.
      label_rate: share of the slices along z that carry labels.
      bias: size of the smooth change of gain.
      noise: standard deviation; in ultrasound, of a factor three times as large.
      blur: standard deviations along z, y and x, in voxels.
      raters: R, how many of RATERS outline the lesions.
      visits: T; with more than one, the brain's ageing goes on by 0.15 from visit to visit.

    Returns:
      volume float32 [D, H, W], about 0 to 1; mask int32 [D, H, W]; organ int32 [D, H, W], place in
      the anatomy + 1, whatever the taxonomy; lesion int32 [D, H, W], 0, 1 or 2 in the core;
      deformation float32 [D, H, W, 3], voxels from here to the same place of the body;
      labelled bool [D]; domain int32; size float32 [K] of the organs, 1 being usual; lesion_middle
      float32 [L, 3] in voxels, lesion_size, lesion_look float32 [L], 0 for absent ones;
      label int32, whether there are lesions; relation int32, 1 if of the first two the higher one
      is also further left, else 0, or -1; age float32 and disease int32, which widen ventricles
      and thin the cortex; rating bool [R, D, H, W] of the raters, if any. With visits volume, mask,
      organ, lesion and age have a first axis [T].

    SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining
    (Billot et al., 2023), for scans drawn from labels.
    """
    if anatomy not in ANATOMY:
        raise Refusal(f'anatomy: {anatomy!r} is unknown, choose of {", ".join(ANATOMY)}')
    domains = (domain,) if isinstance(domain, str) else domain
    for name in domains:
        if name not in DOMAINS:
            raise Refusal(f'domain: {name!r} is unknown, choose of {", ".join(DOMAINS)}')
    organs = ANATOMY[anatomy]
    names = list(organs)
    chosen = DOMAINS.index(domains[generator.integers(len(domains))])
    patient = _patient(generator, len(names), variation)
    grid, voxel = _grid(shape, window)
    bent = grid + warp * _waves(generator, grid, 3, size=0.05)
    first = _organs(bent, organs, patient, 0.0)
    places = [names.index(name) + 1 for name in (within or names[1:])]
    what = lesions, lesion_radius, lesion_contrast
    spots = _spots(generator, grid, voxel, first, places, *what)
    middle, radius, look = spots
    rough = _waves(generator, grid, 1, size=1.0, often=4.0)[..., 0]
    depth = _depth(grid, middle, radius, rough)
    fields = {
        'gain': np.exp(bias * _waves(generator, grid, 1, size=1.0)[..., 0]),
        'grain': generator.standard_normal((visits, *shape)),
        'tone': 1 + 0.06 * variation * generator.standard_normal(len(names) + 1),
        'cells': _waves(generator, grid, 1, size=1.0, often=9.0)[..., 0],
    }
    tissue = np.array([(0.02, 0.02, 0.02), *(row[3] for row in organs.values())])
    looks, seen = _look(DOMAINS[chosen], tissue), []
    for visit in range(visits):
        organ = first if not visit else _organs(bent, organs, patient, 0.15 * visit)
        fade = np.clip((1 - depth) / max(lesion_edge, 1e-3), 0, 1)
        added = (fade * look[:, None, None, None]).sum(0) if len(look) else 0.0
        clean = (looks * fields['tone'])[organ] + added
        if DOMAINS[chosen] == 'microscopy':
            clean = clean + 0.05 * fields['cells']
        volume = ndimage.gaussian_filter(np.float32(clean * fields['gain']), blur)
        grain = noise * fields['grain'][visit]
        speckled = DOMAINS[chosen] == 'ultrasound'
        volume = volume * (1 + 3 * grain) if speckled else volume + grain
        hurt = (1 * (depth < 1) + (depth < 0.55)).max(0, initial=0)
        mask = _taxonomy(taxonomy, anatomy)[organ]
        seen.append({'volume': volume, 'mask': mask, 'organ': organ, 'lesion': hurt})
    item = {name: np.stack([row[name] for row in seen]) for name in seen[0]}
    item['age'] = patient['age'] + 0.15 * np.arange(visits)
    if visits == 1:
        item = {name: value[0] for name, value in item.items()}
    item |= {'deformation': (bent - grid) / voxel, 'size': patient['size']}
    item |= {'lesion_middle': _voxels(middle, shape, window), 'lesion_size': radius}
    item |= {'lesion_look': look}
    ids = {'domain': chosen, 'disease': patient['disease'], 'label': (radius > 0).any()}
    ids |= {name: item.pop(name) for name in ('mask', 'organ', 'lesion')}
    ids['relation'] = -1
    if (radius > 0).sum() > 1:
        (z, _, x), (zz, _, xx) = middle[:2]
        ids['relation'] = (z > zz) == (x > xx)
    found = {name: np.asarray(value, np.float32) for name, value in item.items()}
    found |= {name: np.asarray(value, np.int32) for name, value in ids.items()}
    found['labelled'] = generator.random(shape[0]) < label_rate
    if raters:
        found['rating'] = _ratings(generator, grid, spots, raters)
    return found


def dataset(
    split: str = 'train', *, count: int | None = None, seed: int = 0, **knobs
) -> dict[str, np.ndarray]:
    """A split of drawn scans.

    Args:
      split: train, validation or test.
      count: N; None is that of COUNTS.
      seed: item i depends on split, seed, knobs and i, not on the count.
      **knobs: those of `sample`.

    Returns:
      The entries of `sample`, each with a first axis [N].
    """
    count = COUNTS[split] if count is None else count
    return draw.columns(sample, split, count, seed, **knobs)


def source(split: str, *, count: int, seed: int = 0, **knobs) -> draw.Drawn:
    """The same, each item drawn when it is asked for.

    Args: as `dataset`.
    Returns: `draw.Drawn` of dicts.
    """
    return draw.Drawn(sample, split, count, seed, **knobs)


def _patient(generator, count, variation):
    """What tells one patient from another, apart from the warp."""
    return {
        'size': np.exp(0.1 * variation * generator.standard_normal(count)),
        'shift': 0.04 * variation * generator.standard_normal((count, 3)),
        'age': generator.random(),
        'disease': int(generator.random() < 0.5),
    }


@functools.lru_cache(maxsize=16)
def _grid(shape, window):
    """Places of voxels [D, H, W, 3] in the patient's frame, and a voxel's lengths [3]."""
    ends = (window, (-1, 1), (-1, 1))
    voxel = np.array([(high - low) / n for (low, high), n in zip(ends, shape, strict=True)])
    axes = [
        low + v * (np.arange(n) + 0.5) for (low, _), v, n in zip(ends, voxel, shape, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing='ij'), -1), voxel


def _voxels(places, shape, window):
    voxel = _grid(shape, window)[1]
    return (places - np.array([window[0], -1, -1])) / voxel - 0.5


def _waves(generator, grid, channels, *, size, often=1.0):
    """Smooth random fields [D, H, W, channels] of standard deviation `size`, a sum of waves."""
    axes = grid[:, 0, 0, 0], grid[0, :, 0, 1], grid[0, 0, :, 2]
    fields = []
    for _ in range(channels):
        way = generator.standard_normal((4, 3))
        long = often * generator.uniform(1.2, 3.2, (4, 1))
        way *= long / np.linalg.norm(way, axis=1, keepdims=True)
        phase = generator.uniform(0, 2 * np.pi, (4, 1))
        # cos(a + b + c) is the real part of a product: no cosine of a whole volume.
        z, y, x = (np.exp(1j * way[:, k : k + 1] * axis) for k, axis in enumerate(axes))
        plane = np.einsum('kz,ky->kzy', z * np.exp(1j * phase), y).reshape(4, -1)
        flat = plane.real.T @ x.real - plane.imag.T @ x.imag
        fields.append(flat.reshape(grid.shape[:3]))
    return size * np.stack(fields, -1) / 2**0.5


def _organs(places, organs, patient, later):
    """Which organ is at places of the body [D, H, W]: place in the list + 1, or 0."""
    found = np.zeros(places.shape[:3], np.int64)
    wide = 0.7 + 0.5 * (patient['age'] + later) + 0.4 * patient['disease']
    thin = 1 + 0.06 * (patient['age'] + later) + 0.08 * patient['disease']
    for k, (name, (form, middle, radii, _)) in enumerate(organs.items()):
        scale = patient['size'][k]
        offset = patient['shift'][k]
        if name in ('skull', 'fluid', 'grey', 'white', 'body', 'pelvis'):
            # One inside the other: they grow together and none leaves the next.
            offset, scale = 0.0, 1 + 0.3 * (patient['size'][0] - 1)
        if name == 'white':
            scale = scale * thin
        if name.startswith('ventricle'):
            scale = scale * np.array([wide, 1.0, wide]) ** 0.5
        local = places - middle - offset
        found = np.where(_holds(form, local, np.array(radii) * scale), k + 1, found)
    return found


def _holds(form, local, radii):
    z, y, x = np.moveaxis(local, -1, 0)
    if form == 'ball':
        return ((local / radii) ** 2).sum(-1) < 1
    if form == 'column':
        return (y / radii[1]) ** 2 + (x / radii[2]) ** 2 < 1
    if form == 'shell':  # the front of a ball's rind
        reach = ((local / radii) ** 2).sum(-1)
        return (reach < 1) & (reach > 0.72) & (y < -0.45 * radii[1])
    half, rise, thick = radii  # a tube along x that rises once and falls once
    bend = np.stack([z - rise * np.sin(np.pi * x / half), y], -1)
    beyond = np.maximum(np.abs(x) - half, 0)
    return (bend**2).sum(-1) + beyond**2 < thick**2


def _spots(generator, grid, voxel, organ, places, lesions, radius, contrast):
    """Middles [L, 3], radii and contrasts [L] of lesions; a middle lies in one of the organs."""
    most = lesions[1]
    count = int(generator.integers(lesions[0], most + 1))
    inside = grid[np.isin(organ, places)]
    if not len(inside):
        inside, count = np.zeros((1, 3)), 0
    middle = inside[generator.integers(len(inside), size=most)]
    middle = middle + voxel * generator.uniform(-0.5, 0.5, (most, 3))
    size = generator.uniform(*radius, most)
    look = generator.uniform(*contrast, most)
    look = np.where(np.abs(look) < 0.1, np.copysign(0.1, look), look)
    there = np.arange(most) < count
    return middle, np.where(there, size, 0), np.where(there, look, 0)


def _depth(grid, middle, radius, rough):
    """How far out voxels lie in each lesion [L, D, H, W]: 1 on its outline, infinite for none."""
    away = np.linalg.norm(grid - middle[:, None, None, None], axis=-1) * (1 + 0.12 * rough)
    reach = radius[:, None, None, None]
    return np.where(reach > 0, away / np.maximum(reach, 1e-9), np.inf)


def _ratings(generator, grid, spots, raters):
    """Outlines [R, D, H, W] of the lesions, each rater in a manner of its own."""
    middle, radius, look = spots
    found = []
    for growth, y, x, faintest, rough in RATERS[:raters]:
        bumps = rough / 0.12 * _waves(generator, grid, 1, size=1.0, often=5.0)[..., 0]
        seen = np.where(np.abs(look) > faintest, radius * (1 + growth), 0)
        found.append((_depth(grid, middle + np.array([0, y, x]), seen, bumps) < 1).any(0))
    return np.stack(found)


def _look(domain, tissue):
    """Intensities [...], about 0 to 1, of tissues [..., 3] in a domain."""
    density, water, uptake = np.moveaxis(tissue, -1, 0)
    return {
        'ct': density,
        't1': np.where(density > 0.1, 0.95 - 0.8 * water, 0),
        't2': 0.9 * water,
        'flair': np.where(water > 0.95, 0.1, 0.95 * water),
        'pet': uptake,
        'ultrasound': 0.1 + 0.55 * density + 0.45 * (1 - water) - 0.3 * (density < 0.1),
        'microscopy': 0.9 - 0.7 * density,
    }[domain]


def _taxonomy(taxonomy, anatomy):
    """The label of each organ [K + 1], the first for what is none."""
    names = list(ANATOMY[anatomy])
    if taxonomy is None:
        taxonomy = tuple((name,) for name in names[2 if anatomy == 'brain' else 1 :])
    label = np.zeros(len(names) + 1, np.int64)
    for k, group in enumerate(taxonomy):
        for name in group:
            if name not in names:
                raise Refusal(f'taxonomy: {name!r} is unknown, choose of {", ".join(names)}')
            label[names.index(name) + 1] = k + 1
    return label
