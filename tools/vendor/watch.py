"""Makes watch.npz from an unpacked wheel of seglearn: shoulder exercises by a smartwatch.

pip download --no-deps seglearn && unzip it into FOLDER
python tools/vendor/watch.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import snapshot

STEP = np.repeat([0.01, 0.02], 3)  # of a whole number: g of acceleration, rad/s of rotation


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='the unpacked wheel')
    folder = parser.parse_args().folder
    file = folder / 'seglearn' / 'data' / 'watch_dataset.npy'
    found = np.load(file, allow_pickle=True).item()
    # 50 Hz become 25 by the mean of two. Differences in time, sign last, in planes of bytes.
    halved = [x[: len(x) // 2 * 2].reshape(-1, 2, 6).mean(1) for x in found['X']]
    whole = [np.round(x / STEP).astype(np.int32) for x in halved]
    change = np.concatenate([np.diff(x, axis=0, prepend=0 * x[:1]) for x in whole]).T
    folded = np.where(change < 0, -2 * change - 1, 2 * change)
    order = ('PEN', 'ABD', 'FEL', 'IR', 'ER', 'TRAP', 'ROW')
    assert tuple(found['y_labels']) == order
    snapshot.arrays(
        'watch',
        {
            'low': (folded & 255).astype(np.uint8),
            'high': (folded >> 8).astype(np.uint8),
            'length': np.array([len(x) for x in whole], np.uint16),
            'label': np.array(found['y'], np.uint8),
            'subject': np.array(found['subject'], np.uint8),
            'side': np.array(found['side'], np.uint8),
        },
        maker=__file__,
        sources=[
            snapshot.source(
                'seglearn',
                '1.2.5',
                [file],
                folder,
                licence='BSD-3-Clause',
                credit='David Burns and colleagues',
                licence_file=snapshot.licence_file('seglearn', folder),
            )
        ],
        changes='25 samples a second instead of 50, in whole steps of 0.01 g and 0.02 rad/s.',
    )


if __name__ == '__main__':
    main()
