"""Makes nuclei.npz from an unpacked wheel of stardist, and blood_cells.npz from one of scanpy.

    pip download --no-deps stardist scanpy && unzip each into a folder; the latter needs h5py
    python tools/vendor/cells.py --stardist FOLDER --scanpy FOLDER

nuclei.npz       fluorescent nuclei with a mask of each
blood_cells.npz  700 cells of human blood: how much they express of 765 genes, and what they are
"""

import argparse
from pathlib import Path

import numpy as np
import snapshot
from PIL import Image

STEPS = 32  # of a logarithm


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--stardist', type=Path, help='the unpacked wheel')
    parser.add_argument('--scanpy', type=Path, help='the unpacked wheel')
    options = parser.parse_args()
    if options.stardist:
        nuclei(options.stardist)
    if options.scanpy:
        blood_cells(options.scanpy)


def nuclei(folder):
    files = [folder / 'stardist' / 'data' / 'images' / f'{name}2d.tif' for name in ('img', 'mask')]
    image, mask = (np.array(Image.open(file)) for file in files)
    assert max(image.max(), mask.max()) < 256
    record = snapshot.source(
        'stardist',
        '0.9.2',
        files,
        folder,
        licence='BSD-3-Clause',
        credit='Uwe Schmidt, Martin Weigert; 2018 Data Science Bowl (Caicedo et al., 2019)',
        licence_file=snapshot.licence_file('stardist', folder),
    )
    snapshot.arrays(
        'nuclei',
        {'image': image.astype(np.uint8), 'mask': mask.astype(np.uint8)},
        maker=__file__,
        sources=[record],
        changes='None but the format.',
    )


def blood_cells(folder):
    import h5py

    file = folder / 'scanpy' / 'datasets' / '10x_pbmc68k_reduced.h5ad'
    with h5py.File(file) as found:
        cells, genes = found['X'].shape
        data, indices, starts = (found['raw.X'][name][:] for name in ('data', 'indices', 'indptr'))
        kinds = [name.decode() for name in found['uns/bulk_labels_categories'][:]]
        label = found['obs']['bulk_labels'].astype(np.uint8)
        names = [name.decode() for name in found['raw.var']['index']]
    code = np.zeros((cells, genes), np.uint8)
    assert STEPS * data.max() < 255.5
    code[np.repeat(np.arange(cells), np.diff(starts)), indices] = np.round(STEPS * data)
    record = snapshot.source(
        'scanpy',
        '1.11.5',
        [file],
        folder,
        licence='BSD-3-Clause; data CC-BY-4.0',
        credit='Scanpy team; PBMC 68k of 10x Genomics (Zheng et al., 2017)',
        licence_file=snapshot.licence_file('scanpy', folder),
    )
    snapshot.arrays(
        'blood_cells',
        {
            'expression': code,
            'label': label,
            'gene': np.frombuffer('\n'.join(names).encode(), np.uint8),
            'kind': np.frombuffer('\n'.join(kinds).encode(), np.uint8),
        },
        maker=__file__,
        sources=[record],
        changes=f'Log-normalised expression rounded to 1/{STEPS}; cell types and names of genes.',
    )


if __name__ == '__main__':
    main()
