"""The mean brain of 152 people, which nilearn carries: needs the extra 'medical'."""

import numpy as np

from jssl.data.readers import SPLITS, check_split, stratified_split

SLAB = 8  # slices of one split that lie together


def mni152(split: str, *, resolution: int = 2) -> dict[str, np.ndarray]:
    """Axial slices of the template with its tissues.

    Args:
      split: train, validation or test: slabs of eight slices (split/1), so that neighbours, which
        look alike, are mostly in one.
      resolution: millimetres a voxel.

    Returns:
      image uint8 [N, H, W, 1]; mask int32 [N, H, W], 1 in grey and 2 in white matter, where it is
      likelier than not; place int32 [N], the slice. Slices without any tissue are left out.

    Unbiased average age-appropriate atlases for pediatric studies (Fonov et al., 2011).
    """
    from nilearn import datasets  # of the extra

    check_split(split, SPLITS, 'mni152')
    load = datasets.load_mni152_template, datasets.load_mni152_gm_template
    brain, grey, white = (
        np.moveaxis(np.asarray(read(resolution=resolution).dataobj, np.float32), 2, 0)
        for read in (*load, datasets.load_mni152_wm_template)
    )
    mask = np.where(white > 0.5, 2, np.where(grey > 0.5, 1, 0)).astype(np.int32)
    slab = np.arange(len(mask)) // SLAB
    slabs = np.unique(slab)
    mine = slabs[stratified_split(0 * slabs, [b'%d' % s for s in slabs], split)]
    place = np.flatnonzero(np.isin(slab, mine) & mask.any((1, 2)))
    image = np.round(255 * np.clip(brain / brain.max(), 0, 1)).astype(np.uint8)[..., None]
    return {'image': image[place], 'mask': mask[place], 'place': place.astype(np.int32)}
