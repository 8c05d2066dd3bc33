"""Makes sentinel.npz from an unpacked wheel of spyndex: a scene and some spectra from above.

pip download --no-deps spyndex && unzip it into FOLDER
python tools/vendor/sentinel.py FOLDER
"""

import argparse
import json
from pathlib import Path

import numpy as np
import snapshot

BANDS = [f'SR_B{i}' for i in range(1, 8)]
COVERS = ('Urban', 'Vegetation', 'Water')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked wheel')
    folder = parser.parse_args().folder
    files = [folder / 'spyndex' / 'data' / name for name in ('S2_10m.json', 'spectral.json')]
    scene, spectra = (json.loads(file.read_text()) for file in files)
    rows = list(spectra['class'])
    column = lambda name: [spectra[name][row] for row in rows]
    record = snapshot.source(
        'spyndex',
        '0.12.0',
        files,
        folder,
        licence='MIT; data free and open',
        credit='David Montero; contains modified Copernicus Sentinel data; Landsat 8 of USGS',
        licence_file=snapshot.licence_file('spyndex', folder),
    )
    snapshot.arrays(
        'sentinel',
        {
            'scene': np.array(scene, np.uint16),
            'reflectance': np.array([column(name) for name in BANDS], np.float32).T,
            'temperature': np.array(column('ST_B10'), np.float32),
            'label': np.array([COVERS.index(name) for name in column('class')], np.uint8),
        },
        maker=__file__,
        sources=[record],
        changes='None but the format.',
    )


if __name__ == '__main__':
    main()
